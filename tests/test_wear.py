"""Ways of wearing glasses other than as they should be: drawn, fitted and judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from campaigns.independent import Skin, figures, violations
from test_fit import box_eyewear, box_head

from pipeline.catalog.catalog import Catalog, open_catalog
from pipeline.commands.meshes import WEARS
from pipeline.errors import RecipeError
from pipeline.fit import Fit, fit, posed_parts
from pipeline.geometry import Eyewear, Head, resized
from pipeline.limits import WearLimits
from pipeline.plan import check_names, draw
from pipeline.recipe import Recipe, load_recipe, parse_recipe
from pipeline.skin import SkinSurface
from pipeline.spec import WEAR_MODES, WearSpec, parse_spec
from pipeline.transforms import apply

SIDES = ("left", "right")
PAIRS = [(0, "rectangle"), (4, "aviator"), (11, "round")]
WAYS = [
    WearSpec(),
    WearSpec(mode="slipped", slip_mm=12.0),
    WearSpec(mode="askew", roll_deg=3.0, yaw_deg=-2.0),
    WearSpec(mode="askew", roll_deg=-3.0, yaw_deg=2.0),
    WearSpec(mode="pushed_up", lift_mm=42.0),
    WearSpec(mode="undersized", scale=0.9),
    WearSpec(mode="oversized", scale=1.12),
]


@dataclass(frozen=True, eq=False)
class Wearer:
    """A person and a pair of glasses; `placed` by the place of a way in WAYS."""

    head: Head
    eyewear: Eyewear
    skin: SkinSurface
    placed: list[Fit]

    def pads(self, way: int) -> np.ndarray:
        """The middle of the nose anchors, (3,) mm."""
        anchors = resized(self.eyewear, WAYS[way].scale).anchors.as_array()
        return apply(self.placed[way].world_from_glasses, anchors[2:]).mean(axis=0)


@pytest.fixture(scope="module", params=PAIRS, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def wearer(request: pytest.FixtureRequest) -> Wearer:
    number, design = request.param
    catalog = open_catalog()
    head = catalog.heads.load(f"person-{number:06d}", "1_neutral")
    entry, skin = catalog.glasses[design], SkinSurface(head)
    eyewear = entry.build(entry.typical())
    placed = [fit(head, resized(eyewear, w.scale), 0.5, wear=w, skin=skin) for w in WAYS]
    return Wearer(head, eyewear, skin, placed)


def test_each_way_is_accepted_and_no_deeper_in_the_skin_than_its_limits(wearer: Wearer) -> None:
    """Depths by libigl, with nothing of the fit's own code."""
    worn = []
    for way, placed in zip(WAYS, wearer.placed, strict=True):
        assert placed.accepted, (way, placed.reason)
        worn.append(posed_parts(resized(wearer.eyewear, way.scale), placed))
    for way, seen in zip(WAYS, figures(Skin(wearer.head), worn), strict=True):
        assert not violations(seen, WearLimits().of(way.mode)), way


def test_worn_is_what_is_fitted_when_nothing_is_said(wearer: Wearer) -> None:
    plain = fit(wearer.head, wearer.eyewear, 0.5)
    assert plain.world_from_glasses.tobytes() == wearer.placed[0].world_from_glasses.tobytes()
    assert plain.figures == wearer.placed[0].figures


def test_a_way_is_fitted_the_same_whatever_was_fitted_before(wearer: Wearer) -> None:
    for way, before in zip(WAYS, wearer.placed, strict=True):
        again = fit(wearer.head, resized(wearer.eyewear, way.scale), 0.5, wear=way)
        assert again.world_from_glasses.tobytes() == before.world_from_glasses.tobytes()
        assert again.figures == before.figures


def test_slipped_glasses_sit_lower_and_draw_their_temples_forward(wearer: Wearer) -> None:
    worn, slipped = wearer.placed[0].figures, wearer.placed[1].figures
    lower = wearer.pads(0)[1] - wearer.pads(1)[1]
    # Measured along the skin, which does not fall straight down.
    assert 0.75 * WAYS[1].slip_mm < lower < WAYS[1].slip_mm + 0.5
    for side in ("left", "right"):
        assert slipped[f"bend_{side}_mm"] > worn[f"bend_{side}_mm"] + 3
        assert slipped[f"pad_gap_{side}_mm"] < 1


