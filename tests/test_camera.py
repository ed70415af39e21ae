"""Camera, views and dataset crops against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.align import celeba_square, face_points, ffhq_square
from pipeline.camera import View, angles_of, face_centre, view_of, world_from_camera
from pipeline.catalog.head import bare_head, person
from pipeline.errors import AssetError
from pipeline.geometry import Anchors, Head
from pipeline.spec import CameraSpec

CENTRE = np.array([0.0, -30.0, 60.0])


def camera(**changes) -> CameraSpec:
    """72 mm on a 36 mm sensor: the focal length is two pictures wide. One metre away."""
    given = {"focal_mm": 72.0, "distance_mm": 1000.0, "yaw_deg": 0.0, "pitch_deg": 0.0,
             "roll_deg": 0.0}  # fmt: skip
    return CameraSpec.model_validate(given | changes)


def head_at_centre(**known) -> Head:
    """A head of anchors only, whose face centre is `CENTRE`."""
    nose = np.array([0.0, CENTRE[1] + 22.0, CENTRE[2]])
    temple = np.array([0.0, 0.0, CENTRE[2]])
    return Head("points", {}, Anchors(temple, temple, nose, nose), **known)


def view(**changes) -> View:
    return view_of(camera(**changes), head_at_centre())


PROJECTED = [
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
    # 24 mm at arm's length: 100 / 500 * 24 / 36 of the picture.
    ({"focal_mm": 24.0, "distance_mm": 500.0}, (100, 0, 0), (50 + 100 * 0.2 * 24 / 36, 50)),
]


@pytest.mark.parametrize(("changes", "offset", "expected"), PROJECTED)
def test_projection(changes, offset, expected):
    point = CENTRE + np.array([offset], float)
    seen = view(**changes)
    assert seen.project(point, 100)[0] == pytest.approx(expected, abs=1e-9)
    # The same by the matrices that a record holds, and back along the ray.
    rigid = seen.camera_from_head()
    there = seen.matrix(100) @ (rigid[:3, :3] @ point[0] + rigid[:3, 3])
    assert there[:2] / there[2] == pytest.approx(expected, abs=1e-9)
    way = point[0] - seen.pose[:3, 3]
    assert seen.rays(np.array([expected], float), 100)[0] == pytest.approx(
        way / np.linalg.norm(way), abs=1e-9
    )


def test_the_pose_is_rigid_and_right_handed_and_gives_its_angles_back():
    pose = world_from_camera(camera(yaw_deg=33.0, pitch_deg=-12.0, roll_deg=7.0), CENTRE)
    assert pose[:3, :3] @ pose[:3, :3].T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
    assert np.linalg.norm(pose[:3, 3] - CENTRE) == pytest.approx(1000.0)
    assert angles_of(pose) == pytest.approx((33.0, -12.0, 7.0))


def test_the_face_centre_lies_between_ears_and_nose_and_below_the_pads():
    anchors = Anchors(*np.array([[70, 0, 0], [-70, 0, 0], [11, -20, 100], [-9, -20, 100.0]]))
    assert face_centre(anchors) == pytest.approx([0.5, -42.0, 50.0])


def test_a_lens_is_in_focus_at_the_nearer_eye_and_blurs_by_its_opening():
    """72 mm at f/2 is 36 mm wide. The left eye, 30 mm nearer at yaw 90, lies 970 mm ahead; a point
    at 1,940 mm is seen as a disc of 36 / 2 * 200 px * (1 / 970 - 1 / 1940) radius."""
    aside = np.array([30.0, 0, 0])
    eyes = {"eye_left": CENTRE + aside, "eye_right": CENTRE - aside}
    seen = view_of(camera(f_number=2.0, yaw_deg=90.0), head_at_centre(**eyes))
    assert seen.aperture_mm == 36.0
    assert seen.focus_mm == pytest.approx(970.0)
    points = np.array([eyes["eye_left"], eyes["eye_left"] - np.array([970.0, 0, 0])])
    assert seen.blur_px(points, 100) == pytest.approx([0.0, 18 * 200 / 1940], abs=1e-9)
    assert view().blur_px(points, 100) == pytest.approx([0.0, 0.0])


def test_the_square_of_ffhq():
    """By hand: eyes 40 px apart and level, mouth 50 px below: the half edge is the longer of 2 * 40
    and 1.8 * 50, its centre 5 px below the eyes."""
    points = np.array([[80, 100], [120, 100], [85, 150], [115, 150.0]])
    corner, edge = ffhq_square(points)
    assert corner == pytest.approx([100 - 90, 105 - 90])
    assert edge == pytest.approx([180, 0])
    # Mouth so near that the eyes decide: 2 * 40.
    points[2:, 1] = 130
    corner, edge = ffhq_square(points)
    assert corner == pytest.approx([100 - 80, 103 - 80])
    assert edge == pytest.approx([160, 0])
    # All turned by 90 degrees clockwise (u, v) -> (-v, u): so is the square.
    corner, edge = ffhq_square(np.stack([-points[:, 1], points[:, 0]], axis=1))
    assert corner == pytest.approx([-(103 - 80), 100 - 80])
    assert edge == pytest.approx([0, 160])


def test_the_square_of_celeba():
    """Eyes at their places in CelebA's 178 x 218 px give its middle rows, 20 to 198."""
    points = np.array([[69.0, 111], [108, 111], [0, 0], [0, 0]])
    corner, edge = celeba_square(points)
    assert corner == pytest.approx([0, 20])
    assert edge == pytest.approx([178, 0])


