"""What clothes are made of: colours as people wear them, weaves, patterns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.geometry import RGB, Material, Pattern

#: Linear Rec. 709, our own estimates, with how often each is worn: mostly muted.
_COLOURS: tuple[tuple[RGB, float], ...] = (
    ((0.70, 0.70, 0.68), 14.0),  # white
    ((0.62, 0.58, 0.50), 5.0),  # off-white
    ((0.012, 0.012, 0.013), 15.0),  # black
    ((0.045, 0.047, 0.05), 8.0),  # charcoal
    ((0.20, 0.20, 0.205), 8.0),  # grey
    ((0.40, 0.40, 0.40), 4.0),  # light grey
    ((0.012, 0.018, 0.05), 12.0),  # navy
    ((0.07, 0.13, 0.24), 5.0),  # denim blue
    ((0.32, 0.43, 0.60), 5.0),  # light blue
    ((0.42, 0.33, 0.22), 4.0),  # beige
    ((0.16, 0.09, 0.045), 3.0),  # brown
    ((0.075, 0.08, 0.035), 4.0),  # olive
    ((0.02, 0.05, 0.03), 2.0),  # forest green
    ((0.13, 0.012, 0.022), 4.0),  # burgundy
    ((0.50, 0.30, 0.30), 2.5),  # dusty pink
    ((0.42, 0.02, 0.02), 2.5),  # red
    ((0.55, 0.30, 0.03), 1.5),  # mustard
    ((0.02, 0.12, 0.40), 2.0),  # royal blue
    ((0.03, 0.24, 0.22), 1.5),  # teal
    ((0.20, 0.10, 0.33), 1.0),  # purple
)
_WEIGHTS = np.array([weight for _, weight in _COLOURS])


@dataclass(frozen=True)
class Fabric:
    """A cloth's colours (linear Rec. 709), pattern and its period in mm, roughness and sheen."""

    color: RGB
    second: RGB = (0.0, 0.0, 0.0)
    pattern: Pattern = ""
    period_mm: float = 0.0
    roughness: float = 0.85
    sheen: float = 0.3

    def material(self, pattern: Pattern | None = None, period_mm: float = 0.0) -> Material:
        """The material, with another pattern where a part of a garment has its own."""
        return Material(
            self.color,
            roughness=self.roughness,
            pattern=self.pattern if pattern is None else pattern,
            second_color=self.second if pattern is None else self.color,
            period_mm=self.period_mm if pattern is None else period_mm,
            sheen=self.sheen,
        )


def draw_color(rng: np.random.Generator) -> RGB:
    """A colour of clothes, none of them quite as another."""
    color = _COLOURS[int(rng.choice(len(_COLOURS), p=_WEIGHTS / _WEIGHTS.sum()))][0]
    varied = np.clip(np.array(color) * rng.uniform(0.75, 1.25) * rng.uniform(0.9, 1.1, 3), 0, 0.78)
    return (float(varied[0]), float(varied[1]), float(varied[2]))


def draw_fabric(rng: np.random.Generator, kinds: dict[Pattern, float]) -> Fabric:
    """A fabric with one of the patterns of `kinds`, by their weights."""
    chances = np.array(list(kinds.values()))
    pattern = list(kinds)[int(rng.choice(len(kinds), p=chances / chances.sum()))]
    color, other = draw_color(rng), draw_color(rng)
    period, sheen = float(rng.uniform(0.0, 1.0)), float(rng.uniform(0.1, 0.4))
    rough = float(rng.uniform(0.75, 0.95))
    if pattern == "denim":
        shade = float(rng.choice((0.25, 0.6, 1.0, 1.9)))
        blue = (0.055 * shade, 0.095 * shade, 0.18 * shade)
        return Fabric(blue, _lighter(blue, 2.2), pattern, 1.2, rough, 0.1)
    if pattern == "heather":
        return Fabric(color, _lighter(color, 2.0 if max(color) < 0.3 else 0.6), pattern, 1.6, rough,
                      sheen)  # fmt: skip
    if pattern in ("knit", "ribs"):
        return Fabric(color, color, pattern, 3.0 + 4.0 * period, rough, 0.25 + sheen)
    if pattern in ("stripes", "pinstripes", "checks", "print"):
        if abs(sum(color) - sum(other)) < 0.25:
            other = (0.66, 0.66, 0.64) if sum(color) < 0.8 else (0.015, 0.02, 0.05)
        least, most = {"stripes": (14, 44), "pinstripes": (6, 16), "checks": (10, 40)}.get(
            pattern, (14, 40)
        )
        return Fabric(color, other, pattern, least + (most - least) * period, rough, sheen)
    return Fabric(color, color, "", 0.0, rough, sheen)


def _lighter(color: RGB, factor: float) -> RGB:
    red, green, blue = (min(0.8, factor * c + 0.01) for c in color)
    return (red, green, blue)