@pytest.mark.parametrize(("way", "high", "low"), [(2, "left", "right"), (3, "right", "left")])
def test_askew_glasses_are_turned_as_drawn_and_rise_from_one_ear(
    wearer: Wearer, way: int, high: str, low: str
) -> None:
    worn, askew = wearer.placed[0].figures, wearer.placed[way].figures
    assert askew["roll_deg"] - worn["roll_deg"] == pytest.approx(WAYS[way].roll_deg, abs=0.7)
    # Roll and pitch together turn the front a little more or less.
    assert askew["yaw_deg"] - worn["yaw_deg"] == pytest.approx(WAYS[way].yaw_deg, abs=1.2)
    assert 5 < askew[f"ear_gap_{high}_mm"] < 12
    assert abs(askew[f"ear_gap_{low}_mm"]) < 3
    assert max(askew["pad_gap_left_mm"], askew["pad_gap_right_mm"]) < 2


def test_glasses_pushed_up_have_their_lenses_above_the_eyes_and_touch_the_forehead(
    wearer: Wearer,
) -> None:
    parts = posed_parts(wearer.eyewear, wearer.placed[4])
    eyes = max(wearer.head.surfaces[f"eye_{side}"].vertices[:, 1].max() for side in SIDES)
    for side in SIDES:
        assert parts[f"lens_{side}"].vertices[:, 1].min() > eyes
    front = [part.vertices for name, part in parts.items() if not name.startswith("temple")]
    assert wearer.skin.least_distance(np.concatenate(front)) < 1.5
    assert wearer.placed[4].figures["pantoscopic_tilt_deg"] < -5


def test_temples_of_small_glasses_are_splayed_and_of_large_ones_not(wearer: Wearer) -> None:
    small, fitting, large = (wearer.placed[k].figures for k in (5, 0, 6))
    for side in SIDES:
        openings = [f[f"opening_{side}_deg"] for f in (large, fitting, small)]
        assert np.diff(openings).min() > 2
        bends = [f[f"bend_{side}_mm"] for f in (large, fitting, small)]
        assert np.diff(bends).min() > 5


def test_ways_on_a_block_are_as_worked_out_by_hand() -> None:
    """Its nose is as thick all the way down, its face flat, its ears level."""
    head, eyewear = box_head(), box_eyewear()
    worn = fit(head, eyewear, 0.0)
    middle = eyewear.anchors.as_array()[2:].mean(axis=0)

    def pads(placed: Fit) -> np.ndarray:
        return apply(placed.world_from_glasses, middle[None])[0]

    slipped = fit(head, eyewear, 0.0, wear=WearSpec(mode="slipped", slip_mm=10.0))
    assert pads(worn)[1] - pads(slipped)[1] == pytest.approx(10.0, abs=0.05)
    for roll in (-4.0, 4.0):
        askew = fit(head, eyewear, 0.0, wear=WearSpec(mode="askew", roll_deg=roll))
        # The temples, 2 mm thick and outside the nodes, make its lever a little longer.
        assert askew.figures["roll_deg"] == pytest.approx(roll, abs=0.15)
        rise = 138.0 * np.tan(np.radians(4.0))
        side, other = ("left", "right") if roll > 0 else ("right", "left")
        assert askew.figures[f"ear_gap_{side}_mm"] == pytest.approx(rise, abs=0.3)
        assert askew.figures[f"ear_gap_{other}_mm"] == pytest.approx(0.0, abs=0.3)
    up = fit(head, eyewear, 0.0, wear=WearSpec(mode="pushed_up", lift_mm=40.0))
    lowest = posed_parts(eyewear, up)["lens_left"].vertices[:, 1].min()
    # At least 40 mm above the nose nodes, which lie at y = -8: the pads rest 14 mm behind the
    # lenses, whose edge rises by half of that as the front leans back.
    assert 32 <= lowest < 32 + 14


def test_limits_of_a_way_judge_that_way_and_make_no_pose(wearer: Wearer) -> None:
    recipe = parse_recipe({"limits": {"slipped": {"vertex_max_mm": 5}}}, "x")
    strict = recipe.limits.of("slipped")
    # What a recipe leaves out stays what it is for this way, and other ways stay as they are.
    assert strict.bend_before_mm == WearLimits().slipped.bend_before_mm
    assert recipe.limits.worn == WearLimits().worn
    found = fit(wearer.head, wearer.eyewear, 0.5, strict, wear=WAYS[1], skin=wearer.skin)
    assert found.reason.startswith("vertex_distance_mm")
    usual = wearer.placed[1].world_from_glasses
    assert found.world_from_glasses.tobytes() == usual.tobytes()


def test_glasses_of_another_size_keep_their_shape() -> None:
    eyewear = box_eyewear()
    large = resized(eyewear, 1.25)
    for name, part in eyewear.parts.items():
        np.testing.assert_allclose(large.parts[name].vertices, 1.25 * part.vertices)
    np.testing.assert_allclose(large.anchors.as_array(), 1.25 * eyewear.anchors.as_array())
    np.testing.assert_allclose(large.hinge_left.origin, 1.25 * eyewear.hinge_left.origin)
    assert resized(eyewear, 1.0) is eyewear


