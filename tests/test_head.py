"""The parametric head: topology, identities, expressions, eyes and anchors, in millimetres."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import trimesh

from pipeline.catalog import head as head_module
from pipeline.catalog.head import EXPRESSIONS, build_head
from pipeline.catalog.person import person
from pipeline.catalog.subdivide import catmull_clark
from pipeline.errors import AssetError
from pipeline.geometry import WORN, Head

ADULTS = [k for k in range(80) if person(k).age >= 20][:40]


@cache
def built(k: int, expression: str = "1_neutral") -> Head:
    return build_head(person(k), expression)


def skin_mesh(head: Head) -> trimesh.Trimesh:
    skin = head.surfaces["skin"]
    return trimesh.Trimesh(skin.vertices, skin.triangles(), process=False)


def edge_lengths(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vertices[faces] - vertices[np.roll(faces, -1, axis=1)], axis=2)


CUBE = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
CUBE_FACES = np.array(
    [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
)


def test_catmull_clark_of_a_cube() -> None:
    """By hand: corners go to 5/9, edge points to 3/4, face points stay at the centres."""
    matrix, faces = catmull_clark(CUBE_FACES, 8)
    fine = matrix @ CUBE
    assert fine.shape == (8 + 12 + 6, 3)
    assert faces.shape == (24, 4)
    np.testing.assert_allclose(fine[:8], CUBE * 5.0 / 9.0, atol=1e-12)
    np.testing.assert_allclose(np.sort(np.abs(fine[8:20]), axis=1), [[0, 0.75, 0.75]] * 12)
    np.testing.assert_allclose(np.sort(np.abs(fine[20:]), axis=1), [[0, 0, 1]] * 6)
    solid = trimesh.Trimesh(fine, np.concatenate([faces[:, :3], faces[:, [0, 2, 3]]]))
    assert solid.is_watertight
    assert solid.volume > 0.0


def test_catmull_clark_of_one_square_keeps_the_border() -> None:
    """By hand: border edge points are midpoints, a border corner is 3/4 own, 1/8 neighbours."""
    matrix, faces = catmull_clark(np.array([[0, 1, 2, 3]]), 5)
    square = np.array([[0.0, 0], [8, 0], [8, 8], [0, 8], [50, 60]])
    fine = matrix @ square
    np.testing.assert_allclose(fine[0], [1.0, 1.0])
    np.testing.assert_allclose(fine[4], [50.0, 60.0])
    np.testing.assert_allclose(fine[-1], [4.0, 4.0])
    assert sorted(map(tuple, fine[5:9].tolist())) == [(0, 4), (4, 0), (4, 8), (8, 4)]
    assert len(faces) == 4


def test_skin_is_a_manifold_open_only_below() -> None:
    """No side in more than two faces, twice in opposite senses; a border only at the crop."""
    skin = built(0).surfaces["skin"]
    sides = np.stack([skin.faces, np.roll(skin.faces, -1, axis=1)], axis=-1).reshape(-1, 2)
    assert len(np.unique(sides, axis=0)) == len(sides), "a side used twice in one sense"
    _, count = np.unique(np.sort(sides, axis=1), axis=0, return_counts=True)
    assert set(count) == {1, 2}
    rest = skin.attributes["rest"]
    edges, count = np.unique(np.sort(sides, axis=1), axis=0, return_counts=True)
    assert rest[edges[count == 1]][..., 1].max() < -150.0
    assert 15_000 < len(skin.faces) < 30_000
    assert skin.faces.shape[1] == 4
    assert skin.faces.dtype == np.int64
    assert skin.vertices.dtype == np.float64


def test_surfaces_are_finite_and_attributes_fit() -> None:
    for k in range(6):
        head = built(k, list(EXPRESSIONS)[k])
        bare = {name for name in head.surfaces if not name.startswith(WORN)}
        assert bare == {"skin", "eye_left", "eye_right", "eye_rims", "lashes", "teeth", "tongue"}
        for surface in head.surfaces.values():
            assert np.isfinite(surface.vertices).all()
            assert surface.faces.max() < len(surface.vertices)
            assert surface.faces.min() >= 0
            for values in surface.attributes.values():
                assert values.dtype == np.float32
                assert len(values) == len(surface.vertices)
    for name in ("lips", "brows", "lids", "scalp", "ears", "mouth_inside"):
        values = built(0).surfaces["skin"].attributes[name]
        assert values.min() >= 0.0
        assert values.max() <= 1.0
        assert values.max() > 0.8


def test_person_depends_on_its_number_alone() -> None:
    forwards = [person(k) for k in range(5)]
    backwards = [person(k) for k in reversed(range(5))][::-1]
    assert forwards == backwards
    assert person(12).name == "person-000012"
    assert len({p.details for p in forwards}) == 5
    with pytest.raises(ValueError, match="-1"):
        person(-1)


def test_people_cover_ages_sexes_and_skin() -> None:
    people = [person(k) for k in range(600)]
    ages = np.array([p.age for p in people])
    assert ages.min() >= 8.0
    assert ages.max() <= 80.0
    assert 0.4 < np.mean([p.sex for p in people]) < 0.6
    share = np.mean([p.ancestry for p in people], axis=0)
    assert (share > 0.25).all()
    melanin, _ = np.histogram([p.appearance.melanin for p in people], bins=5, range=(0, 1))
    assert (melanin > 0.06 * len(people)).all()
    kinds = [p.appearance.iris_kind for p in people]
    assert set(kinds) == {"brown", "hazel", "blue", "green", "grey"}
    assert kinds.count("brown") > 0.5 * len(people)
    for p in people:
        for color in (p.appearance.skin, p.appearance.lips, p.appearance.iris, p.appearance.hair):
            assert len(color) == 3
            assert all(0.0 < c < 1.0 for c in color)


def test_same_person_same_head_and_two_people_differ() -> None:
    again = build_head(person(3), "1_neutral").surfaces["skin"].vertices
    assert np.array_equal(again, built(3).surfaces["skin"].vertices)
    face = np.abs(built(3).surfaces["skin"].attributes["rest"][:, 1]) < 100.0
    for other in range(3):
        apart = built(other).surfaces["skin"].vertices - again
        assert np.linalg.norm(apart[face], axis=1).mean() > 2.0


def head_breadth(head: Head) -> float:
    """Widest place of the skull above the ears."""
    skin = head.surfaces["skin"]
    rest, ears = skin.attributes["rest"], skin.attributes["ears"]
    skull = (rest[:, 1] > 10.0) & (ears < 0.02)
    return float(np.ptp(skin.vertices[skull, 0]))


def test_adults_have_human_measures() -> None:
    """Published adult ranges: interpupillary 54-74 mm, head breadth 135-170 mm."""
    pupils, breadths, temples, noses = [], [], [], []
    for k in ADULTS:
        head = built(k)
        pupils.append(np.linalg.norm(head.eye_left - head.eye_right))
        breadths.append(head_breadth(head))
        temples.append(np.linalg.norm(head.anchors.temple_left - head.anchors.temple_right))
        noses.append(np.linalg.norm(head.anchors.nose_left - head.anchors.nose_right))
    assert min(pupils) >= 54.0
    assert max(pupils) <= 74.0
    assert 59.0 < np.mean(pupils) < 66.0
    assert min(breadths) >= 135.0
    assert max(breadths) <= 170.0
    assert min(temples) >= 100.0
    assert max(temples) <= 190.0
    assert min(noses) >= 10.0
    assert max(noses) <= 32.0


def face_height(head: Head) -> float:
    """Bridge of the nose between the eyes to the underside of the chin."""
    skin = head.surfaces["skin"]
    rest = skin.attributes["rest"]
    middle = np.abs(rest[:, 0]) < 4.0
    front = middle & (rest[:, 2] > 0.0) & (skin.attributes["mouth_inside"] < 0.1)
    chin = front & (rest[:, 1] > -125.0) & (rest[:, 1] < -85.0)
    bridge = skin.vertices[front & (np.abs(rest[:, 1] - 5.0) < 4.0), 1].mean()
    return float(bridge - skin.vertices[chin, 1].min())


def test_face_height_is_human() -> None:
    """Sellion to chin: 95 to 145 mm over adults."""
    heights = [face_height(built(k)) for k in ADULTS]
    assert min(heights) > 95.0
    assert max(heights) < 145.0


def test_children_are_smaller() -> None:
    child = next(k for k in range(200) if person(k).age < 10)
    assert head_breadth(built(child)) < np.mean([head_breadth(built(k)) for k in ADULTS[:10]])
    pupils = np.linalg.norm(built(child).eye_left - built(child).eye_right)
    assert 45.0 < pupils < 60.0


def test_expressions_are_numbered_in_order() -> None:
    names = list(EXPRESSIONS)
    assert len(names) >= 20
    assert [int(name.split("_", 1)[0]) for name in names] == list(range(1, len(names) + 1))
    assert names[0] == "1_neutral"
    assert names[8] == "9_jaw_forward"
    units = head_module._model().rows
    assert all(f"unit/{unit}" in units for e in EXPRESSIONS.values() for unit in e)
    with pytest.raises(AssetError, match="2_mouth_open"):
        build_head(person(0), "2_mouth_opn")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_no_expression_tears_the_skin(expression: str) -> None:
    """No side of the outer skin grows beyond six times its neutral length and 15 mm."""
    for k in (0, 1, 5):
        skin = built(k, expression).surfaces["skin"]
        seen = (skin.attributes["mouth_inside"] < 0.05) & (skin.attributes["lids"] < 0.05)
        faces = skin.faces[seen[skin.faces].all(axis=1)]
        now = edge_lengths(skin.vertices, faces)
        before = edge_lengths(built(k).surfaces["skin"].vertices, faces)
        # Shoulders are far coarser than the face; what cannot move is no evidence.
        grown = now > before + 0.5
        assert now[grown].max(initial=0.0) < 15.0
        assert (now / np.maximum(before, 0.4))[grown].max(initial=0.0) < 6.0


def test_mouth_opens_between_the_lips() -> None:
    """The red of the two lips parts by more than 10 mm in the middle."""
    for k in range(5):
        skin = built(k).surfaces["skin"]
        lips = skin.attributes["lips"] > 0.6
        rest = skin.attributes["rest"]
        middle = lips & (np.abs(rest[:, 0]) < 6.0)
        upper, lower = middle & (rest[:, 1] > -65.0), middle & (rest[:, 1] < -68.5)
        opened = built(k, "2_mouth_open").surfaces["skin"].vertices
        opening = [v[upper, 1].mean() - v[lower, 1].mean() for v in (skin.vertices, opened)]
        assert opening[1] - opening[0] > 10.0


def test_lower_teeth_follow_the_jaw_and_upper_teeth_stay() -> None:
    closed = built(1).surfaces["teeth"].vertices
    moved = np.linalg.norm(built(1, "2_mouth_open").surfaces["teeth"].vertices - closed, axis=1)
    still = moved < 0.05
    assert 0.3 < still.mean() < 0.7
    assert closed[still, 1].mean() > closed[~still, 1].mean()
    assert moved[~still].min() > 4.0


def test_eyes_are_rigid_and_turn() -> None:
    ahead, aside = built(2), built(2, "18_look_left")
    for side in ("left", "right"):
        a, b = (h.surfaces[f"eye_{side}"] for h in (ahead, aside))
        centre = getattr(ahead, f"eye_{side}")
        np.testing.assert_allclose(getattr(aside, f"eye_{side}"), centre, atol=1e-9)
        radii = [np.linalg.norm(s.vertices - centre, axis=1) for s in (a, b)]
        np.testing.assert_allclose(radii[0], radii[1], atol=1e-9)
        assert 12.0 < radii[0].min() < 17.5
        assert radii[0].max() < 1.06 * radii[0].min()
        pupil = np.argmin(b.attributes["gaze_angle"])
        assert b.vertices[pupil, 0] > a.vertices[pupil, 0] + 3.0
        normals = trimesh.Trimesh(b.vertices, b.faces, process=False).face_normals
        assert (normals * (b.vertices[b.faces[:, 0]] - centre)).sum(axis=1).min() > 0.0


def eye_hit_share(head: Head, side: str) -> float:
    """Share of level rays from the front, over the eye's own disc, that meet the eye first."""
    eye = head.surfaces[f"eye_{side}"]
    centre = getattr(head, f"eye_{side}")
    grid = np.linspace(-15.0, 15.0, 61)
    x, y = np.meshgrid(grid, grid)
    origins = np.stack([x.ravel() + centre[0], y.ravel() + centre[1], 0 * x.ravel() + 200.0], 1)
    skin = skin_mesh(head)
    mesh = trimesh.util.concatenate([skin, trimesh.Trimesh(eye.vertices, eye.faces, process=False)])
    first = mesh.ray.intersects_first(origins, np.broadcast_to([0.0, 0.0, -1.0], origins.shape))
    return float((first >= len(skin.faces)).mean())


