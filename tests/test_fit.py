"""The fit against numbers worked out by hand on a head and glasses made of boxes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from scipy.optimize import brentq

from pipeline.errors import AssetError
from pipeline.fit import Fit, fit, posed_parts
from pipeline.geometry import Anchors, Eyewear, Head, Hinge, Surface
from pipeline.limits import FitLimits
from pipeline.skin import SkinSurface, nose_nodes
from pipeline.transforms import apply, translation
from pipeline.wearing import EyewearShape

UP = np.array([0.0, 1.0, 0.0])
#: The nose is a ridge whose flanks fall from z = 25 at x = 0 to z = 0 at |x| = 15.
RIDGE, HALF_BASE = 25.0, 15.0
EAR = np.array([69.0, 0.0, -75.0])
HINGE = np.array([71.0, 0.0, -4.0])
PAD_INNER, PAD_BACK, PAD_Y = 7.0, -16.0, -10.0
UNDERSIDE = -2.0


def box(low, high, max_edge: float = 1e3) -> Surface:
    mesh = trimesh.creation.box(bounds=[low, high]).subdivide_to_size(max_edge)
    return Surface(np.array(mesh.vertices), np.array(mesh.faces, dtype=np.int64))


def merged(*surfaces: Surface) -> Surface:
    meshes = [trimesh.Trimesh(s.vertices, s.triangles(), process=False) for s in surfaces]
    mesh = trimesh.util.concatenate(meshes)
    return Surface(np.array(mesh.vertices), np.array(mesh.faces, dtype=np.int64))


def mirrored(point) -> np.ndarray:
    return np.asarray(point, dtype=float) * (-1, 1, 1)


def box_head(**changes) -> Head:
    """A block 144 wide whose face is z = 0, with a ridge for a nose; ears at (+-72, 0, -95)."""
    profile = np.array([[-HALF_BASE, 0], [HALF_BASE, 0], [0, RIDGE]])
    corners = [(x, y, z) for y in (-60, 20) for x, z in profile]
    faces = [(0, 1, 2), (3, 5, 4), (0, 3, 1), (1, 3, 4), (1, 4, 2), (2, 4, 5), (2, 5, 0), (0, 5, 3)]
    nose = trimesh.Trimesh(corners, faces, process=False).subdivide_to_size(6.0)
    nose_surface = Surface(np.array(nose.vertices), np.array(nose.faces, dtype=np.int64))
    flank = np.array([8.0, PAD_Y - UNDERSIDE, RIDGE - 8.0 * RIDGE / HALF_BASE])
    head = Head(
        name="block",
        surfaces={"skin": merged(box((-69, -100, -190), (69, 100, 0)), nose_surface)},
        anchors=Anchors(EAR, mirrored(EAR), flank, mirrored(flank)),
    )
    return replace(head, **changes)


def box_eyewear(**changes) -> Eyewear:
    """Straight temples 2 thick with inner faces at x = +-70, a bar, two pads, two panes."""
    bar = box((-71, -1, -4), (71, 1, 0))
    pad = box((PAD_INNER, -13, PAD_BACK), (9, -7, -2), 3.0)
    temple = box((70, UNDERSIDE, -130), (72, 2, -4), 4.0)
    pane = box((12, -30, -2), (60, 0, -1))
    both = {name: mirror(part) for name, part in (("pad", pad), ("t", temple), ("pane", pane))}
    nose = np.array([PAD_INNER, PAD_Y, PAD_BACK])
    end = np.array([70.0, UNDERSIDE, -100.0])
    eyewear = Eyewear(
        name="bars",
        parts={
            "rims": bar,
            "pads": merged(pad, both["pad"]),
            "temple_left": temple,
            "temple_right": both["t"],
            "lens_left": pane,
            "lens_right": both["pane"],
        },
        anchors=Anchors(end, mirrored(end), nose, mirrored(nose)),
        hinge_left=Hinge(HINGE, UP),
        hinge_right=Hinge(mirrored(HINGE), UP),
        holes=2,
    )
    return replace(eyewear, **changes)


def mirror(surface: Surface) -> Surface:
    return Surface(surface.vertices * (-1, 1, 1), surface.faces[:, ::-1].copy())


@pytest.fixture(scope="module")
def seated() -> Fit:
    return fit(box_head(), box_eyewear(), 0.0)


def test_pose_at_the_pads_is_as_worked_out_by_hand(seated: Fit) -> None:
    """Level temples; pads at y = -8; their inner back edges meet the flank at x = 7."""
    depth = RIDGE - PAD_INNER * RIDGE / HALF_BASE - PAD_BACK
    expected = translation([0, -UNDERSIDE, depth])
    np.testing.assert_allclose(seated.world_from_glasses, expected, atol=1e-4)
    assert seated.accepted, seated.reason


def test_opening_lays_the_inner_face_on_the_ear_node(seated: Fit) -> None:
    hinge_z = HINGE[2] + seated.world_from_glasses[2, 3]
    reach = hinge_z - EAR[2]

    def inner_face(opening_deg: float) -> float:
        angle = np.radians(opening_deg)
        return HINGE[0] - (HINGE[0] - 70.0) / np.cos(angle) + reach * np.tan(angle)

    expected = brentq(lambda a: inner_face(a) - EAR[0], -5, 5)
    assert seated.opening_left_deg == pytest.approx(expected, abs=0.01)
    assert seated.opening_right_deg == pytest.approx(expected, abs=0.01)
    # Behind the ear it runs on inwards, 126 mm long from the hinge, into the side of the block.
    angle = np.radians(expected)
    tip = HINGE[0] + (70 - HINGE[0]) * np.cos(angle) + 126 * np.sin(angle)
    assert seated.figures["penetration_temple_left_mm"] == pytest.approx(69 - tip, abs=0.03)


def test_figures_of_the_hand_worked_fit(seated: Fit) -> None:
    figures = seated.figures
    assert figures["penetration_front_mm"] == pytest.approx(0, abs=1e-6)
    assert figures["pad_gap_left_mm"] == pytest.approx(0, abs=1e-6)
    assert figures["pad_gap_right_mm"] == pytest.approx(0, abs=1e-6)
    assert figures["ear_gap_left_mm"] == pytest.approx(0, abs=1e-3)
    assert figures["pantoscopic_tilt_deg"] == pytest.approx(0, abs=1e-2)
    shift = seated.world_from_glasses[2, 3]
    assert figures["vertex_distance_mm"] == pytest.approx(shift - 2.0, abs=1e-3)
    anchor_z = shift - 4.0 - (100.0 - 4.0) * np.cos(np.radians(seated.opening_left_deg))
    assert figures["bend_left_mm"] == pytest.approx(anchor_z - EAR[2], abs=0.05)


def test_no_point_of_the_front_lies_inside_the_head(seated: Fit) -> None:
    """Told by a solid's own inside test, not by the rays that the fit uses."""
    parts = posed_parts(box_eyewear(), seated)
    nose = RIDGE / HALF_BASE
    for name in ("rims", "pads", "lens_left", "lens_right"):
        x, y, z = parts[name].vertices.T
        inside = (z < RIDGE - np.abs(x) * nose - 1e-6) & (y < 20) & (y > -60) & (z > 0)
        assert not inside.any(), name
        assert (z > 0).all()


