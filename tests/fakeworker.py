"""A worker that renders nothing: pictures of 8 px that follow from the number, faults on demand.

The folder named by FAULTS in the environment may hold a file for a sample, named by its number:
kinds of faults, a line each, of which each try at the sample takes the first. FAKE_S is how long a
sample takes.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import AssetError
from pipeline.serving import Tell, serve
from pipeline.spec import IMAGE_KEYS, LAYERS, sample_id
from pipeline.store import place_sample, sample_folder, write_images, write_sample

#: What ends the worker, or one try.
FAULTS = ("segv", "abort", "oom", "exit", "hang", "raise", "torn", "written", "filling")


def spec_of(index: int) -> dict[str, Any]:
    """As much of a spec as the parent looks at."""
    return {
        "index": index, "glasses": {"name": "round"}, "nose": 1.0, "wear": {"mode": "worn"},
        "render": {"size": 8},
    }  # fmt: skip


def record_of(index: int) -> dict[str, Any]:
    folder = sample_folder(index)
    return {
        "id": sample_id(index), "split": "train", "subject": f"person-{index:06d}",
        "expression": "1_neutral", "glasses": "round", "nose": 1.0, "wear": "worn",
        "files": {key: f"{folder}/{key}.png" for key in IMAGE_KEYS},
        "rejected": [], "spec": spec_of(index),
    }  # fmt: skip


def next_fault(index: int | str) -> str:
    """Takes the next fault of a sample, '' if there is none."""
    path = Path(os.environ.get("FAULTS", "/nowhere")) / str(index)
    if not path.exists():
        return ""
    first, *rest = path.read_text().split()
    if rest:
        path.write_text("\n".join(rest))
    else:
        path.unlink()
    return first


class FakeWorker:
    def __init__(self, settings: dict[str, Any], tell: Tell) -> None:
        self.out, self.scratch = Path(settings["out"]), Path(settings["scratch"])
        self.tell = tell
        self.hoard: list[bytes] = []
        self.fault("start", next_fault(-1), lambda: None)

    def ready(self) -> dict[str, Any]:
        return {"gpus": 0}

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        index = job["index"]
        self.tell({"progress": {"spec": job.get("spec") or spec_of(index)}})
        generator = np.random.default_rng(index)
        images = {
            key: generator.integers(0, 256, (8, 8, 3) if key in LAYERS else (8, 8), np.uint8)
            for key in IMAGE_KEYS
        }
        record = record_of(index)

        def write() -> None:
            write_sample(self.out, record, images, self.scratch)

        def half(folder: Path) -> None:
            write_images(folder, dict(list(images.items())[:5]))
            os.kill(os.getpid(), signal.SIGKILL)

        time.sleep(float(os.environ.get("FAKE_S", "0")))
        fault = next_fault(index)
        if fault == "rejected":
            return {"rejected": [{"attempt": 0, "glasses": "round", "nose": 1.0, "wear": "worn",
                                  "reason": "too wide"}]}  # fmt: skip
        if fault == "torn":
            place_sample(self.out, record, half, self.scratch)
        self.fault(str(index), fault, write)
        write()
        return {"record": record}

    def fault(self, what: str, kind: str, write: Any) -> None:
        signals = {"segv": signal.SIGSEGV, "abort": signal.SIGABRT, "oom": signal.SIGKILL}
        if kind in signals:
            os.kill(os.getpid(), signals[kind])
        elif kind == "exit":
            print(f"fatal: {what}", flush=True)
            os._exit(7)
        elif kind == "hang":
            time.sleep(1e6)
        elif kind == "raise":
            raise RuntimeError(f"no luck with {what}")
        elif kind == "user":
            raise AssetError(f"glasses of {what} have changed")
        elif kind == "full":
            raise OSError(28, "No space left on device", f"{what}.png")
        elif kind == "written":
            write()
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "filling":
            self.hoard.append(b"x" * 300_000_000)
        elif kind in ("kill parent", "kill-parent"):
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(1e6)
        elif kind == "term-parent":
            os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(1e6)


if __name__ == "__main__":
    serve(FakeWorker)
