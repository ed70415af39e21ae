"""What holds for every form of export: what is chosen, interrupted, refused, and said of it."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import synthetic
import yaml
from campaigns import verify_export

from pipeline import store
from pipeline.cli import commands
from pipeline.errors import DatasetError, EyeglassError
from pipeline.export import command, samples, staging
from pipeline.export.command import FORMS, export
from pipeline.export.forms import Options
from pipeline.recipe import load_recipe, parse_recipe
from pipeline.refraction import flow_from_kitti
from pipeline.spec import IMAGE_KEYS, MASKS, SPLITS, split_of

#: Every form, the archive of one of them too.
EVERY = [(name, Options()) for name in FORMS] + [("glasses-detector", Options(zip=True))]
NAMES = [name + "-zip" * options.zip for name, options in EVERY]
each_form = pytest.mark.parametrize(("form", "options"), EVERY, ids=NAMES)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve samples, of every split, of clear and of dark glasses."""
    specs = [synthetic.spec(index, size=32, extras=True) for index in range(12)]
    specs = [
        one.model_copy(
            update={
                "head": one.head.model_copy(update={"expression": "2_mouth_open"}),
                "glasses": one.glasses.model_copy(
                    update={"choice": {"lenses": ("clear", "brown")[one.index % 2]}}
                ),
            }
        )
        for one in specs
    ]
    found = synthetic.dataset(tmp_path_factory.mktemp("export") / "set", specs)
    splits = Counter(split_of(one.head.subject) for one in specs)
    assert set(splits) == set(SPLITS), splits
    described = yaml.safe_load((found / store.DESCRIPTION).read_text())
    described["recipe"] = load_recipe("smoke").model_dump(mode="json")
    (found / store.DESCRIPTION).write_text(store.dump_yaml(described))
    return found


