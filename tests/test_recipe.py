"""Recipes: what is said about a wrong one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.distributions import Mix, bounds, draw_number, pick
from pipeline.errors import RecipeError
from pipeline.recipe import load_recipe, parse_recipe, scene_names


@pytest.mark.parametrize("name", ["portrait", "lyu", "smoke"])
def test_the_scenes_that_come_with_the_program_are_valid(name):
    assert name in scene_names()
    assert load_recipe(name).description


def test_defaults_of_the_scenes():
    assert load_recipe("lyu").render.size == 256
    assert load_recipe("portrait").render.denoise
    assert load_recipe("lyu").render.denoise
    assert not load_recipe("smoke").render.denoise


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("camera: {focl_mm: 50}", "$.camera.focl_mm: unknown key, did you mean 'focal_mm'?"),
        ("nsoe: 1", "$.nsoe: unknown key, did you mean 'nose'?"),
        (
            "nose: {mean: 1, sdt: 2, low: 0, high: 3}",
            "$.nose.sdt: unknown key, did you mean 'std'?",
        ),
        ("camera: {yaw_deg: [1, 2, 3]}", "$.camera.yaw_deg: "),
        ("camera: {yaw_deg: [20, 10]}", "$.camera.yaw_deg: [low, high] expected"),
        ("camera: {pitch_deg: 400}", "$.camera.pitch_deg: must lie within -60 and 60"),
        ("camera: {yaw_deg: {mix: [[1, 0], [1, [20, 10]]]}}", "$.camera.yaw_deg: [low, high] exp"),
        ("camera: {yaw_deg: {mix: [[1, 0], [1, 100]]}}", "$.camera.yaw_deg: must lie within -90"),
        ("camera: {yaw_deg: {mix: [[0, 0]]}}", "$.camera.yaw_deg: weights must add up to more"),
        ("camera: {align: fhq}", "$.camera.align: input should be 'none', 'ffhq' or 'celeba'"),
        ("camera: {focused: 2}", "$.camera.focused: "),
        ("camera: {f_number: 0}", "$.camera.f_number: must lie within 0.5 and 64"),
        ("nose: 4", "$.nose: must lie within 0 and 3"),
        ("nose: .nan", "$.nose: "),
        ("render: {size: 0}", "$.render.size: input should be greater than or equal to 16"),
        ("render: {spp: many}", "$.render.spp: "),
        ("camera: fast", "$.camera: "),
        ("people: {count: -1}", "$.people.count: "),
        ("people: {age: {kid: 1}}", "$.people.age.kid: input should be 'child', 'teen', "),
        ("people: {tone: {11: 1}}", "$.people.tone.11: input should be '1', '2', "),
        ("sensor: {kernels: {area: 0}}", "$.sensor.kernels: weights must add up to more than 0"),
        ("people: {sex: {male: 0}}", "$.people.sex: weights must add up to more than 0"),
        ("people: {age: {child: -1}}", "$.people.age.child: input should be greater"),
        ("gaze: {at_camera: 1.5}", "$.gaze.at_camera: input should be less than or equal to 1"),
        ("gaze: {yaw_deg: [-30, 30]}", "$.gaze.yaw_deg: must lie within -25 and 25"),
        ("gaze: {pitch: 3}", "$.gaze.pitch: unknown key, did you mean 'pitch_deg'?"),
        ("[1, 2]", "a scene is a mapping of keys, not list"),
        ("", "a scene is a mapping of keys, not NoneType"),
        ("camera: {yaw_deg: 1", "not valid YAML: "),
        ("a: &x [1]\nb: *x", "not valid YAML: aliases are not allowed (line 2)"),
        ("[" * 101 + "]" * 101, "not valid YAML: nested deeper than 100 levels (line 1)"),
        ("nose: 1\nnose: 2", "not valid YAML: key 'nose' is given twice"),
        ("nose: !!python/object/apply:os.system [ls]", "not valid YAML: "),
        ("[" * 100_000, "not valid YAML: "),
        ("#" * 300_000, "larger than the 200000 bytes"),
    ],
)
def test_a_wrong_recipe_is_one_line_with_file_and_path(tmp_path, text, said):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as error:
        load_recipe(str(path))
    message = str(error.value)
    assert message.startswith(f"{path}: {said}")
    assert "\n" not in message
    assert len(message) < 500


def test_unknown_scene_names_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'portrait'"):
        load_recipe("portait")


def test_a_file_that_is_no_text_is_told(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(str(path))


def test_a_normal_distribution_needs_room():
    with pytest.raises(RecipeError, match=r"\$\.nose: .*low <= mean <= high"):
        parse_recipe({"nose": {"mean": 5, "std": 1, "low": 0, "high": 3}}, "x")


def test_tones_may_be_numbers_and_survive_json():
    recipe = parse_recipe({"people": {"tone": {1: 2, "10": 1}}}, "x")
    assert recipe.people.tone == {"1": 2.0, "10": 1.0}
    assert parse_recipe(recipe.model_dump(mode="json"), "x") == recipe


def test_a_mixture_draws_from_its_parts_by_their_weights():
    """3 : 1 : 0 of a range, a constant and a cut normal: what lies where, over 20,000 draws."""
    given = {"mix": [[3, [50, 85]], [1, 24], [0, {"mean": 9, "std": 1, "low": 8, "high": 10}]]}
    mix = parse_recipe({"camera": {"focal_mm": given}}, "x").camera.focal_mm
    assert isinstance(mix, Mix)
    assert bounds(mix) == (8.0, 85.0)
    rng = np.random.default_rng(0)
    drawn = np.array([draw_number(mix, rng) for _ in range(20_000)])
    wide = drawn == 24.0
    # Three standard deviations of a share of 1/4 are 0.0092.
    assert wide.mean() == pytest.approx(0.25, abs=0.0092)
    assert 50 <= drawn[~wide].min() < drawn[~wide].max() <= 85
    assert drawn[~wide].mean() == pytest.approx(67.5, abs=0.3)
    recipe = parse_recipe({"camera": {"focal_mm": given}}, "x")
    assert parse_recipe(recipe.model_dump(mode="json"), "x") == recipe


@pytest.mark.parametrize("name", scene_names())
def test_views_of_scenes_keep_to_what_cameras_do(name):
    """Up to 135 mm, 60 degrees of yaw, 30 of pitch and 20 of roll, as far as the scene goes."""
    camera = load_recipe(name).camera
    for key, least, most in (("focal_mm", 20, 135), ("yaw_deg", -60, 60), ("pitch_deg", -30, 30),
                             ("roll_deg", -20, 20)):  # fmt: skip
        low, high = bounds(getattr(camera, key))
        assert least <= low <= high <= most, key


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=8).filter(lambda weights: sum(weights) > 0),
    st.floats(0, 1, exclude_max=True),
)
def test_what_weighs_nothing_is_never_picked(weights, place):
    assert weights[pick(weights, place)] > 0
    assert weights[pick(weights, np.nextafter(1.0, 0.0))] > 0


def test_picks_are_as_many_as_weights_say():
    places = (np.arange(1000) + 0.5) / 1000
    found = [pick([1.0, 0.0, 2.0, 1.0, 0.0], place) for place in places]
    assert np.bincount(found, minlength=5).tolist() == [250, 0, 500, 250, 0]
