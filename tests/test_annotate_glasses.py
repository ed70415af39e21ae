"""Anchors of unknown glasses, against designs whose anchors are known, and things that are none."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from pipeline.annotate.contacts import section
from pipeline.annotate.eyeglasses import _upward, propose_glasses
from pipeline.annotate.mirror import mirror_planes, spread
from pipeline.annotate.proposal import Proposal
from pipeline.annotate.propose import _PROPOSERS, propose
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.head import bare_head, person
from pipeline.catalog.piece import Piece
from pipeline.errors import Unsure
from pipeline.geometry import Anchors, Eyewear, Surface
from pipeline.transforms import apply, compose, rotation_about, translation

DESIGNS = (
    "aviator", "cat_eye", "panto", "rectangle", "rimless", "round", "square", "trapeze",
    "browline", "half_moon", "half_rim", "half_rim_low", "wrap",
)  # fmt: skip


def design(catalog: Catalog, name: str) -> Eyewear:
    entry = catalog.glasses[name]
    return entry.build(entry.typical())


def motion(seed: int) -> np.ndarray:
    """A turn about any axis, a unit from um to beyond metres, and a place far off."""
    rng = np.random.default_rng(seed)
    turn = rotation_about(rng.normal(size=3), 360 * rng.random())
    matrix = compose(translation(200 * rng.normal(size=3)), turn)
    matrix[:3] *= 10 ** rng.uniform(-4, 3)
    return matrix


def one_piece(surfaces, matrix: np.ndarray | None = None) -> list[Piece]:
    """All surfaces as one nameless mesh."""
    matrix = np.eye(4) if matrix is None else matrix
    meshes = [trimesh.Trimesh(s.vertices, s.triangles(), process=False) for s in surfaces]
    mesh = trimesh.util.concatenate(meshes)
    return [Piece("x", "", Surface(apply(matrix, mesh.vertices), np.asarray(mesh.faces)))]


def proposed(surfaces, matrix: np.ndarray):
    """Proposed points, (4, 3), back in the frame of the surfaces, and the proposal."""
    proposal = propose_glasses(one_piece(surfaces, matrix))
    return apply(np.linalg.inv(matrix), proposal.anchors.as_array()), proposal


def opened(pair: Eyewear, **degrees: float) -> dict[str, Surface]:
    """Parts with temples turned outwards at their hinges; negative folds them in."""
    parts = dict(pair.parts)
    for side, angle in degrees.items():
        hinge = getattr(pair, f"hinge_{side}")
        turn = rotation_about(hinge.axis, -angle if side == "left" else angle, hinge.origin)
        temple = parts[f"temple_{side}"]
        parts[f"temple_{side}"] = replace(temple, vertices=apply(turn, temple.vertices))
    return parts


@pytest.mark.parametrize("name", DESIGNS)
def test_designs_get_their_own_anchors(catalog: Catalog, name: str) -> None:
    pair = design(catalog, name)
    points, proposal = proposed(pair.parts.values(), motion(DESIGNS.index(name)))
    off = np.abs(points - pair.anchors.as_array())
    assert off[:2, :2].max() < 1.0
    assert off[:2, 2].max() < 3.5
    assert np.linalg.norm(off[2:], axis=1).max() < 2.0
    assert proposal.kind == "glasses"
    assert proposal.confidence > 0.9
    assert "\n" not in proposal.reason


def test_points_move_with_the_mesh_and_not_with_the_order_of_its_faces(catalog: Catalog) -> None:
    pair = design(catalog, "square")
    plain, _ = proposed(pair.parts.values(), np.eye(4))
    for seed in (20, 21):
        moved, _ = proposed(list(pair.parts.values())[::-1], motion(seed))
        assert np.linalg.norm(moved - plain, axis=1).max() < 0.7


@pytest.mark.parametrize(
    ("name", "without"),
    [("round", ("lens_left", "lens_right")), ("rimless", ("pads",)),
     ("rectangle", ("lens_left", "lens_right", "pads"))],
)  # fmt: skip
def test_glasses_without_lenses_or_pads(catalog: Catalog, name: str, without) -> None:
    pair = design(catalog, name)
    kept = [surface for part, surface in pair.parts.items() if part not in without]
    points, proposal = proposed(kept, motion(3))
    off = np.linalg.norm(points - pair.anchors.as_array(), axis=1)
    assert off[:2].max() < 3.5
    # Without pads it is the rim beside the nose that touches, some mm away.
    assert off[2:].max() < (6.0 if "pads" in without else 2.0)
    assert proposal.confidence > 0.8


def test_one_temple_open_further_than_the_other(catalog: Catalog) -> None:
    pair = design(catalog, "trapeze")
    points, proposal = proposed(opened(pair, left=7.0).values(), motion(4))
    off = points - pair.anchors.as_array()
    # sin 7 degrees of the 101 mm from hinge to bend.
    assert off[0, 0] == pytest.approx(12.4, abs=1.0)
    assert np.abs(off[1:]).max() < 3.5
    assert proposal.confidence > 0.5


def shield() -> list[Surface]:
    """Sports glasses: one curved pane cut out for the nose, straight temples 100 mm long."""
    angle, y = np.meshgrid(np.linspace(-1.05, 1.05, 81), np.linspace(-22, 20, 31))
    x, z = 70 * np.sin(angle), 70 * np.cos(angle) - 70
    vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    a = (np.arange(30)[:, None] * 81 + np.arange(80)).ravel()
    quads = np.stack([a, a + 1, a + 82, a + 81], axis=1)
    middle = vertices[quads].mean(axis=1)
    nose = (middle[:, 1] < -2) & (np.abs(middle[:, 0]) < 8 - 0.5 * middle[:, 1])
    bars = [
        trimesh.creation.box((2.5, 9, 100), translation((s * 61.5, 8, -86))).subdivide_to_size(6)
        for s in (1, -1)
    ]
    surfaces = [Surface(np.asarray(b.vertices), np.asarray(b.faces)) for b in bars]
    return [Surface(vertices, quads[~nose]), *surfaces]


def test_straight_temples_rest_before_their_tips() -> None:
    points, proposal = proposed(shield(), motion(5))
    # By rule 105 mm behind the bridge of a pair 140 mm wide; this one is 125.5.
    np.testing.assert_allclose(points[:2, 2], -105 * 125.5 / 140, atol=4.0)
    np.testing.assert_allclose(points[:2, 1], 3.5, atol=0.5)
    np.testing.assert_allclose(points[:2, 0], (60.25, -60.25), atol=0.5)
    assert 8.0 < points[2, 0] < 22.0
    assert points[2:, 1].max() < -2.0
    assert proposal.confidence > 0.5


@pytest.mark.parametrize("angles", [(-88, -88), (-45, -45), (0, -88)])
def test_folded_temples_are_refused(catalog: Catalog, angles: tuple[float, float]) -> None:
    parts = opened(design(catalog, "rectangle"), left=angles[0], right=angles[1])
    with pytest.raises(Unsure):
        propose_glasses(one_piece(parts.values(), motion(6)))


def grain(*places: tuple[float, float, float]) -> list[Surface]:
    boxes = [trimesh.creation.box((1.2, 1.2, 1.2), translation(place)) for place in places]
    return [Surface(np.asarray(b.vertices), np.asarray(b.faces)) for b in boxes]


def test_dirt_around_glasses_moves_no_point(catalog: Catalog) -> None:
    pair = design(catalog, "round")
    clean, _ = proposed(pair.parts.values(), np.eye(4))
    tip = min(s.vertices[:, 2].min() for s in pair.parts.values())
    dirt = grain((0, 0, tip - 25), (20, 0, tip - 30), (40, -90, 60))
    points, proposal = proposed([*pair.parts.values(), *dirt], np.eye(4))
    np.testing.assert_allclose(points, clean, atol=1e-6)
    assert proposal.confidence > 0.9


def test_a_point_behind_the_tips_or_no_bridge_makes_nothing_sure() -> None:
    # A bar 100 mm wide, 3 mm up in its middle, and straight temples level with its ends.
    away, along, up = np.full(200, 50.0), np.full(200, 1.0), np.zeros(200)
    away[100:130], up[100:130], along[130:] = 5.0, 3.0, np.linspace(26, 130, 70)
    found = _upward(away, along, up)
    assert found == pytest.approx(3 / 8 / 2)
    # One point 30 mm behind the tips, in the middle, changes hardly anything.
    assert _upward(np.append(away, 0.0), np.append(along, 160.0), np.append(up, 0.0)) < found + 0.1
    with pytest.raises(Unsure, match="no bridge"):
        _upward(np.where(away == 5.0, 20.0, away), along, up)


@pytest.mark.parametrize("confidence", [np.nan, 0.499])
def test_no_proposal_of_little_or_unknown_confidence_is_acted_on(monkeypatch, confidence) -> None:
    unsure = Proposal("glasses", Anchors(*np.eye(4, 3)), confidence, "x")
    monkeypatch.setitem(_PROPOSERS, "glasses", lambda pieces: unsure)
    with pytest.raises(Unsure):
        propose([], "glasses")


def shapes(catalog: Catalog) -> dict[str, list[Surface]]:
    pair = design(catalog, "round")
    make = trimesh.creation
    legs = [make.box((4, 80, 4), translation((x, -40, z))) for x in (-65, 65) for z in (-45, 45)]
    meshes = {
        "cube": [make.box((1, 1, 1))],
        "sphere": [make.icosphere()],
        "torus": [make.torus(3, 1)],
        "table": [make.box((140, 4, 100)), *legs],
        "staple": [
            make.box((140, 4, 4)),
            *(make.box((4, 4, 140), translation((x, 0, -70))) for x in (-70, 70)),
        ],
        "triangle": [trimesh.Trimesh(np.eye(3), [[0, 1, 2]], process=False)],
        "point": [trimesh.Trimesh(np.ones((3, 3)), [[0, 1, 2]] * 20, process=False)],
    }
    found = {
        name: [Surface(np.asarray(m.vertices), np.asarray(m.faces)) for m in group]
        for name, group in meshes.items()
    }
    temples = [pair.parts["temple_left"], pair.parts["temple_right"]]
    found |= {
        "one temple": temples[:1],
        "two temples": temples,
        "a lens": [pair.parts["lens_left"]],
        "front": [s for n, s in pair.parts.items() if not n.startswith("temple")],
        "monocle": [s for n, s in pair.parts.items() if n in ("lens_left", "temple_left")],
        "no left temple": [s for n, s in pair.parts.items() if n != "temple_left"],
        "head": list(bare_head(person(3), "1_neutral").surfaces.values()),
    }
    return found


def test_what_is_not_glasses_is_refused(catalog: Catalog) -> None:
    for name, surfaces in shapes(catalog).items():
        confidence = 0.0
        with contextlib.suppress(Unsure):
            confidence = propose_glasses(one_piece(surfaces, motion(7))).confidence
        assert confidence < 0.3, name


def test_spread_covers_by_area_and_moves_with_the_triangles() -> None:
    square = np.array([[[0, 0, 0], [3, 0, 0], [0, 1, 0]], [[9, 0, 0], [10, 0, 0], [9, 1, 0]]])
    points = spread(square.astype(float), 1000)
    assert (points[:, 0] < 5).sum() == 750
    np.testing.assert_allclose(points[points[:, 0] < 5].mean(axis=0), (1, 1 / 3, 0), atol=0.02)
    np.testing.assert_allclose(spread(2.0 * square + 1, 1000), 2 * points + 1)


def test_a_box_mirrors_itself_on_its_three_middle_planes() -> None:
    box = trimesh.creation.box((3, 2, 1))
    turn = rotation_about(np.array([1.0, 2.0, 0.5]), 33.0)
    points = apply(turn, spread(np.asarray(box.triangles), 4000))
    points = (points - points.mean(axis=0)) / np.sqrt((points**2).sum(axis=1).mean())
    planes = mirror_planes(points)[:3]
    along = np.abs(np.stack([plane.normal for plane in planes]) @ turn[:3, :3])
    np.testing.assert_allclose(np.sort(along.max(axis=1)), 1.0, atol=1e-3)
    assert sorted(along.argmax(axis=1)) == [0, 1, 2]
    assert max(abs(plane.offset) for plane in planes) < 0.01


def test_section_of_a_box_is_its_outline() -> None:
    box = trimesh.creation.box((4, 2, 10))
    cut = section(np.asarray(box.triangles), 2, 1.25)
    np.testing.assert_allclose(cut[:, 2], 1.25)
    np.testing.assert_allclose(np.abs(cut[:, :2]).max(axis=0), (2, 1))
    assert ((np.abs(cut[:, 0]) > 1.999) | (np.abs(cut[:, 1]) > 0.999)).all()
    assert not len(section(np.asarray(box.triangles), 2, 6.0))
