"""Hair grows where it should, lies on the head and hides what is behind it."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
import pytest
from scipy.spatial import cKDTree

from pipeline.blender import scene
from pipeline.blender.device import Machine
from pipeline.blender.labels import render_coverage
from pipeline.catalog import hair as hair_module
from pipeline.catalog.fields import vertex_normals
from pipeline.catalog.hair import Scalp
from pipeline.catalog.hairstyles import _STYLES, Beard, Cut, Hair, draw_hair
from pipeline.catalog.head import EXPRESSIONS, _model, build_head
from pipeline.catalog.person import person
from pipeline.catalog.roots import Roots
from pipeline.fit import fit, posed_parts
from pipeline.geometry import Head, Strands

MEN = [k for k in range(60) if person(k).sex > 0.5 and person(k).age > 25]
FULL = Beard("full", 12.0, 8.0, 1.0, 0.0, 0.2, 0.5)


def middle_cut(style: str, **changes: float) -> Cut:
    flow, ranges = _STYLES[style]
    numbers = {name: (low + high) / 2 for name, (low, high) in ranges.items()}
    numbers.setdefault("nape", numbers["sides"])
    return Cut(style=style, flow=flow, **(numbers | changes))


@lru_cache(maxsize=4)
def wearing(k: int, hair: Hair, expression: str = "1_neutral") -> Head:
    return build_head(dataclasses.replace(person(k), hair=hair), expression)


def with_cut(k: int, cut: Cut | None, beard: Beard | None = None) -> Head:
    return wearing(k, Hair(cut, person(k).hair.brows, beard))


def heights(head: Head, points: np.ndarray) -> np.ndarray:
    """mm of points over the tangent plane of the nearest vertex of the skin."""
    skin = head.surfaces["skin"]
    nearest = cKDTree(skin.vertices).query(points)[1]
    normals = vertex_normals(skin.vertices, skin.faces)[nearest]
    return np.einsum("ij,ij->i", points - skin.vertices[nearest], normals)


def from_eyes(head: Head, strands: Strands) -> np.ndarray:
    assert head.eye_left is not None
    assert head.eye_right is not None
    return strands.points - (head.eye_left + head.eye_right) / 2


@pytest.mark.parametrize("k", [1, 8, 40])
def test_hair_hangs_on_the_person_alone_and_is_rooted_in_the_skin(k: int) -> None:
    first, again = (build_head(person(k), "4_big_smile") for _ in range(2))
    assert set(first.hair) == set(again.hair)
    assert "brows" in first.hair
    for name, strands in first.hair.items():
        assert np.array_equal(strands.points, again.hair[name].points)
        assert np.isfinite(strands.points).all()
        assert strands.radius.shape == strands.points.shape[:2]
        assert (strands.radius > 0).all()
        assert (strands.radius < 0.5).all()
        assert np.abs(heights(first, strands.points[:, 0])).max() < 1.5
        assert strands.shade.min() >= 0
        assert strands.shade.max() <= 1


@pytest.mark.parametrize("style", _STYLES)
def test_no_cut_goes_through_the_head(style: str) -> None:
    for k in (2, 5):
        head = with_cut(k, middle_cut(style))
        points = head.hair["scalp"].points[:, 1:].reshape(-1, 3)
        low = heights(head, points[:: max(1, len(points) // 30_000)])
        # Tied hair converges, so that hairs between guides cut corners below the others.
        assert (low < -2.0).mean() < (0.03 if style in ("bun", "ponytail") else 0.01), style
        assert low.max() > 1.0


@pytest.mark.parametrize("style", ["bob", "long", "long_curls"])
def test_long_hair_frames_the_face_and_leaves_it_free(style: str) -> None:
    head = with_cut(2, middle_cut(style, part_mm=5.0))
    x, y, z = from_eyes(head, head.hair["scalp"]).reshape(-1, 3).T
    assert y.min() < -60
    face = (np.abs(x) < 40) & (y < 30) & (y > -100) & (z > -20)
    assert face.mean() < 0.002


@pytest.mark.parametrize("k", [2, 9])
def test_hair_falls_before_the_shoulders_or_behind_them(k: int) -> None:
    """Hardly an end of a bob lies on their ridge, some 115 mm behind the eyes."""
    head = with_cut(k, middle_cut("bob", part_mm=5.0))
    ends = from_eyes(head, head.hair["scalp"])[:, -1]
    z = ends[ends[:, 1] < -100, 2]
    assert (np.abs(z + 117) < 7).mean() < 0.02
    assert min((z > -110).mean(), (z < -125).mean()) > 0.2


def test_hair_follows_its_own_side_of_the_part_whatever_falls_before_the_shoulders() -> None:
    """The nearest guide is across the part and falls to the front; its own falls to the back."""
    rest = np.array([[-1.0, 70.0, 0.0], [12.0, 70.0, 0.0], [2.0, 70.0, 0.0]])
    places = Roots(np.zeros((3, 3), int), np.full((3, 3), 1 / 3), rest, np.zeros(3))
    skin = np.zeros((1, 3))
    scalp = Scalp(skin, np.array([[0.0, 1.0, 0.0]]), np.zeros(3), cKDTree(skin))
    front, back = np.array([0.0, -200.0, -60.0]), np.array([0.0, -200.0, -170.0])
    grown = np.stack([[np.zeros(3), end] for end in (front, back)])
    cut = middle_cut("long", part_mm=0.0)
    hair = hair_module._between(
        cut, places.of([2]), np.array([[0, 1]]), places.of([0, 1]), grown, scalp
    )
    assert hair[0, 1] == pytest.approx(back)


def test_a_fringe_falls_over_the_forehead() -> None:
    plain, fringed = (with_cut(2, middle_cut("bob", fringe=length)) for length in (0.0, 70.0))

    def over_forehead(head: Head) -> float:
        x, y, z = from_eyes(head, head.hair["scalp"]).reshape(-1, 3).T
        return float(((np.abs(x) < 30) & (y > 15) & (y < 45) & (z > 0)).mean())

    assert over_forehead(fringed) > 0.005 > 10 * over_forehead(plain)


def test_hairlines_recede_from_the_temples_and_leave_the_sides() -> None:
    rest = np.array([[38.0, 72.0, -20.0], [0.0, 74.0, 2.0], [0.0, 100.0, -60.0],
                     [72.0, 10.0, -90.0]])  # fmt: skip
    left = np.array([hair_module.kept(r, rest) for r in (0.0, 0.3, 0.6, 1.0)])
    assert (left[0] == 1).all()
    assert (np.diff(left, axis=0) <= 0).all()
    corner, front, top, side = left.T
    assert corner[1] < 0.2 < front[1]
    assert hair_module.kept(0.6, np.array([[38.0, 72.0, 5.0]])) < 0.1
    assert front[2] < 0.2
    assert top[3] == 0
    assert (side == 1).all()


def test_shaven_heads_have_no_strands_and_hats_hide_those_below() -> None:
    assert "scalp" not in with_cut(4, None).hair
    skin = with_cut(4, middle_cut("crop")).surfaces["skin"]
    looks = person(4).appearance
    hair = Hair(middle_cut("crop"), person(4).hair.brows, None)
    everywhere = np.ones(len(skin.vertices))
    assert "scalp" not in hair_module.grow(
        hair, _model().places, skin, np.zeros(3), looks, everywhere
    )


@pytest.mark.parametrize("expression", ["1_neutral", "2_mouth_open", "8_pucker"])
def test_beards_keep_off_lips_and_eyes(expression: str) -> None:
    k = MEN[0]
    head = wearing(k, Hair(None, person(k).hair.brows, FULL), expression)
    beard, skin = head.hair["beard"].points, head.surfaces["skin"]
    nearest = cKDTree(skin.vertices).query(beard[:, 0])[1]
    assert skin.attributes["lips"][nearest].mean() < 0.05
    assert skin.attributes["mouth_inside"][nearest].max() < 0.6
    y = from_eyes(head, head.hair["beard"])[..., 1]
    assert len(beard) > 3000
    assert y[:, 0].max() < 25


def test_brows_lie_over_both_eyes_alike() -> None:
    for k in range(12):
        head = build_head(person(k), "1_neutral")
        x, y, _z = from_eyes(head, head.hair["brows"])[:, 0].T
        left, right = (x > 0).sum(), (x < 0).sum()
        assert 120 < left < 900
        assert 0.75 < left / right < 1.33
        assert y.min() > 4
        assert y.max() < 42
        assert np.abs(x).min() > 3


def test_children_and_women_have_no_beards_and_styles_follow_age_and_ancestry() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        assert draw_hair(rng, 40.0, 0.1, (0.3, 0.3, 0.4)).beard is None
        assert draw_hair(rng, 12.0, 0.9, (0.3, 0.3, 0.4)).beard is None
    old = [draw_hair(rng, 70.0, 0.9, (0.0, 0.0, 1.0)).cut for _ in range(300)]
    young = [draw_hair(rng, 19.0, 0.9, (0.0, 0.0, 1.0)).cut for _ in range(300)]
    lost = [np.mean([c is None or c.recession > 0.2 for c in cuts]) for cuts in (old, young)]
    assert lost[0] > 0.4
    assert lost[1] < 0.05
    coiled = [draw_hair(rng, 30.0, 0.1, (1.0, 0.0, 0.0)).cut for _ in range(200)]
    straight = [draw_hair(rng, 30.0, 0.1, (0.0, 1.0, 0.0)).cut for _ in range(200)]
    assert sum(c is not None and c.style == "afro" for c in coiled) > 40
    assert not any(c is not None and c.style == "afro" for c in straight)


def test_hair_before_a_lens_cuts_the_masks_there(worn_spec, catalog) -> None:
    spec = worn_spec("square")
    camera = {"distance_mm": 500.0, "yaw_deg": 0.0, "pitch_deg": 0.0, "roll_deg": 0.0}
    spec = spec.model_copy(
        update={
            "camera": spec.camera.model_copy(update=camera),
            "render": spec.render.model_copy(update={"size": 64}),
        }
    )
    head, eyewear = catalog.head(spec.head), catalog.eyewear(spec.glasses)
    parts = posed_parts(eyewear, fit(head, eyewear, spec.nose))
    # A curtain of thick hairs before the outer half of the left lens.
    middle = parts["lens_left"].vertices.mean(axis=0)
    x = np.arange(middle[0], middle[0] + 60.0, 0.5)
    ends = np.stack([np.stack([x, np.full_like(x, y), np.full_like(x, middle[2] + 25.0)], 1)
                     for y in (middle[1] + 60.0, middle[1], middle[1] - 60.0)], axis=1)  # fmt: skip
    curtain = Strands(
        ends, np.full(ends.shape[:2], 0.6, np.float32), np.zeros(len(x), np.float32), (0.1,) * 3
    )
    path = catalog.around(spec)
    seen = {}
    for name, hair in (("bare", {}), ("curtain", {"curtain": curtain})):
        bald = dataclasses.replace(head, hair=hair)
        built = scene.wear(scene.build_portrait(spec, bald, path, Machine(2, "CPU")), parts)
        seen[name] = render_coverage(built)[0]
    bare, hidden = seen["bare"].lens_left, seen["curtain"].lens_left
    assert 0.35 < hidden.sum() / bare.sum() < 0.65
    columns = np.flatnonzero(bare.sum(axis=0) > 0.5)
    edge = int(columns.mean())
    assert np.array_equal(bare[:, : edge - 2], hidden[:, : edge - 2])
    assert hidden[:, edge + 3 :].sum() < 0.02 * bare[:, edge + 3 :].sum()
    assert np.array_equal(seen["bare"].lens_right, seen["curtain"].lens_right)


def test_hair_moves_with_the_face() -> None:
    assert "13_brow_raise" in EXPRESSIONS
    still, raised = (build_head(person(3), e) for e in ("1_neutral", "13_brow_raise"))
    rise = raised.hair["brows"].points[:, 0, 1] - still.hair["brows"].points[:, 0, 1]
    assert rise.mean() > 2.0


def test_masks_hide_beards_and_hats_tuck_tied_hair_in() -> None:
    who = person(MEN[0])
    bearded = dataclasses.replace(who, hair=Hair(None, who.hair.brows, FULL))
    masked = dataclasses.replace(bearded, clothes=dataclasses.replace(who.clothes, held="mask"))
    assert "beard" in build_head(bearded, "1_neutral").hair
    assert "beard" not in build_head(masked, "1_neutral").hair
    tied = dataclasses.replace(person(2), hair=Hair(middle_cut("bun"), who.hair.brows, None))
    worn = {
        name: dataclasses.replace(tied.clothes, headwear=name, held="") for name in ("", "beanie")
    }
    reach = {
        name: np.ptp(
            build_head(dataclasses.replace(tied, clothes=clothes), "1_neutral")
            .hair["scalp"].points, axis=1
        ).max()
        for name, clothes in worn.items()
    }  # fmt: skip
    assert reach["beanie"] < 20 < 100 < reach[""]
