"""Commands about a dataset that is there: take it to a trainer, check it, look at it."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.options import EXAMPLE, PATH
from pipeline.exits import leave

#: Those of `pipeline.export.command.FORMS` and of `pipeline.spec.SPLITS`, which take longer to
#: import than `--help` may.
_FORMS = ("lyu", "glasses-detector", "coco", "yolo", "webdataset", "hf")
_SPLITS = ("train", "val", "test")


@click.command(
    epilog=EXAMPLE
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


@click.command(epilog=EXAMPLE + "eyeglass check set --fix")
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


@click.command(epilog=EXAMPLE + "eyeglass report set --out set.html")
@click.argument("dataset", type=PATH, metavar="DIR")
@click.option("--out", type=PATH, metavar="FILE", help="The page.  [default: DIR/report.html]")
def report(dataset: Path, out: Path | None) -> None:
    """Write a page about the dataset DIR: what is in it, as plots, and 200 of its samples.

    One file that needs no network, to open in a browser.
    """
    from pipeline.jobs import cores
    from pipeline.report.command import write_report

    click.echo(write_report(dataset, out, cores()))
