"""Runs that are disturbed: workers, parent, disk; with a fake worker, so that a sample is quick."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fakerun import RULES, settings_for, work_for
from fakeworker import record_of

from pipeline import disk, generation, journal, runlog
from pipeline.errors import DatasetError, EyeglassError
from pipeline.jobs import AssetFolders, Outcome
from pipeline.run import Totals, generate
from pipeline.shards import Shard, merge

HERE = Path(__file__).parent


def make(out: Path, count: int = 12, rules=RULES, pairs: int = 1, shard=None, workers=2) -> Totals:
    work = work_for(count, shard) if shard else work_for(count)
    return generate(settings_for(out, rules, pairs), work, workers, lambda *_: None)


def data_files(root: Path) -> dict[str, bytes]:
    """Every file of a dataset but its log."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[0] != "log"
    }


def events(root: Path, kind: str) -> list[dict]:
    lines = (root / runlog.LOG).read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def gone(pid: int) -> bool:
    """Whether a process is no more, or but a zombie that nobody has asked for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until(holds, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def nothing_is_left(root: Path) -> bool:
    pids = [event["pid"] for event in events(root, "worker")]
    strays = [*root.rglob("*.tmp"), *(root / "log").glob("scratch"), *root.glob("log/writer.json")]
    return all(map(gone, pids)) and not strays


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("run") / "set"
    assert make(root) == Totals(12, 0)
    assert nothing_is_left(root)
    return data_files(root)


@pytest.fixture
def faults(tmp_path, monkeypatch):
    """Asks for faults: of samples by number, of the parent's index as `append-NUMBER`."""
    folder = tmp_path / "faults"
    folder.mkdir()
    monkeypatch.setenv("FAULTS", str(folder))

    def ask(**kinds: str) -> None:
        for name, kind in kinds.items():
            (folder / name.replace("_", "-").removeprefix("-")).write_text(kind)

    return ask


def fake_run(out: Path, *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "fakerun.py", str(out), *map(str, words)],
        cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])},
    )  # fmt: skip


def test_a_fault_costs_a_retry_not_the_run(tmp_path, faults, undisturbed):
    faults(_0="segv", _1="abort", _2="exit", _3="raise", _4="hang", _5="torn", _6="written",
           _7="oom raise")  # fmt: skip
    root = tmp_path / "set"
    assert make(root) == Totals(12, 0)
    assert data_files(root) == undisturbed
    assert nothing_is_left(root)
    assert sorted(event["job"] for event in events(root, "retry")) == [*range(8), 7]
    said = {event["job"]: event["error"] for event in events(root, "retry")}
    assert said[0] == "its worker was ended by SIGSEGV"
    assert said[2] == "its worker ended with status 7: fatal: 2"
    assert said[3].endswith("RuntimeError: no luck with 3\n")
    assert said[4] == "its worker hung"


def test_what_fails_three_times_is_left_out_and_tried_again_by_the_next_run(
    tmp_path, faults, undisturbed
):
    faults(_3="segv raise raise", _5="hang hang hang", _7="raise raise segv", _9="raise raise")
    root = tmp_path / "set"
    assert make(root) == Totals(9, 3)
    failures = [json.loads(line) for line in (root / "failed.jsonl").read_text().splitlines()]
    assert [(failure["index"], failure["error"]) for failure in failures] == [
        (3, "RuntimeError: no luck with 3"),
        (5, "its worker hung"),
        (7, "its worker was ended by SIGSEGV"),
    ]
    assert all(failure["spec"]["index"] == failure["index"] for failure in failures)
    assert nothing_is_left(root)
    assert make(root) == Totals(12, 0)
    assert data_files(root) == undisturbed


def test_a_sample_that_cannot_be_worn_is_not_tried_again(tmp_path, faults):
    faults(_1="rejected")
    root = tmp_path / "set"
    assert make(root, 3) == Totals(2, 1)
    failure = json.loads((root / "failed.jsonl").read_text())
    assert failure["error"] == "no pair could be worn in 1 attempts: too wide"
    assert len(failure["rejected"]) == 1
    assert not events(root, "retry")


def test_a_worker_is_replaced_by_count_and_by_memory(tmp_path, faults, undisturbed):
    faults(_2="filling")
    root = tmp_path / "set"
    # A busy machine makes a job slow; here that is no reason.
    rules = replace(RULES, jobs=5, memory_mb=200, hang_least_s=60)
    assert make(root, rules=rules, workers=1) == Totals(12, 0)
    assert data_files(root) == undisturbed
    whys = [event["why"] for event in events(root, "replaced")]
    assert [why.split()[1] for why in whys] == ["MB", "jobs"]
    assert nothing_is_left(root)


