"""`eyeglass assets --sheet`: pictures of eyewear alone, pasted in rows."""

from __future__ import annotations

import base64
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline import sheet
from pipeline.blender.sheet import ASPECT, render_looks, render_people
from pipeline.camera import gaze_at
from pipeline.catalog.catalog import Catalog, UserHeads
from pipeline.errors import EyeglassError
from pipeline.store import encode_png, read_image


def test_a_look_is_dark_frames_before_bright_paper(catalog):
    look = catalog.glasses["square"].looks()[0]
    (data,) = render_looks(None, [("square", {**look, "frame": "black"})], 96, 2)
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (round(96 * ASPECT), 96, 3)
    grey = picture.mean(axis=2)
    assert np.median(grey) > 120
    # The front fills about half the width, and none of it is cut off.
    dark = np.flatnonzero((grey < 60).any(axis=0))
    assert 40 < np.ptp(dark) < 94
    assert dark[0] > 1
    assert dark[-1] < 95


@pytest.mark.parametrize(("lenses", "order"), [("blue_mirror", 1), ("gold_mirror", -1)])
def test_a_mirror_has_the_colour_of_its_name(catalog, lenses, order):
    look = {**catalog.glasses["aviator"].looks()[0], "lenses": lenses, "frame": "black_metal"}
    (data,) = render_looks(None, [("aviator", look)], 96, 2)
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)
    # The middle of the lens on the right, which reflects the lamp.
    rows, columns = slice(24, 32), slice(54, 62)
    blue, _, red = picture[rows, columns].reshape(-1, 3).mean(axis=0)
    assert order * (blue - red) > 30


def test_looks_show_every_finish(catalog):
    for name, entry in catalog.glasses.items():
        looks = entry.looks()
        for key in ("frame", "lenses"):
            shown = {look[key] for look in looks}
            drawn = {entry.draw(np.random.default_rng(i))[key] for i in range(40)}
            assert drawn <= shown, name


def test_a_sheet_has_a_row_a_design(catalog, monkeypatch, tmp_path):
    cell = np.full((20, 40, 3), (200, 10, 30), np.uint8)
    answer = {"png": base64.b64encode(encode_png(cell)).decode()}

    def fake(module, request):
        assert module == "pipeline.blender.sheet"
        return iter([answer] * len(request["looks"]))

    monkeypatch.setattr(sheet, "ask", fake)
    count = sheet.draw_looks(catalog, None, tmp_path / "sheet.png")
    looks = [len(entry.looks()) for entry in catalog.glasses.values()]
    assert count == sum(looks)
    picture = read_image(tmp_path / "sheet.png")
    height = picture.shape[0] // len(looks)
    assert picture.shape == (len(looks) * (20 + 18), max(looks) * 40, 3)
    for row, cells in enumerate(looks):
        middle = picture[row * height + 18 + 10]
        assert (middle == (200, 10, 30)).all(axis=1).sum() == 40 * cells


def test_a_person_is_shown_looking_at_the_camera(catalog):
    spec = sheet.person_spec(catalog, catalog.heads, 1)
    render = spec.render.model_copy(update={"size": 48, "spp": 4})
    (data,) = render_people(None, [spec.model_copy(update={"render": render})], 2)
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (48, 48, 3)
    # A face in the middle: skin, so redder than blue, and neither black nor white.
    blue, _, red = picture[16:36, 16:32].reshape(-1, 3).mean(axis=0)
    assert 20 < blue < red < 250
    assert spec.head.gaze == gaze_at(spec.camera)
    assert spec.head.gaze_yaw_deg > 10


def test_people_are_eight_a_row_in_alternating_lights(catalog, monkeypatch, tmp_path):
    asked = []

    def fake(module, request):
        assert module == "pipeline.blender.sheet"
        asked.extend(request["people"])
        cell = np.full((20, 40, 3), (200, 10, 30), np.uint8)
        return iter([{"png": base64.b64encode(encode_png(cell)).decode()}] * len(asked))

    monkeypatch.setattr(sheet, "ask", fake)
    assert sheet.draw_people(catalog, None, tmp_path / "people.png") == 64
    assert read_image(tmp_path / "people.png").shape == (8 * (20 + 18), 8 * 40, 3)
    assert [spec["head"]["subject"] for spec in asked] == [f"person-{k:06d}" for k in range(64)]
    for column in range(8):
        shown = asked[column::8]
        assert {spec["light"]["hdri"] for spec in shown} == {"courtyard", "studio", "night"}
        assert len({spec["camera"]["yaw_deg"] for spec in shown}) > 4


def test_people_of_a_folder_are_not_shown(catalog, tmp_path):
    theirs = Catalog(UserHeads({}, {}), catalog.glasses, catalog.lights)
    with pytest.raises(EyeglassError, match="leave --heads out"):
        sheet.draw_people(theirs, None, tmp_path / "people.png")


def test_an_interrupted_sheet_does_not_promise_to_continue(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "assets", "--people", str(tmp_path / "p.png")],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    # Once its own child is there, it is well under way.
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
    waited = time.monotonic() + 30
    while not children.read_text() and time.monotonic() < waited:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 130
    assert said.strip() == "Interrupted."
    assert not list(tmp_path.iterdir())


def test_a_sheet_that_cannot_be_written_is_told_at_once(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "assets", "--sheet", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    expected = "a file in a folder that can be written is expected"
    assert done.stderr == f"Error: {tmp_path}: {expected}\n"
