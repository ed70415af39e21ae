"""A small `make verify-people`, and its figures worked out by hand."""

from __future__ import annotations

from collections import Counter

import pytest
from campaigns.verify_people import (
    Row,
    campaign,
    compare,
    expression_rows,
    fewest_persons,
    natural_ages,
)

from pipeline.plan import draw
from pipeline.recipe import load_recipe, parse_recipe


def test_ages_by_hand():
    """Of 8 to 18 half are 8 to 13; of 18 to 55 two years of 37 are teens and 20 young."""
    found = natural_ages()
    assert found["child"] == pytest.approx(0.075)
    assert found["teen"] == pytest.approx(0.075 + 0.6 * 2 / 37)
    assert found["senior"] == pytest.approx(0.2)
    assert sum(found.values()) == pytest.approx(1)


def test_rows_by_hand():
    """A tenth of 100 expected, 30 of 100 found: 0.2 off, with a variance of 0.09 * 0.03."""
    found = {"hair": Counter(long=30, short=70)}
    natural = {"hair": Counter(long=10, short=90)}
    long, short = compare(found, natural, 100)
    assert (long.name, long.expected, long.found) == ("long", 0.1, 0.3)
    assert long.deviation == pytest.approx((0.1 * 0.9 * 0.03) ** 0.5)
    assert not long.passed
    assert "FAILED" in str(long)
    assert not short.passed
    assert all(row.passed for row in compare(natural, natural, 100))


def test_a_category_that_nobody_should_have_fails():
    (hat, none) = compare({"headwear": Counter(hat=1, none=9)}, {"headwear": Counter(none=9)}, 10)
    assert (hat.name, hat.passed, none.passed) == ("hat", False, False)


def test_ages_and_tones_are_judged_by_points():
    assert Row("tone", "1", 0.1, 0.109, 0.0001).passed
    assert not Row("tone", "1", 0.1, 0.111, 1.0).passed


def test_expressions_are_held_against_the_weights_of_the_scene(catalog):
    recipe = parse_recipe({"expressions": {"3_smile": 3, "1_neutral": 1}}, "x")
    specs = [draw(recipe, catalog, 0, index) for index in range(100)]
    neutral, smile = expression_rows(specs, recipe, catalog)
    assert (neutral.expected, smile.expected) == (0.25, 0.75)
    assert neutral.passed
    assert smile.passed
    swapped = parse_recipe({"expressions": {"3_smile": 1, "1_neutral": 3}}, "x")
    assert not any(row.passed for row in expression_rows(specs, swapped, catalog))


def test_fewest_persons_by_hand():
    """Two draws of two persons meet 2 * (1 - 1/4) on average."""
    assert fewest_persons(2, 2) == pytest.approx(1.5 - 3 * (2 * 0.25 * 0.75) ** 0.5)


def test_a_small_plan_holds_who_it_should(catalog):
    """Ages and tones of 1,000 portraits are off by at most 2% where chance would allow 5%."""
    rows, different = campaign(load_recipe("portrait"), catalog, 1000, range(10_000, 12_000))
    traits = {row.trait for row in rows}
    assert {"age", "tone", "sex", "ancestry", "hair", "beard", "expression"} <= traits
    assert all(abs(r.found - r.expected) < 0.02 for r in rows if r.trait in ("age", "tone"))
    failed = [row for row in rows if row.trait not in ("age", "tone") and not row.passed]
    assert not failed
    assert different >= fewest_persons(1000, 10_000)
