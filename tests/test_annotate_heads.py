"""Automatic anchors of heads: right on what we know, the same however it lies, unsure elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import trimesh

from pipeline.annotate.heads import propose_head
from pipeline.annotate.propose import LEAST_CONFIDENCE, propose
from pipeline.annotate.registration import Pose, fit_pose, reference, sample, similarity
from pipeline.catalog.head import bare_head, person
from pipeline.catalog.piece import Piece
from pipeline.errors import Unsure
from pipeline.geometry import FloatArray, Head, Surface
from pipeline.transforms import apply, rotation_about

#: An arbitrary turn, then other signs and orders of the axes.
TURN = rotation_about((1.0, 2.0, -0.5), 131.0)[:3, :3]


def piece(vertices: FloatArray, faces: np.ndarray, name: str = "mesh") -> Piece:
    return Piece(name, "", Surface(np.asarray(vertices, float), np.asarray(faces, np.int64)))


def pieces_of(head: Head, matrix: FloatArray | None = None) -> list[Piece]:
    matrix = np.eye(4) if matrix is None else matrix
    return [
        piece(apply(matrix, surface.vertices), surface.triangles(), name)
        for name, surface in head.surfaces.items()
    ]


def placed(scale: float, rotation: FloatArray, origin: tuple[float, ...]) -> FloatArray:
    matrix = np.eye(4)
    matrix[:3, :3] = scale * rotation
    matrix[:3, 3] = origin
    return matrix


def errors_mm(found: FloatArray, head: Head, matrix: FloatArray) -> FloatArray:
    """(4,) mm between proposed points in the file and the person's own anchors."""
    scale = np.cbrt(np.linalg.det(matrix[:3, :3]))
    return np.linalg.norm(found - apply(matrix, head.anchors.as_array()), axis=1) / scale


def assert_near(errors: FloatArray) -> None:
    assert errors[:2].max() < 4.0, f"temple nodes off by {errors[:2].round(1)} mm"
    assert errors[2:].max() < 2.5, f"nose nodes off by {errors[2:].round(1)} mm"


def test_a_person_with_the_mouth_open() -> None:
    """In centimetres, turned by 131 degrees about no axis of the file's, metres away."""
    head = bare_head(person(4), "2_mouth_open")
    matrix = placed(0.1, TURN, (-3e3, 40.0, 12.0))
    proposal = propose_head(pieces_of(head, matrix))
    assert proposal.kind == "head"
    assert proposal.confidence > 0.9
    assert_near(errors_mm(proposal.anchors.as_array(), head, matrix))


def test_turned_scaled_and_shuffled_alike() -> None:
    """Where the mesh lies, its unit and the order of its faces move no point by a millimetre."""
    skin = bare_head(person(7), "1_neutral").surfaces["skin"]
    plain = propose_head([piece(skin.vertices, skin.triangles())]).anchors.as_array()
    matrix = placed(0.02, TURN, (5.0, -70.0, 3.0))
    flipped = skin.triangles()[::-1, ::-1]
    moved = propose_head([piece(apply(matrix, skin.vertices), flipped)]).anchors.as_array()
    back = apply(np.linalg.inv(matrix), moved)
    assert np.linalg.norm(back - plain, axis=1).max() < 1.0


def broken(head: Head) -> list[Piece]:
    """Unwelded, every second face turned over, faces twice, holes, noise of 0.4 mm, no back."""
    rng = np.random.default_rng(5)
    skin = head.surfaces["skin"]
    vertices = skin.vertices + rng.normal(scale=0.4, size=skin.vertices.shape)
    triangles = skin.triangles()
    middles = skin.vertices[triangles].mean(axis=1)
    holes = middles[rng.choice(len(middles), 15)]
    whole = np.linalg.norm(middles[:, None] - holes, axis=2).min(axis=1) > 7.0
    triangles = triangles[whole & (middles[:, 2] > -40.0)]
    triangles = np.concatenate([triangles, triangles[:5000]])
    triangles[::2] = triangles[::2, ::-1]
    speck = trimesh.creation.icosphere(subdivisions=1, radius=2.0)
    specks = [piece(speck.vertices + place, speck.faces) for place in rng.normal(0, 150, (60, 3))]
    return [piece(vertices[triangles].reshape(-1, 3), np.arange(triangles.size).reshape(-1, 3)),
            *specks]  # fmt: skip


def test_a_broken_scan() -> None:
    head = bare_head(person(21), "14_anger")
    proposal = propose_head(broken(head))
    assert proposal.confidence > 0.8
    assert_near(errors_mm(proposal.anchors.as_array(), head, np.eye(4)))


def test_a_mask_without_ears() -> None:
    """The nose is found; the temple nodes lie on the rear edge, on their sides, at their height."""
    head = bare_head(person(9), "1_neutral")
    skin = head.surfaces["skin"]
    triangles = skin.triangles()
    shown = skin.vertices[triangles]
    cut = ((shown[:, :, 2] > 30.0) & (np.abs(shown[:, :, 1] + 10.0) < 90.0)).all(axis=1)
    proposal = propose_head([piece(skin.vertices, triangles[cut])])
    found = proposal.anchors.as_array()
    assert LEAST_CONFIDENCE < proposal.confidence < 0.9
    assert "before the ears" in proposal.reason
    assert errors_mm(found, head, np.eye(4))[2:].max() < 3.0
    assert (found[:2, 2] > 29.0).all()
    assert (found[:2, 2] < 45.0).all()
    assert found[0, 0] > 50.0
    assert found[1, 0] < -50.0
    assert np.abs(found[:2, 1] - head.anchors.temple_left[1]).max() < 15.0


