"""What each form of export promises beyond what every form does, by facts worked out here."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import synthetic
import yaml
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}

from pipeline import store
from pipeline.dataset import EyeglassDataset
from pipeline.errors import DatasetError
from pipeline.export.command import export
from pipeline.export.forms import Options, encode_jpeg
from pipeline.export.glasses_detector import DATA, LENS_MASKS, TASKS, ZIP
from pipeline.export.landmarks import POINTS
from pipeline.export.masks import polygons, run_lengths
from pipeline.recipe import Sensor
from pipeline.sensor import PICTURES, apply_sensor, draw_sensor
from pipeline.spec import SPLITS, SampleSpec

SIZE = 32
COUNT = 12
#: What lenses of a sample are of: a finish of the catalogue, or of a mesh, which has none.
LENSES = ("clear", "brown", "photo_brown", None, None)
#: How much of the light lenses of meshes let through, sample by sample.
THROUGH = {3: 0.7, 4: 0.2, 8: 0.7, 9: 0.2}
#: By the rule of the masks (43%), worked out by hand from the finishes' colours and `THROUGH`.
DARK = {1, 2, 4, 6, 7, 9, 11}


def spec(index: int, **changed: Any) -> SampleSpec:
    drawn = synthetic.spec(index, size=SIZE, extras=True)
    finish = LENSES[index % len(LENSES)]
    return drawn.model_copy(
        update={
            "head": drawn.head.model_copy(update={"expression": "2_mouth_open"}),
            "glasses": drawn.glasses.model_copy(
                update={"choice": {"lenses": finish} if finish else {}}
            ),
            "sensor": draw_sensor(Sensor(), np.random.default_rng(index)),
            **changed,
        }
    )


def landmarks(index: int) -> np.ndarray:
    """(68, 2) px, the last one outside."""
    points = np.random.default_rng(index).uniform(2, SIZE - 2, (POINTS, 2)).round(3)
    points[-1] = (SIZE + 4, 5)
    return points


def labels(index: int) -> dict[str, Any]:
    return {
        "camera_matrix": [[60.0, 0.0, 16.0], [0.0, 60.0, 16.0], [0.0, 0.0, 1.0]],
        "head_pose_deg": {"yaw": 3.0},
        "anchors_px": {"nose_left": [17.0, 15.0]},
        "glasses_box": [4, 5, 20, 9],
        "landmarks_px": landmarks(index).tolist(),
        "landmarks_visible": [number % 3 > 0 for number in range(POINTS)],
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forms") / "set"
    records = {}
    for index in range(COUNT):
        images = synthetic.images(spec(index))
        if index in THROUGH:
            linear = (images["shadow"] / 255.0) ** 2.2 * THROUGH[index]
            seen = (linear ** (1 / 2.2) * 255).round().astype(np.uint8)
            lens = images["mask_lenses"] > 0
            images["all"][lens] = seen[lens]
        records[index] = store.make_record(spec(index), {}, labels(index), [])
        store.write_sample(folder, records[index], images)
    store.write_index(folder, records)
    synthetic.describe(folder, COUNT)
    assert {record["split"] for record in records.values()} == set(SPLITS)
    return folder


@pytest.fixture(scope="module")
def records(root: Path) -> list[dict[str, Any]]:
    return store.read_index(root)


def stored(root: Path, record: dict[str, Any], key: str) -> np.ndarray:
    return store.read_image(root / record["files"][key])


# --- run lengths and polygons


def filled(parts: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    found = np.zeros(shape, np.uint8)
    for part in parts:
        one = np.zeros(shape, np.uint8)
        cv2.fillPoly(one, [part], 1)
        found |= one
    return found > 0


@settings(max_examples=150, deadline=None)
@given(arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=24)))
def test_polygons_and_run_lengths_are_the_mask(mask: np.ndarray) -> None:
    """Of noise, which has holes in parts in holes."""
    import pycocotools.mask

    parts = polygons(mask)
    assert np.array_equal(filled(parts, mask.shape), mask)
    assert len(parts) == cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
    assert np.array_equal(pycocotools.mask.decode(run_lengths(mask)) > 0, mask)


def test_a_ring_is_one_polygon_with_a_slit() -> None:
    mask = np.zeros((9, 9), bool)
    mask[1:8, 1:8] = True
    mask[3:6, 3:6] = False
    (part,) = polygons(mask)
    corners = {tuple(point) for point in part.tolist()}
    assert {(1, 1), (1, 7), (7, 7), (7, 1)} < corners
    # The hole's border is of pixels of the mask, cut at its corners as pixels touch there.
    assert {(2, 3), (2, 5), (6, 3), (6, 5)} < corners
    assert np.array_equal(filled([part], mask.shape), mask)


# --- coco


def read_coco(folder: Path, name: str) -> Any:
    from pycocotools.coco import COCO

    return COCO(str(folder / "annotations" / f"{name}.json"))


def test_landmarks_are_keypoints_and_follow_the_size(root, records, tmp_path) -> None:
    export(root, tmp_path / "half", "coco", Options(size=SIZE // 2))
    seen = 0
    for split in SPLITS:
        coco = read_coco(tmp_path / "half", f"person_keypoints_{split}")
        (category,) = coco.loadCats(coco.getCatIds())
        assert len(category["keypoints"]) == len(set(category["keypoints"])) == 68
        assert category["keypoints"][36] == "right_eye_1"
        assert category["keypoints"][45] == "left_eye_4"
        assert all(1 <= end <= 68 for line in category["skeleton"] for end in line)
        for annotation in coco.loadAnns(coco.getAnnIds()):
            (image,) = coco.loadImgs(annotation["image_id"])
            points = np.reshape(annotation["keypoints"], (68, 3))
            # COCO counts from the middle of the first pixel.
            expected = landmarks(int(image["sample"])) / 2 - 0.5
            assert np.allclose(points[:-1, :2], expected[:-1], atol=0.01)
            assert points[-1].tolist() == [0, 0, 0]
            assert points[:-1, 2].tolist() == [1 + (number % 3 > 0) for number in range(67)]
            assert annotation["num_keypoints"] == 67
            left, top, width, height = annotation["bbox"]
            assert np.allclose([left, top], (expected[:-1] + 0.5).min(axis=0), atol=0.01)
            assert np.allclose([width, height], np.ptp(expected[:-1], axis=0), atol=0.02)
            seen += 1
    assert seen == COUNT


def test_without_landmarks_there_are_no_keypoints(tmp_path) -> None:
    plain = synthetic.dataset(tmp_path / "set", [synthetic.spec(0, size=16)])
    export(plain, tmp_path / "out", "coco")
    assert [p.name[:9] for p in (tmp_path / "out/annotations").iterdir()] == ["instances"]


def test_a_picture_has_the_instances_that_it_shows(root, tmp_path) -> None:
    export(root, tmp_path / "out", "coco", Options(layers=("all", "glass", "face"), jpeg=90))
    coco = read_coco(tmp_path / "out", "instances_train")
    names = {c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())}
    for image in coco.loadImgs(coco.getImgIds()):
        picture = cv2.imread(str(tmp_path / "out" / "train" / image["file_name"]))
        assert picture.shape == (image["height"], image["width"], 3)
        found = {names[a["category_id"]] for a in coco.loadAnns(coco.getAnnIds(image["id"]))}
        eyewear = {"frame", "left lens", "right lens", "temples"}
        layer = re.fullmatch(r"\d{6}-(\w+)\.jpg", image["file_name"])[1]
        assert found == {"all": eyewear | {"shadow"}, "glass": eyewear, "face": set()}[layer]


def test_boxes_of_instances_hold_their_pixels(root, records, tmp_path) -> None:
    export(root, tmp_path / "out", "coco", Options(limit=1))
    coco = read_coco(tmp_path / "out", f"instances_{records[0]['split']}")
    keys = ("mask_frame", "mask_lens_left", "mask_lens_right", "mask_legs", "mask_shadow")
    for key, annotation in zip(keys, coco.loadAnns(coco.getAnnIds()), strict=True):
        rows, columns = np.nonzero(stored(root, records[0], key))
        left, top, width, height = annotation["bbox"]
        assert (left, top) == (columns.min(), rows.min())
        assert (left + width - 1, top + height - 1) == (columns.max(), rows.max())


# --- yolo


def test_the_description_names_folders_and_classes(root, tmp_path) -> None:
    export(root, tmp_path / "out", "yolo")
    told = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    assert told["names"] == {
        0: "frame", 1: "left lens", 2: "right lens", 3: "temples", 4: "shadow",
    }  # fmt: skip
    for split in SPLITS:
        images = {path.stem for path in (tmp_path / "out" / told[split]).iterdir()}
        labelled = (tmp_path / "out" / told[split].replace("images", "labels")).iterdir()
        assert images == {path.stem for path in labelled}
    assert "path" not in told


def test_every_line_is_a_polygon_of_three_corners_or_more(root, tmp_path) -> None:
    export(root, tmp_path / "out", "yolo", Options(size=16))
    for path in (tmp_path / "out" / "labels").rglob("*.txt"):
        for line in path.read_text().splitlines():
            number, *corners = line.split()
            assert int(number) in range(5)
            assert len(corners) >= 6
            assert len(corners) % 2 == 0
            assert all(0 <= float(corner) <= 1 for corner in corners)


# --- glasses-detector


def jpeg_mask(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 127


def by_sample(folder: Path) -> dict[int, Path]:
    return {int(path.stem.split("-")[1]): path for path in folder.rglob("*.jpg")}


def test_masks_survive_jpeg_and_smart_leaves_clear_lenses_out(root, records, tmp_path) -> None:
    export(root, tmp_path / "out", "glasses-detector")
    for task, key in TASKS.items():
        for index, path in by_sample(tmp_path / "out/segmentation" / task).items():
            if path.parent.name == "masks":
                expected = stored(root, records[index], key) > 127
                assert np.array_equal(jpeg_mask(path), expected), task
    found = 0
    for path in (tmp_path / "out/segmentation/smart").rglob("masks/*.jpg"):
        index = int(path.stem.split("-")[1])
        full, frame, left, right = (
            stored(root, records[index], key) > 0
            for key in ("mask_full", "mask_frame", *LENS_MASKS)
        )
        clear = full & (frame | ~(left | right))
        assert np.array_equal(jpeg_mask(path), full if index in DARK else clear), index
        found += 1
    assert found == COUNT


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(bool, (24, 40)))
def test_no_mask_is_changed_by_jpeg(mask: np.ndarray) -> None:
    data = encode_jpeg(np.where(mask, 255, 0).astype(np.uint8), 95)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(image > 127, mask)


def test_boxes_and_classes_of_the_trees(root, records, tmp_path) -> None:
    export(root, tmp_path / "out", "glasses-detector")
    for record in records:
        name = f"{DATA}-{record['id']}-*"
        folder = tmp_path / "out/detection/worn" / DATA / record["split"]
        (text,) = (folder / "annotations").glob(name)
        (picture,) = (folder / "images").glob(name)
        assert text.stem == picture.stem
        rows, columns = np.nonzero(stored(root, record, "mask_full"))
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert [float(number) for number in text.read_text().split()] == box
        folder = tmp_path / "out/classification/shadows" / DATA / record["split"]
        assert len(list((folder / "shadows").glob(name))) == 1
        (without,) = (folder / "no_shadows").glob(name)
        assert without.read_bytes() == encode_jpeg(stored(root, record, "glass"), 95)


def test_ids_are_of_one_sample_only(root, tmp_path) -> None:
    """The loader keys by name across all data under a task: other seeds, sizes and the zip."""
    other = synthetic.dataset(
        tmp_path / "other", [spec(index, seed=6, sensor=None) for index in range(COUNT)]
    )
    seen: list[set[str]] = []
    for number, (source, options) in enumerate(
        ((root, Options()), (other, Options()), (root, Options(size=16)), (root, Options(zip=True)))
    ):
        out = tmp_path / str(number)
        export(source, out, "glasses-detector", options)
        if options.zip:
            with zipfile.ZipFile(out / f"{ZIP}.zip") as archive:
                names = [Path(name).name for name in archive.namelist()]
            seen.append({name.rpartition("-")[0] for name in names})
        else:
            folder = out / "segmentation/full"
            seen.append({path.stem for path in folder.rglob("images/*.jpg")})
        assert len(seen[-1]) == COUNT
    assert len(set.union(*seen)) == len(seen) * COUNT


def test_the_zip_is_what_the_script_unpacks(root, records, tmp_path) -> None:
    export(root, tmp_path / "out", "glasses-detector", Options(zip=True))
    with zipfile.ZipFile(tmp_path / "out" / f"{ZIP}.zip") as archive:
        assert archive.testzip() is None
        found: dict[tuple[str, str], dict[str, bytes]] = {}
        for name in archive.namelist():
            match = re.fullmatch(
                rf"{ZIP}/(train|val|test)/([\w-]+?)-(all|seg|shseg|sunglasses)\.png", name
            )
            found.setdefault((match[1], match[2]), {})[match[3]] = archive.read(name)
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert len(found) == COUNT
    for (split, name), images in found.items():
        record = records[int(name.split("-")[-2])]
        assert split == record["split"]
        for key in ("all", "sunglasses"):
            assert images[key] == (root / record["files"][key]).read_bytes()
        lit, dark = (stored(root, record, key).astype(float) for key in ("glass", "all"))
        expected = np.abs(lit - dark) @ (0.3, 0.59, 0.11) > 12.75
        shseg = cv2.imdecode(np.frombuffer(images["shseg"], np.uint8), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(shseg > 0, expected)
        seg = cv2.imdecode(np.frombuffer(images["seg"], np.uint8), cv2.IMREAD_UNCHANGED)
        assert ((stored(root, record, "mask_frame") > 0) <= (seg > 0)).all()


# --- lyu


def test_splits_are_folders_and_shseg_is_of_what_is_exported(root, records, tmp_path) -> None:
    export(root, tmp_path / "out", "lyu", Options(splits=True, size=16, sensor=True))
    rows = list(csv.DictReader((tmp_path / "out/names.csv").open(encoding="utf-8")))
    assert {row["id"]: row["split"] for row in rows} == {r["id"]: r["split"] for r in records}
    for row in rows:
        images = {
            path.stem.rpartition("-")[2]: cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            for path in (tmp_path / "out" / row["split"]).glob(f"{row['name']}-*.png")
        }
        assert set(images) == {"all", "glass", "shadow", "face", "seg", "shseg"}
        assert {image.shape[:2] for image in images.values()} == {(16, 16)}
        change = np.abs(images["all"].astype(float) - images["glass"])[..., ::-1]
        assert np.array_equal(images["shseg"] > 0, change @ (0.3, 0.59, 0.11) > 12.75)
    assert not list((tmp_path / "out").glob("*.png"))


def test_own_glasses_and_heads_keep_their_numbers_in_every_split(root, records, tmp_path) -> None:
    """Numbers are places in the folders that the dataset was made with."""
    own = tmp_path / "set"
    own.mkdir()
    (own / "samples").symlink_to(root / "samples")
    changed = []
    for record in records:
        text = json.dumps(record).replace("person-000", "scan")
        changed.append(re.sub(r'"(aviator|round|cat_eye|rimless)"', r'"my_\1"', text))
    (own / store.INDEX).write_text("\n".join(changed) + "\n")
    glasses = ["my_a", "my_aviator", "my_cat_eye", "my_rimless", "my_round"]
    heads = sorted(re.search(r"scan\d+", text)[0] for text in changed)
    described = yaml.safe_load((root / store.DESCRIPTION).read_text())
    described["sha256"] = {
        "heads": dict.fromkeys(["scan", *heads], "0" * 64),
        "glasses": dict.fromkeys(glasses, "0" * 64),
    }
    (own / store.DESCRIPTION).write_text(store.dump_yaml(described))
    found = {}
    for split in SPLITS:
        export(own, tmp_path / split, "lyu", Options(split=split))
        for row in csv.DictReader((tmp_path / split / "names.csv").open()):
            found[row["glasses"], row["subject"]] = row["name"].split("-")[1:3]
    assert len(found) == COUNT
    for (pair, head), (glass, subject) in found.items():
        assert glass == f"Glass{glasses.index(pair):03d}"
        assert int(subject) == 1 + heads.index(head)


# --- shards


def test_shards_keep_below_their_size_and_hold_no_clock(root, tmp_path) -> None:
    big = synthetic.dataset(
        tmp_path / "set", [spec(0).model_copy(update={"index": i}) for i in range(5)]
    )
    for index in range(5):
        path = big / store.sample_folder(index) / "all.png"
        noise = np.random.default_rng(index).integers(0, 255, (SIZE, SIZE, 3), np.uint8)
        # Some 400 kB of text that no decoder shows, after the head of the file.
        chunk = b"tEXt" + bytes(400_000)
        crc = int.to_bytes(zlib.crc32(chunk), 4, "big")
        png = store.encode_png(noise)
        path.write_bytes(png[:33] + int.to_bytes(400_000, 4, "big") + chunk + crc + png[33:])
    export(big, tmp_path / "tar", "webdataset", Options(shard_mb=1))
    shards = sorted((tmp_path / "tar").glob("*.tar"))
    assert len(shards) == 3
    assert all(path.stat().st_size <= 10**6 for path in shards)
    keys: list[str] = []
    for path in shards:
        with tarfile.open(path) as archive:
            for entry in archive:
                assert (entry.mtime, entry.uid, entry.gid, entry.uname) == (0, 0, 0, "")
                keys.append(entry.name.split(".")[0])
    # A sample is in one shard, its files side by side.
    assert sorted(keys) == keys
    export(big, tmp_path / "hf", "hf", Options(shard_mb=1))
    names = sorted(path.name for path in (tmp_path / "hf/data").iterdir())
    split = store.read_index(big)[0]["split"]
    assert names == [f"{split}-{number:05d}.parquet" for number in range(3)]


def test_rows_come_in_groups_that_can_be_streamed(root, records, tmp_path) -> None:
    import datasets
    from pyarrow import parquet

    many = synthetic.copies(root, tmp_path / "set", 130)
    export(many, tmp_path / "out", "hf", Options(layers=("all", "mask_full"), jpeg=90))
    (file,) = (tmp_path / "out/data").glob("train-*.parquet")
    told = parquet.ParquetFile(file)
    assert told.num_row_groups > 1 or told.metadata.num_rows <= 100
    assert all(told.metadata.row_group(i).num_rows <= 100 for i in range(told.num_row_groups))
    rows = datasets.load_dataset(str(tmp_path / "out"), split="train", streaming=True)
    assert list(rows.features) == ["id", "split", "meta", "all", "mask_full"]
    first = next(iter(rows))
    assert first["all"].format == "JPEG"
    record = store.read_index(many)[int(first["id"])]
    assert np.array_equal(np.asarray(first["mask_full"]), stored(many, record, "mask_full"))


@pytest.mark.parametrize("form", ["hf", "webdataset", "coco", "yolo", "lyu", "glasses-detector"])
def test_croissant_leads_to_every_picture(form, root, records, tmp_path, monkeypatch) -> None:
    """The metadata's reader opens the files and finds as many pictures as there are."""
    import mlcroissant
    from mlcroissant._src.core import constants
    from mlcroissant._src.operation_graph.operations import extract

    # It unpacks archives into a folder of the user's.
    monkeypatch.setattr(extract, "EXTRACT_PATH", constants.epath.Path(tmp_path / "cache"))
    export(root, tmp_path / "out", form)
    found = mlcroissant.Dataset(jsonld=str(tmp_path / "out" / "croissant.json"))
    pictures = 0
    for record_set in found.metadata.record_sets:
        for row in found.records(record_set.id):
            pictures += sum(hasattr(value, "getpixel") for value in row.values())
    written = [p for p in (tmp_path / "out").rglob("*") if p.suffix in (".png", ".jpg")]
    keys = len(records[0]["files"])
    assert pictures == {"hf": keys * COUNT, "webdataset": keys * COUNT}.get(form, len(written))


