"""Plans: specs in a file, which people may change, and others may break."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import EyeglassError
from pipeline.generation import Series, drawn_series, planned_series
from pipeline.jobs import AssetFolders
from pipeline.plan import draw
from pipeline.planning import write
from pipeline.spec import SampleSpec

COUNT = 5


@pytest.fixture(scope="module")
def series() -> Series:
    return drawn_series(COUNT, 3, "smoke", {"size": 32}, AssetFolders())


@pytest.fixture
def plan(series: Series, tmp_path: Path) -> Path:
    path = tmp_path / "plan.jsonl"
    write(series, path)
    return path


def change(path: Path, line: int, how: Callable[[dict], object]) -> None:
    lines = path.read_text().splitlines()
    data = json.loads(lines[line - 1])
    how(data)
    lines[line - 1] = json.dumps(data)
    path.write_text("\n".join(lines) + "\n")


def test_a_plan_holds_attempt_0_of_every_spec_and_what_it_was_drawn_from(series, plan):
    head, *specs = [json.loads(line) for line in plan.read_text().splitlines()]
    assert head["plan"]["seed"] == 3
    assert head["plan"]["recipe"]["render"]["size"] == 32
    assert [SampleSpec.model_validate(spec) for spec in specs] == [
        draw(series.recipe, series.catalog, 3, index) for index in range(COUNT)
    ]
    assert [p.name for p in plan.parent.iterdir()] == ["plan.jsonl"]


def test_a_plan_says_all_that_a_run_needs(series, plan):
    read = planned_series(plan, AssetFolders())
    assert (read.count, read.seed, read.scene, read.recipe) == (
        COUNT, 3, "smoke", series.recipe,
    )  # fmt: skip
    assert read.plan is not None
    assert read.plan.sha256 == hashlib.sha256(plan.read_bytes()).hexdigest()
    jobs = list(read.plan.jobs(iter([0, 3, 4])))
    assert jobs == [{"index": i, "spec": series.draw(i)} for i in (0, 3, 4)]


def test_what_is_drawn_may_be_changed_by_hand(plan):
    change(plan, 3, lambda spec: spec.update(nose=2.5))
    read = planned_series(plan, AssetFolders())
    assert read.plan is not None
    assert next(read.plan.jobs(iter([1])))["spec"]["nose"] == 2.5


@pytest.mark.parametrize(
    ("line", "how", "said"),
    [
        (3, lambda s: s.update(index=7), r"line 3: \$\.index: 1 is expected here, not 7"),
        (4, lambda s: s.update(attempt=1), r"line 4: \$\.attempt: 0 is expected here, not 1"),
        (2, lambda s: s.update(seed=4), r"line 2: \$\.seed: 3 is expected here, not 4"),
        (2, lambda s: s.update(nose=9), r"line 2: \$\.nose: input should be less"),
        (5, lambda s: s["glasses"].update(name="../../x"), r"line 5: "),
        (5, lambda s: s["glasses"].update(name="monocle"), r"line 5: .*'monocle'"),
        (5, lambda s: s["glasses"].update(sha256="0" * 64), r"line 5: .* has changed"),
        (6, lambda s: s["light"].update(sha256="0" * 64), r"line 6: .* has changed"),
        (6, lambda s: s["head"].update(subject="mona-lisa"), r"line 6: .*'mona-lisa'"),
        (2, lambda s: s.update(run="rm -rf /"), r"line 2: \$\.run: unknown key"),
        (1, lambda s: s["plan"].update(seed=-1), r"line 1: \$\.seed: "),
        (1, lambda s: s["plan"].update(schema_version=9), r"line 1: \$\.schema_version: "),
        (1, lambda s: s["plan"]["recipe"].update(nose=5), r"line 1: recipe: \$\.nose"),
        (1, lambda s: s.pop("plan"), "not a plan; `eyeglass plan` writes them"),
    ],
)
def test_a_plan_that_is_not_sound_is_refused_with_its_line(plan, line, how, said):
    change(plan, line, how)
    with pytest.raises(EyeglassError, match=said) as caught:
        planned_series(plan, AssetFolders())
    assert str(caught.value).startswith(str(plan))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "not a plan"),
        (b"!!python/object/apply:os.system ['id']\n", "not a plan"),
        (b"[" * 200_000, "not a plan"),
        (b"\x80\x04\x95.", "not a plan"),
        (None, "a plan without specs"),
        (b"{", "line 2: not valid JSON"),
        (b"[" * 200_000, "line 2: not valid JSON"),
        (b'{"a": "' + b"x" * 5_000_000, "line 2: not valid JSON"),
        (b"9" * 10_000, "line 2: not valid JSON"),
    ],
)
def test_a_broken_file_is_refused_in_one_line_and_little_memory(plan, text, said):
    head = plan.read_bytes().splitlines(keepends=True)[0]
    plan.write_bytes(text if said == "not a plan" else head + (text or b""))
    tracemalloc.start()
    with pytest.raises(EyeglassError, match=said) as caught:
        planned_series(plan, AssetFolders())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6
    assert "\n" not in str(caught.value)


def test_memory_does_not_grow_with_the_plan(series, tmp_path):
    """800 specs are some 1.6 MB of text, and several times that as objects."""
    peaks = []
    for count in (100, 100, 900):
        many = Series(count, 3, "smoke", series.recipe, series.assets, series.catalog)
        tracemalloc.start()
        write(many, tmp_path / "plan.jsonl")
        planned_series(tmp_path / "plan.jsonl", AssetFolders())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 1e6


def test_a_plan_that_cannot_be_written_leaves_nothing(series, tmp_path):
    (tmp_path / "there").write_text("mine")
    with pytest.raises(EyeglassError, match="cannot be written"):
        write(series, tmp_path / "there" / "plan.jsonl")
    assert (tmp_path / "there").read_text() == "mine"