def test_workers_that_never_start_end_the_run_in_one_line(tmp_path, faults, undisturbed):
    root = tmp_path / "set"
    faults(__1="exit exit exit")
    with pytest.raises(EyeglassError, match="a worker could not start: fatal: start"):
        make(root, workers=1)
    assert nothing_is_left(root)
    faults(__1="exit segv")
    assert make(root, workers=1) == Totals(12, 0)
    assert data_files(root) == undisturbed


def test_what_is_the_users_to_mend_ends_the_run_and_keeps_what_is_finished(
    tmp_path, faults, undisturbed
):
    root = tmp_path / "set"
    faults(_6="user")
    with pytest.raises(EyeglassError, match="glasses of 6 have changed"):
        make(root, workers=1)
    assert len((root / "index.jsonl").read_text().splitlines()) == 6
    assert events(root, "end")[-1]["error"] == "glasses of 6 have changed"
    assert nothing_is_left(root)
    make(root)
    assert data_files(root) == undisturbed


@pytest.mark.parametrize("kind", ["kill-parent", "append"])
def test_a_parent_that_is_killed_takes_its_workers_along_and_loses_nothing(
    tmp_path, faults, undisturbed, kind
):
    root = tmp_path / "set"
    # The other worker is in the middle of a sample that does not end by itself.
    faults(**{"_4": "hang", **({"append_1": "tear"} if kind == "append" else {"_6": kind})})
    run = fake_run(root, 12, "--hang", 2 if kind == "append" else 100)
    _, said = run.communicate(timeout=60)
    assert run.returncode == -signal.SIGKILL, said
    pids = [event["pid"] for event in events(root, "worker")]
    assert wait_until(lambda: all(map(gone, pids)))
    if kind == "append":
        assert not (root / "index.jsonl").read_bytes().endswith(b"\n")
    assert make(root) == Totals(12, 0)
    assert data_files(root) == undisturbed
    assert nothing_is_left(root)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_behind(tmp_path, faults, undisturbed, number):
    root = tmp_path / "set"
    faults(_3="hang", _4="hang")
    run = fake_run(root, 12, "--hang", 100)
    assert run.stdout is not None
    while run.stdout.readline() != "2\n":
        pass
    run.send_signal(number)
    _, said = run.communicate(timeout=10)
    assert run.returncode == 130
    assert said == "Interrupted.\n"
    assert nothing_is_left(root)
    assert make(root) == Totals(12, 0)
    assert data_files(root) == undisturbed


def test_a_second_signal_ends_at_once():
    script = """
import time
from pipeline.exits import guarded
def stubborn():
    try:
        print("up", flush=True)
        time.sleep(100)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        time.sleep(100)
guarded(stubborn)
"""
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    for word, number in (("up\n", signal.SIGINT), ("interrupted\n", signal.SIGTERM)):
        assert run.stdout.readline() == word
        run.send_signal(number)
    assert run.wait(timeout=10) == 130
    run.stdout.close()


@pytest.mark.parametrize("where", ["_5", "append_5"])
def test_a_full_disk_stops_in_one_line_and_the_run_goes_on_later(
    tmp_path, faults, undisturbed, where
):
    root = tmp_path / "set"
    faults(**{where: "full"})
    run = fake_run(root, 12)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 2
    assert said.startswith(f"Error: {root}: the disk is full: ")
    assert said.endswith("make room and the same command continues\n")
    assert said.count("\n") == 1
    assert nothing_is_left(root)
    assert make(root) == Totals(12, 0)
    assert data_files(root) == undisturbed


def test_a_disk_that_fills_up_is_noticed_before_it_is_full(tmp_path, undisturbed, monkeypatch):
    root = tmp_path / "set"
    room = iter([10**12] * 8)
    monkeypatch.setattr(disk, "free_bytes", lambda _: next(room, 10**6))
    with pytest.raises(DatasetError, match=r"the disk is full: 1\.0 MB are free"):
        make(root)
    assert events(root, "sample")
    assert nothing_is_left(root)
    monkeypatch.undo()
    make(root)
    assert data_files(root) == undisturbed


def test_a_run_that_will_not_fit_is_refused_before_it_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "free_bytes", lambda _: disk.RESERVE_BYTES + 1_000_000)
    with pytest.raises(DatasetError, match=r"1000 samples need about .* MB, .* are free; .* 1\d "):
        make(tmp_path / "set", 1000)
    assert not (tmp_path / "set" / "samples").exists()


