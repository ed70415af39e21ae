"""`eyeglass generate` with the fake worker: python fakerun.py OUT COUNT [--key value ...].

Faults of the parent are asked for as in `fakeworker`, in files named `append-NUMBER`: 'tear' is
killed in the middle of a line of the index, 'full' meets a full disk there.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

import fakeworker

from pipeline import store
from pipeline.exits import guarded
from pipeline.jobs import AssetFolders, RunSettings, Supervision
from pipeline.journal import JsonLines
from pipeline.recipe import parse_recipe
from pipeline.run import Work, generate
from pipeline.shards import WHOLE, Shard

COMMAND = (sys.executable, fakeworker.__file__)
#: Quick to lose patience, so that tests are quick.
RULES = Supervision(
    hang_factor=10, hang_least_s=1.0, unknown_s=10, first_s=0, start_s=60, memory_mb=250
)


def settings_for(out: Path, rules: Supervision = RULES, pairs: int = 1) -> RunSettings:
    recipe = parse_recipe({"pairs_per_portrait": pairs, "render": {"size": 64, "spp": 1}}, "recipe")
    return RunSettings(
        recipe, AssetFolders(), 0, out, 1, "cpu", command=COMMAND, supervision=rules
    )


def work_for(count: int, shard: Shard = WHOLE) -> Work:
    description: dict[str, Any] = {"schema_version": 1, "count": count, "seed": 0, "assets": {}}
    if shard != WHOLE:
        description["shard"] = str(shard)
    return Work(description, fakeworker.spec_of, shard)


class FaultyLines(JsonLines):
    """An index that is killed, or finds the disk full, in the middle of a line."""

    def append(self, index: int, data: dict[str, Any]) -> None:
        fault = fakeworker.next_fault(f"append-{index}")
        if fault == "tear":
            line = store.as_line(data).encode()
            self._file.write(line[: 1 + index % (len(line) - 1)])
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "full":
            raise OSError(28, "No space left on device", str(self._path))
        super().append(index, data)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--hang", type=float, default=RULES.hang_least_s)
    options = parser.parse_args()
    from dataclasses import replace

    from pipeline import journal

    journal.JsonLines = FaultyLines  # type: ignore[misc]
    rules = replace(RULES, jobs=options.jobs, hang_least_s=options.hang)
    settings = settings_for(options.out, rules, options.pairs)
    totals = generate(
        settings, work_for(options.count), options.workers,
        lambda outcome, totals: print(outcome.job["index"], flush=True),
    )  # fmt: skip
    return 3 if totals.failed else 0


if __name__ == "__main__":
    guarded(main)
