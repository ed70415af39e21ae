"""A small `make verify-fit`: fits judged by libigl, on persons and on spoilt scans of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from campaigns.independent import Skin, figures, violations
from campaigns.verify_fit import designs, wear

from pipeline.catalog.anchors import sidecar_path, write_sidecar
from pipeline.catalog.head import bare_head, person
from pipeline.catalog.mesh import load_head
from pipeline.fit import fit, posed_parts
from pipeline.geometry import Anchors, Head, Surface
from pipeline.limits import FitLimits

DESIGN = "rectangle"
NOSE = 1.0


@pytest.fixture(scope="module")
def head() -> Head:
    """A person's skin alone, as a scanner sees it."""
    whole = bare_head(person(5), "1_neutral")
    skin = whole.surfaces["skin"]
    return Head("scan", {"skin": Surface(skin.vertices, skin.triangles())}, whole.anchors)


@pytest.mark.parametrize(
    ("number", "expression", "first"), [(1, "1_neutral", 0), (14, "14_anger", 1)]
)
def test_accepted_fits_keep_their_limits_by_another_judge(
    number: int, expression: str, first: int
) -> None:
    """Of every second design each."""
    chosen = dict(list(designs().items())[first::2])
    tally = wear("person", bare_head(person(number), expression), chosen)
    assert tally.fits == len(chosen) * 4
    assert tally.share >= 0.9
    assert tally.faults == []
    assert tally.rising == []
    # The judge looked: what rests on skin is near it.
    assert all(-1.0 < deepest < 1.5 for deepest in tally.deepest.values())


@pytest.mark.parametrize(
    ("moved", "named"), [((0, 0, -2), "penetration_front_mm"), ((5, 0, 0), "penetration_temple")]
)
def test_the_judge_sees_glasses_that_cut_the_head(
    head: Head, moved: tuple[float, float, float], named: str
) -> None:
    eyewear = designs()[DESIGN][0]
    parts = posed_parts(eyewear, fit(head, eyewear, NOSE))
    assert violations(figures(Skin(head), [parts])[0], FitLimits()) == []
    cutting = {n: replace(p, vertices=p.vertices + np.array(moved)) for n, p in parts.items()}
    found = violations(figures(Skin(head), [cutting])[0], FitLimits())
    assert any(fault.startswith(named) for fault in found)


def with_holes(skin: Surface, rng: np.random.Generator) -> Surface:
    """Twenty holes of 6 mm, none where glasses rest."""
    middles = skin.vertices[skin.faces].mean(axis=1)
    away = np.flatnonzero((middles[:, 1] < -45) | (middles[:, 1] > 45))
    centres = middles[rng.choice(away, 20)]
    near = np.linalg.norm(middles[:, None] - centres, axis=2).min(axis=1) < 6
    return Surface(skin.vertices, skin.faces[~near])


def turned_inwards(skin: Surface, rng: np.random.Generator) -> Surface:
    return Surface(skin.vertices, skin.faces[:, ::-1].copy())


def partly_turned(skin: Surface, rng: np.random.Generator) -> Surface:
    faces = skin.faces.copy()
    some = rng.random(len(faces)) < 0.3
    faces[some] = faces[some, ::-1]
    return Surface(skin.vertices, faces)


def unwelded(skin: Surface, rng: np.random.Generator) -> Surface:
    corners = skin.vertices[skin.faces].reshape(-1, 3)
    return Surface(corners, np.arange(len(corners)).reshape(-1, 3))


def doubled(skin: Surface, rng: np.random.Generator) -> Surface:
    return Surface(skin.vertices, np.concatenate([skin.faces, skin.faces[::3]]))