@pytest.mark.parametrize("k", range(10))
def test_closed_lids_hide_the_eyes(k: int) -> None:
    for side in ("left", "right"):
        assert eye_hit_share(built(k, "7_eyes_closed"), side) == 0.0
        assert 0.08 < eye_hit_share(built(k), side) < 0.5
    assert eye_hit_share(built(k, "16_wink_left"), "left") == 0.0
    assert eye_hit_share(built(k, "16_wink_left"), "right") > 0.05


def upper_lid_over_iris_mm(head: Head, side: str) -> float:
    """How far down the upper lid's edge covers an iris that looks ahead."""
    lids = head_module._model().lids[side]
    eye, centre = head.surfaces[f"eye_{side}"], getattr(head, f"eye_{side}")
    edge = head.surfaces["skin"].vertices[lids[head_module.eyes.CONTACT, 1:13]] - centre
    order = np.argsort(edge[:, 0])
    height = np.interp(0.0, edge[order, 0], edge[order, 1])
    iris = eye.attributes["gaze_angle"] < head_module.eyes.IRIS_ANGLE_RAD
    return float((eye.vertices[iris, 1] - centre[1]).max() - height)


def test_lids_cover_part_of_the_iris() -> None:
    for k in range(31):
        for side in ("left", "right"):
            assert 0.8 < upper_lid_over_iris_mm(built(k), side) < 4.0
            assert upper_lid_over_iris_mm(built(k, "3_smile"), side) > 0.7