def no_face(number: int) -> list[Piece]:
    """A person's head cut off in front of the ears: everything but the face."""
    skin = bare_head(person(number), "1_neutral").surfaces["skin"]
    triangles = skin.triangles()
    behind = (skin.vertices[triangles][:, :, 2] < 55.0).all(axis=1)
    return [piece(skin.vertices, triangles[behind])]


def solid(mesh: trimesh.Trimesh) -> list[Piece]:
    return [piece(mesh.vertices, mesh.faces)]


@pytest.mark.parametrize(
    "pieces",
    [
        lambda: solid(trimesh.creation.icosphere(subdivisions=4)),
        lambda: no_face(2),
        lambda: [piece(np.eye(3), [[0, 1, 2]])],
        lambda: [piece(np.zeros((3, 3)), [[0, 1, 2]])],
        lambda: [piece(np.eye(3), np.zeros((0, 3)))],
        lambda: [piece(np.outer(np.arange(3.0), [1, 1, 1]), [[0, 1, 2]])],
    ],
    ids=["sphere", "no face", "triangle", "point", "empty", "line"],
)
def test_what_is_no_head_is_not_believed(pieces: Callable[[], list[Piece]]) -> None:
    with pytest.raises(Unsure) as caught:
        propose(pieces(), "head")
    assert "\n" not in str(caught.value)


def test_two_heads_in_a_file() -> None:
    skins = [bare_head(person(k), "1_neutral").surfaces["skin"] for k in (1, 2)]
    pair = [
        piece(skin.vertices + np.array([700.0 * k, 0, 0]), skin.triangles())
        for k, skin in enumerate(skins)
    ]
    with pytest.raises(Unsure, match="two faces"):
        propose_head(pair)


def test_the_likelier_kind_is_taken() -> None:
    head = bare_head(person(3), "1_neutral")
    matrix = placed(0.001, np.eye(3), (0.0, 1.6, 0.0))
    proposal = propose(pieces_of(head, matrix))
    assert proposal.kind == "head"
    assert_near(errors_mm(proposal.anchors.as_array(), head, matrix))


def test_similarity_never_reflects() -> None:
    """Four points almost in a plane, mirrored: a reflection would fit better."""
    points = np.array([[70.0, 0, 0], [-70, 0, 0], [10, 1, 90], [-10, -1, 90]])
    pose = similarity(points, points * [1, -1, 1] * 2.5)
    assert np.linalg.det(pose.rotation) == pytest.approx(1.0)
    assert pose.scale == pytest.approx(2.5, rel=1e-3)


def test_samples_are_spread_by_area() -> None:
    """A triangle of three times the area gets three times the points, all on it."""
    small = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    large = np.array([[0.0, 0, 5], [3, 0, 5], [0, 1, 5]])
    cloud = sample(np.stack([small, large]), 4000)
    above = cloud.points[:, 2] > 2.5
    assert above.sum() == pytest.approx(3000, abs=2)
    np.testing.assert_allclose(cloud.points[above].mean(axis=0), [1, 1 / 3, 5], atol=0.05)
    assert (cloud.points.min(axis=0) >= 0).all()
    np.testing.assert_allclose(np.abs(cloud.normals), np.tile([0, 0, 1], (4000, 1)), atol=1e-12)


def test_a_pose_is_regained() -> None:
    """A box of known pose, turned by 8 degrees, shrunk and shifted, comes back to it."""
    box = trimesh.creation.box((60, 80, 100))
    triangles = np.asarray(box.triangles)
    cloud = sample(triangles * 0.01, 20_000)
    seen = sample(triangles, 600)
    turn = rotation_about((1.0, 1.0, 0.3), 8.0)[:3, :3]
    start = Pose(0.0105, turn, np.array([0.03, -0.02, 0.04]))
    pose = fit_pose(cloud, start, seen.points, seen.normals, np.ones(600), (10.0,) * 30)
    assert pose.scale == pytest.approx(0.01, rel=2e-3)
    np.testing.assert_allclose(pose.rotation, np.eye(3), atol=5e-3)
    np.testing.assert_allclose(pose.origin, 0, atol=5e-3)


def test_the_reference_is_a_face() -> None:
    """Its anchors are those of people: 130 to 165 mm and 15 to 25 mm apart, the nose in front."""
    model = reference()
    left, right, nose_left, nose_right = model.mean[-4:]
    assert 130 < left[0] - right[0] < 165
    assert 15 < nose_left[0] - nose_right[0] < 25
    assert 80 < nose_left[2] - left[2] < 110
    tip = model.mean[model.tip]
    assert abs(tip[0]) < 3
    assert tip[2] == model.mean[model.core.nonzero()[0]][:, 2].max()