def test_temples_turn_at_their_hinges_and_outwards(seated: Fit) -> None:
    wide = replace(seated, opening_left_deg=10.0, opening_right_deg=10.0)
    parts, straight = posed_parts(box_eyewear(), wide), posed_parts(box_eyewear(), seated)
    assert parts["temple_left"].vertices[:, 0].max() > 72 + 15
    assert parts["temple_right"].vertices[:, 0].min() < -72 - 15
    hinge = apply(seated.world_from_glasses, HINGE)
    nearest = np.linalg.norm(straight["temple_left"].vertices - hinge, axis=1).min()
    assert np.linalg.norm(parts["temple_left"].vertices - hinge, axis=1).min() == pytest.approx(
        nearest
    )


@pytest.mark.parametrize("nose", [0.0, 1.5, 3.0])
def test_contact_is_kept_at_every_nose_position(nose: float) -> None:
    head = box_head()
    found = fit(head, box_eyewear(), nose)
    assert found.figures["pad_gap_left_mm"] == pytest.approx(0, abs=0.02)
    assert found.figures["penetration_front_mm"] <= 1e-6
    nodes = nose_nodes(head, nose)
    pads = apply(found.world_from_glasses, box_eyewear().anchors.as_array()[2:])
    assert pads[:, 1].mean() == pytest.approx(nodes.nose_left[1], abs=1e-3)


