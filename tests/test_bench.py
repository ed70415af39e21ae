"""The benchmark measures what it says, on a picture too small to be worth measuring."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import bench
from pipeline.errors import EyeglassError

PLAN = {"scene": "smoke", "size": 32, "spp": 2, "denoise": False, "pairs": 2, "samples": 2,
        "naive": 1, "threads": 1}  # fmt: skip


def test_a_plan_gives_a_row_a_sample():
    rows = bench._measured(PLAN)
    assert len(rows) == 2
    for row in rows:
        assert 0 < row["rendering"] < row["sample"]
        assert row["plain"] > 0
    assert rows[0]["naive"] > 0
    assert rows[1]["naive"] is None


def test_errors_fall_with_samples():
    rows = bench._measured(PLAN | {"samples": 1, "errors": [1, 64]})
    assert [row["spp"] for row in rows] == [1, 64]
    assert rows[1]["traced"] < 0.5 * rows[0]["traced"]
    assert rows[0]["denoised"] < rows[0]["traced"]


def test_ratios_are_of_each_samples_own_render():
    rows = ({"sample": 3.0, "rendering": 2.5, "plain": 2.0, "naive": None},
            {"sample": 8.0, "rendering": 7.0, "plain": 4.0, "naive": 16.0})  # fmt: skip
    series = bench.Series(rows)
    assert series.ratios("sample") == [1.5, 2.0]
    assert series.ratios("naive") == [4.0]
    assert series.overheads() == [0.5, 1.0]
    assert bench.Series(rows, pairs=2).ratios("sample") == [1.75]


def test_a_child_that_fails_is_an_error():
    with pytest.raises(EyeglassError, match="ended with status"):
        bench._measured(PLAN | {"scene": "nowhere"})


def test_a_target_that_cannot_be_written_is_told_at_once(tmp_path: Path):
    for target in (tmp_path, tmp_path / "none" / "bench.json"):
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", "bench", "--json", str(target)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        said = "a file in a folder that can be written is expected"
        assert done.stderr == f"Error: {target}: {said}\n"
        assert done.stdout == ""
    assert not list(tmp_path.iterdir())
