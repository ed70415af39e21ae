"""What hair somebody has: cut, brows, beard. Drawn once a person; grown by `pipeline.catalog.hair`.

Lengths in mm. Places are those of the average head, see `pipeline.catalog.roots`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Flow = Literal["whorl", "part", "back", "side", "knot", "out"]


@dataclass(frozen=True)
class Cut:
    """Scalp hair.

    style: its name. flow: where hair goes: from the whorl at the crown to all sides, from a part,
    back, to one side, to a knot behind the crown, or straight out. top, sides, nape, fringe:
    lengths (fringe 0: none of its own; tied hair: top is what hangs from the knot). part_mm: place
    of the part, to the left. lift: sine of the angle at the root. volume: how thick it lies. limp:
    length after which it hangs. curl: radius of curls, with `pitch` their length. clump, frizz:
    0..1. density: 0..1, of places. recession: 0 none .. 1 only a rim is left.
    """

    style: str
    flow: Flow
    top: float
    sides: float
    nape: float
    fringe: float = 0.0
    part_mm: float = 0.0
    lift: float = 0.4
    volume: float = 3.0
    limp: float = 60.0
    curl: float = 0.0
    pitch: float = 30.0
    clump: float = 0.3
    frizz: float = 0.15
    density: float = 1.0
    recession: float = 0.0


@dataclass(frozen=True)
class Brows:
    """Eyebrows. thickness, width, arch: factors. lift: mm up. length: mm. density: 0..1."""

    thickness: float
    width: float
    arch: float
    lift: float
    length: float
    density: float


@dataclass(frozen=True)
class Beard:
    """A beard. length, lip_length: mm. density: 0..1. low_cheek: mm its border lies lower.

    point: how much longer at the chin, as a share. curl: factor.
    """

    kind: Literal["full", "goatee", "chin", "moustache", "no_moustache"]
    length: float
    lip_length: float
    density: float
    low_cheek: float
    point: float
    curl: float


@dataclass(frozen=True)
class Hair:
    """All hair of a person. cut: None for a bald head. beard: None for none, or a shaven one."""

    cut: Cut | None
    brows: Brows
    beard: Beard | None


#: Style: flow, and ranges of its numbers; what is not named keeps `Cut`'s default.
_STYLES: dict[str, tuple[Flow, dict[str, tuple[float, float]]]] = {
    "buzz": ("whorl", {"top": (3, 9), "sides": (2, 6), "lift": (0.5, 0.7), "volume": (0.4, 0.8),
                       "clump": (0, 0)}),
    "crop": ("whorl", {"top": (22, 45), "sides": (6, 16), "lift": (0.35, 0.55), "volume": (2, 5),
                       "clump": (0.3, 0.5)}),
    "side": ("side", {"top": (45, 80), "sides": (8, 22), "lift": (0.45, 0.65), "volume": (4, 9),
                      "clump": (0.3, 0.5), "part_mm": (25, 42)}),
    "back": ("back", {"top": (60, 110), "sides": (12, 30), "lift": (0.3, 0.6), "volume": (3, 9),
                      "clump": (0.35, 0.55)}),
    "curls": ("whorl", {"top": (45, 80), "sides": (15, 45), "lift": (0.6, 0.8), "volume": (8, 16),
                        "curl": (3.5, 6.5), "pitch": (16, 28), "clump": (0.55, 0.7),
                        "frizz": (0.2, 0.4)}),
    "afro": ("out", {"top": (25, 75), "sides": (18, 60), "lift": (0.9, 1.0), "volume": (4, 8),
                     "curl": (2.2, 3.6), "pitch": (8, 14), "clump": (0.15, 0.3),
                     "frizz": (0.5, 0.8)}),
    "shaggy": ("whorl", {"top": (75, 110), "sides": (50, 85), "lift": (0.4, 0.6), "volume": (5, 10),
                         "limp": (40, 70), "curl": (1, 4), "pitch": (45, 80), "clump": (0.45, 0.6),
                         "frizz": (0.15, 0.3)}),
    "bob": ("part", {"top": (190, 240), "sides": (110, 150), "nape": (60, 100), "volume": (6, 11),
                     "limp": (30, 45), "curl": (0, 2.5), "pitch": (60, 100), "clump": (0.35, 0.55),
                     "part_mm": (-25, 25)}),
    "long": ("part", {"top": (340, 460), "sides": (260, 380), "volume": (5, 10), "limp": (28, 40),
                      "curl": (0, 3), "pitch": (70, 120), "clump": (0.4, 0.6),
                      "part_mm": (-25, 25)}),
    "long_curls": ("part", {"top": (280, 400), "sides": (220, 330), "volume": (8, 15),
                            "limp": (30, 45), "curl": (4, 9), "pitch": (28, 55),
                            "clump": (0.6, 0.75), "frizz": (0.25, 0.45), "part_mm": (-25, 25)}),
    "bun": ("knot", {"top": (15, 40), "sides": (0, 0), "lift": (0.05, 0.15),
                     "volume": (2, 4), "clump": (0.3, 0.5)}),
    "ponytail": ("knot", {"top": (140, 280), "sides": (0, 0), "lift": (0.15, 0.3),
                          "volume": (2, 4), "clump": (0.4, 0.5)}),
}  # fmt: skip
_MALE = {"buzz": 0.2, "crop": 0.3, "side": 0.2, "back": 0.1, "curls": 0.1, "shaggy": 0.07,
         "long": 0.02, "bun": 0.01}  # fmt: skip
_FEMALE = {"crop": 0.05, "side": 0.05, "shaggy": 0.07, "curls": 0.05, "bob": 0.2, "long": 0.26,
           "long_curls": 0.12, "bun": 0.08, "ponytail": 0.1, "buzz": 0.02}  # fmt: skip
#: Tightly curled hair, with the share of African ancestry instead of the above.
_MALE_COILED = {"buzz": 0.5, "afro": 0.38, "curls": 0.08, "bun": 0.04}
_FEMALE_COILED = {"afro": 0.38, "long_curls": 0.16, "bun": 0.16, "buzz": 0.08, "long": 0.08,
                  "ponytail": 0.08, "curls": 0.06}  # fmt: skip
_FRINGE = ("bob", "long", "bun", "ponytail", "long_curls")


def draw_hair(
    rng: np.random.Generator, age: float, sex: float, ancestry: tuple[float, float, float]
) -> Hair:
    """Hair for an age in years, sex 0 female .. 1 male, and shares of ancestry."""
    male = sex > 0.5
    return Hair(
        cut=_draw_cut(rng, age, male, ancestry),
        brows=_draw_brows(rng, age, male),
        beard=_draw_beard(rng, age, male),
    )


def _draw_cut(
    rng: np.random.Generator, age: float, male: bool, ancestry: tuple[float, float, float]
) -> Cut | None:
    coiled = rng.random() < ancestry[0] * 1.15
    table = (_MALE_COILED if coiled else _MALE) if male else (
        _FEMALE_COILED if coiled else _FEMALE
    )  # fmt: skip
    shares = np.array(list(table.values()))
    style = str(rng.choice(list(table), p=shares / shares.sum()))
    # Norwood's scale by age, roughly: a third of men at 35, two thirds at 65 (Norwood 1975).
    lost = rng.random(), rng.beta(1.6, 1.6)
    recession = 0.0
    if male and lost[0] < np.clip((age - 20.0) / 60.0, 0.0, 0.75):
        recession = float(lost[1]) * float(np.clip((age - 15.0) / 45.0, 0.25, 1.1))
    shaven, fringed = rng.random(), rng.random()
    if recession > 0.6 and style not in ("buzz", "crop"):
        style = "crop"
    numbers = _numbers(rng, style)
    fringe = float(rng.uniform(58.0, 76.0))
    if male and shaven < (0.3 if recession > 0.45 else 0.02) and age > 22.0:
        return None
    if style in _FRINGE and fringed < (0.3 if age < 50.0 else 0.15):
        numbers["fringe"] = fringe
    thin = float(np.clip((age - 50.0) / 60.0, 0.0, 0.4))
    return Cut(
        style=style,
        flow=_STYLES[style][0],
        recession=recession,
        density=1.0 - thin,
        **numbers,
    )


def _numbers(rng: np.random.Generator, style: str) -> dict[str, Any]:
    share = rng.random()
    numbers = {}
    for name, (low, high) in _STYLES[style][1].items():
        # Lengths go together, the rest by itself.
        own = rng.random()
        numbers[name] = low + (high - low) * (share if name in ("top", "sides", "nape") else own)
    numbers.setdefault("nape", numbers["sides"])
    if "part_mm" in numbers and rng.random() < 0.5:
        numbers["part_mm"] = -numbers["part_mm"]
    return numbers


def _draw_brows(rng: np.random.Generator, age: float, male: bool) -> Brows:
    return Brows(
        thickness=float(np.clip(rng.normal(1.12 if male else 0.82, 0.17), 0.45, 1.6)),
        width=float(np.clip(rng.normal(1.02 if male else 0.97, 0.06), 0.82, 1.15)),
        arch=float(np.clip(rng.normal(0.7 if male else 1.05, 0.35), -0.1, 1.8)),
        lift=float(np.clip(rng.normal(-0.8 if male else 0.4, 1.0), -2.5, 2.5)),
        length=float(np.clip(rng.normal(8.5 if male else 7.0, 0.9), 5.0, 11.0)),
        density=float(np.clip(rng.normal(0.8, 0.18), 0.3, 1.0) * (1.0 if age < 60.0 else 0.8)),
    )


def _draw_beard(rng: np.random.Generator, age: float, male: bool) -> Beard | None:
    wears, kind_of, size = rng.random(), rng.random(), rng.random()
    low_cheek, point, curl = rng.uniform(0, 16), rng.uniform(0, 0.5), rng.uniform(0, 1.1)
    density = float(np.clip(rng.normal(0.85, 0.15), 0.4, 1.0))
    if not male or age < 18.0 or wears > (0.45 if age < 30.0 else 0.55):
        return None
    kinds = ("full", "goatee", "chin", "moustache", "no_moustache")
    kind = kinds[int(np.searchsorted(np.cumsum([0.7, 0.12, 0.03, 0.11]), kind_of))]
    # Mostly a few days to a few weeks; now and then long.
    length = 1.5 + 6.0 * size if size < 0.5 else 4.0 + 16.0 * (size - 0.5)
    if size > 0.93:
        length = 20.0 + 400.0 * (size - 0.93)
    return Beard(
        kind=kind,  # type: ignore[arg-type]
        length=float(length),
        lip_length=float(np.clip(length, 1.5, 13.0)),
        density=density * float(np.clip((age - 16.0) / 8.0, 0.35, 1.0)),
        low_cheek=float(low_cheek),
        point=float(point),
        curl=float(curl),
    )