@pytest.mark.parametrize("gaze", [(20.0, 0.0), (-15.0, 10.0), (10.0, -18.0), (60.0, -60.0)])
def test_gaze_turns_both_eyes_alike_and_lids_follow(gaze: tuple[float, float]) -> None:
    ahead, head = built(2), build_head(person(2), "1_neutral", gaze)
    yaw, pitch = np.radians(np.clip(gaze, (-25.0, -20.0), (25.0, 20.0)))
    expected = [np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)]
    for side in ("left", "right"):
        eye = head.surfaces[f"eye_{side}"]
        axis = eye.vertices[np.argmin(eye.attributes["gaze_angle"])] - getattr(head, f"eye_{side}")
        np.testing.assert_allclose(axis / np.linalg.norm(axis), expected, atol=1e-6)
        lids = head_module._model().lids[side][head_module.eyes.CONTACT, 4:10]
        moved = head.surfaces["skin"].vertices[lids] - ahead.surfaces["skin"].vertices[lids]
        if gaze[1]:
            assert np.sign(moved[:, 1].mean()) == np.sign(gaze[1])


@pytest.mark.parametrize("expression", ["18_look_left", "7_eyes_closed"])
def test_eyes_that_an_expression_turns_or_closes_take_no_gaze(expression: str) -> None:
    head, same = build_head(person(2), expression, (-24.0, 10.0)), built(2, expression)
    for name in ("skin", "eye_left", "eye_right"):
        assert np.array_equal(head.surfaces[name].vertices, same.surfaces[name].vertices)
    wink = build_head(person(2), "16_wink_left", (15.0, 0.0))
    ahead = built(2, "16_wink_left")
    assert np.array_equal(wink.surfaces["eye_left"].vertices, ahead.surfaces["eye_left"].vertices)
    assert not np.allclose(
        wink.surfaces["eye_right"].vertices, ahead.surfaces["eye_right"].vertices, atol=1.0
    )


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_lids_stay_outside_the_eyes(expression: str) -> None:
    for k in (0, 3, 8):
        head = built(k, expression)
        for side in ("left", "right"):
            rows, _ = head_module._model().to_fine_lids[side]
            centre, eye = getattr(head, f"eye_{side}"), head.surfaces[f"eye_{side}"]
            least = np.linalg.norm(eye.vertices - centre, axis=1).min()
            points = head.surfaces["skin"].vertices[rows]
            assert np.linalg.norm(points - centre, axis=1).min() > least
            shade = eye.attributes["lid_shade"]
            assert 0.2 < shade.min() < shade.max() <= 1.0


