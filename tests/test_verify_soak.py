"""The soak campaign, small: memory of a worker does not grow with the samples it has made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_SOAK = """
import json, os, sys
from campaigns.verify_soak import soak
answer = json.dumps(soak(10, 2, sys.argv[1], size=64))
with open(sys.argv[2], "w") as file:
    file.write(answer)
os._exit(0)
"""


def test_a_workers_memory_does_not_grow(tmp_path: Path) -> None:
    """Eight heads left to the collector hold some 80 MB. In a process of its own, as a worker."""
    answer = tmp_path / "answer.json"
    subprocess.run(
        [sys.executable, "-c", _SOAK, str(tmp_path / "set"), str(answer)],
        cwd=Path(__file__).parent, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    seconds, memory = json.loads(answer.read_text())
    assert len(seconds) == 10
    assert min(memory[-2:]) - max(memory[:2]) < 50
