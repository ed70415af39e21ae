"""Commands that make samples: datasets, their plans and parts, single ones, what one costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pipeline.commands.options import (
    EXAMPLE,
    PATH,
    SHARD,
    asset_options,
    device_option,
    machine_options,
    render_options,
    scene_options,
)
from pipeline.exits import leave

if TYPE_CHECKING:
    from pipeline.jobs import AssetFolders


@click.command(epilog=EXAMPLE + "eyeglass generate --count 100 --scene lyu --seed 1 --out set")
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


def _check_plan_alone(context: click.Context, plan: Path | None) -> None:
    if plan is None:
        return
    for name in ("count", "scene", "seed", "size", "spp", "denoise"):
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name} is what the plan says: leave it out, or --plan")


@click.command(
    epilog=EXAMPLE + "eyeglass preview --scene lyu --set camera.yaw_deg=40 --out lyu.png"
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

    click.echo(sheet.preview(sheet.Request(scene, changes, seed, out, assets, device)))
    click.echo(f"sheet: {out}")


@click.command(epilog=EXAMPLE + "eyeglass plan --count 100000 --out plan.jsonl")
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


@click.command(epilog=EXAMPLE + "eyeglass merge part-1 part-2 part-3 --out set")
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


@click.command(epilog=EXAMPLE + "eyeglass status set")
@click.argument("dataset", type=PATH, metavar="DIR")
def status(dataset: Path) -> None:
    """Tell how far the run in DIR is: done, failed, rate, time left, memory of its workers."""
    from pipeline import runlog

    click.echo(runlog.read_status(dataset).as_text())


@click.command(epilog=EXAMPLE + "eyeglass render --dataset set --id 000012 --out again")
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


@click.command(epilog=EXAMPLE + "eyeglass bench --json bench.json")
@click.option("--json", "out", type=PATH, metavar="FILE", help="Also write the figures as JSON.")
@click.option("--curves", is_flag=True, help="Also measure over samples per pixel.")
def bench(out: Path | None, curves: bool) -> None:
    """Measure what a sample costs here, in plain renders of the same scene.

    U is one full-frame Cycles render of the layer `all` with all data in place. Takes some 30
    minutes on two cores, and wants them for itself.
    """
    from pipeline import bench as benchmark

    benchmark.bench(out, curves)
