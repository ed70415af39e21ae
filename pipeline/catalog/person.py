"""Drawing identities: everything about person k follows from k alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from pipeline.catalog.appearance import draw_appearance
from pipeline.catalog.clothes import Clothes, draw_clothes
from pipeline.catalog.hairstyles import Hair, draw_hair
from pipeline.geometry import Appearance

#: Age groups of people, by the year of life in which each ends.
AGE_GROUPS: Mapping[str, float] = {
    "child": 13.0, "teen": 20.0, "young": 40.0, "middle": 60.0, "senior": np.inf,
}  # fmt: skip
#: Steps of tone, light to dark: tenths of `Person.tone`, as many as the Monk scale has.
TONE_STEPS = tuple(str(step) for step in range(1, 11))
SEXES = ("female", "male")
ANCESTRIES = ("african", "asian", "caucasian")

_SEED = 20220619
#: Goes up whenever a person would look otherwise than before; specs of other persons are refused.
REVISION = 4
_AGE_STEPS = ((1.0, "baby"), (10.0, "child"), (25.0, "young"), (90.0, "old"))

# Targets come in opposed pairs `stem-low` / `stem-high`; a signed value picks one. The last
# figure is the standard deviation.
_ENDS = {
    "size": ("decr", "incr"),
    "y": ("down", "up"),
    "x": ("in", "out"),
    "z": ("backward", "forward"),
    "curve": ("concave", "convex"),
    "press": ("compress", "uncompress"),
}
_AXES: tuple[tuple[str, str, float], ...] = (
    ("head-scale-horiz", "size", 0.11),
    ("head-scale-vert", "size", 0.11),
    ("head-scale-depth", "size", 0.15),
    ("head-back-scale-depth", "size", 0.22),
    ("head-angle", "x", 0.14),
    ("head-fat", "size", 0.16),
    ("forehead-nubian", "size", 0.18),
    ("forehead-scale-vert", "size", 0.18),
    ("forehead-temple", "size", 0.22),
    ("forehead-trans", "z", 0.18),
    ("eyebrows-angle", "y", 0.3),
    ("eyebrows-trans", "z", 0.25),
    ("eyebrows-trans", "y", 0.25),
    ("nose-base", "y", 0.24),
    ("nose-compression", "press", 0.25),
    ("nose-curve", "curve", 0.28),
    ("nose-flaring", "size", 0.24),
    ("nose-greek", "size", 0.25),
    ("nose-hump", "size", 0.24),
    ("nose-nostrils-angle", "y", 0.25),
    ("nose-nostrils-width", "size", 0.3),
    ("nose-point", "y", 0.24),
    ("nose-point-width", "size", 0.3),
    ("nose-scale-depth", "size", 0.3),
    ("nose-scale-horiz", "size", 0.3),
    ("nose-scale-vert", "size", 0.2),
    ("nose-septumangle", "size", 0.25),
    ("nose-trans", "y", 0.2),
    ("nose-volume", "size", 0.25),
    ("nose-width1", "size", 0.3),
    ("nose-width2", "size", 0.3),
    ("nose-width3", "size", 0.3),
    ("mouth-angles", "y", 0.2),
    ("mouth-cupidsbow", "size", 0.3),
    ("mouth-cupidsbow-width", "size", 0.3),
    ("mouth-dimples", "x", 0.25),
    ("mouth-laugh-lines", "x", 0.3),
    ("mouth-lowerlip-height", "size", 0.25),
    ("mouth-lowerlip-volume", "size", 0.3),
    ("mouth-lowerlip-width", "size", 0.2),
    ("mouth-upperlip-height", "size", 0.25),
    ("mouth-upperlip-volume", "size", 0.3),
    ("mouth-upperlip-width", "size", 0.2),
    ("mouth-philtrum-volume", "size", 0.3),
    ("mouth-scale-horiz", "size", 0.25),
    ("mouth-trans", "y", 0.2),
    ("mouth-trans", "z", 0.2),
    ("chin-bones", "size", 0.3),
    ("chin-cleft", "size", 0.25),
    ("chin-height", "size", 0.24),
    ("chin-jaw-drop", "size", 0.24),
    ("chin-prognathism", "size", 0.2),
    ("chin-prominent", "size", 0.3),
    ("chin-width", "size", 0.3),
    ("neck-scale-horiz", "size", 0.25),
    ("neck-scale-depth", "size", 0.2),
)
_SIDED_AXES: tuple[tuple[str, str, float], ...] = (
    ("eye-bag", "size", 0.2),
    ("eye-corner1", "y", 0.25),
    ("eye-corner2", "y", 0.3),
    ("eye-epicanthus", "x", 0.2),
    ("eye-eyefold-angle", "y", 0.25),
    ("eye-eyefold", "curve", 0.25),
    ("eye-eyefold", "y", 0.25),
    ("eye-height1", "size", 0.2),
    ("eye-height2", "size", 0.2),
    ("eye-height3", "size", 0.2),
    ("eye-push1", "x", 0.15),
    ("eye-push2", "x", 0.15),
    ("eye-scale", "size", 0.15),
    ("eye-trans", "y", 0.12),
    ("eye-trans", "x", 0.2),
    ("cheek-bones", "size", 0.3),
    ("cheek-inner", "size", 0.3),
    ("cheek-trans", "y", 0.25),
    ("cheek-volume", "size", 0.3),
    ("ear-flap", "size", 0.3),
    ("ear-lobe", "size", 0.35),
    ("ear-rot", "z", 0.3),
    ("ear-scale", "size", 0.3),
    ("ear-scale-vert", "size", 0.25),
    ("ear-trans", "y", 0.15),
    ("ear-wing", "size", 0.35),
)
_ASYMMETRIES = (
    "brown-1", "brown-2", "cheek-1", "cheek-2", "jaw-1", "jaw-2", "jaw-3", "mouth-1", "mouth-2",
    "nose-1", "nose-2", "nose-3", "nose-4", "temple-1", "temple-2", "top-1", "top-2",
)  # fmt: skip
_HEAD_SHAPES = (
    "head-oval", "head-round", "head-square", "head-rectangular", "head-diamond",
    "head-triangular", "head-invertedtriangular",
)  # fmt: skip
# The data's average head is narrower, and its eyes nearer together, than surveys of people.
_MEANS = {"head-scale-horiz": 0.13, "eye-trans-x": 0.14}


class _Stream(IntEnum):
    """One number per concern of a person. Numbers are data: they never change."""

    SHAPE = 0
    TONE = 1
    APPEARANCE = 2
    HAIR = 3
    CLOTHES = 4


# Tone is the rank of a score among all people, so that it is uniform: ancestry's usual tone (0
# light, 1 dark) and a normal deviate; quantiles of their sum at each twentieth (simulated).
_USUAL_TONE = (0.85, 0.42, 0.18)
_TONE_DEVIATION = 0.16
_TONE_QUANTILES = (
    -0.105, 0.087, 0.165, 0.219, 0.263, 0.302, 0.338, 0.373, 0.406, 0.439, 0.472,
    0.506, 0.541, 0.578, 0.617, 0.659, 0.706, 0.759, 0.823, 0.911, 1.103,
)  # fmt: skip


@dataclass(frozen=True)
class Person:
    """An identity. `name` is 'person-' and six digits.

    age: years. sex: 0 female .. 1 male. ancestry: shares african, asian, caucasian, sum 1.
    weight: 0 thin, 0.5 average, 1 heavy. size: factor on the whole head. details: weights of
    shape targets by name, sorted, none of them 0. tone: of the skin, 0 the lightest, 1 the darkest,
    as evenly spread over people as over the numbers.
    """

    index: int
    age: float
    sex: float
    ancestry: tuple[float, float, float]
    weight: float
    size: float
    tone: float
    details: tuple[tuple[str, float], ...]
    appearance: Appearance
    hair: Hair
    clothes: Clothes

    @property
    def name(self) -> str:
        return f"person-{self.index:06d}"

    def targets(self) -> dict[str, float]:
        """Weight of every shape target of this identity, by its name in the data."""
        return _macro_targets(self) | {f"detail/{name}": value for name, value in self.details}


def person(k: int) -> Person:
    """The k-th identity, k >= 0: ages 8 to 80, all ancestries, sexes, builds and skin tones.

    It depends on k alone. Raises ValueError for a negative k.
    """
    if k < 0:
        raise ValueError(f"person index must be 0 or more, not {k}")
    rng, age, sex, ancestry = _origins(k)
    weight = float(np.clip(rng.normal(0.5, 0.17), 0.1, 0.95))
    size = float(np.clip(rng.normal(1.03, 0.02), 0.985, 1.075))
    tone = _tone(k, ancestry)
    return Person(
        index=int(k),
        age=age,
        sex=sex,
        ancestry=ancestry,
        weight=weight,
        size=size,
        tone=tone,
        details=_draw_details(rng),
        appearance=draw_appearance(_stream(k, _Stream.APPEARANCE), age, tone, sex),
        hair=draw_hair(_stream(k, _Stream.HAIR), age, sex, ancestry),
        clothes=clothes_of(k),
    )


def groups_of(k: int) -> tuple[str, str, str]:
    """Age group, tone step and sex of `person(k)`, in a tenth of the time."""
    _, age, sex, ancestry = _origins(k)
    return _age_group(age), _tone_step(_tone(k, ancestry)), SEXES[sex >= 0.5]


def clothes_of(k: int) -> Clothes:
    """What `person(k)` wears, in a quarter of the time."""
    _, age, sex, _ = _origins(k)
    return draw_clothes(_stream(k, _Stream.CLOTHES), age, sex)


def traits(who: Person) -> dict[str, str]:
    """What a person is among the kinds of people that are told apart, by trait.

    ancestry: the one with the largest share.
    """
    return {
        "age": _age_group(who.age),
        "tone": _tone_step(who.tone),
        "sex": SEXES[who.sex >= 0.5],
        "ancestry": ANCESTRIES[int(np.argmax(who.ancestry))],
        "hair": who.hair.cut.style if who.hair.cut else "bald",
        "beard": who.hair.beard.kind if who.hair.beard else "none",
        "top": who.clothes.top,
        "headwear": who.clothes.headwear or "none",
        "held": who.clothes.held or "none",
    }


def _age_group(years: float) -> str:
    return next(name for name, end in AGE_GROUPS.items() if years < end)


def _tone_step(tone: float) -> str:
    return TONE_STEPS[min(int(tone * len(TONE_STEPS)), len(TONE_STEPS) - 1)]


def _stream(k: int, which: _Stream) -> np.random.Generator:
    key = (k,) if which is _Stream.SHAPE else (k, which)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(_SEED, spawn_key=key)))


def _origins(k: int) -> tuple[np.random.Generator, float, float, tuple[float, float, float]]:
    """The generator of a person's shape, and what it gave first: age, sex, ancestry."""
    rng = _stream(k, _Stream.SHAPE)
    low, high = ((8.0, 18.0), (18.0, 55.0), (55.0, 80.0))[rng.choice(3, p=(0.15, 0.6, 0.25))]
    age = float(rng.uniform(low, high))
    male = rng.random() < 0.5
    sex = float(rng.beta(5.0, 1.2) if male else rng.beta(1.2, 5.0))
    african, asian, caucasian = (float(share) for share in rng.dirichlet((0.35, 0.35, 0.35)))
    return rng, age, sex, (african, asian, caucasian)


