"""make verify-soak: one worker's time and memory over hundreds of samples."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from campaigns import with_blender

from pipeline.jobs import AssetFolders, RunSettings
from pipeline.recipe import load_recipe
from pipeline.store import SCRATCH
from pipeline.worker import Worker

SAMPLES, REPEATED = 500, 50
SIZE, SPP = 64, 1
SLOWER, GROWN_MB = 1.05, 50.0


def resident_mb() -> float:
    """Memory of this process that is in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def soak(
    samples: int, repeated: int, folder: str, size: int = SIZE
) -> tuple[list[float], list[float]]:
    """Seconds and memory after each of `samples`, the last `repeated` of which are the first."""
    recipe = load_recipe("portrait")
    render = recipe.render.model_copy(update={"size": size, "spp": SPP})
    recipe = recipe.model_copy(update={"render": render})
    settings = RunSettings(recipe, AssetFolders(), 0, Path(folder), 2, "cpu")
    worker = Worker(settings.for_worker(0, Path(folder) / SCRATCH))
    worker.run({"index": 10**6})
    seconds, memory = [], []
    for turn in range(samples):
        start = time.perf_counter()
        worker.run({"index": turn if turn < samples - repeated else turn - samples + repeated})
        seconds.append(time.perf_counter() - start)
        memory.append(resident_mb())
        if sys.stderr.isatty():
            print(f"\r{turn + 1} of {samples}", end="", file=sys.stderr, flush=True)
    return seconds, memory


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        seconds, memory = soak(SAMPLES, REPEATED, folder)
    first, last = sum(seconds[:REPEATED]), sum(seconds[-REPEATED:])
    grown = memory[-1] - memory[REPEATED - 1]
    print(f"{SAMPLES} samples of {SIZE} px, {SPP} spp, in one worker")
    print(f"  the same {REPEATED} first and last: {first:.1f} s, {last:.1f} s, {last / first:.3f}")
    print(f"  memory after {REPEATED}, at most, at the end: "
          f"{memory[REPEATED - 1]:.0f}, {max(memory):.0f}, {memory[-1]:.0f} MB")  # fmt: skip
    passed = last <= SLOWER * first and grown <= GROWN_MB
    print(f"verify-soak: {'passed' if passed else 'FAILED'}", flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    with_blender.run(main)