def test_the_order_of_vertices_and_faces_does_not_matter(seated: Fit) -> None:
    rng = np.random.default_rng(3)
    skin = box_head().surfaces["skin"]
    order = rng.permutation(len(skin.vertices))
    inverse = np.argsort(order)
    faces = inverse[skin.faces][rng.permutation(len(skin.faces))]
    shuffled = Surface(skin.vertices[order], faces)
    found = fit(box_head(surfaces={"skin": shuffled}), box_eyewear(), 0.0)
    for name, value in seated.figures.items():
        assert found.figures[name] == pytest.approx(value, abs=1e-6), name


def test_normals_and_open_backs_do_not_matter(seated: Fit) -> None:
    skin = box_head().surfaces["skin"]
    keep = skin.vertices[skin.faces].mean(axis=1)[:, 2] > -180
    inside_out = Surface(skin.vertices, skin.faces[keep][:, ::-1].copy())
    found = fit(box_head(surfaces={"skin": inside_out}), box_eyewear(), 0.0)
    np.testing.assert_allclose(found.world_from_glasses, seated.world_from_glasses, atol=1e-6)
    assert found.accepted


def test_noisy_head_anchors_never_put_the_glasses_on_upside_down() -> None:
    rng = np.random.default_rng(5)
    head, eyewear = box_head(), box_eyewear()
    skin, shape = SkinSurface(head), EyewearShape(eyewear)
    for _ in range(6):
        points = head.anchors.as_array() + rng.normal(size=(4, 3)) * 1.5
        found = fit(replace(head, anchors=Anchors(*points)), eyewear, 0.0, skin=skin, shape=shape)
        assert found.world_from_glasses[1, 1] > 0.9
        assert np.linalg.det(found.world_from_glasses[:3, :3]) == pytest.approx(1.0)


def test_a_head_wider_than_the_temples_open_is_refused_with_the_figure() -> None:
    wide = box_head(surfaces={"skin": box((-100, -100, -190), (100, 100, 0))})
    ear = np.array([100.0, 0.0, -75.0])
    nose = np.array([8.0, -8.0, 0.0])
    wide = replace(wide, anchors=Anchors(ear, mirrored(ear), nose, mirrored(nose)))
    found = fit(wide, box_eyewear(), 0.0)
    assert not found.accepted
    name, value, *_, limit = found.reason.split()
    assert found.figures[name] == pytest.approx(float(value), abs=0.01)
    assert abs(float(value)) > abs(float(limit)) or float(value) < float(limit)
    assert name == "opening_left_deg"
    assert found.opening_left_deg > FitLimits().opening_deg
    # The limit judges the pose and does not make it.
    lax = fit(wide, box_eyewear(), 0.0, FitLimits(opening_deg=90))
    assert np.array_equal(lax.world_from_glasses, found.world_from_glasses)
    assert lax.opening_left_deg == found.opening_left_deg


def test_temple_that_cannot_reach_the_ear_is_refused() -> None:
    far = EAR - (0, 0, 40)
    head = box_head(
        anchors=replace(box_head().anchors, temple_left=far, temple_right=mirrored(far))
    )
    found = fit(head, box_eyewear(), 0.0)
    assert found.reason.startswith("bend_left_mm")


def test_pads_that_no_skin_holds_are_refused() -> None:
    head = box_head(surfaces={"skin": box((-69, -100, -190), (69, 100, 0))})
    eyewear = box_eyewear(parts=box_eyewear().parts | {"rims": box((-71, -1, -40), (71, 1, 0))})
    found = fit(head, eyewear, 0.0)
    assert found.figures["pad_gap_left_mm"] == pytest.approx(24.0, abs=0.01)
    assert "pad_gap_left_mm" in found.reason or "vertex" in found.reason


def test_nose_nodes_walk_three_millimetres_of_arc_per_step_on_a_sphere() -> None:
    radius = 40.0
    ball = trimesh.creation.uv_sphere(radius=radius, count=[256, 256])
    start = radius * np.array([np.sin(0.3), 0.0, np.cos(0.3)])
    anchors = Anchors(EAR, mirrored(EAR), start, mirrored(start))
    head = Head("ball", {"skin": Surface(np.array(ball.vertices), np.array(ball.faces))}, anchors)
    skin = SkinSurface(head)
    before = start
    for nose in (0.0, 0.4, 1.0, 2.2, 3.0):
        node = nose_nodes(head, nose, skin).nose_left
        # Straight down from the equator is along the meridian.
        arc = radius * np.arctan2(-node[1], np.hypot(node[0], node[2]))
        assert arc == pytest.approx(3.0 * nose, abs=0.03)
        assert np.arctan2(node[0], node[2]) == pytest.approx(0.3, abs=0.002)
        assert np.linalg.norm(node - before) < 3.7
        before = node


