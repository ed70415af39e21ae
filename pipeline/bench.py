"""What `eyeglass bench` measures and prints: the cost of a sample, as ratios within one run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import click

from pipeline.child import ask
from pipeline.errors import EyeglassError
from pipeline.wholefile import check_target, write_whole

#: Sizes measured, and what samples are divided by there: all is to end within half an hour.
SIZES = {256: 1, 512: 2}
_SCENE, _SPP = "portrait", 32
#: Samples with k = 1 and k = 4, half of them with the denoiser on, and how many of the former
#: are rendered in the naive way too.
_SAMPLES = {1: 8, 4: 16}
_NAIVE = 2
_RATE_SAMPLES = 8
_CURVE_SPP = (8, 16, 32, 64, 128)
#: Rays of the largest picture of the curves, and samples whose error is averaged.
_CURVE_MOST = 512 * 512 * 32
_ERROR_SAMPLES = 4


@dataclass(frozen=True)
class Series:
    """Ratios of one plan's samples to their own U, and seconds.

    pairs: so many rows in a row are of one portrait, whose first sample bears what they share.
    """

    rows: tuple[dict[str, Any], ...]
    pairs: int = 1

    def ratios(self, key: str) -> list[float]:
        """The mean ratio of each portrait's samples."""
        found = [row[key] / row["plain"] for row in self.rows if row[key] is not None]
        starts = range(0, len(found), self.pairs)
        return [mean(found[start : start + self.pairs]) for start in starts]

    def seconds(self, key: str) -> list[float]:
        return [row[key] for row in self.rows if row[key] is not None]

    def overheads(self) -> list[float]:
        return [row["sample"] - row["rendering"] for row in self.rows]


def bench(out: Path | None, curves: bool) -> dict[str, Any]:
    """Measures everything, prints as it goes, and writes `out` (JSON) if given.

    Raises EyeglassError if `out` cannot be written, or a measurement fails.
    """
    if out is not None:
        check_target(out)
    threads = len(os.sched_getaffinity(0))
    click.echo(f"scene {_SCENE}, seed 0, {_SPP} spp, {threads} threads; ratios: median (low-high)")
    result: dict[str, Any] = {}
    for size in SIZES:
        result[str(size)] = _one_size(size, threads)
    result["workers"] = _rates(min(SIZES), threads)
    if curves:
        result["curves"] = _curves(threads)
    if out is not None:
        write_whole({out: (json.dumps(result, indent=2) + "\n").encode()})
    return result


def _one_size(size: int, threads: int) -> dict[str, Any]:
    click.echo(f"\n{size} px")
    found: dict[str, Any] = {}
    found |= _first_sample(size, threads)
    for denoise in (False, True):
        suffix = "_denoised" if denoise else ""
        for pairs, samples in _SAMPLES.items():
            count = samples // SIZES[size] // (2 if denoise else 1)
            naive = _NAIVE if pairs == 1 and not denoise else 0
            series = _series(size, _SPP, denoise, pairs, count, naive, threads)
            found[f"sample_U_k{pairs}{suffix}"] = _said(
                f"a sample, k = {pairs}{', denoised' if denoise else ''}", series.ratios("sample")
            )
            if pairs == 1 and not denoise:
                found["U_s"] = _said("U, seconds", series.seconds("plain"))
                found["naive_U"] = _said("the naive way", series.ratios("naive"))
                found["overhead_s"] = _said("outside rendering, seconds", series.overheads())
    return found


def _said(what: str, values: list[float]) -> float:
    click.echo(f"  {what:<34}{median(values):7.2f}  ({min(values):.2f}-{max(values):.2f})")
    return round(median(values), 4)


def _series(
    size: int, spp: int, denoise: bool, pairs: int, samples: int, naive: int, threads: int
) -> Series:
    """Costs of the samples of a plan."""
    return Series(
        _measured(
            {
                "scene": _SCENE, "size": size, "spp": spp, "denoise": denoise, "pairs": pairs,
                "samples": samples, "naive": naive, "threads": threads,
            }
        ),
        pairs,
    )  # fmt: skip


def _measured(plan: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """What `pipeline.blender.bench` measures for a plan."""
    return tuple(ask("pipeline.blender.bench", plan))


def _first_sample(size: int, threads: int) -> dict[str, Any]:
    """From typing the command to the end of a run of one sample, and its largest process."""
    seconds, peak = _generate(size, 1, 1, threads)
    click.echo(f"  {'first sample, seconds':<34}{seconds:7.2f}")
    click.echo(f"  {'peak memory of a worker, MB':<34}{peak:7.0f}")
    return {"first_sample_s": round(seconds, 3), "rss_mb": round(peak)}


def _rates(size: int, threads: int) -> dict[str, float]:
    """Samples an hour of the same cores as one worker's threads, and as workers of one thread."""
    click.echo(f"\n{size} px, samples an hour, start included")
    rates = {}
    for workers in (1, threads):
        seconds, _ = _generate(size, _RATE_SAMPLES, workers, threads // workers)
        rates[f"{workers}x{threads // workers}"] = round(3600 * _RATE_SAMPLES / seconds, 1)
        click.echo(
            f"  --workers {workers} --threads {threads // workers:<14}"
            f"{3600 * _RATE_SAMPLES / seconds:7.0f}"
        )
    return rates


def _generate(size: int, count: int, workers: int, threads: int) -> tuple[float, float]:
    """Seconds of `eyeglass generate`, and the largest memory of any of its processes in MB."""
    script = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], "
        "stdout=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        "; sys.exit(done.returncode)"
    )
    with tempfile.TemporaryDirectory(prefix="eyeglass-") as folder:
        command = [
            sys.executable, "-P", "-m", "pipeline.cli", "generate", "--scene", _SCENE,
            "--count", str(count), "--size", str(size), "--spp", str(_SPP), "--no-denoise",
            "--workers", str(workers), "--threads", str(threads), "--out", f"{folder}/set",
        ]  # fmt: skip
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", script, *command], capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise EyeglassError(f"eyeglass generate ended with status {done.returncode}")
    return seconds, int(done.stdout.split()[-1]) / 1024


def _curves(threads: int) -> dict[str, Any]:
    """Over samples per pixel: the cost of a sample with k = 1, and the error of `all`."""
    curves: dict[str, Any] = {}
    click.echo("\nover samples per pixel: a sample with k = 1, seconds and U")
    for size in SIZES:
        for spp in _CURVE_SPP:
            if size * size * spp > _CURVE_MOST:
                continue
            series = _series(size, spp, False, 1, 1, 0, threads)
            seconds = _said(f"{size} px, {spp} spp, seconds", series.seconds("sample"))
            ratio = _said(f"{size} px, {spp} spp, U", series.ratios("sample"))
            curves[f"{size}x{spp}"] = {"seconds": seconds, "U": ratio}
    click.echo("\nerror of `all` in bytes of 8-bit sRGB (rms), 128 px: as traced, denoised")
    rows = _measured(
        {
            "scene": _SCENE, "size": 128, "spp": _SPP, "denoise": False, "pairs": 1,
            "samples": _ERROR_SAMPLES, "naive": 0, "threads": threads, "errors": _CURVE_SPP,
        }
    )  # fmt: skip
    for spp in _CURVE_SPP:
        errors = {
            kind: round(median(row[kind] for row in rows if row["spp"] == spp), 3)
            for kind in ("traced", "denoised")
        }
        click.echo(f"  {spp:>4} spp {errors['traced']:10.2f} {errors['denoised']:10.2f}")
        curves[f"error x{spp}"] = errors
    return curves
