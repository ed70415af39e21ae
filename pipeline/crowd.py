"""Which person a portrait shows: shares of age, tone and sex that portraits in a row keep.

Persons of a range fall into cells by age group, tone step and sex. Portraits walk through a
sequence of low discrepancy whose coordinates pick a cell by the cells' shares, so that a few
hundred in a row hold each group as often as they should, more exactly than chance would. Within the
cell the person is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipeline.catalog.person import AGE_GROUPS, SEXES, TONE_STEPS, groups_of
from pipeline.distributions import pick
from pipeline.errors import RecipeError
from pipeline.geometry import FloatArray
from pipeline.recipe import People

_TRAITS: Mapping[str, tuple[str, ...]] = {
    "age": tuple(AGE_GROUPS), "tone": TONE_STEPS, "sex": SEXES,
}  # fmt: skip
#: Of larger ranges so many persons are looked at, evenly spread; a person takes some 70 us.
_MOST_COUNTED = 2**14
#: Steps along age and tone: those of the R2 sequence, 1/g and 1/g**2 with g**3 = g + 1 (M. Roberts,
#: "The unreasonable effectiveness of quasirandom sequences", 2018); along sex: the golden ratio.
#: R3 would be even for sex but leaves tone up to 1% of 2,000 portraits off, this 0.4%.
_STEPS = (1.32471795724474602596**-1, 1.32471795724474602596**-2, (5**0.5 - 1) / 2)
#: Asked shares count as met from this near.
_TOLERANCE = 0.002
_ROUNDS = 500

Cell = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class _Census:
    """Persons of a range by cell: of all, or where `whole` is false of some."""

    counts: FloatArray
    members: Mapping[Cell, list[int]]
    whole: bool


def check_people(people: People, where: str) -> None:
    """Raises RecipeError, with the path, for a group that no person of the range is in, or for
    shares that cannot be had together."""
    counts = _census(people.first, people.count).counts
    span = f"persons {people.first} to {people.first + people.count - 1}"
    for axis, wanted in _asked(people).items():
        trait = list(_TRAITS)[axis]
        missing = (counts.sum(axis=_others(axis)) == 0) & (np.array(wanted) > 0)
        if missing.any():
            name = _TRAITS[trait][int(np.argmax(missing))]
            raise RecipeError(f"{where}: $.people.{trait}.{name}: none of {span} is in this group")
    if not _met(_shares(people), _asked(people)):
        raise RecipeError(
            f"{where}: $.people: {span} are too few for these shares of age, tone and sex together"
        )


def choose_person(
    people: People, offset: FloatArray, portrait: int, rng: np.random.Generator
) -> int:
    """Number of the person of a portrait.

    offset: (3,) in 0..1, where the seed's walk through the cells begins. rng: the portrait's own.
    `check_people` must have passed.
    """
    census = _census(people.first, people.count)
    sums = _sums(people.first, people.count, tuple(_asked(people).items()))
    cell: tuple[int, ...] = ()
    for start, step in zip(offset.tolist(), _STEPS, strict=True):
        cell += (pick(sums[cell], (start + portrait * step) % 1.0),)
    found = (cell[0], cell[1], cell[2])
    if census.whole:
        return census.members[found][int(rng.integers(len(census.members[found])))]
    while True:
        number = people.first + int(rng.integers(people.count))
        if _cell_of(number) == found:
            return number


def _cell_of(number: int) -> Cell:
    age, tone, sex = (
        names.index(name) for names, name in zip(_TRAITS.values(), groups_of(number), strict=True)
    )
    return age, tone, sex


@lru_cache(maxsize=8)
def _census(first: int, count: int) -> _Census:
    counts = np.zeros([len(names) for names in _TRAITS.values()])
    members: dict[Cell, list[int]] = {}
    step = -(-count // _MOST_COUNTED)
    for number in range(first, first + count, step):
        cell = _cell_of(number)
        counts[cell] += 1
        members.setdefault(cell, []).append(number)
    return _Census(counts, members, whole=step == 1)


def _asked(people: People) -> dict[int, tuple[float, ...]]:
    """Shares of the groups that a recipe gives, sum 1, by axis of the cells."""
    asked = {}
    for axis, (trait, names) in enumerate(_TRAITS.items()):
        weights = getattr(people, trait)
        if weights is not None:
            total = sum(weights.values())
            asked[axis] = tuple(weights.get(name, 0.0) / total for name in names)
    return asked


def _shares(people: People) -> FloatArray:
    """(ages, tones, sexes) share of portraits of each cell, sum 1."""
    return _fitted(people.first, people.count, tuple(_asked(people).items()))


@lru_cache(maxsize=8)
def _fitted(first: int, count: int, asked: tuple[tuple[int, tuple[float, ...]], ...]) -> FloatArray:
    """The range's own shares, brought to those asked for.

    A trait that is not asked for keeps its shares among all persons of the range, not those within
    the groups asked for, where there are persons enough.
    """
    shares = _census(first, count).counts / _census(first, count).counts.sum()
    own = {axis: tuple(shares.sum(axis=_others(axis))) for axis in range(shares.ndim)}
    wanted = dict(asked)
    everything = _raked(shares, own | wanted)
    return everything if _met(everything, own | wanted) else _raked(shares, wanted)


@lru_cache(maxsize=8)
def _sums(
    first: int, count: int, asked: tuple[tuple[int, tuple[float, ...]], ...]
) -> Mapping[tuple[int, ...], list[float]]:
    """By what is known of a cell, none to two of its traits: shares of the next trait's groups."""
    shares = _fitted(first, count, asked)
    return {
        known: shares[known].reshape(shares.shape[depth], -1).sum(axis=1).tolist()
        for depth in range(shares.ndim)
        for known in np.ndindex(shares.shape[:depth])
    }


def _raked(shares: FloatArray, wanted: Mapping[int, tuple[float, ...]]) -> FloatArray:
    """Shares scaled along each axis in turn until sums are as wanted (Deming and Stephan 1940)."""
    for _ in range(_ROUNDS):
        for axis, sums in wanted.items():
            now = shares.sum(axis=_others(axis), keepdims=True)
            factor = np.reshape(sums, now.shape) / np.where(now > 0, now, 1.0)
            shares = shares * factor
        if _met(shares, wanted):
            break
    return shares


def _met(shares: FloatArray, wanted: Mapping[int, tuple[float, ...]]) -> bool:
    return all(
        np.abs(shares.sum(axis=_others(axis)) - sums).max() <= _TOLERANCE
        for axis, sums in wanted.items()
    )


def _others(axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(len(_TRAITS)) if other != axis)
