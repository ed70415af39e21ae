"""What a report counts: one value a sample for each trait and figure."""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.catalog.catalog import PERSON_NAME
from pipeline.catalog.person import groups_of
from pipeline.spec import SampleSpec

#: Left and right of a figure of the fit are one distribution.
_SIDED = re.compile(r"(.+)_(?:left|right)_(mm|deg)")
_PLAIN = re.compile(r"(.+)_(mm|deg)")


@dataclass
class Figures:
    """What is known of all samples, in a few hundred bytes each.

    names: by trait, the number of its value in `values`, a sample each; -1 where it has none.
    numbers: by figure, a value a sample, NaN where it has none. fits: by figure of the fit and
    unit, all values, of both sides where it has sides.
    """

    count: int = 0
    values: dict[str, dict[str, int]] = field(default_factory=dict)
    names: dict[str, array[int]] = field(default_factory=dict)
    numbers: dict[str, array[float]] = field(default_factory=dict)
    fits: dict[tuple[str, str], array[float]] = field(default_factory=dict)

    def add(self, record: Mapping[str, Any], spec: SampleSpec, shares: tuple[float, float]) -> None:
        """Counts a sample. shares: of its picture that eyewear and shadow cover, 0 to 1."""
        for trait, name in _traits(spec, record).items():
            known = self.values.setdefault(trait, {})
            column = self.names.setdefault(trait, array("i", [-1] * self.count))
            column.append(known.setdefault(name, len(known)))
        for figure, value in _numbers(spec, record, shares).items():
            values = self.numbers.setdefault(figure, array("d", [math.nan] * self.count))
            values.append(value)
        for key, measured in _fit_figures(record.get("fit")).items():
            self.fits.setdefault(key, array("d")).extend(measured)
        self.count += 1
        for column in self.names.values():
            column.extend([-1] * (self.count - len(column)))
        for numbers in self.numbers.values():
            numbers.extend([math.nan] * (self.count - len(numbers)))

    def counts(self, trait: str) -> Counter[str]:
        """How many samples have each value of a trait; empty if none has the trait."""
        found = np.bincount(np.array(self.names.get(trait, []), int) + 1, minlength=1)[1:]
        return Counter({name: int(found[i]) for name, i in self.values.get(trait, {}).items()})

    def column(self, figure: str) -> NDArray[np.float64]:
        """The values of a figure, of the samples that have it."""
        values = np.array(self.numbers.get(figure, []), float)
        return values[np.isfinite(values)]


def _traits(spec: SampleSpec, record: Mapping[str, Any]) -> dict[str, str]:
    traits = {
        "split": str(record.get("split", "")),
        "subject": spec.head.subject,
        "expression": spec.head.expression,
        "glasses": spec.glasses.name,
        "wear": spec.wear.mode,
        "light": spec.light.hdri,
        "size": f"{spec.render.size} x {spec.render.size} px",
        "rendering": f"{spec.render.spp} spp{', denoised' if spec.render.denoise else ''}",
    }
    for trait, key in (("frame", "frame"), ("lenses", "lenses")):
        if isinstance(spec.glasses.choice.get(key), str):
            traits[trait] = str(spec.glasses.choice[key])
    person = PERSON_NAME.fullmatch(spec.head.subject)
    if person is not None:
        traits |= dict(zip(("age", "tone", "sex"), groups_of(int(person[1])), strict=True))
    return traits


def _numbers(
    spec: SampleSpec, record: Mapping[str, Any], shares: tuple[float, float]
) -> dict[str, float]:
    camera, light = spec.camera, spec.light
    power = spec.glasses.choice.get("power_d")
    return {
        "yaw": camera.yaw_deg,
        "pitch": camera.pitch_deg,
        "roll": camera.roll_deg,
        "focal": camera.focal_mm,
        "distance": camera.distance_mm / 10,
        "gaze_yaw": spec.head.gaze_yaw_deg,
        "gaze_pitch": spec.head.gaze_pitch_deg,
        "rotation": float(light.rotation_deg),
        "exposure": light.exposure_ev,
        "nose": spec.nose,
        "eyewear": 100 * shares[0],
        "shadow": 100 * shares[1],
        "rejected": float(len(record["rejected"])),
        **({"power": float(power)} if isinstance(power, int | float) else {}),
    }


def _fit_figures(fit: Any) -> dict[tuple[str, str], list[float]]:
    """Values by figure and unit; of figures that have sides, those of the sides only."""
    found: dict[tuple[str, str], list[float]] = {}
    plain: dict[tuple[str, str], list[float]] = {}
    for key, value in fit.items() if isinstance(fit, dict) else ():
        if not isinstance(value, int | float) or not math.isfinite(value):
            continue
        sided, alone = _SIDED.fullmatch(key), _PLAIN.fullmatch(key)
        if sided:
            found.setdefault((sided[1], sided[2]), []).append(value)
        elif alone:
            plain[alone[1], alone[2]] = [value]
    return plain | found
