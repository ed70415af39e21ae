"""The folder of Lyu et al., read back the way its readers do."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pipeline import store
from pipeline.errors import DatasetError, EyeglassError
from pipeline.export import command
from pipeline.export.lyu import count_holes, lens_openings_only, shadow_by_luma
from pipeline.recipe import load_recipe
from pipeline.spec import (
    LAYERS,
    CameraSpec,
    GlassesSpec,
    HeadSpec,
    LightSpec,
    RenderSpec,
    SampleSpec,
)

#: As the readers of the original dataset write it.
READERS_PATTERN = re.compile(
    r"^img-(Glass\d{3})-(\d+)-(\d+_[a-z_]+)-([0-3])-([A-Za-z0-9_]+)-(\d{3})"
    r"-(all|glass|shadow|face|seg|shseg)\.png$"
)
KINDS = ("all", "glass", "shadow", "face", "seg", "shseg")
SHA = "0" * 64


@dataclass(frozen=True)
class Drawn:
    """What the pictures of a test sample show."""

    index: int = 0
    size: int = 64
    glasses: str = "aviator"
    subject: str = "person-000003"
    expression: str = "2_mouth_open"
    nose: float = 1.4
    hdri: str = "studio"
    rotation_deg: int = 7
    broken_rim: bool = False

    def spec(self) -> SampleSpec:
        return SampleSpec(
            seed=0,
            index=self.index,
            attempt=0,
            head=HeadSpec(subject=self.subject, sha256=SHA, expression=self.expression),
            glasses=GlassesSpec(name=self.glasses, sha256=SHA),
            nose=self.nose,
            camera=CameraSpec(focal_mm=50, distance_mm=500, yaw_deg=0, pitch_deg=0, roll_deg=0),
            light=LightSpec(
                hdri=self.hdri, sha256=SHA, rotation_deg=self.rotation_deg, exposure_ev=0
            ),
            render=RenderSpec(size=self.size, spp=1, denoise=False, seed=0),
        )

    def images(self) -> dict[str, np.ndarray]:
        """Two lens openings, a gap between two bridges, a one-pixel leak of the mask."""
        unit = self.size // 32
        frame = np.zeros((32, 32), np.uint8)
        frame[10:22, 2:30] = 255
        left, right, gap = np.s_[12:20, 19:28], np.s_[12:20, 4:13], np.s_[13:16, 14:18]
        lens_left, lens_right = np.zeros_like(frame), np.zeros_like(frame)
        lens_left[left], lens_right[right] = 255, 255
        frame[left] = frame[right] = frame[gap] = 0
        if self.broken_rim:
            frame[:12, 22] = 0
        masks = {"mask_frame": frame, "mask_lens_left": lens_left, "mask_lens_right": lens_right}
        masks["mask_lenses"] = lens_left | lens_right
        masks["mask_legs"] = masks["mask_shadow"] = np.zeros_like(frame)
        masks["mask_full"] = masks["alpha_full"] = frame | lens_left | lens_right
        images = {key: np.kron(m, np.ones((unit, unit), np.uint8)) for key, m in masks.items()}
        rng = np.random.default_rng(self.index)
        face = rng.integers(20, 200, (self.size, self.size, 3)).astype(np.uint8)
        images |= {layer: face.copy() for layer in LAYERS}
        images["shadow"][: self.size // 4] -= 13
        images["all"][: self.size // 4] -= 13
        images["shadow_matte"] = np.full((self.size, self.size), 65535, np.uint16)
        return images


def dataset(root: Path, *samples: Drawn) -> Path:
    records = {}
    for drawn in samples:
        records[drawn.index] = store.make_record(drawn.spec(), {}, {}, [])
        store.write_sample(root, records[drawn.index], drawn.images())
    store.write_index(root, records)
    return root


def export(root: Path, dest: Path) -> str:
    return command.export(root, dest, "lyu")


VARIED = (
    Drawn(0),
    Drawn(1, glasses="round", subject="person-000001", nose=0.5, rotation_deg=359),
    Drawn(2, glasses="cat_eye", hdri="my.light-1k", nose=3.0),
    Drawn(3, hdri="city", nose=0.49, expression="1_neutral"),
)


@pytest.fixture
def varied(tmp_path: Path) -> Path:
    return dataset(tmp_path / "set", *VARIED)


def read_as_the_paper_does(folder: Path) -> list[dict[str, Path]]:
    """Each kind sorted by name, then paired by position."""
    files = [path for path in folder.iterdir() if path.suffix == ".png"]
    kinds = {
        kind: sorted(path for path in files if path.name.split("-")[-1] == f"{kind}.png")
        for kind in KINDS
    }
    return [dict(zip(KINDS, row, strict=True)) for row in zip(*kinds.values(), strict=True)]


def holes_as_a_reader_counts(path: Path) -> int:
    """Contours that have a parent, without any threshold of area."""
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    _, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[-2:]
    return int((np.reshape(hierarchy, (-1, 4))[:, 3] >= 0).sum())


def test_readers_pair_all_kinds_of_every_sample(varied: Path, tmp_path: Path) -> None:
    export(varied, tmp_path / "lyu")
    rows = read_as_the_paper_does(tmp_path / "lyu")
    assert len(rows) == len(VARIED)
    for row in rows:
        assert len({path.name.rsplit("-", 1)[0] for path in row.values()}) == 1
        assert all(READERS_PATTERN.match(path.name) for path in row.values())


def test_layers_are_the_stored_bytes_and_masks_are_grey(varied: Path, tmp_path: Path) -> None:
    export(varied, tmp_path / "lyu")
    names = csv.DictReader((tmp_path / "lyu" / "names.csv").open(encoding="utf-8"))
    ids = {row["name"]: row["id"] for row in names}
    for row in read_as_the_paper_does(tmp_path / "lyu"):
        sample = ids[row["all"].name.removesuffix("-all.png")]
        for kind, path in row.items():
            image = Image.open(path)
            assert image.size == (64, 64)
            assert "transparency" not in image.info
            if kind in LAYERS:
                assert image.mode == "RGB"
                stored = varied / "samples" / "000" / sample / f"{kind}.png"
                assert path.read_bytes() == stored.read_bytes()
            else:
                assert image.mode == "L"
                assert set(np.unique(np.asarray(image))) <= {0, 255}


@pytest.mark.parametrize(
    ("index", "name"),
    [
        (0, "img-Glass000-3-2_mouth_open-1-studio_s000000-007"),
        (1, "img-Glass022-1-2_mouth_open-1-studio_s000001-359"),
        (2, "img-Glass004-3-2_mouth_open-3-my_light_1k_s000002-007"),
        (3, "img-Glass000-3-1_neutral-0-city_s000003-007"),
    ],
)
def test_names_of_known_samples(index: int, name: str, tmp_path: Path) -> None:
    """Numbers of glasses are places in the sorted built-in catalogue; nose 0.5 is node 1."""
    names = {path.stem for path in (Path(__file__).parent.parent / "assets/eyewear").glob("*.yaml")}
    known = {"aviator": 0, "cat_eye": 4, "round": 22}
    assert {name: sorted(names).index(name) for name in known} == known
    export(dataset(tmp_path / "set", VARIED[index]), tmp_path / "lyu")
    assert {path.name.rsplit("-", 1)[0] for path in (tmp_path / "lyu").glob("*.png")} == {name}


def test_names_csv_leads_back_to_every_sample(varied: Path, tmp_path: Path) -> None:
    export(varied, tmp_path / "lyu")
    rows = list(csv.DictReader((tmp_path / "lyu" / "names.csv").open(encoding="utf-8")))
    assert [row["id"] for row in rows] == [drawn.spec().id for drawn in VARIED]
    assert [row["hdri"] for row in rows] == [drawn.hdri for drawn in VARIED]
    assert all((tmp_path / "lyu" / f"{row['name']}-seg.png").is_file() for row in rows)


def test_own_glasses_and_heads_are_numbered_by_name(tmp_path: Path) -> None:
    export(
        dataset(
            tmp_path / "set",
            Drawn(0, glasses="ray", subject="zoe", expression="1_neutral"),
            Drawn(1, glasses="aviator", subject="Anna.1", expression="1_neutral"),
        ),
        tmp_path / "lyu",
    )
    stems = sorted(path.name for path in (tmp_path / "lyu").glob("*-all.png"))
    assert [stem.split("-")[1:3] for stem in stems] == [["Glass000", "0"], ["Glass001", "1"]]


def test_lights_whose_names_fall_together_keep_samples_apart(tmp_path: Path) -> None:
    lights = ("a.b", "a-b", "a_b", "A_b", "a_b_s000000")
    samples = [Drawn(i, hdri=name) for i, name in enumerate(lights)]
    export(dataset(tmp_path / "set", *samples), tmp_path / "lyu")
    rows = read_as_the_paper_does(tmp_path / "lyu")
    assert len({row["seg"].name.lower() for row in rows}) == len(lights)


def test_seg_has_the_two_lens_openings_and_no_other(varied: Path, tmp_path: Path) -> None:
    stored = varied / "samples/000/000000/mask_frame.png"
    assert holes_as_a_reader_counts(stored) == 3
    summary = export(varied, tmp_path / "lyu")
    for row in read_as_the_paper_does(tmp_path / "lyu"):
        assert holes_as_a_reader_counts(row["seg"]) == 2
    frame = Drawn().images()["mask_frame"]
    seg = lens_openings_only(frame, Drawn().images()["mask_lenses"])
    assert np.argwhere(seg != frame).min(axis=0).tolist() == [26, 28]
    assert np.argwhere(seg != frame).max(axis=0).tolist() == [31, 35]
    assert "lack exactly two holes" not in summary


def test_specks_are_closed_because_readers_have_no_threshold() -> None:
    """A temple seen through a lens cuts slivers off its opening; 32 px of 256 x 256 are 0.05%."""
    images = Drawn(size=256).images()
    lenses = images["mask_lenses"]
    for width, holes in ((1, 2), (2, 3)):
        frame = images["mask_frame"].copy()
        frame[96:129, 32 + width] = frame[128, 32 : 32 + width] = 255
        assert not frame[96:128, 32 : 32 + width].any()
        assert count_holes(lens_openings_only(frame, lenses)) == holes


def test_open_rims_are_left_open_and_counted(tmp_path: Path) -> None:
    samples = (Drawn(0), Drawn(1, broken_rim=True))
    summary = export(dataset(tmp_path / "set", *samples), tmp_path / "lyu")
    assert "2 samples, 12 images" in summary
    assert "1 of 2 seg lack exactly two holes" in summary
    seg = next((tmp_path / "lyu").glob("*s000001*-seg.png"))
    assert holes_as_a_reader_counts(seg) == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ((0, 0, 0), 0),
        ((12, 13, 13), 0),  # 12.70
        ((35, 1, 15), 0),  # 12.74
        ((26, 0, 45), 0),  # 12.75
        ((38, 1, 7), 255),  # 12.76
        ((42, 0, 1), 0),  # 12.71
        ((13, 13, 12), 255),  # 12.89
        ((0, 22, 0), 255),  # 12.98
        ((43, 0, 0), 255),  # 12.90
        ((0, 0, 115), 0),  # 12.65
        ((0, 0, 116), 255),  # 12.76
    ],
)
def test_shadow_by_luma_at_the_threshold(change: tuple[int, int, int], expected: int) -> None:
    """Either sign counts; 12.75 itself is no shadow yet."""
    base = np.full((1, 1, 3), 120, np.uint8)
    changed = base + np.array(change, np.uint8)
    assert shadow_by_luma(changed, base)[0, 0] == expected
    assert shadow_by_luma(base, changed)[0, 0] == expected


def test_shseg_is_computed_from_the_exported_images(varied: Path, tmp_path: Path) -> None:
    export(varied, tmp_path / "lyu")
    for row in read_as_the_paper_does(tmp_path / "lyu"):
        lit, dark = (np.asarray(Image.open(row[kind]), float) for kind in ("glass", "all"))
        change = np.abs(lit - dark) @ (0.3, 0.59, 0.11)
        assert np.array_equal(np.asarray(Image.open(row["shseg"])) == 255, change > 12.75)


def test_other_sizes_keep_their_size_and_are_warned_of(tmp_path: Path) -> None:
    assert "warning: images are 64 px" in export(dataset(tmp_path / "a", Drawn()), tmp_path / "b")
    paper = dataset(tmp_path / "c", Drawn(size=256))
    assert "warning" not in export(paper, tmp_path / "d")


def test_an_empty_folder_serves_and_a_parent_is_made(varied: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    export(varied, tmp_path / "empty")
    export(varied, tmp_path / "x" / "y")
    others = {"README.md", "croissant.json", "names.csv"}
    written = {path.name for path in (tmp_path / "x" / "y").iterdir()}
    assert others < written
    assert len(written) == 6 * len(VARIED) + len(others)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "set", "x"]


def _remove(path: Path) -> None:
    path.unlink()


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _resize(path: Path) -> None:
    Image.open(path).resize((8, 8)).save(path)


def _add_alpha(path: Path) -> None:
    Image.open(path).convert("RGBA").save(path)


@pytest.mark.parametrize("spoil", [_remove, _truncate, _flip, _empty, _resize, _add_alpha])
@pytest.mark.parametrize("key", ["shadow", "mask_frame"])
def test_a_spoilt_image_is_named_and_nothing_is_left(spoil, key: str, tmp_path: Path) -> None:
    root = dataset(tmp_path / "set", *VARIED)
    image = root / "samples/000/000002" / f"{key}.png"
    spoil(image)
    with pytest.raises(DatasetError, match=re.escape(str(image))) as caught:
        export(root, tmp_path / "parent" / "lyu")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_destination_with_other_data_is_left_alone(varied: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.tex").write_text("mine")
    with pytest.raises(DatasetError, match="holds other data"):
        export(varied, taken)
    assert [path.name for path in taken.iterdir()] == ["thesis.tex"]
    file = tmp_path / "file"
    file.write_text("mine")
    for dest in (file, file / "below"):
        with pytest.raises(DatasetError):
            export(varied, dest)
    with pytest.raises(DatasetError, match="holds other data"):
        export(varied, varied)
    assert file.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "set", "taken"]


def test_no_dataset_an_empty_one_and_a_broken_record(varied: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"index\.jsonl"):
        export(tmp_path / "nowhere", tmp_path / "lyu")
    (tmp_path / "none").mkdir()
    with pytest.raises(DatasetError, match="no finished samples"):
        export(dataset(tmp_path / "none"), tmp_path / "lyu")
    index = varied / store.INDEX
    lines = index.read_text().splitlines(keepends=True)
    index.write_text("".join([*lines, lines[0]]))
    with pytest.raises(DatasetError, match="twice"):
        export(varied, tmp_path / "lyu")
    index.write_text(lines[0].replace('"nose": 1.4', '"nose": 14', 2))
    with pytest.raises(EyeglassError, match=r"line 1: \$\.nose"):
        export(varied, tmp_path / "lyu")
    assert not (tmp_path / "lyu").exists()


def test_names_that_the_scheme_cannot_hold(tmp_path: Path) -> None:
    odd = dataset(tmp_path / "odd", Drawn(expression="Smile"))
    with pytest.raises(DatasetError, match="'Smile'"):
        export(odd, tmp_path / "lyu")
    root = dataset(tmp_path / "many", Drawn())
    many = {
        i: store.make_record(replace(Drawn(i), glasses=f"pair{i:04d}").spec(), {}, {}, [])
        for i in range(1001)
    }
    store.write_index(root, many)
    with pytest.raises(DatasetError, match="1001 pairs of glasses"):
        export(root, tmp_path / "lyu")


def test_the_scene_of_lyu_has_glasses_of_two_openings_only(catalog):
    """One of its readers drops samples whose `seg` has another number of closed holes."""
    names = load_recipe("lyu").glasses
    assert len(names) == 5
    for name in names:
        entry = catalog.glasses[name]
        assert entry.build(entry.typical()).holes == 2, name