# --- sensor and labels


def test_pictures_as_the_camera_took_them_and_labels_as_they_are(root, records, tmp_path) -> None:
    export(root, tmp_path / "out", "webdataset", Options(sensor=True))
    checked = 0
    for path in (tmp_path / "out").glob("*.tar"):
        with tarfile.open(path) as archive:
            files = {entry.name: archive.extractfile(entry).read() for entry in archive}
        for name in [name for name in files if name.endswith(".json")]:
            record = records[int(name.split(".")[0])]
            clean = {key: stored(root, record, key) for key in record["files"]}
            taken = apply_sensor(clean, spec(record["spec"]["index"]).sensor)
            for key, image in taken.items():
                data = np.frombuffer(files[f"{record['id']}.{key}.png"], np.uint8)
                found = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
                found = found[..., ::-1] if found.ndim == 3 else found
                assert np.array_equal(found, image), key
                assert np.array_equal(image, clean[key]) == (key not in PICTURES)
            checked += 1
    assert checked == COUNT
    data = EyeglassDataset(root, layers=("all", "mask_full"), sensor=True)
    clean = {key: stored(root, records[3], key) for key in ("all", "mask_full")}
    assert np.array_equal(data[3]["all"], apply_sensor(clean, spec(3).sensor)["all"])
    assert np.array_equal(data[3]["mask_full"], clean["mask_full"] // 255)


def test_a_spec_without_a_sensor_is_named(tmp_path) -> None:
    plain = synthetic.dataset(tmp_path / "set", [synthetic.spec(0, size=16)])
    with pytest.raises(DatasetError, match="the spec of sample 000000 has no sensor"):
        export(plain, tmp_path / "out", "hf", Options(sensor=True))
    with pytest.raises(DatasetError, match="the spec of sample 000000 has no sensor"):
        EyeglassDataset(plain, sensor=True)[0]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_labels_are_of_the_picture_that_is_exported(root, records, tmp_path) -> None:
    export(root, tmp_path / "out", "webdataset", Options(size=2 * SIZE, layers=("all",), limit=1))
    (path,) = (tmp_path / "out").glob("*.tar")
    with tarfile.open(path) as archive:
        told = json.load(io.BytesIO(archive.extractfile("000000.json").read()))
    found = json.loads(told["meta"])["labels"]
    assert found["camera_matrix"] == [[120.0, 0.0, 32.0], [0.0, 120.0, 32.0], [0.0, 0.0, 1.0]]
    assert found["anchors_px"] == {"nose_left": [34.0, 30.0]}
    assert found["glasses_box"] == [8, 10, 40, 18]
    assert np.allclose(found["landmarks_px"], 2 * landmarks(0))
    assert found["head_pose_deg"] == {"yaw": 3.0}
    assert found["landmarks_visible"] == labels(0)["landmarks_visible"]
