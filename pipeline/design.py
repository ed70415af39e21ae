"""A dataset as a plan instead of a draw: every combination of what it compares, each once.

The factors are expressions, nose positions, glasses and persons. Every prefix of the plan is
balanced: of each factor all levels have come equally often, give or take one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipeline.catalog.catalog import Catalog
from pipeline.distributions import Choice, Distribution, Values
from pipeline.errors import RecipeError
from pipeline.recipe import Recipe


@dataclass(frozen=True)
class Cell:
    """What the plan says of a sample; `person` is a number as of `Persons.spec`."""

    person: int
    expression: str
    glasses: str
    nose: float


@dataclass(frozen=True)
class Design:
    """The levels of each factor, in the order in which the first samples have them."""

    expressions: tuple[str, ...]
    noses: tuple[float, ...]
    glasses: tuple[str, ...]
    persons: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many samples are the whole plan."""
        return math.prod(len(levels) for levels in self._factors())

    def cell(self, index: int) -> Cell:
        """Sample `index`; beyond the whole, the plan begins again."""
        factors = self._factors()
        at = _levels(tuple(len(levels) for levels in factors), index % self.size)
        expression, nose, glasses, person = at
        return Cell(
            self.persons[person],
            self.expressions[expression],
            self.glasses[glasses],
            self.noses[nose],
        )

    def _factors(self) -> tuple[Sequence[object], ...]:
        return self.expressions, self.noses, self.glasses, self.persons


def design_of(recipe: Recipe, catalog: Catalog, rng: np.random.Generator) -> Design:
    """The plan of a recipe that has passed `check_design`; rng: of the seed, orders the levels."""
    people = recipe.people

    def shuffled(levels: Sequence) -> tuple:
        return tuple(levels[i] for i in rng.permutation(len(levels)))

    return Design(
        expressions=shuffled(_names(recipe.expressions, catalog.heads.expressions())),
        noses=shuffled(_numbers(recipe.nose)),
        glasses=shuffled(_names(recipe.glasses, tuple(catalog.glasses))),
        persons=shuffled(range(people.first, people.first + people.count)),
    )


def check_design(recipe: Recipe, where: str) -> None:
    """Raises RecipeError, with the path, for a design whose factors have no levels to count."""
    if not recipe.design:
        return
    if recipe.pairs_per_portrait != 1:
        raise RecipeError(f"{where}: $.pairs_per_portrait: a design has 1, as each sample differs")
    for path, choice in (("expressions", recipe.expressions), ("glasses", recipe.glasses)):
        if isinstance(choice, dict):
            raise RecipeError(f"{where}: $.{path}: a design has no weights; 'all' or a list")
        if isinstance(choice, list) and len(set(choice)) < len(choice):
            raise RecipeError(f"{where}: $.{path}: a design has each name once")
    if not isinstance(recipe.nose, int | float | Values):
        raise RecipeError(f"{where}: $.nose: a design has a number or {{values: [...]}}")
    if len(set(_numbers(recipe.nose))) < len(_numbers(recipe.nose)):
        raise RecipeError(f"{where}: $.nose: a design has each value once")
    for trait in ("age", "tone", "sex"):
        if getattr(recipe.people, trait) is not None:
            raise RecipeError(
                f"{where}: $.people.{trait}: a design shows every person of the range"
            )
    if recipe.people.count > _MOST_PERSONS:
        raise RecipeError(f"{where}: $.people.count: a design has {_MOST_PERSONS} at most")


#: More than anybody crosses with all else; their order is kept in memory.
_MOST_PERSONS = 100_000


def _names(choice: Choice, known: Sequence[str]) -> Sequence[str]:
    assert not isinstance(choice, dict)
    if isinstance(choice, list):
        return choice
    return known if choice == "all" else [choice]


def _numbers(distribution: Distribution) -> list[float]:
    if isinstance(distribution, Values):
        return [float(value) for value in distribution.values]
    assert isinstance(distribution, int | float)
    return [float(distribution)]


def _levels(sizes: tuple[int, ...], index: int) -> tuple[int, ...]:
    """Level of each factor in sample `index` of a plan over factors of these sizes."""
    levels = []
    for size, step, whole in zip(sizes, *_steps(sizes), strict=True):
        place = index % whole
        levels.append((place + place // step) % size)
    return tuple(levels)


@lru_cache(maxsize=8)
def _steps(sizes: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """After how many samples the levels of each factor move on by one more, and come again.

    Each factor runs through its levels in turn, (i + i // step) mod n, with a step that is a
    multiple of n, so that every n samples have each level once. Of the factors before it, the
    first P samples have all combinations, and then they come again: in the repetitions m = 0 ...
    n - 1 of one combination, i = r + m P, the level must take all n values. If the step divides P
    the level moves by P + P / step each time, which does if that has no divisor in common with n.
    If the step is lcm(P, n) it moves by P until it is where it began, and then by one more, which
    always does. The first, tried with the lcm of the sizes so far, mixes pairs of factors sooner.
    """
    steps, wholes, whole, cycle = [], [], 1, 1
    for size in sizes:
        cycle = math.lcm(cycle, size)
        early = whole % cycle == 0 and math.gcd(whole + whole // cycle, size) == 1
        steps.append(cycle if early else math.lcm(whole, size))
        whole *= size
        wholes.append(whole)
    return tuple(steps), tuple(wholes)