def _tone(k: int, ancestry: tuple[float, float, float]) -> float:
    score = float(np.dot(ancestry, _USUAL_TONE))
    score += _TONE_DEVIATION * float(_stream(k, _Stream.TONE).normal())
    return float(np.interp(score, _TONE_QUANTILES, np.linspace(0.0, 1.0, len(_TONE_QUANTILES))))


def _macro_targets(who: Person) -> dict[str, float]:
    """The data's targets for age, sex, ancestry and weight, blended linearly."""
    steps = [year for year, _ in _AGE_STEPS]
    ages = {
        name: float(np.interp(who.age, steps, np.eye(len(steps))[i]))
        for i, (_, name) in enumerate(_AGE_STEPS)
    }
    heavy = max(2.0 * who.weight - 1.0, 0.0)
    thin = max(1.0 - 2.0 * who.weight, 0.0)
    builds = {"minweight": thin, "averageweight": 1.0 - thin - heavy, "maxweight": heavy}
    ancestries = dict(zip(ANCESTRIES, who.ancestry, strict=True))
    weights = {}
    for sex, share in (("female", 1.0 - who.sex), ("male", who.sex)):
        for age, years in ages.items():
            for ancestry, part in ancestries.items():
                weights[f"macro/{ancestry}-{sex}-{age}"] = share * years * part
            for build, part in builds.items():
                weights[f"macro/{sex}-{age}-{build}"] = share * years * part
    return {name: value for name, value in weights.items() if value > 0.0}


