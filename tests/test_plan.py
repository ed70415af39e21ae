"""Drawing: what a sample depends on, and what it does not."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from itertools import product

import numpy as np
import pytest

from pipeline.camera import face_centre, gaze_at, world_from_camera
from pipeline.catalog.catalog import Catalog, UserHeads
from pipeline.catalog.head import bare_head, person
from pipeline.catalog.person import AGE_GROUPS, TONE_STEPS, groups_of
from pipeline.errors import RecipeError
from pipeline.fit import fit
from pipeline.plan import MAX_ATTEMPTS, Stream, _generator, check_names, draw
from pipeline.recipe import load_recipe, parse_recipe
from pipeline.spec import parse_spec, split_of


def test_no_two_streams_are_the_same():
    assert len({int(stream) for stream in Stream}) == len(Stream)
    small = (0, 1, 2, 11, 12, 21)
    keys = [*product(Stream, small, small), *product(Stream, small)]
    assert len({_generator(*key).random() for key in keys}) == len(keys)


def test_a_stream_is_numpys_pcg64_seeded_by_a_hash():
    """Worked out from the definition of PCG XSL RR 128/64 (O'Neill 2014), without numpy."""
    digest = hashlib.shake_128(b"5 2").digest(4 * 32)
    high, low, inc_high, inc_low = struct.unpack("<4Q", digest[3 * 32 :])
    increment = (inc_high << 64 | inc_low) << 1 | 1
    step, whole = 47026247687942121848144207491837523525, 2**128

    def following(state: int) -> int:
        return (state * step + increment) % whole

    state = following(following((increment + (high << 64 | low)) % whole) % whole)
    folded, turn = (state >> 64 ^ state) % 2**64, state >> 122
    turned = (folded >> turn | folded << (64 - turn)) % 2**64
    assert _generator(Stream.GLASSES, 5, 2).random() == (turned >> 11) / 2**53


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


def persons(people: dict, catalog, count: int, seed: int = 0, first: int = 0) -> list[int]:
    recipe = parse_recipe({"people": people}, "x")
    check_names(recipe, catalog, "x")
    specs = (draw(recipe, catalog, seed, index) for index in range(first, first + count))
    return [int(spec.head.subject.removeprefix("person-")) for spec in specs]


def shares(numbers: list[int], trait: int) -> dict[str, float]:
    counted = Counter(groups_of(number)[trait] for number in numbers)
    return {name: count / len(numbers) for name, count in counted.items()}


@pytest.mark.parametrize(("seed", "first"), [(0, 0), (3, 50_000)])
def test_portraits_in_a_row_keep_the_shares_of_ages_tones_and_sexes(catalog, seed, first):
    """Within one in a hundred of 2,000; drawn by chance, one group or another would be off by 2."""
    asked = {"child": 2, "teen": 1, "young": 1, "middle": 0, "senior": 4}
    people = {"age": asked, "tone": {1: 3, 6: 1, 10: 1}, "sex": {"female": 1, "male": 3}}
    numbers = persons(people, catalog, 2000, seed, first)
    ages, tones, sexes = (shares(numbers, trait) for trait in range(3))
    assert ages == pytest.approx({n: w / 8 for n, w in asked.items() if w}, abs=0.01)
    assert tones == pytest.approx({"1": 0.6, "6": 0.2, "10": 0.2}, abs=0.01)
    assert sexes == pytest.approx({"female": 0.25, "male": 0.75}, abs=0.015)


def test_without_shares_ages_and_tones_are_those_of_the_persons(catalog):
    numbers = persons({}, catalog, 2000)
    every = list(range(10_000))
    assert shares(numbers, 0) == pytest.approx(shares(every, 0), abs=0.01)
    assert shares(numbers, 1) == pytest.approx(dict.fromkeys(TONE_STEPS, 0.1), abs=0.01)
    # By chance 10,000 persons give 2,000 portraits 1,813 faces, give or take 12.
    assert abs(len(set(numbers)) - 1813) < 40


def test_what_is_not_asked_for_stays_as_among_all_persons(catalog):
    """Of the first 10,000, tones of the few children alone are not as even."""
    numbers = persons({"age": {"child": 1}}, catalog, 2000)
    assert shares(numbers, 0) == {"child": 1.0}
    assert shares(numbers, 1) == pytest.approx(dict.fromkeys(TONE_STEPS, 0.1), abs=0.01)


@pytest.mark.parametrize("count", [1, 3, 10, 73])
def test_every_one_of_a_few_persons_is_drawn_about_as_often(catalog, count):
    drawn = Counter(persons({"first": 40, "count": count}, catalog, 40 * count))
    assert sorted(drawn) == list(range(40, 40 + count))
    assert all(15 < times < 70 for times in drawn.values())


def test_of_very_many_persons_the_right_ones_are_found(catalog):
    people = {"first": 10**6, "count": 10**8, "age": {"senior": 1}, "tone": {2: 1}}
    numbers = persons(people, catalog, 60)
    assert {groups_of(number)[:2] for number in numbers} == {("senior", "2")}
    assert len(set(numbers)) == 60
    assert max(numbers) > 10**7


@pytest.mark.parametrize(
    ("people", "said"),
    [
        # Persons 0 to 2 are a child and two of middle age.
        ({"count": 3, "age": {"senior": 1}}, "$.people.age.senior: none of persons 0 to 2 is in"),
        ({"count": 3, "tone": {10: 1, 3: 1}}, "$.people.tone.10: none of persons 0 to 2 is in"),
        # The child's tone is the lightest, and nobody else's.
        (
            {"count": 3, "age": {"middle": 1}, "tone": {1: 1}},
            "$.people: persons 0 to 2 are too few for these shares",
        ),
    ],
)
def test_people_whom_the_range_lacks_are_told(catalog, people, said):
    with pytest.raises(RecipeError) as error:
        persons(people, catalog, 1)
    assert str(error.value).startswith("x: " + said)


def test_meshes_have_no_ages(catalog, tmp_path):
    heads = UserHeads({"scan": tmp_path / "scan.obj"}, {"scan": "0" * 64})
    theirs = Catalog(heads, catalog.glasses, catalog.lights)
    recipe = parse_recipe({"people": {"age": {"child": 1}}}, "x")
    with pytest.raises(RecipeError, match=r"^x: \$\.people\.age: heads of a folder"):
        check_names(recipe, theirs, "x")
    plain = parse_recipe(
        {"people": {"count": 1}, "gaze": {"at_camera": 1}, "camera": {"yaw_deg": 20}}, "x"
    )
    check_names(plain, theirs, "x")
    assert draw(plain, theirs, 0, 0).head.gaze == (0.0, 0.0)


def test_gaze_at_the_camera_points_there_from_between_the_eyes(catalog):
    recipe = parse_recipe(
        {
            "people": {"count": 500},
            "expressions": "1_neutral",
            "gaze": {"at_camera": 1},
            "camera": {"yaw_deg": [-15, 15], "pitch_deg": [-8, 8], "focal_mm": 50},
        },
        "x",
    )
    within = np.cos(np.deg2rad(1.0))
    for index in range(6):
        spec = draw(recipe, catalog, 0, index)
        head = catalog.head(spec.head)
        eyes = (head.eye_left + head.eye_right) / 2
        seen = world_from_camera(spec.camera, face_centre(head.anchors))[:3, 3] - eyes
        yaw, pitch = np.deg2rad(spec.head.gaze)
        looked = [np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)]
        assert np.dot(looked, seen) / np.linalg.norm(seen) > within
        # And the eyes are turned there: the pupil is where the gaze angle is 0.
        left = head.surfaces["eye_left"]
        pupil = left.vertices[np.argmin(left.attributes["gaze_angle"])] - head.eye_left
        assert np.dot(looked, pupil) / np.linalg.norm(pupil) > within


