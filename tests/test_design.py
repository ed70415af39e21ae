"""Plans: every combination once, every prefix balanced."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.design import Cell, Design
from pipeline.errors import RecipeError
from pipeline.generation import drawn_series
from pipeline.jobs import AssetFolders
from pipeline.plan import check_names, design, draw
from pipeline.recipe import load_recipe, parse_recipe


def plan(sizes: tuple[int, int, int, int]) -> Design:
    expressions, noses, glasses, persons = sizes
    return Design(
        tuple(f"e{i}" for i in range(expressions)), tuple(map(float, range(noses))),
        tuple(f"g{i}" for i in range(glasses)), tuple(range(persons)),
    )  # fmt: skip


@given(st.tuples(*[st.integers(1, 7)] * 4))
def test_every_combination_comes_once_and_every_prefix_is_balanced(sizes):
    whole = plan(sizes)
    cells = [whole.cell(index) for index in range(whole.size)]
    assert whole.size == math.prod(sizes) == len(set(cells))
    assert whole.cell(whole.size) == cells[0]
    for factor, size in zip(("expression", "nose", "glasses", "person"), sizes, strict=True):
        counted: Counter[object] = Counter()
        for number, cell in enumerate(cells, 1):
            counted[getattr(cell, factor)] += 1
            assert max(counted.values()) == -(-number // size)
            assert number < size or min(counted.values()) == number // size


def test_the_scene_of_lyu_is_the_plan_of_the_paper(catalog):
    recipe = load_recipe("lyu")
    check_names(recipe, catalog, "lyu")
    whole = design(recipe, catalog, 0)
    assert whole.size == 73 * 20 * 4 * 5 == 29_200 == counted("lyu")
    factors = (whole.persons, whole.expressions, whole.noses, whole.glasses)
    assert [len(levels) for levels in factors] == [73, 20, 4, 5]
    assert len({whole.cell(index) for index in range(29_200)}) == 29_200
    # Expressions, nose positions and glasses are crossed in every 400 samples.
    for start in (0, 400, 28_800):
        some = [whole.cell(index) for index in range(start, start + 400)]
        assert len({(cell.expression, cell.nose, cell.glasses) for cell in some}) == 400
    assert recipe.camera.align == "ffhq"


def test_samples_are_those_of_the_plan_and_attempts_keep_to_it(catalog):
    recipe = load_recipe("lyu")
    for index in (0, 7, 29_199, 29_200):
        cell = design(recipe, catalog, 5).cell(index)
        specs = [draw(recipe, catalog, 5, index, attempt) for attempt in range(3)]
        for spec in specs:
            subject = int(spec.head.subject.removeprefix("person-"))
            shown = Cell(subject, spec.head.expression, spec.glasses.name, spec.nose)
            assert shown == cell
            assert spec.camera == specs[0].camera
        assert len({str(spec.glasses.choice) for spec in specs}) == 3
    # Another seed begins elsewhere, and a plan that begins again has other cameras and light.
    assert design(recipe, catalog, 6).cell(0) != design(recipe, catalog, 5).cell(0)
    assert draw(recipe, catalog, 5, 29_200).camera != draw(recipe, catalog, 5, 0).camera


def counted(scene: str) -> int:
    """Samples of a scene whose count is left out."""
    return drawn_series(None, 0, scene, {}, AssetFolders()).count


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nose": [0, 3]}, "$.nose: a design has a number or {values: [...]}"),
        ({"nose": {"values": [1, 1]}}, "$.nose: a design has each value once"),
        ({"glasses": {"round": 1}}, "$.glasses: a design has no weights"),
        ({"expressions": ["1_neutral", "1_neutral"]}, "$.expressions: a design has each name once"),
        ({"people": {"age": {"child": 1}}}, "$.people.age: a design shows every person"),
        ({"people": {"count": 10**6}}, "$.people.count: a design has 100000 at most"),
        ({"pairs_per_portrait": 2}, "$.pairs_per_portrait: a design has 1"),
    ],
)
def test_what_cannot_be_counted_is_no_design(catalog, change, said):
    recipe = parse_recipe({"design": True, "nose": {"values": [0, 1]}} | change, "mine.yaml")
    with pytest.raises(RecipeError) as error:
        check_names(recipe, catalog, "mine.yaml")
    assert str(error.value).startswith("mine.yaml: " + said)


def test_without_a_design_a_count_is_asked_for():
    with pytest.raises(RecipeError, match=r"^portrait: has no design .* give --count$"):
        counted("portrait")