POSES = [
    {"yaw_deg": 0.0}, {"yaw_deg": 50.0, "pitch_deg": -20.0, "roll_deg": 17.0},
    {"focal_mm": 24.0, "distance_mm": 450.0, "yaw_deg": -30.0, "shift_x": 0.2, "roll_deg": -9.0},
    {"focal_mm": 135.0, "distance_mm": 1500.0, "pitch_deg": 25.0, "shift_y": -0.1},
]  # fmt: skip


@pytest.mark.parametrize("pose", POSES)
def test_an_aligned_view_is_the_crop_of_the_view_before(pose):
    """Each point lands where the similarity takes it that the crop's formulae make of the photo."""
    head = bare_head(person(7), "3_smile")
    photo = view_of(camera(**pose), head)
    marks = photo.project(head.landmarks, 640)
    eyes = marks[36:42].mean(axis=0), marks[42:48].mean(axis=0)
    for align, square in (("ffhq", ffhq_square), ("celeba", celeba_square)):
        found = view_of(camera(**pose, align=align), head)
        # Eyes are means of points in space, whose image is not quite the mean of their images.
        assert np.abs(photo.project(face_points(head), 640)[:2] - eyes).max() < 1.0
        corner, edge = square(photo.project(face_points(head), 640))
        side = np.hypot(*edge)
        across = edge / side
        turned = (marks - corner) @ np.array([across, [-across[1], across[0]]]).T
        assert found.project(head.landmarks, 256) == pytest.approx(turned / side * 256, abs=1e-6)
        assert found.pose[:3, 3] == pytest.approx(photo.pose[:3, 3])
        assert found.pose[:3, 2] == pytest.approx(photo.pose[:3, 2])


def test_roll_and_shift_of_the_photo_leave_an_aligned_picture_as_it_is():
    head = bare_head(person(3), "1_neutral")
    for align in ("ffhq", "celeba"):
        views = [
            view_of(camera(yaw_deg=20.0, align=align, roll_deg=roll, shift_x=shift), head)
            for roll, shift in ((0.0, 0.0), (31.0, 0.3))
        ]
        first, second = (seen.project(head.landmarks, 256) for seen in views)
        assert first == pytest.approx(second, abs=1e-6)


def test_heads_without_landmarks_are_aligned_by_their_anchors():
    """Near to where landmarks put the crop: eyes and mouth of persons lie where nodes say."""
    for number in range(0, 40, 8):
        head = bare_head(person(number), "1_neutral")
        known, unknown = face_points(head), face_points(replace(head, landmarks=None))
        assert np.linalg.norm(known - unknown, axis=1).max() < 14.0
        scaled = replace(
            head, landmarks=None, anchors=Anchors(*(2.0 * head.anchors.as_array() + 5.0))
        )
        assert face_points(scaled) == pytest.approx(2.0 * unknown + 5.0)


def test_a_camera_within_the_face_has_no_crop():
    head = bare_head(person(3), "1_neutral")
    giant = replace(head, landmarks=10.0 * head.landmarks)
    with pytest.raises(AssetError, match="too near for align: ffhq"):
        view_of(camera(distance_mm=120.0, align="ffhq"), giant)
