"""The command line: reads options, calls the library, prints. No logic lives here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pipeline import __version__
from pipeline.exits import guarded, leave
from pipeline.options import (
    MESH,
    PATH,
    SHARD,
    asset_options,
    device_option,
    machine_options,
    render_options,
    scene_options,
)

if TYPE_CHECKING:
    from pipeline.jobs import AssetFolders



_EXAMPLE = "\b\nExample:\n  "
#: Those of `pipeline.spec.WEAR_MODES`, which takes longer to import than `--help` may.
_WEARS = ("worn", "slipped", "askew", "pushed_up", "undersized", "oversized")
#: Those of `pipeline.export.command.FORMS` and of `pipeline.spec.SPLITS`.
_FORMS = ("lyu", "glasses-detector", "coco", "yolo", "webdataset", "hf")
_SPLITS = ("train", "val", "test")


def main() -> None:
    """Entry point. A user's mistake is one line on standard error and exit status 2."""
    guarded(lambda: commands.main(standalone_mode=False))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="eyeglass")
def commands() -> None:
    """Synthetic training data for eyeglasses.

    The same face with and without glasses, with and without their shadow, and exact masks.

    \b
    Example:
      eyeglass generate --count 4 --out portraits
    """


@commands.command(epilog=_EXAMPLE + "eyeglass generate --count 100 --scene lyu --seed 1 --out set")
@click.option(
    "--count", type=click.IntRange(1, 10**9),
    help="Samples to make  [default: the whole of a scene with a design, such as lyu]",
)  # fmt: skip
@click.option(
    "--out", type=PATH, required=True, metavar="DIR",
    help="Folder of the dataset: new, empty, or of the same run, which then goes on.",
)  # fmt: skip
@scene_options
@render_options
@click.option(
    "--plan", type=PATH, metavar="FILE",
    help="Make the samples of a plan, in place of --count, --scene, --seed and how to render.",
)  # fmt: skip
@click.option(
    "--shard", type=SHARD, metavar="I/N",
    help="Make the I-th of N parts only, from 1/N to N/N; `eyeglass merge` joins them.",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(1, 1024), metavar="N",
    help="Processes that render at the same time  "
    "[default: one a core, up to 8, or one a GPU; with Ray, what the cluster holds]",
)  # fmt: skip
@click.option(
    "--engine", type=click.Choice(("local", "ray")), default="local", show_default=True,
    help="Run on this machine or on a Ray cluster.",
)  # fmt: skip
@click.option(
    "--address", metavar="HOST:PORT",
    help="Of the Ray cluster  [default: the one this machine belongs to, or else one of its own]",
)  # fmt: skip
@click.option(
    "--verify-layers", is_flag=True,
    help="Also trace every layer in full and compare; exit status 4 if the rules are broken.",
)  # fmt: skip
@machine_options
@asset_options
@click.pass_context
def generate(
    context: click.Context,
    count: int | None,
    out: Path,
    scene: str,
    seed: int,
    render: dict[str, Any],
    plan: Path | None,
    shard: tuple[int, int] | None,
    workers: int | None,
    engine: str,
    address: str | None,
    verify_layers: bool,
    threads: int | None,
    device: str,
    assets: AssetFolders,
) -> int:
    """Make a dataset of COUNT samples in DIR.

    The same command continues a run that was interrupted; a larger COUNT extends it. `eyeglass
    status DIR` tells from elsewhere how far it is.
    """
    _check_plan_alone(context, plan)
    if address is not None and engine != "ray":
        raise click.UsageError("--address is that of a Ray cluster: give --engine ray too")
    from pipeline import generation
    from pipeline.shards import WHOLE, Shard

    request = generation.Request(
        out=out,
        count=count,
        scene=scene,
        seed=seed,
        render=render,
        plan=plan,
        assets=assets,
        workers=workers,
        threads=threads,
        device=device,
        verify=verify_layers,
        shard=Shard(*shard) if shard else WHOLE,
        address=(address or "auto") if engine == "ray" else None,
    )
    try:
        return generation.generate_dataset(request)
    except KeyboardInterrupt:
        leave(130, "Interrupted; what is finished is kept, and the same command continues.")


