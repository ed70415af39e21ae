"""Colours of people: the pigment model, what is drawn, what is painted on vertices."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.catalog.appearance import draw_appearance
from pipeline.catalog.head import bare_head, person
from pipeline.catalog.pigment import albedo, lightness, melanin
from pipeline.geometry import RGB, Appearance

#: The Monk skin tone scale, steps 1 to 10, as published (sRGB).
MONK = (
    "f6ede4", "f3e7db", "f7ead0", "eadaba", "d7bd96", "a07e56", "825c43", "604134", "3a312a",
    "292420",
)  # fmt: skip


def linear(srgb: str) -> RGB:
    values = np.array([int(srgb[i : i + 2], 16) for i in (0, 2, 4)]) / 255.0
    curve = ((values + 0.055) / 1.055) ** 2.4
    red, green, blue = np.where(values <= 0.04045, values / 12.92, curve)
    return float(red), float(green), float(blue)


def drawn(tone: float, age: float = 30.0, male: float = 0.5, seed: int = 1) -> Appearance:
    return draw_appearance(np.random.default_rng(seed), age, tone, male)


def test_tones_darken_all_the_way_in_every_colour() -> None:
    colors = np.array([albedo(melanin(tone)) for tone in np.linspace(0.0, 1.0, 41)])
    assert (np.diff(colors, axis=0) < 0.0).all()
    assert (colors[:, 0] > colors[:, 1]).all()
    assert (colors[:, 1] > colors[:, 2]).all()


def test_ten_steps_are_ordered_and_near_the_monk_scale() -> None:
    """Its light swatches are lighter, and its dark ones darker, than skin; the order is one."""
    tones = (np.arange(10) + 0.5) / 10.0
    ours = np.array([lightness(albedo(melanin(tone))) for tone in tones])
    monks = np.array([lightness(linear(swatch)) for swatch in MONK])
    assert (np.diff(ours) < -0.5).all()
    assert np.corrcoef(ours, monks)[0, 1] > 0.9
    assert np.abs(ours - monks)[5:].mean() < 12.0
    assert (ours < monks)[:5].all()
    assert 60.0 < ours[0] < 75.0
    assert 24.0 < ours[-1] < 34.0


def test_blood_reddens_and_stale_blood_less() -> None:
    pale, red, stale = (albedo(0.03, blood, oxygen) for blood, oxygen in
                        ((0.005, 0.75), (0.02, 0.75), (0.02, 0.2)))  # fmt: skip
    assert red[1] / red[0] < 0.9 * pale[1] / pale[0]
    assert stale[0] < red[0]


def test_lightness_of_known_colours() -> None:
    assert lightness((1.0, 1.0, 1.0)) == pytest.approx(100.0)
    assert lightness((0.184187, 0.184187, 0.184187)) == pytest.approx(50.0, abs=0.01)


@pytest.mark.parametrize("tone", [0.05, 0.5, 0.95])
def test_regions_differ_as_blood_and_pigment_say(tone: float) -> None:
    who = drawn(tone)
    assert who.flushed[1] / who.flushed[0] < who.skin[1] / who.skin[0]
    assert who.sallow[1] / who.sallow[0] > who.skin[1] / who.skin[0] - 0.02
    assert lightness(who.tired) < lightness(who.skin)
    assert who.lips[1] / who.lips[0] < who.skin[1] / who.skin[0]


def test_age_brings_lines_grey_hair_and_yellow_teeth() -> None:
    young = [drawn(0.3, 22.0, seed=s) for s in range(40)]
    old = [drawn(0.3, 75.0, seed=s) for s in range(40)]
    assert max(w.lines for w in young) == 0.0
    assert min(w.lines for w in old) > 0.6
    assert max(w.grey for w in young) == 0.0
    assert np.mean([w.grey for w in old]) > 0.6
    blue = [np.mean([w.teeth[2] for w in group]) for group in (young, old)]
    assert blue[1] < 0.85 * blue[0]


def test_only_grown_men_have_a_shadow_of_a_beard() -> None:
    assert all(drawn(0.3, 40.0, 0.1, s).beard_shadow == 0.0 for s in range(20))
    assert all(drawn(0.3, 12.0, 0.95, s).beard_shadow == 0.0 for s in range(20))
    assert np.mean([drawn(0.3, 35.0, 0.95, s).beard_shadow for s in range(20)]) > 0.3


def test_cheeks_are_redder_than_the_forehead_and_lips_than_either() -> None:
    for k in (3, 5, 12, 20):
        skin = bare_head(person(k), "1_neutral").surfaces["skin"]
        rest, color = skin.attributes["rest"], skin.attributes["albedo"]
        assert color.shape == rest.shape
        assert 0.0 < color.min() < color.max() < 0.9
        near = {
            "cheek": np.linalg.norm(np.abs(rest) - (40.0, 34.0, 12.0), axis=1) < 9.0,
            "forehead": (np.abs(rest - (0.0, 45.0, 20.0)) < (20.0, 8.0, 20.0)).all(axis=1),
            "lips": skin.attributes["lips"] > 0.95,
        }
        near["cheek"] &= rest[:, 1] < 0.0
        green = {name: (color[at, 1] / color[at, 0]).mean() for name, at in near.items()}
        assert green["lips"] < green["cheek"] < green["forehead"]


def test_wrinkles_come_with_age_and_leave_the_nose_smooth() -> None:
    old, child = (bare_head(person(k), "1_neutral").surfaces["skin"] for k in (8, 7))
    rest = old.attributes["rest"]
    forehead = (np.abs(rest[:, 0]) < 15) & (np.abs(rest[:, 1] - 42) < 6) & (rest[:, 2] > 0)
    assert old.attributes["crease"][forehead].mean() > 0.15
    assert child.attributes["crease"][forehead].max() == 0.0
    flanks = (np.abs(rest[:, 0]) < 12) & (rest[:, 1] < -4) & (rest[:, 1] > -25) & (rest[:, 2] > 20)
    ground = (0.5 + 0.5 * np.cos(old.attributes["crease_phase"])) ** 2
    assert (ground * old.attributes["crease"])[flanks].max() < 0.03
