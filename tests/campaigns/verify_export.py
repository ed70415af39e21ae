"""make verify-export: every form of export of 1,000 and of 20,000 samples, time and memory."""

from __future__ import annotations

import argparse
import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import synthetic

from pipeline import store
from pipeline.spec import parse_spec

FEW, MANY, SIZE = 1_000, 20_000, 16
#: The many may take so much longer a sample, and so much more memory, than the few.
SLOWER, GROWN_MB = 1.25, 60.0
#: Options of the command line by form.
FORMS: Mapping[str, Sequence[str]] = {
    "lyu": (),
    "glasses-detector": (),
    "coco": (),
    "yolo": (),
    "webdataset": ("--shard-size", "8"),
    "hf": (),
}
#: Runs a command and prints its seconds of processor time and its peak memory.
_MEASURE = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([done.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


@dataclass(frozen=True)
class Figures:
    """Of an export: seconds of processor time in all, and peak memory."""

    seconds: float
    peak_mb: float


def made(root: Path, count: int) -> Path:
    """A dataset of `count` tiny samples, whose images are hard links to those of a few."""
    few = [synthetic.spec(index, size=SIZE) for index in range(min(count, 20))]
    few = [
        one.model_copy(
            update={
                "head": one.head.model_copy(update={"expression": "2_mouth_open"}),
                "glasses": one.glasses.model_copy(update={"choice": {"lenses": "clear"}}),
            }
        )
        for one in few
    ]
    synthetic.dataset(root, few)
    records = {record["spec"]["index"]: record for record in store.read_index(root)}
    for index in range(len(few), count):
        original = records[index % len(few)]
        changed = copy.deepcopy(original["spec"]) | {"index": index}
        record = store.make_record(
            parse_spec(changed, "copy"), original["fit"], original["labels"], []
        )
        folder = root / store.sample_folder(index)
        folder.mkdir(parents=True)
        for key, path in original["files"].items():
            os.link(root / path, root / record["files"][key])
        (folder / store.RECORD).write_text(json.dumps(record))
        records[index] = record
    store.write_index(root, records)
    synthetic.describe(root, count)
    return root


def measured(root: Path, work: Path, form: str, options: Sequence[str]) -> Figures:
    """Exports `root` into `work`, in a process of its own, and removes what it wrote."""
    out = Path(tempfile.mkdtemp(dir=work)) / "out"
    command = [
        sys.executable, "-m", "pipeline.cli", "export", str(root), "--format", form,
        "--out", str(out), *options,
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, *command], capture_output=True, text=True, check=True
    )
    status, seconds, peak_mb = json.loads(done.stdout)
    if status != 0:
        raise RuntimeError(done.stderr)
    shutil.rmtree(out.parent)
    return Figures(seconds, peak_mb)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--few", type=int, default=FEW)
    parser.add_argument("--many", type=int, default=MANY)
    asked = parser.parse_args()
    passed = True
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        none, few, many = (made(work / f"of-{n}", n) for n in (1, asked.few, asked.many))
        for form, options in FORMS.items():
            found = [measured(root, work, form, options) for root in (none, few, many)]
            start, small, large = found
            each = [
                1000 * max(some.seconds - start.seconds, 1e-9) / count
                for some, count in ((small, asked.few), (large, asked.many))
            ]
            grown = large.peak_mb - small.peak_mb
            good = each[1] <= SLOWER * each[0] and grown <= GROWN_MB
            passed &= good
            print(
                f"{form:<18}{each[0]:.2f} ms a sample of {asked.few}, {each[1]:.2f} of "
                f"{asked.many}; "
                f"{small.peak_mb:.0f} and {large.peak_mb:.0f} MB{'' if good else '  FAILED'}",
                flush=True,
            )
    print(f"verify-export: {'passed' if passed else 'FAILED'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
