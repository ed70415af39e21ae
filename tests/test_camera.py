"""The camera against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.camera import View, face_centre, world_from_camera
from pipeline.geometry import Anchors
from pipeline.spec import CameraSpec

CENTRE = np.array([0.0, -30.0, 60.0])


def camera(**changes: float) -> CameraSpec:
    """72 mm on a 36 mm sensor: the focal length is two pictures wide. One metre away."""
    given = {"focal_mm": 72.0, "distance_mm": 1000.0, "yaw_deg": 0.0, "pitch_deg": 0.0,
             "roll_deg": 0.0}  # fmt: skip
    return CameraSpec(**(given | changes))


@pytest.mark.parametrize(
    ("changes", "offset", "expected"),
    [
        # In the middle; 100 mm to the subject's left is 100 / 1000 * 200 px to the right.
        ({}, (0, 0, 0), (50, 50)),
        ({}, (100, 0, 0), (70, 50)),
        ({}, (0, 100, 0), (50, 30)),
        # Halfway to the camera everything is twice as large.
        ({}, (100, 0, 500), (90, 50)),
        # From the subject's left, the face looks to the left of the picture.
        ({"yaw_deg": 90.0}, (0, 0, 100), (30, 50)),
        ({"yaw_deg": 90.0}, (500, 0, 0), (50, 50)),
        # From above, the top of the head comes towards the camera, the nose points down.
        ({"pitch_deg": 60.0}, (0, 0, 100), (50, 50 + 200 * 100 * 3**0.5 / 2 / 950)),
        # The content turns clockwise: what was on top goes to the right.
        ({"roll_deg": 90.0}, (0, 100, 0), (70, 50)),
        # Shifts are shares of the picture, right and up.
        ({"shift_x": 0.1, "shift_y": 0.2}, (0, 0, 0), (60, 30)),
    ],
)
def test_projection(changes, offset, expected):
    seen_by = camera(**changes)
    pose = world_from_camera(seen_by, CENTRE)
    view = View(pose, seen_by.focal_mm, seen_by.shift_x, seen_by.shift_y)
    pixels = view.project(CENTRE + np.array([offset], float), 100)
    assert pixels[0] == pytest.approx(expected, abs=1e-9)


def test_the_pose_is_rigid_and_right_handed():
    pose = world_from_camera(camera(yaw_deg=33.0, pitch_deg=-12.0, roll_deg=7.0), CENTRE)
    assert pose[:3, :3] @ pose[:3, :3].T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
    assert np.linalg.norm(pose[:3, 3] - CENTRE) == pytest.approx(1000.0)


def test_the_face_centre_lies_between_ears_and_nose_and_below_the_pads():
    anchors = Anchors(*np.array([[70, 0, 0], [-70, 0, 0], [11, -20, 100], [-9, -20, 100.0]]))
    assert face_centre(anchors) == pytest.approx([0.5, -42.0, 50.0])