@pytest.mark.parametrize("k", range(6))
def test_closed_lids_hide_the_wet_rims(k: int) -> None:
    head = built(k, "7_eyes_closed")
    rims, skin = head.surfaces["eye_rims"], skin_mesh(head)
    front = rims.vertices[:, 2] > 0.0
    origins = rims.vertices[front] + [0.0, 0.0, 0.05]
    hidden = skin.ray.intersects_any(origins, np.broadcast_to([0.0, 0.0, 1.0], origins.shape))
    assert hidden.mean() > 0.9


def test_anchors_lie_on_the_skin() -> None:
    for k, expression in ((0, "1_neutral"), (1, "4_big_smile"), (2, "6_surprise")):
        head = built(k, expression)
        _, distance, _ = trimesh.proximity.closest_point(skin_mesh(head), head.anchors.as_array())
        assert distance.max() < 0.1


def test_anchors_are_where_glasses_rest() -> None:
    """Mirror images on the average head; pads 9 to 13 mm below the eyes, 7 to 12 off the middle."""
    rest = built(0).surfaces["skin"].attributes["rest"].astype(float)
    left, right, nose_left, nose_right = head_module._model().anchors(rest)
    flip = np.array([-1.0, 1.0, 1.0])
    np.testing.assert_allclose(left * flip, right, atol=1.0)
    np.testing.assert_allclose(nose_left * flip, nose_right, atol=1.0)
    assert 7.0 < nose_left[0] < 12.0
    assert -14.0 < nose_left[1] < -9.0
    assert 60.0 < left[0] < 80.0
    assert 75.0 < nose_left[2] - left[2] < 115.0


def test_origin_is_between_the_temples_of_the_neutral_face() -> None:
    for k in range(5):
        anchors = built(k).anchors
        middle = (anchors.temple_left + anchors.temple_right) / 2.0
        np.testing.assert_allclose(middle, 0.0, atol=1e-6)
        assert anchors.temple_left[0] > 0.0
        assert built(k).eye_left[2] > 40.0
