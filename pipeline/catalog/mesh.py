"""The user's own meshes: heads and glasses from files, with four anchor points beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.catalog.anchors import (
    KEYS,
    AnchorFrame,
    Sidecar,
    anchor_frame,
    eyewear_upside_down,
    head_upside_down,
    read_sidecar,
    sidecar_path,
)
from pipeline.catalog.meshfile import check_file, read_pieces
from pipeline.catalog.parts import eyewear_parts, words_in
from pipeline.catalog.piece import Piece
from pipeline.errors import AssetError
from pipeline.geometry import Anchors, Eyewear, FloatArray, Head, Surface
from pipeline.skin import SkinSurface
from pipeline.transforms import apply

#: An anchor on a head may lie this far off its surface: further is a slip of the pen.
ANCHOR_OFF_MM = 15.0
#: Where a face is looked for, beside and below the nose nodes, and how far before or behind.
_BESIDE_MM = (-4.0, 0.0, 4.0)
_BELOW_MM = (-32.0, -24.0, -16.0)
_FACE_DEPTH_MM = 45.0
_USES = {"head": "a head", "glasses": "glasses"}
#: In the words of a name joined by '_': a head may sit on a chair and be called Skin_Brown.
_NOT_SKIN = re.compile(
    r"(?:^|_)(?:left|right|upper|lower|[lr])?"
    r"(?:eye|iris(?!h)|sclera|cornea|pupil|lash|teeth|tooth|tongue|gum|brow(?!n))"
    r"|(?<!c)hair"
)
#: Clear shells over the eyes, which without their shaders would hide them.
_SHELL = re.compile(r"occlusion|lacrimal|eye_?blend|(?:^|_)tear")


def load_head(path: Path | str) -> Head:
    """A head from a mesh file and its `NAME.anchors.yaml`, in mm and our axes.

    Surfaces: 'skin', the largest piece, 'skin_2', ... the others, each with its own material and
    base colour texture; eyes, teeth, lashes and hair, known by their names, are 'extra_1', ...,
    on which glasses do not rest. Eye centres are not known. Raises AssetError, on one line with
    the path and the remedy, for anything missing, broken, or labelled wrongly.
    """
    path = Path(path)
    sidecar = _sidecar(path)
    return head_from(path, read_pieces(path), sidecar)


def head_from(path: Path, pieces: Sequence[Piece], sidecar: Sidecar) -> Head:
    """What `load_head` makes of the pieces of a file, in the file's frame, and a sidecar."""
    _check_kind(path, sidecar, "head")
    frame = anchor_frame(sidecar.anchors, sidecar_path(path), "head")
    pieces = [_in_frame(piece, frame) for piece in pieces]
    pieces = [p for p in pieces if not _named(p, _SHELL)] or pieces
    extras = [p for p in pieces if _named(p, _NOT_SKIN)]
    skins = [p for p in pieces if not _named(p, _NOT_SKIN)]
    if not skins:
        skins, extras = extras, []
    found = sorted(_by_material(skins), key=lambda surface: -len(surface.faces))
    surfaces = {
        ("skin" if i == 0 else f"skin_{i + 1}"): _fleshed(surface)
        for i, surface in enumerate(found)
    }
    surfaces |= {f"extra_{i + 1}": surface for i, surface in enumerate(_by_material(extras))}
    head = Head(path.stem, surfaces, frame.anchors, unit=frame.unit)
    vertices = np.concatenate([surface.vertices for surface in found])
    _check_anchors(path, sidecar, vertices, head, "head")
    return head


def _named(piece: Piece, pattern: re.Pattern[str]) -> bool:
    return any(pattern.search("_".join(words_in(n))) for n in (piece.name, piece.material_name))


def _by_material(pieces: Sequence[Piece]) -> list[Surface]:
    """Surfaces with the same material and the same attributes joined into one.

    Scans come in thousands of pieces, each of which would cost an object in the renderer.
    """
    groups: dict[tuple, list[Surface]] = {}
    for piece in pieces:
        s = piece.surface
        key = (id(s.material), piece.material_name, s.uv is None, tuple(s.attributes))
        groups.setdefault(key, []).append(s)
    return [found[0] if len(found) == 1 else _joined(found) for found in groups.values()]


def _joined(surfaces: list[Surface]) -> Surface:
    first = surfaces[0]
    starts = np.cumsum([0] + [len(s.vertices) for s in surfaces[:-1]])
    return Surface(
        np.concatenate([s.vertices for s in surfaces]),
        np.concatenate([s.faces + start for s, start in zip(surfaces, starts, strict=True)]),
        None if first.uv is None else np.concatenate([s.uv for s in surfaces if s.uv is not None]),
        {n: np.concatenate([s.attributes[n] for s in surfaces]) for n in first.attributes},
        first.material,
    )


