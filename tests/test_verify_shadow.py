"""A small `make verify-shadow`, and its figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from campaigns.verify_shadow import Judged, campaign, figures

from pipeline.recipe import load_recipe

#: Of the two references from their mean; the last pixel is in no shadow.
APART = np.array([[0.02, 0.03, 0.04, 0.3]])


def judged(mask, matte, change, true_matte) -> Judged:
    change = np.array([change], float)
    return Judged(
        mask=np.array([mask], bool),
        matte=np.array([matte], float),
        changes=(change, change + np.array([[0.0, 0.0, 0.0, 9.0]])),
        mattes=(np.array([true_matte]) - APART, np.array([true_matte]) + APART),
        change=change,
        reference_matte=np.array([true_matte], float),
        eyewear=np.zeros((1, 4), bool),
    )


def test_figures_of_four_pixels():
    """Changes of 30, 14, 20 and 5 of 255: three in shadow, of which the second is doubtful."""
    found = figures(
        [judged([1, 0, 0, 0], [0.5, 0.9, 0.7, 1.0], [30, 14, 20, 5], [0.4, 0.9, 0.8, 1.0])]
    )
    clear, whole, references, inside, overall, apart = found.values()
    assert clear == pytest.approx(1 / 2)
    assert whole == pytest.approx(1 / 3)
    assert references == pytest.approx(3 / 4)
    assert inside == pytest.approx((0.1 + 0.0 + 0.1) / 3)
    assert overall == pytest.approx(0.2 / 4)
    assert apart == pytest.approx(0.03)


def test_labels_of_a_small_picture_are_near_those_of_many_samples():
    recipe = load_recipe("portrait")
    render = recipe.render.model_copy(update={"size": 64})
    recipe = recipe.model_copy(update={"render": render, "glasses": ["square"]})
    clear, _, _, inside, overall, _ = campaign(recipe, scenes=1, spp=128).values()
    assert clear > 0.8
    assert inside < 0.08
    assert overall < 0.02
