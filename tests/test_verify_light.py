"""A small `make verify-light`, and its figures and edges worked out by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from campaigns.verify_light import Seen, by_what_was_asked, exposure, figures, passed

from pipeline.shadowkind import Face, Shadow, edge_widths, face_of, shadow_on
from pipeline.spec import CameraSpec


def test_figures_of_five_samples():
    seen = [
        Seen("hard", "hard", 100.0, 0.0), Seen("hard", "soft", 120.0, 0.2),
        Seen("soft", "soft", 5.0, 0.0), Seen("none", "none", 140.0, 0.0),
        Seen("none", "faint", 135.0, 0.0),
    ]  # fmt: skip
    found = figures(seen)
    assert found["with a visible shadow"] == pytest.approx(0.6)
    assert found["with a hard shadow"] == pytest.approx(0.2)
    assert found["with none"] == pytest.approx(0.2)
    assert found["black faces"] == pytest.approx(0.2)
    assert found["burnt faces"] == pytest.approx(0.2)
    assert found["mean luma of faces, of 255"] == pytest.approx(100.0)
    assert not passed(found)
    assert passed(found | {"black faces": 0.0, "burnt faces": 0.0})
    assert by_what_was_asked(seen).splitlines()[1].split() == ["hard", "0", "0", "1", "1"]


def test_exposure_of_four_pixels():
    face = np.array([[[255, 0, 0], [0, 0, 0]], [[100, 100, 100], [9, 9, 9]]], np.uint8)
    mask = np.array([[True, True], [True, False]])
    mean, clipped = exposure(face, mask)
    assert mean == pytest.approx((0.2126 * 255 + 0 + 100) / 3)
    assert clipped == pytest.approx(1 / 3)


def matte(sigma_px, angle, size=96, finer=8):
    """The share of light left beside an edge of a normal blur, by squares of pixels."""
    y, x = (np.mgrid[: size * finer, : size * finer] + 0.5) / finer - size / 2
    dark = (x * np.cos(angle) + y * np.sin(angle) < 0).astype(np.float32)
    if sigma_px:
        dark = cv2.GaussianBlur(dark, (0, 0), sigma_px * finer)
    return (1 - 0.6 * dark).reshape(size, finer, size, finer).mean(axis=(1, 3)).astype(np.float32)


@pytest.mark.parametrize("angle", [0.0, 0.3, 0.8, 2.0])
@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.0])
def test_an_edge_is_as_wide_as_it_was_made(sigma, angle):
    """From 10% to 90% of a normal distribution is 2.563 sigma; the pixels' blur is taken off."""
    left = matte(sigma, angle)
    dark = (left < 0.7).astype(np.uint8)
    border = (dark > 0) & (cv2.erode(dark, np.ones((3, 3), np.uint8)) == 0)
    border[:20] = border[-20:] = border[:, :20] = border[:, -20:] = False
    widths = edge_widths(left, border)
    # Pixels blur less across their corners, a quarter of a pixel at the most.
    assert np.median(widths) == pytest.approx(2.563 * sigma, rel=0.1, abs=0.25)


def test_a_step_has_hardly_any_width_and_a_flat_field_no_edge():
    left = matte(0.0, 0.4)
    dark = (left < 0.7).astype(np.uint8)
    border = (dark > 0) & (cv2.erode(dark, np.ones((3, 3), np.uint8)) == 0)
    border[:20] = border[-20:] = False
    assert np.median(edge_widths(left, border)) < 0.6
    assert np.isinf(edge_widths(np.ones_like(left), border)).all()


def shadow(sigma, share):
    """A face of 96 x 96 px whose shadow covers a share of it, from the left."""
    left = np.roll(matte(sigma, 0.0), round((share - 0.5) * 96), axis=1)
    left[:, -30:] = 1.0
    face = Face(np.ones((96, 96), bool), 96.0)
    mask = np.where(left < 0.7, 255, 0).astype(np.uint8)
    return shadow_on(face, mask, np.rint(left * 65535).astype(np.uint16))


def test_kinds_of_shadows():
    assert shadow(0.3, 0.3).kind == "hard"
    assert shadow(0.3, 0.3).share == pytest.approx(0.3, abs=0.02)
    assert shadow(3.0, 0.3).kind == "soft"
    assert Shadow(0.0004, 1.0).kind == "none"
    assert Shadow(0.004, 1.0).kind == "faint"
    nothing = Face(np.zeros((96, 96), bool), 1.0)
    lit = np.full((96, 96), 65535, np.uint16)
    assert shadow_on(nothing, np.zeros((96, 96), np.uint8), lit).kind == "none"


def test_shadows_without_a_border_and_with_a_very_long_one():
    """A face wholly in shade; and stripes, some 44,000 px of border."""
    whole = Face(np.ones((64, 64), bool), 64.0)
    dark = np.full((64, 64), 20000, np.uint16)
    assert shadow_on(whole, np.full((64, 64), 255, np.uint8), dark) == Shadow(1.0, 0.0)
    striped = np.full((512, 512), 65535, np.uint16)
    striped[:, np.arange(512) // 6 % 2 == 0] = 20000
    mask = np.where(striped < 65535, 255, 0).astype(np.uint8)
    striped_face = Face(np.ones((512, 512), bool), 512.0)
    assert shadow_on(striped_face, mask, striped).hard > 0.9


def test_the_face_is_where_the_camera_sees_it(catalog):
    head = catalog.heads.load("person-000004", "1_neutral")
    camera = CameraSpec(focal_mm=85, distance_mm=860, yaw_deg=0, pitch_deg=0, roll_deg=0)
    face = face_of(camera, head, 128)
    # A face is 120 to 165 mm wide, its front nearer to the camera than its middle by some 50 mm.
    width_mm = face.width_px / 128 * 36 / 85 * 860
    assert 120 < width_mm < 180
    rows, columns = np.nonzero(face.mask)
    assert abs(columns.mean() - 63.5) < 3
    assert 0.6 < face.mask.sum() / (np.ptp(rows) * np.ptp(columns)) < 0.95
    aside = face_of(camera.model_copy(update={"shift_x": 0.2}), head, 128)
    assert np.nonzero(aside.mask)[1].mean() == pytest.approx(columns.mean() + 25.6, abs=1)