def test_gaze_stays_within_what_eyes_can_turn_and_is_often_at_the_camera(catalog):
    recipe = load_recipe("portrait")
    specs = [draw(recipe, catalog, 0, index) for index in range(600)]
    there = [spec.head.gaze == pytest.approx(gaze_at(spec.camera), abs=1e-3) for spec in specs]
    assert abs(sum(there) / 600 - 0.85) < 3 * (0.85 * 0.15 / 600) ** 0.5
    assert all(abs(s.head.gaze_yaw_deg) <= 25 and abs(s.head.gaze_pitch_deg) <= 20 for s in specs)
    aside = [s for s, at in zip(specs, there, strict=True) if not at]
    assert np.std([s.head.gaze_yaw_deg for s in aside]) > 5
    steep = specs[0].camera.model_copy(update={"yaw_deg": -80.0, "pitch_deg": 55.0})
    assert gaze_at(steep) == (-25.0, 20.0)


def test_a_spec_of_before_gaze_looks_straight_ahead(catalog, smoke):
    spec = draw(smoke, catalog, 0, 0)
    data = spec.model_dump(mode="json")
    del data["head"]["gaze_yaw_deg"], data["head"]["gaze_pitch_deg"]
    assert parse_spec(data, "x") == spec
    assert spec.head.gaze == (0.0, 0.0)


