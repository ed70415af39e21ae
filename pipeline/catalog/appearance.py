"""Colours of a person: skin, lips, eyes, hair, each from a small model of what people have."""

from __future__ import annotations

import numpy as np

from pipeline.geometry import RGB, Appearance

_SKIN_MELANIN = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_SKIN_TONES = (
    (0.66, 0.45, 0.36),
    (0.58, 0.36, 0.265),
    (0.46, 0.265, 0.175),
    (0.30, 0.15, 0.09),
    (0.15, 0.072, 0.043),
    (0.062, 0.032, 0.022),
)
_IRISES: dict[str, RGB] = {
    "brown": (0.075, 0.030, 0.012),
    "hazel": (0.16, 0.095, 0.035),
    "green": (0.14, 0.17, 0.075),
    "blue": (0.13, 0.23, 0.36),
    "grey": (0.22, 0.26, 0.28),
}
_HAIRS: dict[str, RGB] = {
    "black": (0.010, 0.008, 0.007),
    "dark_brown": (0.030, 0.017, 0.010),
    "brown": (0.075, 0.038, 0.018),
    "blond": (0.30, 0.18, 0.075),
    "red": (0.19, 0.055, 0.016),
}
_GREY: RGB = (0.42, 0.41, 0.40)


def _mix(a: RGB, b: RGB, share: float) -> RGB:
    values = [(1.0 - share) * x + share * y for x, y in zip(a, b, strict=True)]
    return (float(values[0]), float(values[1]), float(values[2]))


def _scaled(color: RGB, factor: tuple[float, float, float]) -> RGB:
    values = np.clip(np.multiply(color, factor), 0.0, 1.0)
    return (float(values[0]), float(values[1]), float(values[2]))


def draw_appearance(rng: np.random.Generator, age: float, tone: float) -> Appearance:
    """What somebody of an age (years) and a tone (0 light .. 1 dark) looks like."""
    redness = float(np.clip(rng.normal(0.0, 0.4), -1.0, 1.0))
    logs = np.log(_SKIN_TONES)
    bare = np.exp([np.interp(tone, _SKIN_MELANIN, logs[:, c]) for c in range(3)])
    yellow = float(np.clip(rng.normal(0.0, 0.4), -1.0, 1.0))
    tints = (1.0 + 0.03 * redness, 1.0 - 0.06 * redness, 1.0 - 0.06 * redness - 0.08 * yellow)
    skin = _scaled((bare[0], bare[1], bare[2]), tints)
    fresh = float(rng.uniform(0.0, 1.0))
    lips = _scaled(skin, (0.92 - 0.06 * fresh, 0.72 - 0.22 * fresh, 0.78 - 0.20 * fresh))
    light = (1.0 - tone) ** 2.0
    chances = np.array([0.25 + 2.2 * (1 - light), 0.32 * light, 0.25 * light, 0.5 * light,
                        0.2 * light])  # fmt: skip
    iris_kind = str(rng.choice(list(_IRISES), p=chances / chances.sum()))
    iris = _scaled(_IRISES[iris_kind], tuple(rng.uniform(0.75, 1.3) * rng.uniform(0.9, 1.1, 3)))
    chances = np.array([0.25 + 3.0 * (1 - light), 0.6, 0.45 * light, 0.4 * light, 0.09 * light])
    hair = _scaled(
        _HAIRS[str(rng.choice(list(_HAIRS), p=chances / chances.sum()))],
        tuple(rng.uniform(0.75, 1.3) * rng.uniform(0.95, 1.05, 3)),
    )
    grey = float(np.clip((age - 38.0) / 40.0 + rng.normal(0.0, 0.25), 0.0, 1.0)) * (age > 30.0)
    return Appearance(
        melanin=tone,
        redness=redness,
        skin=skin,
        lips=lips,
        iris=iris,
        iris_kind=iris_kind,
        brow=_mix(_scaled(hair, (0.8, 0.8, 0.8)), _GREY, 0.6 * grey),
        hair=_mix(hair, _GREY, grey),
        brow_density=float(rng.uniform(0.45, 1.0)),
        stubble=float(rng.uniform(0.0, 1.0)),
        freckles=float(max(rng.normal(0.0, 0.45), 0.0) * light),
    )