def files_of(folder: Path) -> dict[str, str]:
    """Checksums by path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- what is written


@each_form
def test_the_same_export_is_the_same_bytes_on_any_number_of_threads(
    form: str, options: Options, root: Path, tmp_path: Path
) -> None:
    export(root, tmp_path / "a", form, options, threads=1)
    export(root, tmp_path / "b", form, options, threads=3)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def ids_in(folder: Path) -> set[str]:
    """Ids of samples in a COCO export."""
    return {path.name[:6] for path in folder.glob("*/*.png")}


def test_split_and_limit_choose_samples(root: Path, tmp_path: Path) -> None:
    records = store.read_index(root)
    of_train = [record["id"] for record in records if record["split"] == "train"]
    export(root, tmp_path / "train", "coco", Options(split="train"))
    assert ids_in(tmp_path / "train") == set(of_train)
    export(root, tmp_path / "two", "coco", Options(split="train", limit=2))
    assert ids_in(tmp_path / "two") == set(of_train[:2])
    summary = export(root, tmp_path / "five", "coco", Options(limit=5))
    assert ids_in(tmp_path / "five") == {record["id"] for record in records[:5]}
    assert summary.startswith("5 samples, 5 images in ")
    export(root, tmp_path / "all", "coco", Options(limit=500))
    assert ids_in(tmp_path / "all") == {record["id"] for record in records}


def test_an_index_in_any_order_gives_the_same_export(root: Path, tmp_path: Path) -> None:
    export(root, tmp_path / "sorted", "webdataset")
    other = tmp_path / "set"
    (other / "samples").parent.mkdir()
    (other / "samples").symlink_to(root / "samples")
    (other / store.DESCRIPTION).symlink_to(root / store.DESCRIPTION)
    lines = (root / store.INDEX).read_text().splitlines(keepends=True)
    (other / store.INDEX).write_text("".join(reversed(lines)))
    export(other, tmp_path / "reversed", "webdataset")
    assert files_of(tmp_path / "sorted") == files_of(tmp_path / "reversed")


@pytest.mark.parametrize("size", [8, 20, 50])
def test_resized_images_stay_what_they_are(size: int, root: Path) -> None:
    keys = (*IMAGE_KEYS, "sunglasses", "lens_transmittance", "refraction_flow")
    record = store.read_index(root)[1]
    before = samples.load(root, record, keys, None)
    after = samples.load(root, record, keys, size)
    assert all(after.pixels(key).shape[:2] == (size, size) for key in keys)
    assert all(after.pixels(key).dtype == before.pixels(key).dtype for key in keys)
    assert all(set(np.unique(after.pixels(key))) <= {0, 255} for key in MASKS)
    for key in ("face", "shadow_matte"):
        assert abs(after.pixels(key).mean() - before.pixels(key).mean()) < 0.02 * 65535
    full = before.mask("mask_full")
    assert abs(after.mask("mask_full").mean() - full.mean()) < 0.08
    flow, valid = flow_from_kitti(after.pixels("refraction_flow"))
    # One px right and two up, in the picture as it was.
    assert valid.any()
    assert np.allclose(flow[valid], np.array([1, -2]) * size / 32, atol=1 / 64)


def test_a_mask_is_halved_by_how_much_is_covered(tmp_path: Path) -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask[0, 0] = mask[0, 2:] = mask[2:, :2] = 255
    image = samples.Image("mask_frame", 4, store.encode_png(mask))
    # Quarters of which 1, 2, 4 and 0 pixels of four are covered.
    assert samples._resized(image, 2).pixels.tolist() == [[0, 255], [255, 0]]


def test_what_is_not_changed_is_the_stored_file(root: Path) -> None:
    record = store.read_index(root)[0]
    sample = samples.load(root, record, IMAGE_KEYS, None)
    same = samples.load(root, record, IMAGE_KEYS, 32)
    for key in IMAGE_KEYS:
        stored = (root / record["files"][key]).read_bytes()
        assert sample.png(key) == same.png(key) == stored


# --- the card


@each_form
def test_the_card_says_what_it_is_and_how_to_make_it_again(
    form: str, options: Options, root: Path, tmp_path: Path
) -> None:
    options = replace(options, split="train", limit=4)
    export(root, tmp_path / "out", form, options)
    text = (tmp_path / "out" / "README.md").read_text()
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["license"] == "cc0-1.0"
    assert "| train | 4 | 4 |" in text
    assert "MakeHuman" in text
    assert "CC0-1.0, with Blender" in text
    for used in ("aviator", "round", "studio", "city", "person-000000"):
        assert used in text
    assert str(tmp_path) not in text
    recipe = parse_recipe(yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text()), "recipe")
    assert recipe == load_recipe("smoke")
    first, second = text.partition("```sh\n")[2].partition("\n```")[0].split("&&\n")
    given: list[dict[str, Any]] = []
    for line in (first, second):
        _, name, *rest = shlex.split(line)
        given.append(commands.commands[name].make_context(name, rest).params)
    assert (given[0]["count"], given[0]["seed"]) == (12, 5)
    assert given[0]["scene"] == "recipe.yaml"
    assert (given[1]["form"], given[1]["as_zip"]) == (form, options.zip)
    assert (given[1]["split"], given[1]["limit"]) == ("train", 4)


def test_the_users_own_assets_are_said_to_be_theirs(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "set"
    other.mkdir()
    (other / "samples").symlink_to(root / "samples")
    (other / store.INDEX).symlink_to(root / store.INDEX)
    described = yaml.safe_load((root / store.DESCRIPTION).read_text())
    described["assets"]["hdri"] = "/home/somebody/worlds"
    (other / store.DESCRIPTION).write_text(store.dump_yaml(described))
    export(other, tmp_path / "out", "yolo")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "the user's own" in text
    assert "somebody" not in text
    assert "--hdri YOUR_HDRI" in text
    assert yaml.safe_load(text.split("---\n")[1])["license"] == "other"
    told = json.loads((tmp_path / "out" / "croissant.json").read_text())
    assert "license" not in told


def test_without_a_description_the_card_says_what_is_not_known(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "set"
    other.mkdir()
    (other / "samples").symlink_to(root / "samples")
    (other / store.INDEX).symlink_to(root / store.INDEX)
    export(other, tmp_path / "out", "lyu")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "not known" in text
    assert not (tmp_path / "out" / "recipe.yaml").exists()


# --- interrupted, and going on


def interrupted_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, reading sample number `count` is as if Ctrl-C were hit."""
    real, read = samples.load, Counter[str]()

    def load(dataset: Path, record: dict[str, Any], *rest: Any) -> Any:
        read["samples"] += 1
        if read["samples"] > count:
            raise KeyboardInterrupt
        return real(dataset, record, *rest)

    monkeypatch.setattr(command, "load", load)


