"""`eyeglass check`: every kind of fault is found, by name, and nothing else is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import synthetic

from pipeline import journal, store
from pipeline.check import check_dataset
from pipeline.errors import DatasetError
from pipeline.examine import examine
from pipeline.imagefile import check_file
from pipeline.invariants import broken_rules

Images = dict[str, np.ndarray]
COUNT = 8


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples with and without extras, with and without a denoiser."""
    specs = [synthetic.spec(i, extras=i % 2 == 0, denoise=i % 4 > 1) for i in range(COUNT)]
    return synthetic.dataset(tmp_path_factory.mktemp("whole") / "set", specs)


@pytest.fixture
def own(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "own"))


def folder(root: Path, index: int) -> Path:
    return root / store.sample_folder(index)


def faults(root: Path, index: int) -> list[str]:
    """What is found in one sample, without ids and folders."""
    starts = {record["spec"]["index"]: start for start, record in store.iter_lines(root) if record}
    found = examine(root, (index, starts.get(index))).faults
    assert all(fault.id == f"{index:06d}" for fault in found)
    return [f"{Path(fault.file).name}: {fault.what}" for fault in found]


# --- pixels


def mark(key: str, row: int, column: int, value: int | tuple) -> Callable[[Images], None]:
    def change(images: Images) -> None:
        images[key][row, column] = value

    return change


#: Pixel (30, 22) is within the right lens, (30, 42) the left one, (8, 8) far from all.
BREAKS = {
    "a mask's value": (mark("mask_legs", 28, 55, 254), "mask_legs: neither 0 nor 255, at 1 px"),
    "lenses overlap": (
        mark("mask_lens_right", 30, 42, 255),
        "mask_lens_right: overlaps mask_lens_left, at 1 px, first x 42 y 30",
    ),
    "lenses are no union": (mark("mask_lenses", 30, 22, 0), "mask_lenses: is not mask_lens_left"),
    "frame outside": (mark("mask_frame", 8, 8, 255), "mask_frame: reaches out of mask_full"),
    "lenses outside": (mark("mask_lenses", 8, 8, 255), "mask_lenses: reaches out of mask_full"),
    "legs outside": (mark("mask_legs", 30, 22, 255), "mask_legs: reaches out of mask_frame"),
    "shadow on the frame": (mark("mask_shadow", 28, 56, 255), "mask_shadow: lies on mask_frame"),
    "full is no cut": (mark("alpha_full", 30, 22, 127), "mask_full: is not alpha_full cut"),
    "glass elsewhere": (
        mark("glass", 8, 8, (1, 2, 3)),
        "glass: differs from face further than 2 px from where alpha_full is not 0, at 1 px",
    ),
    "all elsewhere": (mark("all", 8, 8, (1, 2, 3)), "all: differs from shadow"),
    "a reflection elsewhere": (mark("no_reflection", 8, 8, (1, 2, 3)), "no_reflection: differs"),
    "light lost without a lens": (
        mark("lens_transmittance", 8, 8, (65535, 65534, 65535)),
        "lens_transmittance: is not 65535 where alpha_full is 0",
    ),
    "flow without a lens": (mark("refraction_flow", 8, 8, (0, 0, 1)), "refraction_flow: is valid"),
    "no class": (mark("parsing_face", 8, 8, 19), "parsing_face: is no class, at 1 px"),
    "a class elsewhere": (
        mark("parsing_all", 8, 8, 3),
        "parsing_all: differs from parsing_face where alpha_full is 0, at 1 px",
    ),
    "normals of nothing": (mark("depth", 8, 8, 4125), "normal: is 0 where depth is not"),
    "flow half valid": (mark("refraction_flow", 30, 42, (0, 0, 2)), "refraction_flow: blue is"),
}


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.parametrize("denoised", [False, True])
def test_a_broken_rule_is_named(name: str, denoised: bool):
    images = synthetic.images(synthetic.spec(2, extras=True))
    assert list(broken_rules(images, denoised)) == []
    change, expected = BREAKS[name]
    change(images)
    said = [f"{key}: {what}" for key, what in broken_rules(images, denoised)]
    assert any(line.startswith(expected) for line in said), said