@commands.command(
    epilog=_EXAMPLE + "eyeglass preview --scene lyu --set camera.yaw_deg=40 --out lyu.png"
)
@scene_options
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE",
    help="In place of what the recipe says: a dotted path and YAML. May be given again.",
)  # fmt: skip
@click.option(
    "--out", type=PATH, default="preview.png", show_default=True, metavar="FILE.png",
    help="The sheet; replaced if it is there.",
)  # fmt: skip
@device_option
@asset_options
def preview(
    scene: str,
    changes: tuple[str, ...],
    seed: int,
    out: Path,
    device: str,
    assets: AssetFolders,
) -> None:
    """Render the first nine samples of a scene, small and quick, to tune its recipe.

    Captions tell how each pair fits, and what was rejected and why.
    """
    from pipeline import preview as sheet
    from pipeline.generation import MOST_WORKERS
    from pipeline.jobs import cores

    workers = min(cores(), MOST_WORKERS, sheet.THUMBNAILS)
    click.echo(sheet.preview(sheet.Request(scene, changes, seed, out, assets, workers, device)))
    click.echo(f"sheet: {out}")


def _check_plan_alone(context: click.Context, plan: Path | None) -> None:
    if plan is None:
        return
    for name in ("count", "scene", "seed", "size", "spp", "denoise"):
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name} is what the plan says: leave it out, or --plan")


@commands.command(epilog=_EXAMPLE + "eyeglass plan --count 100000 --out plan.jsonl")
@click.option("--count", type=click.IntRange(1, 10**9), required=True, help="Samples to plan.")
@click.option(
    "--out", type=PATH, required=True, metavar="FILE", help="The plan, a JSON line a sample."
)
@scene_options
@render_options
@machine_options
@asset_options
def plan(
    count: int,
    out: Path,
    scene: str,
    seed: int,
    render: dict[str, Any],
    threads: int | None,
    device: str,
    assets: AssetFolders,
) -> None:
    """Write the specs of COUNT samples to FILE without rendering them; `generate --plan` does that.

    Then renders a sample or two here and prints how long all would take, and how much room.
    """
    from pipeline import planning
    from pipeline.generation import drawn_series

    series = drawn_series(count, seed, scene, render, assets)
    planning.write(series, out)
    click.echo(f"{count} specs in {out}")
    click.echo(planning.estimate(series, threads, device))


@commands.command(epilog=_EXAMPLE + "eyeglass merge part-1 part-2 part-3 --out set")
@click.argument("folders", type=PATH, metavar="DIR...", nargs=-1, required=True)
@click.option(
    "--out", type=PATH, required=True, metavar="DEST",
    help="Folder of the whole: new, empty, or of the same run.",
)  # fmt: skip
def merge(folders: tuple[Path, ...], out: Path) -> int:
    """Join the parts that `generate --shard` made in DIR... to one dataset in DEST.

    The files are hard links where that can be. Exit status 3 if samples are in none of the parts,
    or were left out there; they are named.
    """
    from pipeline import generation

    return generation.merge_datasets(folders, out)


@commands.command(epilog=_EXAMPLE + "eyeglass status set")
@click.argument("dataset", type=PATH, metavar="DIR")
def status(dataset: Path) -> None:
    """Tell how far the run in DIR is: done, failed, rate, time left, memory of its workers."""
    from pipeline import runlog

    click.echo(runlog.read_status(dataset).as_text())


@commands.command(epilog=_EXAMPLE + "eyeglass render --dataset set --id 000012 --out again")
@click.option("--spec", type=PATH, metavar="FILE", help="A spec as JSON.")
@click.option("--dataset", type=PATH, metavar="DIR", help="With --id.")
@click.option("--id", "sample", metavar="ID", help="A sample of the dataset.")
@click.option(
    "--out",
    type=PATH,
    required=True,
    metavar="DEST",
    help="Folder for the images, new or empty.",
)
@click.option(
    "--blend", type=PATH, metavar="FILE.blend",
    help="Also save the scene, to open in Blender.",
)  # fmt: skip
@machine_options
@asset_options
def render(
    spec: Path | None,
    dataset: Path | None,
    sample: str | None,
    out: Path,
    blend: Path | None,
    threads: int | None,
    device: str,
    assets: AssetFolders,
) -> None:
    """Render one sample again, from its spec alone, into the folder DEST."""
    from pipeline import again
    from pipeline.jobs import cores

    if (spec is None) == (dataset is None) or (dataset is None) != (sample is None):
        raise click.UsageError("give either --spec FILE, or --dataset DIR with --id ID")
    if spec is not None:
        wanted = again.spec_from_file(spec)
    else:
        assert dataset is not None
        assert sample is not None
        wanted, assets = again.spec_from_dataset(dataset, sample, assets)
    threads = threads or cores()
    record = again.render_spec(wanted, assets, out, blend, threads, device)
    click.echo(f"{len(record['files'])} images in {out}")


@commands.command(epilog=_EXAMPLE + "eyeglass fit person-000003 aviator --nose 1.5 --json")
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
    type=click.Choice(_WEARS),
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


