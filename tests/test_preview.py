"""Sheets to tune a recipe by."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import preview as sheet
from pipeline.distributions import Mix
from pipeline.errors import EyeglassError, RecipeError
from pipeline.jobs import AssetFolders
from pipeline.recipe import load_recipe
from pipeline.store import read_image


def request(out, *changes, scene="smoke"):
    return sheet.Request(scene, changes, 0, out, AssetFolders(), "cpu")


def test_a_sheet_shows_pictures_with_captions_and_reasons(tmp_path, monkeypatch):
    monkeypatch.setattr(sheet, "THUMBNAILS", 2)
    monkeypatch.setattr(sheet, "SIZE_PX", 64)
    monkeypatch.setattr(sheet, "SPP", 2)
    out = tmp_path / "sheet.png"
    tight = "limits.worn.vertex_max_mm=16"
    text = sheet.preview(request(out, tight, "camera.yaw_deg=40", "people.count=2"))
    first, second = text.split("\n\n")
    for caption in (first, second):
        assert "person-00000" in caption
        assert "yaw 40" in caption
        assert "mean 0." in caption
        assert "lens to eye" in caption
    assert "rejected " in text
    assert "vertex" in text
    picture = read_image(out)
    assert picture.shape[1] == 2 * 64
    assert picture[:64, :64].std() > 5


def test_a_sample_that_nothing_fits_is_an_empty_place_with_its_reasons(tmp_path, monkeypatch):
    monkeypatch.setattr(sheet, "THUMBNAILS", 1)
    out = tmp_path / "sheet.png"
    text = sheet.preview(request(out, "limits.worn.vertex_max_mm=5"))
    assert text.startswith("sample 0: nothing could be worn\nrejected ")
    assert (read_image(out)[:64, :64] == 215).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("camera.yaw=40", "smoke: $.camera.yaw: unknown key, did you mean 'yaw_deg'?"),
        ("camera.yaw_deg=140", "smoke: $.camera.yaw_deg: must lie within -90 and 90"),
        ("camera.yaw_deg.mean=3", "smoke: $.camera.yaw_deg: a number, [low, high], {mean, "),
        ("camera", "--set camera: KEY=VALUE is expected, like camera.yaw_deg=40"),
        ("=3", "--set =3: KEY=VALUE is expected"),
        ("camera..yaw=3", "--set camera..yaw=3: KEY=VALUE is expected"),
        ("nose=[1", "--set nose=[1: not valid YAML: "),
        ("glasses=aviatr", "smoke: $.glasses: unknown name 'aviatr'; did you mean 'aviator'?"),
    ],
)
def test_a_change_is_checked_as_the_file_is_and_nothing_written(change, said, tmp_path):
    with pytest.raises(RecipeError) as error:
        sheet.preview(request(tmp_path / "sheet.png", change))
    assert str(error.value).startswith(said)
    assert not list(tmp_path.iterdir())


def test_changes_replace_values_add_mappings_and_come_in_turn():
    recipe = load_recipe(
        "smoke", ["camera.yaw_deg={mix: [[1, 0], [2, [30, 40]]]}", "gaze.at_camera=0.5",
                  "glasses=[round, oval]", "nose=1", "nose=2"],
    )  # fmt: skip
    assert recipe.camera.yaw_deg == Mix(mix=[(1.0, 0.0), (2.0, [30.0, 40.0])])
    assert recipe.camera.focal_mm == load_recipe("smoke").camera.focal_mm
    assert recipe.gaze.at_camera == 0.5
    assert recipe.glasses == ["round", "oval"]
    assert recipe.nose == 2


def test_a_sheet_is_a_png_that_can_be_written(tmp_path):
    for out in (tmp_path / "sheet.jpg", tmp_path, tmp_path / "none" / "sheet.png"):
        with pytest.raises(EyeglassError, match="expected"):
            sheet.preview(request(out))


def test_burnt_and_black_pixels_are_counted_apart():
    """Of 100 pixels: 20 black, 10 burnt in one channel, 5 dark in two channels only."""
    picture = np.full((10, 10, 3), 100, np.uint8)
    picture[:2], picture[2, :, 0], picture[3, :5, :2] = 0, 255, 0
    camera = {"focal_mm": 50, "distance_mm": 500, "yaw_deg": -0.2, "pitch_deg": 0, "roll_deg": 0,
              "f_number": 2.0}  # fmt: skip
    record = {"id": "000001", "subject": "person-000001", "expression": "1_neutral", "nose": 1.0,
              "glasses": "round", "wear": "worn", "hdri": "studio", "rejected": [],
              "fit": {"vertex_distance_mm": 12.0}, "spec": {"camera": camera}}  # fmt: skip
    lines = sheet.caption(record, picture)
    assert lines[2] == "50 mm, f/2.0 at 500 mm, yaw 0 pitch 0 roll 0"
    assert lines[3].endswith("burnt 10%, black 20%")
    assert lines[4] == "lens to eye 12.0"


def test_long_captions_are_broken_within_their_column():
    printed = sheet._printed(["word " * 40, "x" * 60, ""])
    assert printed.shape[1] == sheet.SIZE_PX
    assert (printed[:, -4:] == 255).all()
    # And fill it: the first line goes most of the way.
    assert np.nonzero(printed[:16].min(axis=(0, 2)) < 120)[0].max() > 0.8 * sheet.SIZE_PX