def ten_shells(skin: Surface, rng: np.random.Generator) -> Surface:
    """Nine more skins beneath, each half a millimetre and more deeper."""
    mesh = trimesh.Trimesh(skin.vertices, skin.faces, process=False)
    depths = [0.0, *(2.0 + 0.5 * k for k in range(9))]
    layers = [skin.vertices - depth * mesh.vertex_normals for depth in depths]
    faces = [skin.faces + k * len(skin.vertices) for k in range(10)]
    return Surface(np.concatenate(layers), np.concatenate(faces))


def open_back(skin: Surface, rng: np.random.Generator) -> Surface:
    middles = skin.vertices[skin.faces].mean(axis=1)
    return Surface(skin.vertices, skin.faces[middles[:, 2] > -60])


@pytest.mark.parametrize(
    "spoil",
    [with_holes, turned_inwards, partly_turned, unwelded, doubled, ten_shells, open_back],
)
def test_defects_of_scans_leave_the_fit_as_it_is(
    head: Head, spoil: Callable[[Surface, np.random.Generator], Surface]
) -> None:
    eyewear, shape = designs()[DESIGN]
    intact = fit(head, eyewear, NOSE, shape=shape)
    skin = spoil(head.surfaces["skin"], np.random.default_rng(4))
    spoilt = replace(head, surfaces={"skin": skin})
    found = fit(spoilt, eyewear, NOSE, shape=shape)
    assert found.accepted, found.reason
    assert intact.accepted
    np.testing.assert_allclose(found.world_from_glasses, intact.world_from_glasses, atol=0.02)
    for name, value in intact.figures.items():
        # Behind the lenses the skin has openings for the eyes, which shells narrow.
        if np.isfinite(value) and not name.startswith("vertex"):
            assert found.figures[name] == pytest.approx(value, abs=0.05), name


def test_a_mask_without_ears_is_worn_at_its_temple_nodes(head: Head) -> None:
    skin = head.surfaces["skin"]
    mask = Surface(skin.vertices, skin.faces[skin.vertices[skin.faces][:, :, 2].min(axis=1) > 30])
    edge = skin.vertices[np.unique(mask.faces)]
    edge = edge[(edge[:, 2] < 34) & (np.abs(edge[:, 1]) < 6)]
    left, right = edge[edge[:, 0].argmax()], edge[edge[:, 0].argmin()]
    anchors = replace(head.anchors, temple_left=left, temple_right=right)
    masked = replace(head, surfaces={"skin": mask}, anchors=anchors)
    tally = wear("mask", masked, {DESIGN: designs()[DESIGN]})
    assert tally.accepted == tally.fits == 4, tally.reasons
    assert tally.faults == []
    found = fit(masked, designs()[DESIGN][0], NOSE)
    assert found.figures["bend_left_mm"] < -FitLimits().bend_behind_mm
    assert abs(found.figures["ear_gap_left_mm"]) < 0.1


def test_a_head_in_micrometres_and_other_axes_is_the_same_head(head: Head, tmp_path: Path) -> None:
    eyewear, shape = designs()[DESIGN]
    turn = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]) * 1000.0
    found = []
    for name, file_from_mm in (("mm", np.eye(3)), ("um", turn)):
        path = tmp_path / f"{name}.obj"
        points = (head.surfaces["skin"].vertices @ file_from_mm.T).tolist()
        lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in points]
        lines += [f"f {a} {b} {c}" for a, b, c in (head.surfaces["skin"].faces + 1).tolist()]
        path.write_text("\n".join(lines), encoding="utf-8")
        anchors = Anchors(*(head.anchors.as_array() @ file_from_mm.T))
        write_sidecar(sidecar_path(path), anchors, "head")
        loaded = load_head(path)
        assert loaded.unit == name
        found.append(fit(loaded, eyewear, NOSE, shape=shape))
    in_mm, in_um = found
    assert in_um.accepted, in_um.reason
    np.testing.assert_allclose(in_um.world_from_glasses, in_mm.world_from_glasses, atol=1e-6)
    for figure, value in in_mm.figures.items():
        assert in_um.figures[figure] == pytest.approx(value, rel=1e-6, abs=1e-6), figure
