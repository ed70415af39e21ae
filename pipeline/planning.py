"""What the command `plan` does: specs to a file, and an estimate from samples measured here."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from tqdm import tqdm

from pipeline import disk
from pipeline.generation import Series
from pipeline.jobs import Outcome, RunSettings, cores
from pipeline.plan import draw
from pipeline.planfile import PlanHead, write_plan
from pipeline.runlog import shown_time
from pipeline.schedule import run_jobs
from pipeline.spec import SampleSpec
from pipeline.store import sample_folder
from pipeline.supervise import count_gpus


def write(series: Series, path: Path) -> None:
    """Writes attempt 0 of all specs of a series. Raises EyeglassError if it cannot be written."""
    head = PlanHead(
        seed=series.seed,
        scene=series.scene,
        recipe=series.recipe.model_dump(mode="json"),
        assets=series.assets.as_text(),
    )
    shown = tqdm(range(series.count), unit="spec", disable=not sys.stderr.isatty(), leave=False)
    write_plan(path, head, _specs(series, shown))


def _specs(series: Series, indices: Iterable[int]) -> Iterable[SampleSpec]:
    return (draw(series.recipe, series.catalog, series.seed, i) for i in indices)


def estimate(series: Series, threads: int | None, device: str) -> str:
    """Time and room that the series would take on this machine, in a few lines.

    From the second portrait, since what is loaded once is loaded by then, and its first two pairs,
    since the first renders what all of them share. Raises EyeglassError if nothing can be rendered.
    """
    pairs = series.recipe.pairs_per_portrait
    measured = min(pairs, 2)
    starts = (0, pairs) if series.count >= pairs + measured else (0,)
    groups = [
        [{"index": start + i} for i in range(min(measured, series.count))] for start in starts
    ]
    with tempfile.TemporaryDirectory(prefix="eyeglass-") as folder:
        settings = RunSettings(
            series.recipe, series.assets, series.seed, Path(folder), threads or cores(), device
        )
        gpus = count_gpus(settings)
        settings = replace(settings, gpus=gpus)
        with contextlib.closing(run_jobs(settings, groups, 1)) as outcomes:
            last = list(outcomes)[-len(groups[-1]) :]
        sizes = [
            disk.folder_bytes(Path(folder) / sample_folder(outcome.job["index"]))
            for outcome in last
            if outcome.record is not None
        ]
    if not sizes:
        return f"no estimate: {last[-1].reason}"
    return _told(series.count, _mean_s(last, pairs), sum(sizes) / len(sizes), max(1, gpus))


def _mean_s(portrait: list[Outcome], pairs: int) -> float:
    """Seconds a sample of a portrait, from its first one or two."""
    return (portrait[0].seconds + (pairs - 1) * portrait[-1].seconds) / pairs


def _told(count: int, seconds: float, size: float, machines: int) -> str:
    whole = timedelta(seconds=seconds * count / machines)
    return (
        f"a sample takes about {seconds:.1f} s and {disk.shown(size)} here\n"
        f"all {count} about {shown_time(whole)} and {disk.shown(size * count)}; on n such machines "
        "an n-th of the time"
    )