def test_a_short_write_leaves_no_half_line(tmp_path, monkeypatch):
    lines = journal.JsonLines(tmp_path / "index.jsonl")
    lines.append(1, {"a": 1})

    class Short:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            return self.file.write(data[:3])

        def fileno(self):
            return self.file.fileno()

    whole, lines._file = lines._file, Short(lines._file)
    with pytest.raises(OSError, match="No space left"):
        lines.append(2, {"b": 2})
    assert (tmp_path / "index.jsonl").read_text() == '{"a": 1}\n'
    lines._file = whole
    lines.append(0, {"c": 3})
    lines.sort()
    assert (tmp_path / "index.jsonl").read_text() == '{"c": 3}\n{"a": 1}\n'


def test_a_second_run_is_refused_and_names_the_first(tmp_path):
    root = tmp_path / "set"
    with journal.writing(root):
        run = fake_run(root, 3)
        _, said = run.communicate(timeout=60)
    assert run.returncode == 2
    assert said.startswith(f"Error: {root}: another run is writing here: process {os.getpid()} on ")
    assert said.count("\n") == 1


def test_another_run_in_the_folder_is_refused_with_what_differs(tmp_path):
    root = tmp_path / "set"
    make(root, 2)
    work = work_for(2)
    other = replace(work, description=work.description | {"seed": 5, "recipe": {"nose": 1}})
    with pytest.raises(DatasetError, match=r"seed was 0, now 5 \(and recipe\.nose\)"):
        generate(settings_for(root), other, 1, lambda *_: None)


FIGURES = {
    "broken": 0.0, "unequal_px": 0, "unequal_by": 0.0, "omitted": 0.2, "omitted_abs": 0.3,
    "border": 0.05,
}  # fmt: skip


@pytest.mark.parametrize(
    ("figures", "status", "said"),
    [
        ([FIGURES, FIGURES], 0, "worst of 2 samples: 0 px unequal"),
        ([FIGURES, {**FIGURES, "broken": 1.0, "unequal_px": 7}], 4, "worst of 2 samples: 7 px"),
        ([FIGURES], 0, "; not compared: 1 of an earlier run"),
        ([], 0, "worst of 0 samples: none was compared; not compared: 2 of an earlier run"),
    ],
)
def test_verified_layers_decide_how_a_run_ends(
    figures, status, said, tmp_path, monkeypatch, capsys
):
    def compared(settings, work, workers, report, engine):
        for index, found in enumerate(figures):
            report(Outcome({"index": index}, record_of(index), verified=found), Totals(2, 0))
        return Totals(2, 0)

    monkeypatch.setattr(generation, "generate", compared)
    monkeypatch.setattr(generation, "finish_dataset", lambda out: "")
    request = generation.Request(
        tmp_path / "set", 2, "smoke", 0, {}, None, AssetFolders(), 1, 1, "cpu", verify=True
    )
    assert generation.generate_dataset(request) == status
    assert said in capsys.readouterr().out


def test_a_run_may_grow(tmp_path, undisturbed):
    root = tmp_path / "set"
    make(root, 5)
    make(root, 12)
    assert data_files(root) == undisturbed


def test_torn_and_foreign_lines_and_damaged_samples_are_mended(tmp_path, undisturbed):
    root = tmp_path / "set"
    make(root)
    index = root / "index.jsonl"
    lines = index.read_bytes().splitlines(keepends=True)
    lines[2:5] = [b"[]\n", b"\xff\xfe\n", lines[4], lines[4]]
    index.write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
    (root / "samples/000/000006/all.png").write_bytes(b"")
    (root / "samples/000/000007/record.json").unlink()
    (root / ".index.jsonl.tmp").write_text("half")
    assert make(root) == Totals(12, 0)
    assert data_files(root) == undisturbed
    assert {e["index"] for e in events(root, "sample")[12:]} == {6, 7}


