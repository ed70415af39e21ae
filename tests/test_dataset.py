"""Reading in Python: what `EyeglassDataset` promises, against other readers."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import synthetic
from PIL import Image

from pipeline import store
from pipeline.dataset import EyeglassDataset
from pipeline.errors import DatasetError
from pipeline.imagefile import FORMS
from pipeline.spec import EXTRA_KEYS, IMAGE_KEYS, LAYERS, MASKS, split_of

COUNT = 40


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    specs = [synthetic.spec(index, size=16, extras=True) for index in range(COUNT)]
    return synthetic.dataset(folder, specs)


@pytest.fixture
def own(root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(root, tmp_path / "own"))


def test_every_image_that_a_sample_can_have_has_a_form():
    assert set(FORMS) == {*IMAGE_KEYS, *EXTRA_KEYS}


def test_arrays_are_what_other_readers_find(root: Path):
    data = EyeglassDataset(root, layers=[*IMAGE_KEYS, *EXTRA_KEYS])
    sample, record = data[3], data.record(3)
    assert sample["id"] == record["id"] == "000003"
    assert list(sample) == ["id", *IMAGE_KEYS, *EXTRA_KEYS]
    for key in (*LAYERS, "sunglasses", "no_reflection"):
        with Image.open(root / record["files"][key]) as image:
            assert image.mode == "RGB"
            assert sample[key].dtype == np.uint8
            assert np.array_equal(sample[key], np.asarray(image)), key
    for key in MASKS:
        with Image.open(root / record["files"][key]) as image:
            assert sample[key].dtype == np.uint8
            assert np.array_equal(sample[key], np.asarray(image) // 255), key
    for key, top in (("alpha_full", 255), ("shadow_matte", 65535)):
        with Image.open(root / record["files"][key]) as image:
            assert sample[key].dtype == np.float32
            assert np.allclose(sample[key], np.asarray(image) / top, atol=1e-6), key
    # Pillow reads no 16-bit colour; OpenCV gives it as BGR.
    stored = cv2.imread(str(root / record["files"]["lens_transmittance"]), cv2.IMREAD_UNCHANGED)
    assert np.allclose(sample["lens_transmittance"], stored[..., ::-1] / 65535, atol=1e-6)
    assert sample["lens_transmittance"].dtype == np.float32
    there = sample["mask_full"] > 0
    assert np.allclose(sample["depth"], np.where(there, 500.4, 0))
    assert np.allclose(sample["normal"][there], (0, 0, 1), atol=2e-5)
    assert not sample["normal"][~there].any()
    assert (sample["parsing_all"] == np.where(there, 3, 1)).all()
    flow, lens = sample["refraction_flow"], sample["mask_lenses"] > 0
    assert flow.dtype == np.float32
    assert flow.shape == (16, 16, 3)
    assert (flow[lens] == (1, -2, 1)).all()
    assert not flow[~lens].any()


def test_arrays_run_forwards_as_torch_wants_them(root: Path):
    sample = EyeglassDataset(root, layers=[*IMAGE_KEYS, *EXTRA_KEYS])[0]
    assert all(sample[key].flags.c_contiguous for key in sample if key != "id")


def test_splits_are_those_of_the_index(root: Path):
    lines = [json.loads(line) for line in (root / "index.jsonl").read_text().splitlines()]
    for split in ("train", "val", "test"):
        expected = [line["id"] for line in lines if split_of(line["subject"]) == split]
        data = EyeglassDataset(root, layers=["face"], split=split)
        assert [sample["id"] for sample in data] == expected
        assert len(data) == len(expected) > 0
    assert len(EyeglassDataset(root)) == COUNT


def test_counts_from_the_end_and_ends(root: Path):
    data = EyeglassDataset(root, layers=["face"])
    assert data[-1]["id"] == data[np.int64(COUNT - 1)]["id"] == f"{COUNT - 1:06d}"
    for beyond in (COUNT, -COUNT - 1):
        with pytest.raises(IndexError):
            data[beyond]


def test_a_worker_is_sent_sixteen_bytes_a_sample(root: Path, own: Path):
    lines = (own / "index.jsonl").read_text().splitlines(keepends=True)
    (own / "index.jsonl").write_text("".join(lines[:10]))
    few, many = EyeglassDataset(own, ["face"]), EyeglassDataset(root, ["face"])
    few.root = many.root
    sizes = [len(pickle.dumps(data)) for data in (few, many)]
    assert sizes[1] - sizes[0] <= 16 * (COUNT - 10) + 40
    there = pickle.loads(pickle.dumps(many))
    assert np.array_equal(there[7]["face"], many[7]["face"])


def test_layers_default_to_those_that_every_sample_has(root: Path):
    assert EyeglassDataset(root).layers == IMAGE_KEYS


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"layers": ["al"]}, "unknown layer 'al'; did you mean 'all'"),
        ({"layers": "all"}, r"a list of names is expected, such as \['all'\]"),
        ({"split": "dev"}, "unknown split 'dev'; known: train, val, test"),
    ],
)
def test_unknown_names_are_told(root: Path, more: dict, message: str):
    with pytest.raises(DatasetError, match=message):
        EyeglassDataset(root, **more)


def test_a_layer_that_the_dataset_lacks(tmp_path: Path):
    synthetic.dataset(tmp_path, [synthetic.spec(0, size=16)])
    with pytest.raises(DatasetError, match=r"sample 000000 has no 'sunglasses'; it has all,"):
        EyeglassDataset(tmp_path, layers=["all", "sunglasses"])


def test_what_is_no_dataset(tmp_path: Path, own: Path):
    with pytest.raises(DatasetError, match=r"not a dataset; index\.jsonl"):
        EyeglassDataset(tmp_path)
    with (own / "index.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(DatasetError, match=f"line {COUNT + 1} is not a record"):
        EyeglassDataset(own)


def test_an_index_that_changed_meanwhile(own: Path):
    data = EyeglassDataset(own, ["face"])
    records = {i: r for i, r in enumerate(store.read_index(own)) if i != 2}
    store.write_index(own, records)
    with pytest.raises(DatasetError, match="has changed; open the dataset again"):
        data[5]


def test_broken_images_are_named(own: Path):
    data = EyeglassDataset(own, ["face"])
    file = own / data.record(1)["files"]["face"]
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=r"000001/face\.png: not a readable PNG"):
        data[1]
    file.unlink()
    with pytest.raises(DatasetError, match=r"000001/face\.png: No such file"):
        data[1]
    store.write_images(file.parent, {"face": np.zeros((8, 8, 3), np.uint8)})
    with pytest.raises(DatasetError, match="8-bit RGB of 16 x 16 px is expected"):
        data[1]
