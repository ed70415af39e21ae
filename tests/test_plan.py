"""Drawing: what a sample depends on, and what it does not."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from pipeline.errors import RecipeError
from pipeline.plan import MAX_ATTEMPTS, Stream, check_names, draw
from pipeline.recipe import parse_recipe
from pipeline.spec import parse_spec, split_of


def test_streams_are_spawned_children_of_the_seed():
    """numpy's spawn(n)[i] has spawn_key (i,), so sample i does not depend on how many there are."""
    few, many = (np.random.SeedSequence(5).spawn(n)[2].generate_state(4) for n in (3, 3000))
    keyed = np.random.SeedSequence(5, spawn_key=(2,)).generate_state(4)
    assert np.array_equal(few, many)
    assert np.array_equal(few, keyed)
    assert len({int(stream) for stream in Stream}) == len(Stream)


def test_specs_differ_between_samples_and_seeds_and_agree_when_drawn_again(catalog, smoke):
    specs = [draw(smoke, catalog, seed, index) for seed in (0, 1) for index in range(20)]
    again = [draw(smoke, catalog, seed, index) for seed in (0, 1) for index in range(20)]
    assert specs == again
    assert len({spec.model_dump_json() for spec in specs}) == 40
    assert len({spec.camera.yaw_deg for spec in specs}) == 40


def test_attempts_change_glasses_and_nose_only(catalog, smoke):
    first, *others = (draw(smoke, catalog, 0, 3, attempt) for attempt in range(MAX_ATTEMPTS))
    for attempt, spec in enumerate(others, 1):
        assert spec.attempt == attempt
        same = spec.model_copy(update={"attempt": 0, "glasses": first.glasses, "nose": first.nose})
        assert same == first
    assert len({spec.nose for spec in (first, *others)}) == MAX_ATTEMPTS


def test_a_new_range_for_the_light_moves_no_camera(catalog, smoke):
    lit = smoke.model_copy(update={"light": smoke.light.model_copy(update={"rotation_deg": 5.0})})
    for index in range(5):
        before, after = draw(smoke, catalog, 0, index), draw(lit, catalog, 0, index)
        assert before.camera == after.camera
        assert before.head == after.head
        assert before.glasses == after.glasses


def test_drawn_values_lie_in_the_recipe(catalog):
    recipe = parse_recipe(
        {
            "people": {"first": 10, "count": 3},
            "expressions": {"1_neutral": 1, "3_smile": 3},
            "glasses": ["round"],
            "nose": {"values": [0, 2]},
            "camera": {
                "focal_mm": 85,
                "fill": 0.5,
                "yaw_deg": {"mean": 0, "std": 30, "low": -20, "high": 20},
            },
            "light": {"hdri": "city", "rotation_deg": [10, 20]},
        },
        "test",
    )
    specs = [draw(recipe, catalog, 0, index) for index in range(300)]
    assert {s.head.subject for s in specs} == {f"person-{k:06d}" for k in (10, 11, 12)}
    assert {s.glasses.name for s in specs} == {"round"}
    assert {s.nose for s in specs} == {0.0, 2.0}
    assert {s.light.rotation_deg for s in specs} == set(range(10, 20))
    assert all(-20 <= s.camera.yaw_deg <= 20 for s in specs)
    # 85 mm on a 36 mm sensor: a 230 mm head fills half the frame at 85 / 36 * 230 / 0.5 mm.
    assert specs[0].camera.distance_mm == pytest.approx(1086.11, abs=0.01)
    smiles = sum(s.head.expression == "3_smile" for s in specs) / 300
    assert abs(smiles - 0.75) < 3 * (0.75 * 0.25 / 300) ** 0.5


def test_spec_survives_json(catalog, smoke):
    spec = draw(smoke, catalog, 2**62, 999_999)
    assert parse_spec(spec.model_dump(mode="json"), "x") == spec
    assert spec.id == "999999"


def test_split_is_eight_one_one_by_sha256():
    names = [f"person-{k:06d}" for k in range(5000)]
    splits = [split_of(name) for name in names]
    for name, split in zip(names[:200], splits, strict=False):
        last = int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) % 10
        assert split == ("val" if last == 8 else "test" if last == 9 else "train")
    for split, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        assert abs(splits.count(split) / 5000 - share) < 3 * (share * (1 - share) / 5000) ** 0.5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"expressions": ["1_neutrl"]},
            "$.expressions: unknown name '1_neutrl'; did you mean '1_n",
        ),
        ({"glasses": "aviatr"}, "$.glasses: unknown name 'aviatr'; did you mean 'aviator'?"),
        ({"light": {"hdri": {"moon": 1}}}, "$.light.hdri: unknown name 'moon'"),
        ({"glasses": {"round": 0}}, "$.glasses: weights must add up to more than 0"),
        ({"glasses": []}, "$.glasses: at least one name is needed"),
    ],
)
def test_names_the_catalogue_lacks_are_told_with_their_path(catalog, change, said):
    with pytest.raises(RecipeError) as error:
        check_names(parse_recipe(change, "mine.yaml"), catalog, "mine.yaml")
    assert str(error.value).startswith("mine.yaml: " + said)


def test_samples_of_a_portrait_share_all_but_glasses_and_nose(catalog, smoke):
    shared = smoke.model_copy(update={"pairs_per_portrait": 3})
    specs = [draw(shared, catalog, 0, index) for index in range(6)]
    assert [spec.portrait == specs[0].portrait for spec in specs] == [True] * 3 + [False] * 3
    assert len({spec.nose for spec in specs}) == 6
    assert [spec.index for spec in specs] == list(range(6))
    # Portrait p is drawn as sample p of a plan with one pair a portrait.
    assert specs[3].portrait == draw(smoke, catalog, 0, 1).portrait
    assert specs[4].glasses == draw(smoke, catalog, 0, 4).glasses