@each_form
def test_an_interrupted_export_goes_on_to_the_same_bytes(
    form: str, options: Options, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(options, shard_mb=None)
    export(root, tmp_path / "whole", form, small)
    for turn in (5, 3):
        with monkeypatch.context() as patch:
            interrupted_after(turn, patch)
            with pytest.raises(KeyboardInterrupt):
                export(root, tmp_path / "out", form, small)
        assert not (tmp_path / "out").exists()
        # A killed process may have written more than it has noted.
        left = tmp_path / ".out.export"
        for table in (left / "tables").iterdir():
            with table.open("a") as file:
                file.write("half a li")
    export(root, tmp_path / "out", form, small)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


@pytest.mark.parametrize("form", ["lyu", "coco", "yolo", "glasses-detector"])
def test_what_is_written_is_not_written_again(
    form: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupted_after(8, patch)
        with pytest.raises(KeyboardInterrupt):
            export(root, tmp_path / "out", form)
    interrupted_after(5, monkeypatch)
    export(root, tmp_path / "out", form)


def test_finished_shards_are_not_written_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first split that is whole is a shard of its own."""
    train = sum(record["split"] == "train" for record in store.read_index(root))
    for form in ("webdataset", "hf"):
        with monkeypatch.context() as patch:
            interrupted_after(train + 1, patch)
            with pytest.raises(KeyboardInterrupt):
                export(root, tmp_path / form, form)
        with monkeypatch.context() as patch:
            interrupted_after(12 - train, patch)
            export(root, tmp_path / form, form)


def test_another_export_to_the_same_place_starts_over(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupted_after(5, patch)
        with pytest.raises(KeyboardInterrupt):
            export(root, tmp_path / "out", "lyu")
    export(root, tmp_path / "out", "coco")
    export(root, tmp_path / "fresh", "coco")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "fresh")


def test_two_exports_to_one_place_do_not_mix(root: Path, tmp_path: Path) -> None:
    with (
        staging.staging(tmp_path / "out", {}),
        pytest.raises(DatasetError, match="another export is writing there"),
    ):
        export(root, tmp_path / "out", "coco")


# --- what is refused


@pytest.mark.parametrize(
    ("form", "options", "message"),
    [
        ("pascal", Options(), "unknown form 'pascal'; known: lyu, glasses-detector, coco"),
        ("hf", Options(layers=("all", "mask_frmae")), "did you mean 'mask_frame'"),
        ("hf", Options(layers=("",)), "unknown layer ''"),
        ("coco", Options(layers=("mask_frame",)), "not 'mask_frame'"),
        ("yolo", Options(layers=("shadow",)), "not 'shadow'"),
        ("lyu", Options(layers=("all",)), "--layers means nothing to lyu, which takes --splits"),
        ("lyu", Options(jpeg=90), "--jpeg means nothing to lyu"),
        ("lyu", Options(zip=True), "--zip means nothing to lyu"),
        ("hf", Options(splits=True), "--splits means nothing to hf"),
        ("coco", Options(shard_mb=9), "--shard-size means nothing to coco"),
        ("glasses-detector", Options(zip=True, jpeg=90), "--jpeg means nothing to glasses-d"),
    ],
)
def test_options_that_have_no_place_are_named(
    form: str, options: Options, message: str, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(EyeglassError, match=re.escape(message)) as caught:
        export(root, tmp_path / "out", form, options)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("webdataset", Options(layers=("all", "sunglasses"))),
        ("glasses-detector", Options(zip=True)),
    ],
)
def test_a_layer_that_the_dataset_lacks_is_named(
    form: str, options: Options, tmp_path: Path
) -> None:
    plain = synthetic.dataset(tmp_path / "set", [synthetic.spec(0, size=16)])
    with pytest.raises(DatasetError, match=r"sample 000000 has no layer 'sunglasses'; it has all,"):
        export(plain, tmp_path / "out", form, options)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_the_command_offers_every_form_and_split() -> None:
    choices = {p.name: p.type.choices for p in commands.commands["export"].params
               if isinstance(p.type, click.Choice)}  # fmt: skip
    assert choices == {"form": tuple(FORMS), "split": SPLITS}


def test_a_split_without_samples(tmp_path: Path) -> None:
    plain = synthetic.dataset(tmp_path / "set", [synthetic.spec(0, size=16)])
    other = next(split for split in SPLITS if split != store.read_index(plain)[0]["split"])
    with pytest.raises(DatasetError, match=f"holds no finished samples in the split '{other}'"):
        export(plain, tmp_path / "out", "hf", Options(split=other))


@each_form
def test_a_corrupt_sample_leaves_nothing_behind(
    form: str, options: Options, root: Path, tmp_path: Path
) -> None:
    other = synthetic.copies(root, tmp_path / "set", 4)
    broken = other / "samples/000/000002/all.png"
    data = bytearray(broken.read_bytes())
    data[len(data) // 2] ^= 16
    broken.write_bytes(data)
    with pytest.raises(DatasetError, match=re.escape(str(broken))) as caught:
        export(other, tmp_path / "far" / "out", form, options, threads=2)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.argv = ["eyeglass", *sys.argv[2:]]
from pipeline.cli import main
main()
"""


@pytest.mark.parametrize(
    ("form", "most"), [("webdataset", 40_000), ("hf", 40_000), ("glasses-detector", 20_000)]
)
def test_a_full_disk_is_one_line_and_nothing_half_written(
    form: str, most: int, root: Path, tmp_path: Path
) -> None:
    """A limit on the size of files stands for the disk; it meets every write in the same way."""
    arguments = ["export", str(root), "--format", form, "--out", str(tmp_path / "out")]
    arguments += ["--zip"] if form == "glasses-detector" else []
    found = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(most), *arguments],
        capture_output=True, text=True,
    )  # fmt: skip
    assert found.returncode == 2
    assert found.stdout == ""
    # Some libraries say it in words of their own around those of the system.
    assert found.stderr.startswith(f"Error: {tmp_path / 'out'}: cannot be written: ")
    assert found.stderr.endswith("File too large\n")
    assert found.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_command_line_hands_everything_on(root: Path, tmp_path: Path) -> None:
    line = (
        f"export {root} --format webdataset --layers all,mask_frame --split train --limit 2 "
        f"--jpeg 80 --size 16 --shard-size 7 --out {tmp_path / 'out'}"
    )
    found = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *line.split()], capture_output=True, text=True
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == f"2 samples, 4 images in {tmp_path / 'out'}\n"
    text = (tmp_path / "out" / "README.md").read_text()
    assert (
        "--layers all,mask_frame --split train --limit 2 --jpeg 80 --size 16 --shard-size 7" in text
    )
    found = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *line.split()], capture_output=True, text=True
    )
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert "holds other data" in found.stderr


def test_the_campaign_in_small(tmp_path: Path) -> None:
    """Memory and time hang on what is held at a time, not on how many samples there are."""
    few, many = (verify_export.made(tmp_path / str(n), n) for n in (20, 200))
    for name, options in verify_export.FORMS.items():
        figures = [verify_export.measured(root, tmp_path, name, options) for root in (few, many)]
        assert figures[1].peak_mb - figures[0].peak_mb < 40, name
