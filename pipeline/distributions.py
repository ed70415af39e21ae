"""Numbers and names that a recipe leaves open: distributions, and drawing from them."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import Field, field_validator, model_validator

from pipeline.model import Finite, Frozen, Name, NonNegative

Named = TypeVar("Named", bound=str)


class Normal(Frozen):
    """Normal distribution, drawn again until it falls within [low, high]."""

    mean: Finite
    std: Annotated[Finite, Field(gt=0)]
    low: Finite
    high: Finite

    @model_validator(mode="after")
    def _holds_mass(self) -> Normal:
        if not self.low <= self.mean <= self.high or self.high <= self.low:
            raise ValueError("low <= mean <= high and low < high expected")
        scale = self.std * math.sqrt(2)
        inside = math.erf((self.high - self.mean) / scale) - math.erf(
            (self.low - self.mean) / scale
        )
        if inside < 0.02:
            raise ValueError("less than 1% of this distribution lies between low and high")
        return self

    def draw(self, rng: np.random.Generator) -> float:
        while True:
            value = float(rng.normal(self.mean, self.std))
            if self.low <= value <= self.high:
                return value

    def bounds(self) -> tuple[float, float]:
        return self.low, self.high


class Values(Frozen):
    """One of the listed numbers, all equally likely."""

    values: Annotated[list[Finite], Field(min_length=1)]

    def draw(self, rng: np.random.Generator) -> float:
        return float(self.values[int(rng.integers(len(self.values)))])

    def bounds(self) -> tuple[float, float]:
        return min(self.values), max(self.values)


Range = Annotated[list[Finite], Field(min_length=2, max_length=2)]
#: A number, [low, high] (uniform), {mean, std, low, high} (normal) or {values: [...]}.
Plain = Finite | Range | Normal | Values


class Mix(Frozen):
    """One of several distributions, by weight: {mix: [[3, [50, 85]], [1, 24]]}."""

    mix: Annotated[list[tuple[NonNegative, Plain]], Field(min_length=1)]

    @field_validator("mix", mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        if isinstance(value, list):
            return [tuple(pair) if isinstance(pair, list) else pair for pair in value]
        return value

    @model_validator(mode="after")
    def _weighs_something(self) -> Mix:
        if not 0 < sum(weight for weight, _ in self.mix) < 1e300:
            raise ValueError("weights must add up to more than 0 and be finite")
        for _, plain in self.mix:
            low, high = bounds(plain)
            if low > high:
                raise ValueError(f"[low, high] expected, got [{low:g}, {high:g}]")
        return self

    def draw(self, rng: np.random.Generator) -> float:
        chosen = pick((weight for weight, _ in self.mix), rng.random())
        return draw_number(self.mix[chosen][1], rng)

    def bounds(self) -> tuple[float, float]:
        lows, highs = zip(*(bounds(plain) for _, plain in self.mix), strict=True)
        return min(lows), max(highs)


#: What a `Plain` is, or {mix: [[weight, plain], ...]}.
Distribution = Plain | Mix
#: 'all', a list of names (equally likely), or a mapping of names to weights.
Choice = str | list[Name] | dict[Name, Annotated[Finite, Field(ge=0)]]


#: Share of portraits.
Share = Annotated[Finite, Field(ge=0, le=1)]


def draw_number(distribution: Distribution, rng: np.random.Generator) -> float:
    """One float from a distribution; always takes at least one number from `rng` if it varies."""
    if isinstance(distribution, int | float):
        return float(distribution)
    if isinstance(distribution, list):
        low, high = distribution
        return low + (high - low) * rng.random()
    return distribution.draw(rng)


def pick(weights: Iterable[float], place: float) -> int:
    """Index of the weight that a place in 0..1 falls on; never of one that is 0.

    Weights must add up to more than 0 and be finite.
    """
    ends = list(accumulate(weights))
    # Rounding must not take a place past the last that weighs something.
    return min(bisect_right(ends, place * ends[-1]), bisect_left(ends, ends[-1]))


def pick_name(weights: Mapping[Named, float], place: float) -> Named:
    """The name whose weight `pick` finds."""
    return list(weights)[pick(weights.values(), place)]


def bounds(distribution: Distribution) -> tuple[float, float]:
    """Smallest and largest value a distribution can give."""
    if isinstance(distribution, int | float):
        return float(distribution), float(distribution)
    if isinstance(distribution, list):
        return distribution[0], distribution[1]
    return distribution.bounds()