def _fleshed(surface: Surface) -> Surface:
    """Without its material if that is plain and no colour of skin: the renderer knows better."""
    material = surface.material
    if material is None or material.texture is not None:
        return surface
    red, green, blue = material.base_color
    skin = red > green > blue and red - blue >= 0.02
    return surface if skin else replace(surface, material=None)


def load_eyewear(path: Path | str) -> Eyewear:
    """Glasses from a mesh file and its `NAME.anchors.yaml`, in mm and our axes.

    Parts are those that the sidecar names, else told by the names of objects and materials, by
    transparency, then by shape; hinges stand at the front ends of the temples. Raises AssetError,
    on one line with the path and the remedy, for anything missing, broken, or labelled wrongly,
    or if no temples can be told.
    """
    path = Path(path)
    sidecar = _sidecar(path)
    return eyewear_from(path, read_pieces(path), sidecar)


def eyewear_from(path: Path, pieces: Sequence[Piece], sidecar: Sidecar) -> Eyewear:
    """What `load_eyewear` makes of the pieces of a file, in the file's frame, and a sidecar."""
    _check_kind(path, sidecar, "glasses")
    frame = anchor_frame(sidecar.anchors, sidecar_path(path))
    pieces = [_in_frame(piece, frame) for piece in pieces]
    surfaces = {f"skin_{i}": piece.surface for i, piece in enumerate(pieces)}
    vertices = np.concatenate([piece.surface.vertices for piece in pieces])
    whole = Head(path.stem, surfaces, frame.anchors)
    _check_anchors(path, sidecar, vertices, whole, "glasses")
    found = eyewear_parts(pieces, path, sidecar.parts, sidecar.synthesise_lenses)
    return Eyewear(
        path.stem,
        found.parts,
        frame.anchors,
        *found.hinges,
        holes=found.holes,
        unit=frame.unit,
        part_confidence=found.confidence,
    )


def _check_anchors(
    path: Path, sidecar: Sidecar, vertices: FloatArray, mesh: Head, kind: str
) -> None:
    named = sidecar_path(path)
    try:
        surface = SkinSurface(mesh)
        distances = surface.closest(mesh.anchors.as_array())[1]
    except AssetError:
        raise AssetError(f"{named}: the mesh lies nowhere near these points") from None
    other = "glasses" if kind == "head" else "head"
    if sidecar.kind is None and _has_face(surface, mesh.anchors) != (kind == "head"):
        raise AssetError(
            f"{named}: the mesh looks like {_USES[other]}, but is used for {_USES[kind]}; "
            f"add 'kind: {kind}' if it is right"
        )
    upside_down = head_upside_down if kind == "head" else eyewear_upside_down
    if upside_down(vertices, mesh.anchors):
        raise AssetError(
            f"{named}: left and right seem swapped (the mesh stands on its head): "
            "left is the wearer's left"
        )
    worst = int(distances.argmax())
    if distances[worst] > ANCHOR_OFF_MM:
        raise AssetError(
            f"{named}: {KEYS[worst]} lies {distances[worst]:.0f} mm off the mesh (at most "
            f"{ANCHOR_OFF_MM:.0f}); points are in the file's own coordinates and unit"
        )


def _has_face(surface: SkinSurface, anchors: Anchors) -> bool:
    """Whether there is something below and above the nose nodes, where glasses have a gap."""
    nose = 0.5 * (anchors.nose_left + anchors.nose_right)
    beside, apart = np.meshgrid(_BESIDE_MM, [*_BELOW_MM, *(-y for y in _BELOW_MM)])
    points = nose + np.stack([beside.ravel(), apart.ravel(), np.zeros(beside.size)], axis=1)
    met = np.abs(surface.clearance(points, (0, 0, -1))) < _FACE_DEPTH_MM
    return bool(met.mean() > 0.7)


def _sidecar(path: Path) -> Sidecar:
    check_file(path)
    return read_sidecar(sidecar_path(path))


def _check_kind(path: Path, sidecar: Sidecar, kind: str) -> None:
    if sidecar.kind not in (None, kind):
        raise AssetError(
            f"{sidecar_path(path)}: kind is {sidecar.kind}, but the mesh is used for {_USES[kind]}"
        )
    if kind == "head" and (sidecar.parts or sidecar.synthesise_lenses):
        raise AssetError(
            f"{sidecar_path(path)}: parts and lenses belong to glasses, but the mesh is a head's"
        )


def _in_frame(piece: Piece, frame: AnchorFrame) -> Piece:
    vertices = apply(frame.mm_from_file, piece.surface.vertices)
    return replace(piece, surface=replace(piece.surface, vertices=vertices))