def test_an_expression_that_turns_an_eye_has_its_way():
    """The wink's open eye follows; `18_look_left` and closed eyes do not."""

    def eye(expression: str, side: str, gaze: tuple[float, float]) -> np.ndarray:
        return bare_head(person(3), expression, gaze).surfaces[f"eye_{side}"].vertices

    for expression, side, follows in (
        ("1_neutral", "left", True),
        ("18_look_left", "left", False),
        ("7_eyes_closed", "right", False),
        ("16_wink_left", "left", False),
        ("16_wink_left", "right", True),
    ):
        moved = np.abs(eye(expression, side, (15, 5)) - eye(expression, side, (0, 0))).max()
        assert (moved > 1.0) == follows, expression


def test_groups_and_their_names_in_recipes_are_the_same(catalog):
    every = {"age": dict.fromkeys(AGE_GROUPS, 1), "tone": dict.fromkeys(TONE_STEPS, 1)}
    assert parse_recipe({"people": every | {"sex": {"female": 1, "male": 1}}}, "x")


def test_hats_and_masks_leave_no_room_for_some_ways_of_wearing(catalog):
    clothes = {k: person(k).clothes for k in range(300)}
    hatted = next(k for k, c in clothes.items() if c.headwear and c.held != "mask")
    masked = next(k for k, c in clothes.items() if c.held == "mask" and not c.headwear)
    bare = next(k for k, c in clothes.items() if not c.headwear and not c.held)
    for first, expected in ((hatted, "worn"), (masked, "pushed_up"), (bare, "pushed_up")):
        scene = {"people": {"first": first, "count": 1}, "wear": "pushed_up"}
        assert draw(parse_recipe(scene, "x"), catalog, 0, 0).wear.mode == expected
    scene = {"people": {"first": masked, "count": 1}, "wear": "slipped"}
    assert draw(parse_recipe(scene, "x"), catalog, 0, 0).wear.mode == "worn"


def test_looking_aside_leaves_the_vertex_distance_alone(catalog):
    spec = draw(parse_recipe({"people": {"first": 66, "count": 1}}, "x"), catalog, 0, 0)
    eyewear = catalog.eyewear(spec.glasses)
    ahead, aside = (
        fit(bare_head(person(66), "1_neutral", gaze), eyewear, 1.0).figures
        for gaze in ((0.0, 0.0), (20.0, 10.0))
    )
    for side in ("left", "right"):
        assert abs(ahead[f"vertex_distance_{side}_mm"] - aside[f"vertex_distance_{side}_mm"]) < 0.05


def test_distance_follows_from_lens_and_fill_but_nobody_comes_too_near(catalog):
    """At fill 0.8 a 24 mm lens would be 24 / 36 * 230 / 0.8 = 192 mm away, one of 50 mm 399 mm."""
    camera = {"focal_mm": {"mix": [[1, 24], [3, 50]]}, "fill": 0.8, "nearest_mm": 350}
    recipe = parse_recipe({"camera": camera}, "x")
    seen = [draw(recipe, catalog, 0, index).camera for index in range(400)]
    away = {c.focal_mm: c.distance_mm for c in seen}
    assert away == {24.0: 350.0, 50.0: pytest.approx(399.3, abs=0.1)}
    assert abs(sum(c.focal_mm == 24 for c in seen) / 400 - 0.25) < 3 * (0.25 * 0.75 / 400) ** 0.5


def test_a_lens_in_focus_moves_no_other_draw_and_comes_as_often_as_asked(catalog, smoke):
    camera = smoke.camera.model_copy(update={"focused": 0.3, "f_number": [2.0, 4.0]})
    recipe = smoke.model_copy(update={"camera": camera})
    pairs = [(draw(recipe, catalog, 1, i), draw(smoke, catalog, 1, i)) for i in range(300)]
    numbers = [spec.camera.f_number for spec, _ in pairs]
    assert abs(sum(n is not None for n in numbers) / 300 - 0.3) < 3 * (0.3 * 0.7 / 300) ** 0.5
    assert all(n is None or 2 <= n <= 4 for n in numbers)
    for spec, plain in pairs[:50]:
        camera = spec.camera.model_copy(update={"f_number": None})
        assert spec.model_copy(update={"camera": camera}) == plain


def test_views_of_portrait_are_as_wide_as_its_scene_says(catalog):
    recipe = load_recipe("portrait")
    seen = [draw(recipe, catalog, 0, index).camera for index in range(1000)]
    focal = np.array([camera.focal_mm for camera in seen])
    assert 24 <= focal.min() < 26
    assert 130 < focal.max() <= 135
    assert min(camera.distance_mm for camera in seen) == 350
    assert 0.35 < np.mean([camera.f_number is not None for camera in seen]) < 0.45
    for name, most, usual in (("yaw_deg", 60, 22), ("pitch_deg", 30, 10), ("roll_deg", 20, 6)):
        turns = np.abs([getattr(camera, name) for camera in seen])
        assert 0.8 * most < turns.max() <= most
        assert turns.std() < usual
