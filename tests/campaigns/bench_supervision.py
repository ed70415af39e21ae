"""make bench-supervision: what it costs to run samples through a supervised child process.

The same fake samples in a bare loop, and in a run with one worker; both write and encode alike. The
start of the child is left out: it costs the same whoever starts it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from fakerun import settings_for, work_for
from fakeworker import FakeWorker

from pipeline.run import generate
from pipeline.runlog import LOG

SAMPLES, ROUNDS, SECONDS = 100, 3, 0.25
MOST = 1.02


def bare(folder: Path) -> float:
    """Seconds of a loop that does nothing but make the samples."""
    settings = settings_for(folder)
    scratch = folder / "scratch"
    scratch.mkdir()
    worker = FakeWorker(settings.for_worker(0, scratch), lambda answer: None)
    start = time.perf_counter()
    for index in range(SAMPLES):
        worker.run({"index": index})
    return time.perf_counter() - start


def supervised(folder: Path) -> float:
    """Seconds from when the worker is ready to the end of the run."""
    generate(settings_for(folder), work_for(SAMPLES), 1, lambda *_: None)
    events = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    times = {event["event"]: datetime.fromisoformat(event["time"]) for event in events}
    return (times["end"] - times["worker"]).total_seconds()


def main() -> int:
    os.environ["FAKE_S"] = str(SECONDS)
    loops, runs = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            for name, measure, into in (("a", bare, loops), ("b", supervised, runs)):
                (Path(folder) / name).mkdir()
                into.append(measure(Path(folder) / name))
    ratio = min(runs) / min(loops)
    each = (min(runs) - min(loops)) / SAMPLES
    print(f"{SAMPLES} samples of {SECONDS} s: bare {min(loops):.2f}, supervised {min(runs):.2f} s")
    print(f"  {each * 1000:.1f} ms a sample, {ratio - 1:.2%}")
    print(f"bench-supervision: {'passed' if ratio <= MOST else 'FAILED'}")
    return 0 if ratio <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
