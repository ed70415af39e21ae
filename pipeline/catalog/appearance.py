"""Colours of a person: skin, lips, eyes, hair, each from a small model of what people have."""

from __future__ import annotations

import numpy as np

from pipeline.catalog import pigment
from pipeline.geometry import RGB, Appearance

_IRISES: dict[str, RGB] = {
    "brown": (0.075, 0.030, 0.012),
    "hazel": (0.13, 0.080, 0.032),
    "green": (0.11, 0.125, 0.065),
    "blue": (0.095, 0.145, 0.205),
    "grey": (0.14, 0.165, 0.18),
}
_HAIRS: dict[str, RGB] = {
    "black": (0.010, 0.008, 0.007),
    "dark_brown": (0.030, 0.017, 0.010),
    "brown": (0.075, 0.038, 0.018),
    "blond": (0.30, 0.18, 0.075),
    "red": (0.19, 0.055, 0.016),
}
_GREY: RGB = (0.42, 0.41, 0.40)
#: Teeth, of the lightness of shades A1 to A4 of dental guides.
_YOUNG_TEETH: RGB = (0.72, 0.67, 0.57)
_OLD_TEETH: RGB = (0.56, 0.46, 0.31)


def mixed(a: RGB, b: RGB, share: float) -> RGB:
    """Colour a + share (b - a)."""
    values = [(1.0 - share) * x + share * y for x, y in zip(a, b, strict=True)]
    return (float(values[0]), float(values[1]), float(values[2]))


def scaled(color: RGB, factor: float | tuple[float, float, float]) -> RGB:
    """Colour times a factor, or one for each channel, kept within 0..1."""
    values = np.clip(np.multiply(color, factor), 0.0, 1.0)
    return (float(values[0]), float(values[1]), float(values[2]))


def draw_appearance(
    rng: np.random.Generator, age: float, tone: float, male: float = 0.5
) -> Appearance:
    """What somebody of an age (years), a tone (0 light .. 1 dark) and a sex looks like.

    male: 0 female .. 1 male. Ten equal steps of `tone` stand for the Monk scale's.
    """
    redness = float(np.clip(rng.normal(0.0, 0.4), -1.0, 1.0))
    light = (1.0 - tone) ** 2.0
    iris_kind, iris = _draw_iris(rng, max(1.0 - 1.7 * tone, 0.0) ** 2)
    hair = _draw_hair(rng, light)
    grey = float(np.clip((age - 38.0) / 40.0 + rng.normal(0.0, 0.25), 0.0, 1.0)) * (age > 30.0)
    old = float(np.clip((age - 40.0) / 35.0, 0.0, 1.0))
    freckly = max(rng.normal(0.0, 0.45), 0.0) * light
    worn = float(np.clip(rng.normal(0.7 * old + 0.2, 0.15), 0.0, 1.0))
    shaven = float(np.clip((male - 0.55) / 0.3, 0.0, 1.0) * np.clip((age - 15.0) / 6.0, 0.0, 1.0))
    return Appearance(
        age=age,
        melanin=tone,
        redness=redness,
        **_draw_skin(rng, tone, redness),
        iris=iris,
        iris_kind=iris_kind,
        hair=hair,
        grey_hair=_GREY,
        grey=grey,
        beard_shadow=shaven * float(rng.uniform(0.1, 1.0)) * (1.0 - 0.6 * grey),
        freckles=float(np.clip(freckly + old * rng.uniform(0.0, 0.5), 0.0, 1.0)),
        moles=float(np.clip(rng.exponential(0.25) * min(age / 25.0, 1.0), 0.0, 1.0)),
        oil=float(np.clip(rng.normal(0.5, 0.2) - 0.25 * old, 0.05, 1.0)),
        lines=float(np.clip((age - 24.0) / 46.0 + rng.normal(0.0, 0.1), 0.0, 1.0)) * (age > 24.0),
        pupil_mm=float(np.clip(rng.normal(4.2 - 1.2 * old, 0.6), 2.4, 6.0)),
        sclera=mixed((0.63, 0.59, 0.56), (0.56, 0.49, 0.40), 0.6 * max(old, tone) * rng.random()),
        teeth=mixed(_YOUNG_TEETH, _OLD_TEETH, worn),
        seed=int(rng.integers(2**31)),
    )


def _draw_skin(rng: np.random.Generator, tone: float, redness: float) -> dict[str, RGB]:
    """Colours of skin by field of `Appearance`. Undertones come from blood, carotene and the kind
    of melanin."""
    melanin = pigment.melanin(tone)
    blood = float(0.0095 * np.exp(0.35 * redness))
    under = {
        "pheomelanin": float(rng.uniform(0.0, 0.2)),
        "carotene": float(rng.uniform(0.0, 0.3)),
    }
    fresh = float(rng.uniform(0.7, 1.5))

    def color(more_melanin: float, more_blood: float, oxygen: float = 0.75) -> RGB:
        return pigment.albedo(more_melanin * melanin, more_blood * blood, oxygen, **under)

    return {
        "skin": color(1.0, 1.0),
        "flushed": color(1.0, 2.8),
        "sallow": color(1.1, 0.65),
        "tired": color(1.55, 1.7, 0.4),
        # The vermilion's epidermis is thin and bares its vessels.
        "lips": color(0.35 + 0.45 * tone, 9.0 * fresh, 0.75),
    }


def _draw_iris(rng: np.random.Generator, light: float) -> tuple[str, RGB]:
    chances = np.array([0.25 + 2.2 * (1 - light), 0.32 * light, 0.25 * light, 0.5 * light,
                        0.2 * light])  # fmt: skip
    kind = str(rng.choice(list(_IRISES), p=chances / chances.sum()))
    return kind, scaled(_IRISES[kind], tuple(rng.uniform(0.75, 1.3) * rng.uniform(0.9, 1.1, 3)))


def _draw_hair(rng: np.random.Generator, light: float) -> RGB:
    chances = np.array([0.25 + 3.0 * (1 - light), 0.6, 0.45 * light, 0.4 * light, 0.09 * light])
    kind = str(rng.choice(list(_HAIRS), p=chances / chances.sum()))
    return scaled(_HAIRS[kind], tuple(rng.uniform(0.75, 1.3) * rng.uniform(0.95, 1.05, 3)))