# --- Shards ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 7, 8, 30, 31, 64])
@pytest.mark.parametrize("pairs", [1, 4])
@pytest.mark.parametrize("of", [1, 3, 10])
def test_shards_are_disjoint_together_the_whole_and_keep_portraits(count, pairs, of):
    parts = [
        [i for i in range(count) if Shard(number, of).holds(i, pairs)]
        for number in range(1, of + 1)
    ]
    assert sorted(i for part in parts for i in part) == list(range(count))
    assert [Shard(n, of).size(count, pairs) for n in range(1, of + 1)] == list(map(len, parts))
    assert all(len({n for n, part in enumerate(parts) for i in part if i // pairs == portrait}) == 1
               for portrait in range(-(-count // pairs)))  # fmt: skip
    assert max(map(len, parts)) - min(map(len, parts)) <= pairs


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> tuple[list[Path], Path]:
    folder = tmp_path_factory.mktemp("parts")
    shards = [folder / f"part-{number}" for number in (1, 2, 3)]
    for number, shard in enumerate(shards, 1):
        make(shard, 14, pairs=4, shard=Shard(number, 3), workers=1)
    make(folder / "whole", 14, pairs=4)
    return shards, folder / "whole"


def test_merged_shards_are_the_whole(parts, tmp_path):
    shards, whole = parts
    merged = merge(shards, tmp_path / "set")
    assert (merged.done, merged.failed, merged.twice, merged.missing) == (14, 0, 0, 0)
    assert data_files(tmp_path / "set") == data_files(whole)
    assert not (tmp_path / "set/log/scratch").exists()


def test_a_merge_names_gaps_which_a_run_then_fills(parts, tmp_path):
    shards, whole = parts
    merged = merge([shards[0], shards[2], shards[0]], tmp_path / "set")
    assert (merged.done, merged.twice, merged.missing) == (10, 6, 4)
    assert merged.absent == (4, 5, 6, 7)
    make(tmp_path / "set", 14, pairs=4)
    assert data_files(tmp_path / "set") == data_files(whole)


def test_a_merge_may_go_on_with_a_shard_that_came_late(parts, tmp_path):
    shards, whole = parts
    merge(shards[:1], tmp_path / "set")
    merged = merge(shards[1:], tmp_path / "set")
    assert (merged.done, merged.twice, merged.missing) == (14, 0, 0)
    assert data_files(tmp_path / "set") == data_files(whole)


def test_a_merge_takes_failures_along_and_refuses_what_is_not_the_same(parts, tmp_path, faults):
    shards, _ = parts
    faults(_4="rejected")
    make(tmp_path / "two", 14, pairs=4, shard=Shard(2, 3))
    merged = merge([shards[0], tmp_path / "two", shards[2]], tmp_path / "set")
    assert (merged.done, merged.failed, merged.missing) == (13, 1, 0)
    make(tmp_path / "other", 15, pairs=4, shard=Shard(1, 3))
    with pytest.raises(DatasetError, match=r"other: not of the same run as .*: count is 15, there"):
        merge([shards[0], tmp_path / "other"], tmp_path / "new")
    assert not (tmp_path / "new").exists()
    lines = (tmp_path / "two/index.jsonl").read_text()
    (tmp_path / "two/index.jsonl").write_text(lines.replace('"nose": 1.0', '"nose": 2.0'))
    for record in (tmp_path / "two").glob("samples/*/*/record.json"):
        record.write_text(record.read_text().replace('"nose": 1.0', '"nose": 2.0'))
    with pytest.raises(DatasetError, match="two: sample 000005 is not the one that is in"):
        merge([shards[1], tmp_path / "two"], tmp_path / "new")
    with pytest.raises(DatasetError, match="is one of the folders to merge"):
        merge(shards, shards[0])


# --- Status ----------------------------------------------------------------------------------


def test_status_of_a_run_at_work_and_of_one_that_died(tmp_path, faults):
    root = tmp_path / "set"
    faults(_5="hang", _6="hang")
    run = fake_run(root, 20, "--hang", 100)
    assert run.stdout is not None
    for _ in range(5):
        run.stdout.readline()
    status = runlog.read_status(root)
    assert (status.state, status.of, status.done, status.failed) == ("running", 20, 5, 0)
    assert status.where.startswith(f"process {run.pid} on ")
    assert sorted(status.memory_mb) == [0, 1]
    assert all(20 < each < 1000 for each in status.memory_mb.values())
    assert status.rate_per_h
    assert status.left is not None
    assert status.left.total_seconds() == pytest.approx(15 * 3600 / status.rate_per_h, abs=1)
    run.kill()
    run.communicate()
    assert runlog.read_status(root).state == "died"
    make(root, 20)
    ended = runlog.read_status(root)
    assert (ended.state, ended.done, ended.error, ended.left) == ("ended", 20, None, None)


def test_status_where_nothing_ran_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="no run has begun here"):
        runlog.read_status(tmp_path)
