"""`eyeglass assets --sheet`: pictures of eyewear alone, pasted in rows."""

from __future__ import annotations

import base64
import subprocess
import sys

import cv2
import numpy as np

from pipeline import sheet
from pipeline.blender.sheet import ASPECT, render_looks
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
    count = sheet.draw_sheet(catalog, None, tmp_path / "sheet.png")
    looks = [len(entry.looks()) for entry in catalog.glasses.values()]
    assert count == sum(looks)
    picture = read_image(tmp_path / "sheet.png")
    height = picture.shape[0] // len(looks)
    assert picture.shape == (len(looks) * (20 + 18), max(looks) * 40, 3)
    for row, cells in enumerate(looks):
        middle = picture[row * height + 18 + 10]
        assert (middle == (200, 10, 30)).all(axis=1).sum() == 40 * cells


def test_a_sheet_that_cannot_be_written_is_told_at_once(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "assets", "--sheet", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    expected = "a file in a folder that can be written is expected"
    assert done.stderr == f"Error: {tmp_path}: {expected}\n"