def test_the_denoiser_may_change_what_is_near_eyewear_but_not_touched():
    images = synthetic.images(synthetic.spec(2))
    near = cv2.dilate(images["alpha_full"], np.ones((5, 5), np.uint8)) > 0
    rows, columns = np.nonzero(near & (images["alpha_full"] == 0))
    images["all"][rows[0], columns[0]] = images["glass"][rows[0], columns[0]] = 7
    assert list(broken_rules(images, denoised=True)) == []
    ((key, what),) = broken_rules(images, denoised=False)
    assert key == "all"
    assert (
        what
        == f"differs from shadow where alpha_full is 0, at 1 px, first x {columns[0]} y {rows[0]}"
    )


# --- files


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-30])


def rewrite(**how: object) -> Callable[[Path], None]:
    """The same picture in another form."""

    def change(file: Path) -> None:
        image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        if "size" in how:
            image = cv2.resize(image, (32, 32))
        if "alpha" in how:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
        if "wide" in how:
            image = image.astype(np.uint16) * 257
        flags = [cv2.IMWRITE_PNG_BILEVEL, 1] if "bilevel" in how else []
        cv2.imwrite(str(file), image, flags)

    return change


@pytest.mark.parametrize(
    ("key", "change", "expected"),
    [
        ("glass", Path.unlink, "No such file or directory"),
        ("mask_frame", lambda file: file.write_bytes(b""), "empty"),
        ("all", cut, "damaged, or not a PNG"),
        ("all", lambda file: file.write_bytes(b"GIF89a" * 9), "damaged, or not a PNG"),
        ("all", lambda file: file.write_bytes(file.read_bytes() + b"\0"), "damaged, or not a PNG"),
        ("face", rewrite(size=32), "8-bit RGB of 64 x 64 px is expected, not 8-bit RGB of 32 x 32"),
        (
            "face",
            rewrite(alpha=True),
            "8-bit RGB of 64 x 64 px is expected, not 8-bit RGB with alp",
        ),
        ("mask_full", rewrite(wide=True), "8-bit grey of 64 x 64 px is expected, not 16-bit grey"),
        (
            "mask_full",
            rewrite(bilevel=True),
            "8-bit grey of 64 x 64 px is expected, not 1-bit grey",
        ),
    ],
)
def test_a_file_that_is_not_what_it_should_be(own: Path, key: str, change: Callable, expected: str):
    change(folder(own, 1) / f"{key}.png")
    (said,) = faults(own, 1)
    assert said.startswith(f"{key}.png: {expected}")


def test_no_damaged_byte_is_missed(own: Path):
    file = folder(own, 1) / "mask_full.png"
    good, rng = file.read_bytes(), np.random.default_rng(0)
    for place in range(len(good)):
        damaged = bytearray(good)
        damaged[place] ^= 1 << int(rng.integers(8))
        with pytest.raises(ValueError, match=r"damaged|is expected"):
            check_file(bytes(damaged), "mask_full", synthetic.SIZE)
    check_file(good, "mask_full", synthetic.SIZE)


# --- records and the index


def edit(file: Path, **changes: object) -> None:
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | changes) + "\n")


def test_a_record_that_does_not_follow_from_its_spec(own: Path):
    edit(folder(own, 3) / "record.json", split="dev")
    said = faults(own, 3)
    assert said[0].startswith("record.json: says split 'dev', which does not follow from its spec")
    assert said[1] == "index.jsonl: differs from record.json in split"


def test_what_a_later_version_adds_to_records_is_no_fault(own: Path):
    records = {}
    for index in range(COUNT):
        edit(folder(own, index) / "record.json", labels={"yaw_deg": 1.5})
        records[index] = json.loads((folder(own, index) / "record.json").read_text())
    store.write_index(own, records)
    assert check_dataset(own, fix=False, processes=1) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is not the record of this sample"),
        ("[]", "is not the record of this sample"),
        ('{"id": "000003"}', "is not the record of this sample"),
    ],
)
def test_a_record_that_is_none(own: Path, text: str, expected: str):
    (folder(own, 3) / "record.json").write_text(text)
    assert faults(own, 3) == [f"record.json: {expected}"]


def test_a_record_of_another_sample_or_with_a_broken_spec(own: Path):
    file = folder(own, 3) / "record.json"
    record = json.loads(file.read_text())
    shutil.copy(folder(own, 4) / "record.json", file)
    assert faults(own, 3) == ["record.json: is not the record of this sample"]
    record["spec"]["nose"] = 9
    file.write_text(json.dumps(record))
    (said,) = faults(own, 3)
    assert said.startswith("record.json: spec: $.nose:")


