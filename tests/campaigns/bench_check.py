"""make bench-check: what `eyeglass check` costs, in decoding the same files.

Samples are rendered once and copied. Both read every file from the memory of the system, with all
cores: threads that decode, against the command with the processes that it starts.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from synthetic import copies

from pipeline.check import check_dataset

RENDERED = Path("build/bench-check/rendered")
SAMPLES = 200
ROUNDS = 5
CORES = len(os.sched_getaffinity(0))
MOST = 1.6


def decode(path: Path) -> None:
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None, path


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def checked(root: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        status = check_dataset(root, fix=False, processes=CORES)
    assert status == 0, said.getvalue()


def main() -> int:
    root = RENDERED.with_name("copies")
    copies(RENDERED, root, SAMPLES)
    files = sorted(root.glob("samples/*/*/*.png"))
    ratios = []
    with ThreadPoolExecutor(CORES) as pool:
        for turn in range(ROUNDS + 1):
            decoding = seconds(lambda: list(pool.map(decode, files)))
            checking = seconds(lambda: checked(root))
            if turn:
                ratios.append(checking / decoding)
                print(f"decoding {decoding:.2f} s, checking {checking:.2f} s", flush=True)
    ratio = float(np.median(ratios))
    print(
        f"{len(files)} files on {CORES} cores: check takes {ratio:.2f} times as long as "
        f"decoding (median of {ROUNDS}; {min(ratios):.2f} to {max(ratios):.2f})"
    )
    print(f"bench-check: {'passed' if ratio <= MOST else 'FAILED'}")
    return 0 if ratio <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
