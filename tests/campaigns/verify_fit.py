"""make verify-fit: fits by the thousand, each accepted one checked independently.

Without MESHES: every built-in design on 50 persons with 5 expressions each, at 4 nose
positions; with WEAR=..., worn in another way. With MESHES=DIR: every pair of heads and glasses
found in DIR and below, labelled automatically; pictures of each pair go to build/verify-fit.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from campaigns.independent import Skin, figures, violations
from tqdm import tqdm

from pipeline.catalog.catalog import open_catalog
from pipeline.catalog.head import EXPRESSIONS, bare_head, person
from pipeline.fit import Fit, fit, posed_parts
from pipeline.fitting import typical_wear
from pipeline.geometry import Eyewear, Head, resized
from pipeline.limits import WearLimits
from pipeline.skin import SkinSurface
from pipeline.spec import WEAR_MODES, WearMode, WearSpec
from pipeline.wearing import EyewearShape

NOSES = (0.0, 1.0, 2.0, 3.0)
#: The issue's own measure of a fit that works.
ACCEPTED_SHARE = 0.95
#: Ways other than 'worn' try more of a head; what is rejected is drawn again.
OTHERWISE_SHARE = 0.7
Pairs = Mapping[str, tuple[Eyewear, EyewearShape]]


@dataclass
class Tally:
    """What came of many fits."""

    fits: int = 0
    accepted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    deepest: dict[str, float] = field(default_factory=dict)
    rising: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        return self.accepted / max(self.fits, 1)

    def add(self, other: Tally) -> None:
        self.fits += other.fits
        self.accepted += other.accepted
        self.reasons += other.reasons
        self.faults += other.faults
        self.rising += other.rising
        for name, value in other.deepest.items():
            self.deepest[name] = max(self.deepest.get(name, -np.inf), value)

    def report(self) -> None:
        print(f"accepted: {self.accepted} of {self.fits} fits ({100 * self.share:.2f}%)")
        for reason, count in self.reasons.most_common():
            print(f"  rejected for {reason}: {count}")
        for name, value in sorted(self.deepest.items()):
            print(f"deepest {name} of the accepted, checked independently: {value:.2f}")
        print(f"accepted, but beyond a limit by the independent check: {len(self.faults)}")
        for fault in self.faults[:20]:
            print(f"  {fault}")
        print(f"pairs that do not sit lower at each next nose position: {len(self.rising)}")
        for pair in self.rising[:20]:
            print(f"  {pair}")


def wear(label: str, head: Head, pairs: Pairs, way: WearSpec | None = None) -> Tally:
    """Fits every pair, worn in the way given, at every nose position; checks what is accepted."""
    limits = WearLimits().of(way.mode if way else "worn")
    tally, skin = Tally(), SkinSurface(head)
    names, worn = [], []
    for name, (eyewear, shape) in pairs.items():
        heights = []
        for nose in NOSES:
            found = fit(head, eyewear, nose, limits, wear=way, skin=skin, shape=shape)
            heights.append(_height(found, shape))
            tally.fits += 1
            if found.accepted:
                tally.accepted += 1
                names.append(f"{label}, {name}, nose {nose:g}")
                worn.append(posed_parts(eyewear, found))
            else:
                tally.reasons[found.reason.split()[0]] += 1
        # On the forehead the nose position says nothing.
        if (np.diff(heights) >= 0).any() and not (way and way.mode == "pushed_up"):
            tally.rising.append(f"{label}, {name}")
    for pair, seen in zip(names, figures(Skin(head), worn), strict=True):
        for figure, value in seen.items():
            tally.deepest[figure] = max(tally.deepest.get(figure, -np.inf), value)
        tally.faults += [f"{pair}: {fault}" for fault in violations(seen, limits)]
    return tally


def _height(found: Fit, shape: EyewearShape) -> float:
    middle = 0.5 * (shape.anchors.nose_left + shape.anchors.nose_right)
    return float((found.world_from_glasses @ [*middle, 1.0])[1])


@lru_cache(maxsize=1)
def designs(scale: float = 1.0) -> Pairs:
    """Every built-in design at the middle of its ranges, `scale` times as large."""
    built = {
        name: resized(entry.build(entry.typical()), scale)
        for name, entry in open_catalog().glasses.items()
    }
    return {name: (eyewear, EyewearShape(eyewear)) for name, eyewear in built.items()}


def wear_built_in(number: int, expression: str, mode: WearMode = "worn") -> Tally:
    head, way = bare_head(person(number), expression), typical_wear(mode)
    return wear(f"person-{number:06d} {expression}", head, designs(way.scale), way)


def some_expressions(number: int, count: int) -> list[str]:
    """'1_neutral' and others, in turn among the persons."""
    first, *others = EXPRESSIONS
    return [first, *(others[(5 * number + 7 * k) % len(others)] for k in range(count - 1))]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make verify-fit")
    parser.add_argument("--persons", type=int, default=50)
    parser.add_argument("--expressions", type=int, default=5)
    parser.add_argument("--wear", choices=WEAR_MODES, default="worn")
    parser.add_argument("--meshes", type=Path, help="heads and glasses, labelled automatically")
    options = parser.parse_args()
    start = time.perf_counter()
    if options.meshes is not None:
        from campaigns.verify_meshes import verify

        return verify(options.meshes)
    heads = [
        (number, expression, options.wear)
        for number in range(options.persons)
        for expression in some_expressions(number, options.expressions)
    ]
    tally = Tally()
    with ProcessPoolExecutor() as pool:
        for part in tqdm(pool.map(wear_built_in, *zip(*heads, strict=True)), total=len(heads)):
            tally.add(part)
    tally.report()
    least = ACCEPTED_SHARE if options.wear == "worn" else OTHERWISE_SHARE
    passed = tally.share >= least and not tally.faults and not tally.rising
    print(f"verify-fit: {'passed' if passed else 'FAILED'} in {time.perf_counter() - start:.0f} s")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
