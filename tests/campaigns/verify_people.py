"""make verify-people: who appears in a plan of the default scene, against who should."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.catalog.catalog import PERSON_NAME, Catalog, open_catalog
from pipeline.catalog.person import AGE_GROUPS, TONE_STEPS, person, traits
from pipeline.plan import check_names, draw
from pipeline.recipe import Recipe, load_recipe
from pipeline.spec import SampleSpec

SAMPLES = 2000
#: Persons outside the scene's range, from whom natural shares are estimated.
OTHERS = range(10_000, 30_000)
MOST_DEVIATIONS = 3.0
#: Kept by the plan itself, so more exactly than chance would.
EVEN = ("age", "tone")
MOST_OFF = 0.01
#: Persons by age, uniform within each span (`pipeline.catalog.person`): years and share.
AGES = ((8.0, 18.0, 0.15), (18.0, 55.0, 0.6), (55.0, 80.0, 0.25))


@dataclass(frozen=True)
class Row:
    """A category of a trait: its expected and found shares and their difference's deviation."""

    trait: str
    name: str
    expected: float
    found: float
    deviation: float

    @property
    def passed(self) -> bool:
        off = abs(self.found - self.expected)
        return off <= (MOST_OFF if self.trait in EVEN else MOST_DEVIATIONS * self.deviation)

    def __str__(self) -> str:
        off = self.found - self.expected
        how = f"{100 * off:+6.2f} points" if self.trait in EVEN else f"{_ratio(off, self):+6.1f} sd"
        verdict = "" if self.passed else "  FAILED"
        return (
            f"  {self.trait:<12}{self.name:<16}{self.expected:>8.2%}{self.found:>8.2%}  "
            f"{how}{verdict}"
        )


def _ratio(off: float, row: Row) -> float:
    return off / row.deviation if row.deviation else 0.0


def natural_ages() -> dict[str, float]:
    """Shares of age groups among all persons, from the spans they are drawn in."""
    found = {}
    begin = 0.0
    for name, end in AGE_GROUPS.items():
        overlaps = (
            share * max(0.0, min(end, high) - max(begin, low)) / (high - low)
            for low, high, share in AGES
        )
        found[name], begin = sum(overlaps), end
    return found


def natural_shares(numbers: Iterable[int]) -> dict[str, Counter[str]]:
    """How often each trait's categories are met among persons."""
    counted: dict[str, Counter[str]] = {}
    for number in numbers:
        for trait, name in traits(person(number)).items():
            counted.setdefault(trait, Counter())[name] += 1
    return counted


def compare(
    found: dict[str, Counter[str]], natural: dict[str, Counter[str]], persons: int
) -> list[Row]:
    """Rows of all traits of `found`, against `natural` counts, of which ages and tones are known.

    A share in the plan strays from the natural one since samples are few, since those `persons` are
    few of whom they are drawn, and since the natural one is an estimate: variances add up.
    """
    known = {"age": natural_ages(), "tone": dict.fromkeys(TONE_STEPS, 1 / len(TONE_STEPS))}
    rows = []
    for trait, counts in found.items():
        samples, others = counts.total(), natural[trait].total()
        expected = known.get(trait) or {n: c / others for n, c in natural[trait].items()}
        for name in sorted(expected.keys() | counts.keys(), key=_by_number):
            share = expected.get(name, 0.0)
            spread = share * (1 - share) * (1 / samples + 1 / persons + 1 / others)
            rows.append(Row(trait, name, share, counts[name] / samples, spread**0.5))
    return rows


def _by_number(name: str) -> tuple[int, str]:
    head = name.partition("_")[0]
    return (int(head) if head.isdigit() else 0), name


def planned_traits(specs: Iterable[SampleSpec]) -> dict[str, Counter[str]]:
    """How often each trait's categories appear in a plan."""
    numbers = []
    for spec in specs:
        match = PERSON_NAME.fullmatch(spec.head.subject)
        assert match is not None
        numbers.append(int(match[1]))
    return natural_shares(numbers)


def expression_rows(specs: list[SampleSpec], recipe: Recipe, catalog: Catalog) -> list[Row]:
    """Against the scene's weights, or all equally likely."""
    counts = Counter(spec.head.expression for spec in specs)
    asked = recipe.expressions
    if not isinstance(asked, dict):
        names = catalog.heads.expressions() if asked == "all" else asked
        asked = dict.fromkeys([names] if isinstance(names, str) else names, 1.0)
    rows = []
    for name in sorted(asked.keys() | counts.keys(), key=_by_number):
        share = asked.get(name, 0.0) / sum(asked.values())
        deviation = (share * (1 - share) / len(specs)) ** 0.5
        rows.append(Row("expression", name, share, counts[name] / len(specs), deviation))
    return rows


def campaign(
    recipe: Recipe, catalog: Catalog, samples: int, others: Iterable[int]
) -> tuple[list[Row], int]:
    """All rows, and how many different persons appear; the scene must ask for no shares."""
    check_names(recipe, catalog, "campaign")
    specs = [draw(recipe, catalog, 0, index) for index in range(samples)]
    natural = natural_shares(others)
    rows = compare(planned_traits(specs), natural, recipe.people.count)
    different = len({spec.head.subject for spec in specs})
    return rows + expression_rows(specs, recipe, catalog), different


def fewest_persons(samples: int, persons: int) -> float:
    """Different persons to be met by chance at least: the mean less 3 deviations.

    Of draws with replacement (Feller 1968, ch. IV), as if persons were met independently, which
    errs to the wide side.
    """
    missed = (1 - 1 / persons) ** samples
    return persons * (1 - missed) - MOST_DEVIATIONS * (persons * missed * (1 - missed)) ** 0.5


def main() -> int:
    recipe = load_recipe("portrait")
    rows, different = campaign(recipe, open_catalog(), SAMPLES, OTHERS)
    print(f"{SAMPLES} samples of portrait; shares expected and found")
    for row in rows:
        print(row)
    fewest = fewest_persons(SAMPLES, recipe.people.count)
    print(f"  {different} different persons; by chance at least {fewest:.0f}")
    failed = [row for row in rows if not row.passed]
    passed = not failed and different >= fewest
    print(f"verify-people: {'passed' if passed else f'FAILED ({len(failed)} of {len(rows)} rows)'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
