"""What the command `annotate` does: labels a mesh by hand or by itself, or draws its labels."""

from __future__ import annotations

import os
import webbrowser
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from pipeline.annotate.picture import draw
from pipeline.annotate.propose import propose
from pipeline.annotate.shown import looks
from pipeline.annotate.trial import labelled
from pipeline.catalog.anchors import (
    KEYS,
    Sidecar,
    anchor_frame,
    read_sidecar,
    sidecar_path,
    write_sidecar,
)
from pipeline.catalog.meshfile import check_file, read_pieces
from pipeline.catalog.piece import Piece
from pipeline.errors import AssetError, EyeglassError, Unsure
from pipeline.store import encode_png
from pipeline.transforms import apply
from pipeline.wholefile import write_whole

PICTURE_PX = 1200
_INTERRUPTED = 130


def annotate(
    mesh: Path,
    kind: str | None = None,
    *,
    auto: bool = False,
    force: bool = False,
    picture: Path | None = None,
    port: int | None = None,
    browser: bool = True,
) -> int:
    """Labels `mesh`, and returns the exit status.

    With `auto` the points are proposed and written, or it says why not and returns 1; `force`
    replaces a sidecar. With `picture` the labelled mesh is drawn into that PNG. With neither, a
    page is served until the user saves and quits there; 130 after an interrupt.
    kind: 'head', 'glasses', or None for what the sidecar, the proposal or the user says.

    Raises EyeglassError for a mesh, sidecar, picture or port that cannot be used.
    """
    opens_page = not auto and picture is None
    if not opens_page and (port is not None or not browser):
        raise EyeglassError("--port and --no-browser: --auto and --picture open no page")
    if force and not auto:
        raise EyeglassError("--force: only --auto would otherwise leave a sidecar alone")
    if mesh.is_dir():
        raise AssetError(f"{mesh}: is a folder; a mesh file is expected")
    check_file(mesh)
    if picture is not None:
        _check_picture(picture)
    if auto:
        status = _automatically(mesh, kind, force, picture)
    elif picture is not None:
        sidecar = read_sidecar(sidecar_path(mesh))
        if kind is not None and sidecar.kind not in (None, kind):
            raise AssetError(f"{sidecar_path(mesh)}: kind is {sidecar.kind}, --kind says {kind}")
        write_whole({picture: _drawn(mesh, read_pieces(mesh), sidecar)})
        click.echo(f"Picture in {picture}")
        status = 0
    else:
        status = _by_hand(mesh, kind, port, browser)
    return status


def _automatically(mesh: Path, kind: str | None, force: bool, picture: Path | None) -> int:
    path = sidecar_path(mesh)
    if path.exists() and not force:
        raise AssetError(f"{path}: is there already; --force replaces its points")
    kept = read_sidecar(path) if path.exists() else None
    pieces = read_pieces(mesh)
    try:
        found = propose(pieces, kind or (kept.kind if kept else None))
    except Unsure as doubt:
        return _unsure(mesh, str(doubt))
    sidecar = Sidecar(
        anchors=found.anchors,
        kind=found.kind,
        confidence=found.confidence,
        parts=kept.parts if kept else {},
        synthesise_lenses=kept.synthesise_lenses if kept else False,
    )
    try:
        unit = labelled(mesh, pieces, sidecar).unit
    except AssetError as fault:
        return _unsure(mesh, f"the points that were found cannot be used: {fault}")
    if picture is not None:
        # First, since a sidecar that is there would stand in the way of a second try.
        write_whole({picture: _drawn(mesh, pieces, sidecar)})
    write_sidecar(path, found.anchors, found.kind, found.confidence)
    click.echo(f"{path.name}: {found.kind}, confidence {found.confidence:.2f} ({found.reason})")
    for key in KEYS:
        click.echo(f"  {key:<14}" + "".join(f"{n:>12.6g}" for n in getattr(found.anchors, key)))
    click.echo(f"  {'unit':<14}{unit:>12}")
    if picture is not None:
        click.echo(f"Picture in {picture}")
    return 0


def _unsure(mesh: Path, reason: str) -> int:
    click.echo(f"Unsure: {mesh.name}: {' '.join(reason.split())}", err=True)
    return 1


def _by_hand(mesh: Path, kind: str | None, port: int | None, browser: bool) -> int:
    from pipeline.annotate.page import Page

    path = sidecar_path(mesh)
    sidecar = read_sidecar(path) if path.exists() else None
    pieces = read_pieces(mesh)
    kind = kind or (sidecar.kind if sidecar else None) or _likely(pieces)
    page = Page(mesh, pieces, kind, sidecar, propose, port)
    try:
        click.echo(f"{mesh.name} is shown at {page.address}")
        click.echo("Save and quit there to end this; Ctrl-C ends it without saving.")
        # Without a display, webbrowser would start a text browser in this terminal.
        if browser and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            webbrowser.open(page.address)
        page.wait()
        click.echo(f"Saved {path}")
        return 0
    except KeyboardInterrupt:
        click.echo("Interrupted; what was saved on the page is kept.", err=True)
        return _INTERRUPTED
    finally:
        page.close()


def _likely(pieces: Sequence[Piece]) -> str:
    """'glasses' or 'head', whichever the mesh is taken for at first sight."""
    try:
        return propose(pieces, "glasses").kind
    except Unsure:
        return "head"


def _check_picture(picture: Path) -> None:
    if picture.suffix.lower() != ".png":
        raise EyeglassError(f"{picture}: a name that ends in .png is expected")
    if picture.is_dir():
        raise EyeglassError(f"{picture}: is a folder; a file that ends in .png is expected")
    if not os.access(picture.parent, os.W_OK):
        raise EyeglassError(f"{picture}: cannot be written: no folder {picture.parent} to write in")


def _drawn(mesh: Path, pieces: Sequence[Piece], sidecar: Sidecar) -> bytes:
    """The labelled mesh from four sides, as PNG."""
    frame = anchor_frame(sidecar.anchors, sidecar_path(mesh), sidecar.kind)
    points = {key: getattr(frame.anchors, key) for key in KEYS}
    surfaces = [
        (replace(surface, vertices=apply(frame.mm_from_file, surface.vertices)), rgb, opacity)
        for surface, rgb, opacity in looks(pieces)
    ]
    return encode_png(draw(surfaces, points, PICTURE_PX))
