"""Commands about what is put together: heads, glasses, how they fit, what there is of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.options import EXAMPLE, MESH, PATH, asset_options

if TYPE_CHECKING:
    from pipeline.jobs import AssetFolders

#: Those of `pipeline.spec.WEAR_MODES`, which takes longer to import than `--help` may.
WEARS = ("worn", "slipped", "askew", "pushed_up", "undersized", "oversized")


@click.command(epilog=EXAMPLE + "eyeglass fit person-000003 aviator --nose 1.5 --json")
@click.argument("head")
@click.argument("glasses")
@click.option(
    "--nose",
    type=click.FloatRange(0, 3),
    default=0.0,
    show_default=True,
    help="Where the pads rest: each unit is 3 mm down the nose.",
)
@click.option(
    "--wear",
    type=click.Choice(WEARS),
    default="worn",
    show_default=True,
    help="How they are worn, by a middling amount.",
)
@click.option(
    "--expression",
    default="1_neutral",
    show_default=True,
    metavar="NAME",
    help="Of a built-in person; see `eyeglass assets`.",
)
@click.option("--out", type=PATH, metavar="FILE.glb", help="Save head and glasses.")
@click.option("--picture", type=PATH, metavar="FILE.png", help="Draw them from four sides.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def fit(
    head: str,
    glasses: str,
    nose: float,
    wear: Any,
    expression: str,
    out: Path | None,
    picture: Path | None,
    as_json: bool,
) -> int:
    """Fit GLASSES to HEAD, each a mesh file or a name of the catalogue.

    Exit status 0 if the fit is accepted, 1 if a limit fails.
    """
    from pipeline import fitting

    outcome = fitting.fit_pair(head, glasses, nose, expression, out, picture, wear)
    click.echo(outcome.as_json() if as_json else outcome.as_text())
    return 0 if outcome.accepted else 1


@click.command(
    epilog=EXAMPLE
    + "eyeglass annotate scan.obj\n  eyeglass annotate scan.obj --auto --picture scan.png"
)
@click.argument("mesh", type=MESH)
@click.option(
    "--kind", type=click.Choice(("head", "glasses")),
    help="What the mesh is  [default: what its sidecar says, or what it looks like]",
)  # fmt: skip
@click.option("--auto", is_flag=True, help="Find the points; open no page.")
@click.option("--force", is_flag=True, help="With --auto, replace the points of a sidecar.")
@click.option(
    "--picture", type=PATH, metavar="FILE.png",
    help="Draw the labelled mesh from four sides; open no page.",
)  # fmt: skip
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Of the page, on 127.0.0.1  [default: a free one]"
)
@click.option("--no-browser", is_flag=True, help="Print the address of the page only.")
def annotate(
    mesh: Path,
    kind: str | None,
    auto: bool,
    force: bool,
    picture: Path | None,
    port: int | None,
    no_browser: bool,
) -> int:
    """Label MESH, a head or a pair of glasses, with its four points: write NAME.anchors.yaml.

    Opens a page in the browser where the points are clicked, or proposed, tried on and saved. With
    --auto they are found without a page: exit status 0 and a sidecar, or 1 and "Unsure: ..." with
    the reason and no sidecar. With --picture alone, the points that are there are drawn.
    """
    # Thousands of tiny products: with threads they take several times as long.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from pipeline.annotate import command

    return command.annotate(
        mesh, kind, auto=auto, force=force, picture=picture, port=port, browser=not no_browser
    )


@click.command(epilog=EXAMPLE + "eyeglass assets --hdri ~/worlds")
@asset_options
@click.option(
    "--sheet", type=PATH, metavar="FILE",
    help="Render all eyewear in its finishes into a PNG instead of listing.",
)  # fmt: skip
@click.option(
    "--people", type=PATH, metavar="FILE",
    help="Render the first 64 built-in persons into a PNG instead of listing.",
)  # fmt: skip
def assets(
    assets: AssetFolders,
    sheet: Path | None,
    people: Path | None,
) -> None:
    """List what there is to draw from, with its licence."""
    from pipeline.recipe import scene_names

    if sheet is not None and people is not None:
        raise click.UsageError("give --sheet or --people, one at a time")
    catalog = assets.open()
    if sheet is not None:
        from pipeline.sheet import draw_looks

        click.echo(f"{draw_looks(catalog, assets.glasses, sheet)} looks: {sheet}")
        return
    if people is not None:
        from pipeline.sheet import draw_people

        click.echo(f"{draw_people(catalog, assets.hdri, people)} persons: {people}")
        return
    for kind, name, licence in catalog.listing():
        click.echo(f"{kind:<12}{name:<38}{licence}")
    for name in scene_names():
        click.echo(f"{'scene':<12}{name:<38}GPL-3.0-or-later")
