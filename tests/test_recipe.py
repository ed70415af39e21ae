"""Recipes: what is said about a wrong one."""

from __future__ import annotations

import pytest

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