def _signed(stem: str, kind: str, value: float) -> tuple[str, float]:
    return f"{stem}-{_ENDS[kind][value > 0.0]}", abs(value)


def _draw_details(rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
    """Weights of the shape targets; each axis is drawn whether or not it is used."""
    drawn: list[tuple[str, float]] = []
    for stem, kind, deviation in _AXES:
        used, value = rng.random() < 0.6, np.clip(rng.normal(), -2.2, 2.2) * deviation
        mean = _MEANS.get(stem, 0.0)
        if used or mean:
            drawn.append(_signed(stem, kind, float(value + mean)))
    for stem, kind, deviation in _SIDED_AXES:
        used, value = rng.random() < 0.6, np.clip(rng.normal(), -2.2, 2.2) * deviation
        apart = np.clip(rng.normal(size=2), -2.2, 2.2) * 0.15 * deviation
        mean = _MEANS.get(f"{stem}-{kind}", 0.0)
        if used or mean:
            for side, own in zip("lr", apart, strict=True):
                drawn.append(_signed(f"{side}-{stem}", kind, float(value + mean + own)))
    for stem in _ASYMMETRIES:
        value = float(np.clip(rng.normal(), -2.0, 2.0) * 0.12)
        drawn.append((f"asym-{stem}-{'l' if value > 0.0 else 'r'}", abs(value)))
    shape = _HEAD_SHAPES[int(rng.integers(len(_HEAD_SHAPES)))]
    drawn.append((shape, float(rng.uniform(0.0, 0.45))))
    return tuple(sorted((name, value) for name, value in drawn if value > 0.0))