def mixed(smoke: Recipe) -> Recipe:
    return smoke.model_copy(update={"wear": dict.fromkeys(WEAR_MODES, 1.0)})


def test_a_mix_of_ways_changes_nothing_else_of_a_sample(catalog: Catalog, smoke: Recipe) -> None:
    recipe = mixed(smoke)
    for index in range(40):
        before, after = draw(smoke, catalog, 0, index), draw(recipe, catalog, 0, index)
        assert before.wear == WearSpec()
        assert after.model_copy(update={"wear": WearSpec()}) == before


def test_ways_are_drawn_by_their_weights_and_within_their_ranges(
    catalog: Catalog, smoke: Recipe
) -> None:
    weights = {"worn": 3, "slipped": 1, "askew": 2, "pushed_up": 1, "undersized": 1, "oversized": 2}
    data = smoke.model_dump() | {"wear": weights, "wear_by": {"slip_mm": [10.0, 11.0]}}
    recipe = parse_recipe(data, "x")
    drawn = [draw(recipe, catalog, 0, index).wear for index in range(500)]
    for mode, weight in weights.items():
        share = sum(way.mode == mode for way in drawn) / 500
        assert abs(share - weight / 10) < 3.5 * (weight / 10 * (1 - weight / 10) / 500) ** 0.5
    still = WearSpec().model_dump()
    for way in drawn:
        moved = {k for k, v in way.model_dump().items() if k != "mode" and v != still[k]}
        expected = {
            "worn": set(),
            "slipped": {"slip_mm"},
            "askew": {"roll_deg", "yaw_deg"},
            "pushed_up": {"lift_mm"},
            "undersized": {"scale"},
            "oversized": {"scale"},
        }
        assert moved == expected[way.mode]
    assert all(10 <= way.slip_mm <= 11 for way in drawn if way.mode == "slipped")
    assert all(way.scale < 1 for way in drawn if way.mode == "undersized")
    askew = [way.roll_deg for way in drawn if way.mode == "askew"]
    assert min(askew) < -1.5 < 1.5 < max(askew)


def test_attempts_keep_the_way_and_draw_anew_by_how_much(catalog: Catalog, smoke: Recipe) -> None:
    recipe = smoke.model_copy(update={"wear": "slipped"})
    ways = [draw(recipe, catalog, 0, 3, attempt).wear for attempt in range(5)]
    assert {way.mode for way in ways} == {"slipped"}
    assert len({way.slip_mm for way in ways}) == 5
    several = [draw(mixed(smoke), catalog, 0, 7, attempt).wear.mode for attempt in range(5)]
    assert len(set(several)) == 1


def test_specs_from_before_there_were_ways_of_wearing_are_worn(
    catalog: Catalog, smoke: Recipe
) -> None:
    spec = draw(smoke, catalog, 0, 0)
    old = spec.model_dump(mode="json")
    del old["wear"]
    assert parse_spec(old, "old.json") == spec
    way = draw(mixed(smoke), catalog, 0, 1)
    assert parse_spec(way.model_dump(mode="json"), "new.json") == way


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"wear": {"slipd": 1}}, "$.wear: unknown name 'slipd'; did you mean 'slipped'?"),
        ({"wear": ["all"]}, "$.wear: unknown name 'all'"),
        ({"wear": "askwe"}, "$.wear: unknown name 'askwe'; did you mean 'askew'?"),
        ({"wear": {"worn": 0}}, "$.wear: weights must add up to more than 0"),
        ({"limits": {"pushedup": {}}}, "$.limits.pushedup: unknown key, did you mean 'pushed_up'?"),
        (
            {"limits": {"askew": {"rol_deg": 1}}},
            "$.limits.askew.rol_deg: unknown key, did you mean 'roll_deg'?",
        ),
        ({"wear_by": {"slip": 1}}, "$.wear_by.slip: unknown key, did you mean 'slip_mm'?"),
        ({"wear_by": {"roll_deg": [-3, 3]}}, "$.wear_by.roll_deg: must lie within 0 and 15"),
        ({"wear_by": {"oversized": 0.9}}, "$.wear_by.oversized: must lie within 1 and 2"),
    ],
)
def test_wrong_ways_are_told_with_their_path(catalog: Catalog, change: dict, said: str) -> None:
    with pytest.raises(RecipeError) as error:
        check_names(parse_recipe(change, "mine.yaml"), catalog, "mine.yaml")
    assert str(error.value).startswith("mine.yaml: " + said)


def test_the_command_knows_all_ways_and_scenes_draw_known_ones(catalog: Catalog) -> None:
    assert WEARS == WEAR_MODES
    for scene in ("portrait", "lyu", "smoke"):
        check_names(load_recipe(scene), catalog, scene)