@commands.command(
    epilog=_EXAMPLE
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


@commands.command(epilog=_EXAMPLE + "eyeglass assets --hdri ~/worlds")
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


@commands.command(
    epilog=_EXAMPLE
    + "eyeglass export set --format lyu --size 256 --out set-lyu\n"
    + "  eyeglass export set --format hf --layers all,face,mask_full --jpeg 95 --out set-hf"
)
@click.argument("dataset", type=PATH, metavar="DIR")
@click.option(
    "--format", "form", type=click.Choice(_FORMS), required=True, help="Form of the files."
)
@click.option("--out", type=PATH, required=True, metavar="DEST", help="New or empty folder.")
@click.option(
    "--layers", metavar="KEY,KEY,...",
    help="Images to hold  [default: webdataset, hf: all there are; coco, yolo: all]",
)  # fmt: skip
@click.option("--split", type=click.Choice(_SPLITS), help="Samples of this split only.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The first N samples only.")
@click.option(
    "--jpeg", type=click.IntRange(1, 100), metavar="Q",
    help="Pictures as JPEG of this quality  [default: PNG; glasses-detector: 95]",
)  # fmt: skip
@click.option(
    "--size", type=click.IntRange(16, 8192), help="Width and height in pixels  [default: as stored]"
)
@click.option(
    "--sensor", is_flag=True, help="Pictures as the camera of each sample's spec took them."
)
@click.option("--splits", is_flag=True, help="lyu: a folder for each split.")
@click.option(
    "--zip", "as_zip", is_flag=True,
    help="glasses-detector: the zip that its script unpacks, with layer `sunglasses`.",
)  # fmt: skip
@click.option(
    "--shard-size", type=click.IntRange(1), metavar="MB",
    help="webdataset, hf: largest shard  [default: 1000; hf: 500]",
)  # fmt: skip
def export(
    dataset: Path,
    form: str,
    out: Path,
    layers: str | None,
    split: str | None,
    limit: int | None,
    jpeg: int | None,
    size: int | None,
    sensor: bool,
    splits: bool,
    as_zip: bool,
    shard_size: int | None,
) -> None:
    """Write the dataset DIR in a form that trainers read, into the new folder DEST.

    An export that was interrupted goes on when it is started again.
    """
    from pipeline.export import command
    from pipeline.export.forms import Options
    from pipeline.jobs import cores

    options = Options(
        layers=tuple(layers.split(",")) if layers is not None else None,
        split=split,
        limit=limit,
        jpeg=jpeg,
        size=size,
        sensor=sensor,
        splits=splits,
        zip=as_zip,
        shard_mb=shard_size,
    )
    try:
        click.echo(command.export(dataset, out, form, options, cores()))
    except KeyboardInterrupt:
        leave(130, "Interrupted; the same command goes on from where it was.")


@commands.command(epilog=_EXAMPLE + "eyeglass check set --fix")
@click.argument("dataset", type=PATH, metavar="DIR")
@click.option(
    "--fix", is_flag=True,
    help="Move faulty samples to DIR/faulty, so that `eyeglass generate` makes them again.",
)  # fmt: skip
def check(dataset: Path, fix: bool) -> int:
    """Look at every file of the dataset DIR: is it there, whole, and what it should be.

    Names each fault: sample, file, what is wrong; then says what the samples are like. Exit status
    0 without a fault, 1 with one, mended or not.
    """
    from pipeline.check import check_dataset
    from pipeline.jobs import cores

    return check_dataset(dataset, fix, cores())


@commands.command(epilog=_EXAMPLE + "eyeglass report set --out set.html")
@click.argument("dataset", type=PATH, metavar="DIR")
@click.option("--out", type=PATH, metavar="FILE", help="The page.  [default: DIR/report.html]")
def report(dataset: Path, out: Path | None) -> None:
    """Write a page about the dataset DIR: what is in it, as plots, and 200 of its samples.

    One file that needs no network, to open in a browser.
    """
    from pipeline.jobs import cores
    from pipeline.report.command import write_report

    click.echo(write_report(dataset, out, cores()))


@commands.command(epilog=_EXAMPLE + "eyeglass bench --json bench.json")
@click.option("--json", "out", type=PATH, metavar="FILE", help="Also write the figures as JSON.")
@click.option("--curves", is_flag=True, help="Also measure over samples per pixel.")
def bench(out: Path | None, curves: bool) -> None:
    """Measure what a sample costs here, in plain renders of the same scene.

    U is one full-frame Cycles render of the layer `all` with all data in place. Takes some 30
    minutes on two cores, and wants them for itself.
    """
    from pipeline import bench as benchmark

    benchmark.bench(out, curves)


if __name__ == "__main__":
    main()