def test_closest_and_clearance_against_a_sphere() -> None:
    radius = 50.0
    ball = trimesh.creation.icosphere(subdivisions=5, radius=radius)
    head = Head(
        "ball",
        {"skin": Surface(np.array(ball.vertices), np.array(ball.faces))},
        Anchors(*np.eye(4, 3) * radius),
    )
    skin = SkinSurface(head)
    rng = np.random.default_rng(1)
    ways = rng.normal(size=(200, 3))
    ways /= np.linalg.norm(ways, axis=1)[:, None]
    lengths = rng.uniform(30, 80, 200)
    near, distances, _ = skin.closest(ways * lengths[:, None])
    np.testing.assert_allclose(distances, np.abs(lengths - radius), atol=0.1)
    np.testing.assert_allclose(np.linalg.norm(near, axis=1), radius, atol=0.1)
    points = np.array([[0, 0, 80.0], [30, 0, 80.0], [0, 0, 45.0], [60, 0, 0.0]])
    expected = [30.0, 80.0 - 40.0, -5.0, np.inf]
    np.testing.assert_allclose(skin.clearance(points, (0, 0, -1)), expected, atol=0.1)


def test_what_was_asked_before_does_not_change_an_answer() -> None:
    head = box_head()
    used = SkinSurface(head)
    corner = np.array([[8.0, -8.0, 30.0]])
    used.closest(corner)
    used.clearance(corner, (0, 0, -1))
    rng = np.random.default_rng(2)
    points = rng.uniform((-60, -60, 10), (60, 60, 130), size=(40, 3))
    for direction in ((0, 0, -1), (1, 0, 0)):
        found = used.clearance(points, direction)
        np.testing.assert_allclose(found, SkinSurface(head).clearance(points, direction))
    for mine, fresh in zip(used.closest(points), SkinSurface(head).closest(points), strict=True):
        np.testing.assert_allclose(mine, fresh, atol=1e-9)
    each = [SkinSurface(head).least_distance(point[None]) for point in points]
    assert used.least_distance(points) == pytest.approx(min(each), abs=1e-9)
    assert used.closest(points)[1] == pytest.approx(each, abs=1e-9)


def test_reliefs_and_near_skin_answer_alike_in_whatever_pieces_they_are_made() -> None:
    head = box_head()
    used, anchor = SkinSurface(head), head.anchors.nose_left
    rng = np.random.default_rng(3)
    points = rng.uniform((-90, -60, -20), (90, 60, 130), size=(200, 3))
    whole = used.rough_clearance(points, (0, 0, -1))
    pieces = SkinSurface(head)
    each = [pieces.rough_clearance(p[None], (0, 0, -1))[0] for p in rng.permutation(points)]
    np.testing.assert_array_equal(np.sort(each), np.sort(whole))
    near = anchor + rng.uniform(-40, 40, size=(200, 3))
    # Asked together, all are answered from the whole skin; alone, most from what is near.
    for one, distance in zip(near, used.closest(near)[1], strict=True):
        assert pieces.closest(one[None])[1][0] == distance
        assert pieces.within(one, distance + 1e-9)
        assert not pieces.within(one, distance - 1e-9)


def test_skin_without_area_is_no_skin() -> None:
    line = Surface(np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0.0]]), np.array([[0, 1, 2]]))
    with pytest.raises(AssetError, match="no skin"):
        SkinSurface(box_head(surfaces={"skin": line}))


def test_nose_outside_its_range_and_missing_parts() -> None:
    with pytest.raises(ValueError, match="outside 0 to 3"):
        fit(box_head(), box_eyewear(), 3.2)
    parts = {k: v for k, v in box_eyewear().parts.items() if k != "temple_left"}
    with pytest.raises(AssetError, match="left temple"):
        fit(box_head(), box_eyewear(parts=parts), 0.0)
    with pytest.raises(AssetError, match="no skin"):
        fit(box_head(surfaces={"eye_left": box((0, 0, 0), (1, 1, 1))}), box_eyewear(), 0.0)
