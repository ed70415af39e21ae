"""Exports as the libraries read them that they are made for; no network is asked."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import synthetic

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}

from pipeline import store
from pipeline.export.command import export
from pipeline.export.forms import Options

COUNT = 12
NATIVE = (
    "all", "glass", "shadow", "face", "mask_frame", "mask_lens_left", "mask_lens_right",
    "mask_lenses", "mask_legs", "mask_full", "mask_shadow", "alpha_full", "shadow_matte",
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples of every split, with clear lenses."""
    specs = [synthetic.spec(index, size=64) for index in range(COUNT)]
    specs = [
        one.model_copy(
            update={"glasses": one.glasses.model_copy(update={"choice": {"lenses": "clear"}})}
        )
        for one in specs
    ]
    return synthetic.dataset(tmp_path_factory.mktemp("interop") / "set", specs)


@pytest.fixture(scope="module")
def records(root: Path) -> dict[str, dict]:
    return {record["id"]: record for record in store.read_index(root)}


def native(root: Path, record: dict, key: str) -> np.ndarray:
    return store.read_image(root / record["files"][key])


def test_pycocotools_decodes_every_mask_to_ours(root, records, tmp_path):
    from pycocotools.coco import COCO

    export(root, tmp_path / "coco", "coco")
    seen = 0
    for file in sorted((tmp_path / "coco" / "annotations").glob("instances_*.json")):
        coco = COCO(str(file))
        names = {category["id"]: category["name"] for category in coco.loadCats(coco.getCatIds())}
        assert coco.getImgIds() == list(range(1, len(coco.imgs) + 1))
        assert sorted(coco.getAnnIds()) == list(range(1, len(coco.anns) + 1))
        raw = json.loads(file.read_text())
        assert len(raw["annotations"]) == len(coco.anns)
        for image in coco.loadImgs(coco.getImgIds()):
            record = records[image["sample"]]
            for annotation in coco.loadAnns(coco.getAnnIds(image["id"])):
                key = {
                    "frame": "mask_frame", "left_lens": "mask_lens_left",
                    "right_lens": "mask_lens_right", "temples": "mask_legs",
                    "shadow": "mask_shadow",
                }[names[annotation["category_id"]].replace(" ", "_")]  # fmt: skip
                expected = native(root, record, key) > 127
                assert np.array_equal(coco.annToMask(annotation) > 0, expected), key
                assert annotation["area"] == expected.sum()
                seen += 1
    assert seen == 5 * COUNT


def test_datasets_opens_parquet(root, records, tmp_path):
    import datasets

    export(root, tmp_path / "hf", "hf")
    found = datasets.load_dataset(str(tmp_path / "hf"), cache_dir=str(tmp_path / "cache"))
    rows = {row["id"]: row for split in found.values() for row in split}
    assert set(rows) == set(records)
    for name, row in rows.items():
        assert row["split"] == records[name]["split"]
        assert json.loads(row["meta"])["spec"] == records[name]["spec"]
        for key in NATIVE:
            assert np.array_equal(np.asarray(row[key]), native(root, records[name], key)), key


def test_datasets_and_webdataset_read_the_shards(root, records, tmp_path):
    import datasets
    import webdataset

    export(root, tmp_path / "wds", "webdataset")
    shards = sorted(str(path) for path in (tmp_path / "wds").glob("*.tar"))
    told = list(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False))
    assert {sample["__key__"] for sample in told} == set(records)
    for sample in told:
        record = records[sample["__key__"]]
        for key in NATIVE:
            data = np.frombuffer(sample[f"{key}.png"], np.uint8)
            image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
            image = image[..., ::-1] if image.ndim == 3 else image
            assert np.array_equal(image, native(root, record, key)), key
        told_of = json.loads(sample["json"])
        assert json.loads(told_of["meta"])["spec"] == record["spec"]
    opened = datasets.load_dataset(
        "webdataset", data_files=shards, split="train", cache_dir=str(tmp_path / "cache")
    )
    assert {row["__key__"] for row in opened} == set(records)
    first = opened[0]
    assert np.array_equal(
        np.asarray(first["all.png"]), native(root, records[first["__key__"]], "all")
    )


@pytest.mark.parametrize("form", ["hf", "webdataset", "coco", "yolo", "lyu", "glasses-detector"])
def test_croissant_metadata_is_valid(form, root, tmp_path, records):
    import mlcroissant

    # The paper's scheme holds no other names of expressions.
    source = root
    if form == "lyu":
        specs = [
            synthetic.spec(i, size=64).model_copy(
                update={
                    "head": synthetic.spec(i).head.model_copy(
                        update={"expression": "2_mouth_open"}
                    )
                }
            )
            for i in range(2)
        ]
        source = synthetic.dataset(tmp_path / "set", specs)
    export(source, tmp_path / form, form)
    told = next((tmp_path / form).glob("croissant*.json"))
    found = mlcroissant.Dataset(jsonld=str(told))
    assert not found.metadata.issues.errors
    assert "1.1" in json.loads(told.read_text())["conformsTo"]


def test_polygons_of_yolo_give_the_masks_back(root, records, tmp_path):
    """A reader fills the polygons of a class; intersection over union of each mask."""
    export(root, tmp_path / "yolo", "yolo")
    keys = ("mask_frame", "mask_lens_left", "mask_lens_right", "mask_legs", "mask_shadow")
    seen = 0
    for label in sorted((tmp_path / "yolo" / "labels").rglob("*.txt")):
        record = records[label.stem.split("-")[0]]
        filled = np.zeros((len(keys), 64, 64), np.uint8)
        for line in label.read_text().splitlines():
            number, *values = line.split()
            polygon = np.array(values, float).reshape(-1, 2) * 64
            assert (polygon >= 0).all()
            assert (polygon <= 64).all()
            one = np.zeros((64, 64), np.uint8)
            cv2.fillPoly(one, [polygon.astype(np.int32)], 1)
            filled[int(number)] |= one
        for mask, key in zip(filled > 0, keys, strict=True):
            expected = native(root, record, key) > 127
            assert (mask & expected).sum() / (mask | expected).sum() >= 0.98, key
            seen += 1
    assert seen == len(keys) * COUNT


def test_the_trees_are_what_glasses_detector_loads(root, records, tmp_path):
    """As its loader: images and masks of the same names, 256 px, masks cut above 127."""
    export(root, tmp_path / "trees", "glasses-detector", Options(size=256))
    ids = {}
    for task in ("frames", "full", "lenses", "legs", "shadows", "smart"):
        (data,) = (tmp_path / "trees" / "segmentation" / task).iterdir()
        for split in ("train", "val", "test"):
            images = {path.name for path in (data / split / "images").iterdir()}
            masks = {path.name for path in (data / split / "masks").iterdir()}
            assert images == masks
            assert all(re.fullmatch(r"[\w-]+\.jpg", name) for name in images)
            for name in images:
                image = cv2.imread(str(data / split / "images" / name), cv2.IMREAD_UNCHANGED)
                assert image.shape == (256, 256, 3)
                mask = cv2.imread(str(data / split / "masks" / name), cv2.IMREAD_GRAYSCALE)
                assert mask.shape == (256, 256)
                ids.setdefault(name, set()).add(split)
    # A sample has one name, in one split.
    assert len(ids) == COUNT
    assert all(len(splits) == 1 for splits in ids.values())