# --- the whole dataset


def spoil(root: Path) -> None:
    """One fault of each kind, but for samples 0 and 7."""
    (folder(root, 1) / "glass.png").unlink()
    shutil.rmtree(folder(root, 2))
    # Drawn alike, but for noise: with these four sample 3 keeps every rule.
    for key in ("all", "glass", "shadow", "face"):
        shutil.copy(folder(root, 4) / f"{key}.png", folder(root, 3))
    (folder(root, 5) / "record.json").unlink()
    lines = (root / "index.jsonl").read_text().splitlines(keepends=True)
    lines[6] = "garbage\n"
    (root / "index.jsonl").write_text("".join([*lines, lines[0]]))


def test_a_whole_dataset_has_no_fault(whole: Path, capsys: pytest.CaptureFixture[str]):
    assert check_dataset(whole, fix=False, processes=2) == 0
    said = capsys.readouterr().out
    assert said.startswith("8 of 8 samples\n")
    assert said.endswith("no faults\n")
    assert "worn 50.0%, slipped 25.0%, askew 25.0%" in said
    assert not (whole / "log").exists()


def test_every_fault_is_a_line_and_fix_mends(own: Path, capsys: pytest.CaptureFixture[str]):
    spoil(own)
    assert check_dataset(own, fix=False, processes=2) == 1
    said = capsys.readouterr().out.splitlines()
    at = "samples/000"
    assert said[:7] == [
        "-  index.jsonl  line 7 is not a record",
        "000000  index.jsonl  line 9 is there twice",
        f"000001  {at}/000001/glass.png  No such file or directory",
        f"000002  {at}/000002  is missing",
        f"000003  {at}/000003/all.png  holds the same pixels as that of 000004",
        f"000004  {at}/000004/all.png  holds the same pixels as that of 000003",
        f"000005  {at}/000005/record.json  No such file or directory",
    ]
    assert said[-1] == "7 faults in 7 samples"
    assert said[-2].startswith("not in index.jsonl yet, though finished: 1")

    assert check_dataset(own, fix=True, processes=2) == 1
    assert sorted(p.name for p in (own / "faulty").iterdir()) == [
        "000001",
        "000003",
        "000004",
        "000005",
    ]
    assert [r["id"] for r in store.read_index(own)] == ["000000", "000006", "000007"]
    capsys.readouterr()
    assert check_dataset(own, fix=False, processes=2) == 0
    # A run that goes on finds these finished and makes the others.
    described = store.read_description(own)
    with journal.writing(own):
        index, _ = journal.open_run(own, described, lambda i: True)
        assert [i for i in range(8) if i in index] == [0, 6, 7]


def test_fix_loses_nothing_that_was_set_aside_before(own: Path):
    for _ in range(2):
        shutil.copytree(folder(own, 0), folder(own, 1), dirs_exist_ok=True)
        check_dataset(own, fix=True, processes=1)
    assert sorted(p.name for p in (own / "faulty").iterdir()) == ["000001", "000001.2"]


def test_fix_of_a_whole_dataset_changes_no_file_of_it(own: Path):
    before = {p: p.read_bytes() for p in own.rglob("*") if p.is_file()}
    assert check_dataset(own, fix=True, processes=1) == 0
    after = {p: p.read_bytes() for p in own.rglob("*") if p.is_file() and p.parent.name != "log"}
    assert after == before


def test_nothing_is_moved_while_another_run_writes(own: Path):
    spoil(own)
    with journal.writing(own), pytest.raises(DatasetError, match="another run is writing here"):
        check_dataset(own, fix=True, processes=1)
    assert not (own / "faulty").exists()


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline.cli", "check", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_line(own: Path, tmp_path: Path):
    cut(folder(own, 1) / "all.png")
    done = run(own)
    assert done.returncode == 1
    assert "000001  samples/000/000001/all.png  damaged, or not a PNG\n" in done.stdout
    assert done.stderr == ""
    for nothing in (tmp_path / "absent", own / "index.jsonl", tmp_path):
        done = run(nothing, "--fix")
        assert done.returncode == 2
        assert done.stderr.startswith(f"Error: {nothing}: not a dataset;")
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "log").exists()
