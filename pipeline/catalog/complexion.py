"""What varies over a face at a scale of millimetres and more: colour, shine, wrinkles, freckles.

All of it is painted on vertices by their place on the average head (`rest`, mm, origin between the
eyes), since that costs nothing to render. Patterns finer than the mesh are left to the shader,
which draws wrinkles from a phase that is smooth over the mesh.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.catalog.fields import atan2, smoothstep
from pipeline.geometry import Appearance, FloatArray

_SEED = 20260111
_OUTER_CORNER = (42.5, -1.5)
#: Lines down the face (x, y): the fold from nose to mouth, and the end of the bag under the eye.
_NASOLABIAL = np.array([(15.0, -36.0), (20.0, -47.0), (26.0, -58.0), (29.5, -68.0), (30.0, -77.0)])
_BAG = np.array([(17.0, -7.0), (21.0, -12.5), (28.0, -16.0), (36.0, -15.5), (42.0, -10.5)])
#: Upper border of a beard (x, y), and the lower one under the jaw.
_BEARD_TOP = np.array([(0.0, -46.0), (14.0, -50.0), (26.0, -57.0), (40.0, -60.0), (62.0, -48.0),
                       (74.0, -28.0)])  # fmt: skip
_NECK_RINGS_MM = (-124.0, -148.0)


@dataclass(frozen=True, eq=False)
class Regions:
    """Where what is, (n,) each: shares 0..1; and creases, whose phase is 0 where one is deepest,
    by kind (n,) of phase and of depth in mm at full age."""

    shares: Mapping[str, FloatArray]
    creases: tuple[tuple[FloatArray, FloatArray], ...]
    lip_lines: tuple[FloatArray, FloatArray]
    waves: FloatArray


def paint(regions: Regions, who: Appearance) -> dict[str, NDArray[np.float32]]:
    """Attributes of a person's skin, per vertex.

    - `albedo` (n, 3), linear Rec. 709, but for hair and the inside of the mouth
    - `shine` (n,) 0..1, dry to wet
    - `crease` (n,) depth in mm of wrinkles and `crease_phase` (n,) radians, 0 in their ground
    - `spots` (n,) 0..1, how many freckles and spots of age
    """
    rng = np.random.Generator(np.random.PCG64(who.seed))
    count = regions.waves.shape[1]
    uneven = regions.waves @ (rng.normal(size=(count, 2)) / np.sqrt(0.5 * count))
    depth, phase = _creases(regions, who)
    freckled = regions.shares["sunlit"] * who.freckles
    painted = {
        "albedo": _albedo(regions.shares, who, uneven),
        "shine": _shine(regions.shares, who),
        "crease": depth,
        "crease_phase": phase,
        "spots": np.clip(freckled * (1.0 + 0.5 * uneven[:, 0]), 0.0, 1.0),
    }
    return {name: values.astype(np.float32) for name, values in painted.items()}


def _albedo(shares: Mapping[str, FloatArray], who: Appearance, uneven: FloatArray) -> FloatArray:
    """(n, 3): the skin's colour, moved towards others in proportion to what absorbs light."""
    old = np.clip((who.age - 35.0) / 40.0, 0.0, 1.0)
    ruddy = np.clip(0.8 + 0.5 * who.redness, 0.3, 1.3)
    flushed = ruddy * shares["flushed"] + 0.09 * uneven[:, 0]
    tired = (0.5 + 0.35 * old) * shares["under_eye"] + (0.4 + 0.25 * old) * shares["lids"]
    skin = np.log(who.skin)
    color = skin + np.clip(flushed, -0.2, 1.0)[:, None] * (np.log(who.flushed) - skin)
    color += (shares["sallow"] + 0.12 * uneven[:, 1])[:, None] * (np.log(who.sallow) - skin)
    color += tired[:, None] * (np.log(who.tired) - skin)
    color += (who.beard_shadow * shares["beard"])[:, None] * np.log(_shadow_of_beard(who))
    lips = np.log(who.lips) + shares["upper_lip"][:, None] * np.log((0.86, 0.82, 0.84))
    color += shares["lips"][:, None] * (lips - color)
    return np.minimum(np.exp(color), 0.9)


def _shadow_of_beard(who: Appearance) -> tuple[float, float, float]:
    """What is left of light by colour where hairs stand under skin: dark ones show blue."""
    dark = float(np.clip(1.0 - 2.5 * np.mean(who.hair), 0.0, 1.0))
    return 1.0 - 0.50 * dark, 1.0 - 0.43 * dark, 1.0 - 0.36 * dark


def _shine(shares: Mapping[str, FloatArray], who: Appearance) -> FloatArray:
    oily = (0.3 + 0.7 * shares["oily"]) * (0.3 + 0.7 * who.oil)
    dry = oily * (1.0 - 0.5 * who.beard_shadow * shares["beard"])
    return np.clip(dry + shares["lips"] * (0.75 - dry), 0.0, 1.0)


def _creases(regions: Regions, who: Appearance) -> tuple[FloatArray, FloatArray]:
    """Depth in mm and phase: of the kind that is deepest at each vertex."""
    phases = np.stack([phase for phase, _ in (*regions.creases, regions.lip_lines)])
    depths = np.stack([
        *(who.lines * depth for _, depth in regions.creases),
        (0.6 + 0.6 * who.lines) * regions.lip_lines[1],
    ])  # fmt: skip
    deepest = depths.argmax(axis=0)[None]
    return (
        np.take_along_axis(depths, deepest, 0)[0],
        np.take_along_axis(phases, deepest, 0)[0],
    )


def find_regions(attributes: Mapping[str, NDArray[np.float32]]) -> Regions:
    """The regions of the average head; attributes: see `pipeline.catalog.head.bare_head`."""
    rest = attributes["rest"].astype(float)
    named = {name: attributes[name].astype(float) for name in ("lips", "lids", "ears")}
    across = np.abs(rest[:, 0])
    front = smoothstep(rest[:, 2], -45.0, -5.0) * (1.0 - named["ears"])
    return Regions(
        shares=_shares(rest, across, front, named),
        creases=(
            _forehead_lines(rest, front),
            _frown_lines(rest, across, front),
            _crows_feet(rest, across),
            _fold(rest, across, _NASOLABIAL, 5.0, 0.45),
            _fold(rest, across, _BAG, 3.6, 0.25),
            *(_ring(rest, height) for height in _NECK_RINGS_MM),
        ),
        lip_lines=(2.0 * np.pi / 1.7 * rest[:, 0] + 0.5 * rest[:, 1], 0.06 * named["lips"] ** 2),
        waves=_waves(rest),
    )


def _shares(
    rest: FloatArray, across: FloatArray, front: FloatArray, named: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    cheeks = _blob(rest, (40.0, -34.0, 12.0), (17.0, 15.0, 22.0))
    tip = _blob(rest, (0.0, -37.0, 40.0), (12.0, 11.0, 14.0))
    wings = _blob(rest, (16.0, -41.0, 28.0), (6.0, 8.0, 9.0))
    chin = _blob(rest, (0.0, -90.0, 24.0), (14.0, 10.0, 16.0))
    forehead = _blob(rest, (0.0, 45.0, 18.0), (38.0, 24.0, 30.0))
    bridge = _blob(rest, (0.0, -15.0, 30.0), (7.0, 22.0, 12.0))
    chest = smoothstep(-rest[:, 1], 150.0, 220.0) * smoothstep(rest[:, 2], -60.0, 0.0)
    under_eye = _near_line(rest, across, _BAG + np.array([0.0, 3.5]), 4.0)
    under_eye *= smoothstep(-rest[:, 1], 3.0, 7.0)
    lips = named["lips"]
    body = 1.0 - smoothstep(-rest[:, 1], 115.0, 150.0)
    return {
        "flushed": np.clip(
            0.75 * cheeks + 0.65 * tip + 0.75 * wings + 0.3 * chin + 0.6 * named["ears"]
            + 0.25 * chest + 0.25 * named["lids"], 0.0, 1.0,
        ),
        "sallow": np.clip(0.55 * forehead + 0.3 * (1.0 - body) * (1.0 - chest), 0.0, 1.0),
        "under_eye": under_eye * front,
        "lids": named["lids"],
        "lips": lips * lips * (3.0 - 2.0 * lips),
        "upper_lip": smoothstep(rest[:, 1], -69.0, -66.0),
        "beard": _beard(rest, across, lips) * (1.0 - named["ears"]),
        "oily": np.clip(
            forehead + tip + 0.9 * bridge + 0.7 * chin + 0.5 * wings + 0.25 * cheeks, 0.0, 1.0
        ),
        "sunlit": np.clip(1.2 * cheeks + tip + bridge + 0.7 * forehead + 0.3 * front, 0.0, 1.0)
        * (1.0 - lips) * (1.0 - 0.7 * named["lids"]),
    }  # fmt: skip


def _beard(rest: FloatArray, across: FloatArray, lips: FloatArray) -> FloatArray:
    """Where a man's beard grows: lip, chin, jaw and the neck's upper part."""
    top = np.interp(across, _BEARD_TOP[:, 0], _BEARD_TOP[:, 1])
    share = smoothstep(top - rest[:, 1], -3.0, 9.0) * smoothstep(rest[:, 1], -150.0, -112.0)
    bare = _blob(rest, (13.0, -83.0, 24.0), (5.0, 4.0, 12.0))
    share *= smoothstep(rest[:, 2], -75.0, -45.0) * (1.0 - smoothstep(lips, 0.1, 0.5))
    return share * (1.0 - 0.5 * bare)


def _forehead_lines(rest: FloatArray, front: FloatArray) -> tuple[FloatArray, FloatArray]:
    x, y = rest[:, 0], rest[:, 1]
    bent = y + 2.2 * np.sin(x / 16.0) + 1.1 * np.sin(x / 6.5 + y / 15.0) - 0.004 * x**2
    depth = (
        smoothstep(y, 24.0, 34.0)
        * smoothstep(-y, -66.0, -50.0)
        * smoothstep(-np.abs(x), -44.0, -20.0)
    )
    return 2.0 * np.pi * bent / 8.5, 0.32 * depth * front


def _frown_lines(
    rest: FloatArray, across: FloatArray, front: FloatArray
) -> tuple[FloatArray, FloatArray]:
    depth = np.exp(-(((rest[:, 1] - 14.0) / 8.0) ** 2)) * smoothstep(-across, -12.0, -8.0)
    return np.pi * (across - 6.0) / 4.0, 0.3 * depth * front * smoothstep(across, 2.0, 4.0)


def _crows_feet(rest: FloatArray, across: FloatArray) -> tuple[FloatArray, FloatArray]:
    away = np.stack([across - _OUTER_CORNER[0] + 6.0, rest[:, 1] - _OUTER_CORNER[1]], axis=1)
    distance = np.linalg.norm(away, axis=1)
    angle = atan2(away[:, 1], away[:, 0])
    depth = smoothstep(distance, 8.0, 12.0) * smoothstep(-distance, -27.0, -14.0)
    depth *= smoothstep(-np.abs(angle), -1.0, -0.7) * smoothstep(rest[:, 2], -35.0, -20.0)
    return 2.0 * np.pi * angle / 0.34 + 0.12 * distance, 0.3 * depth


def _fold(
    rest: FloatArray, across: FloatArray, line: FloatArray, half_mm: float, depth_mm: float
) -> tuple[FloatArray, FloatArray]:
    """One crease along a line of (x, y) down either side of the face."""
    distance, along = _to_line(np.stack([across, rest[:, 1]], axis=1), line)
    depth = np.sin(np.pi * np.clip(along, 0.0, 1.0)) ** 0.7 * smoothstep(rest[:, 2], -5.0, 5.0)
    depth *= smoothstep(-distance, -3.0 * half_mm, -1.5 * half_mm)
    return np.pi * np.clip(distance / half_mm, 0.0, 1.0), depth_mm * depth


def _ring(rest: FloatArray, height: float) -> tuple[FloatArray, FloatArray]:
    """One crease around the neck, lower in front."""
    sloping = rest[:, 1] - height + 0.0022 * rest[:, 0] ** 2
    depth = np.exp(-((sloping / 9.0) ** 2)) * smoothstep(rest[:, 2], -75.0, -30.0)
    return np.pi * np.clip(sloping / 5.0, -1.0, 1.0), 0.5 * depth


def _to_line(points: FloatArray, line: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Of (n, 2) points: distance to the line (m, 2), and 0..1 along it, by segment."""
    starts, ways = line[:-1], np.diff(line, axis=0)
    offset = points[:, None] - starts
    part = np.clip((offset * ways).sum(-1) / (ways**2).sum(-1), 0.0, 1.0)
    miss = offset - part[..., None] * ways
    distance = np.linalg.norm(miss, axis=-1)
    nearest = distance.argmin(axis=1)
    rows = np.arange(len(points))
    return distance[rows, nearest], (nearest + part[rows, nearest]) / len(ways)


def _near_line(rest: FloatArray, across: FloatArray, line: FloatArray, size: float) -> FloatArray:
    distance, _ = _to_line(np.stack([across, rest[:, 1]], axis=1), line)
    return np.exp(-((distance / size) ** 2))


def _blob(
    rest: FloatArray, centre: tuple[float, float, float], size: tuple[float, float, float]
) -> FloatArray:
    """1 at a place on either side of the face, falling as a bell; mm."""
    own = rest.copy()
    own[:, 0] = np.abs(own[:, 0])
    return np.exp(-(((own - centre) / size) ** 2).sum(axis=1))


def _waves(rest: FloatArray, count: int = 24) -> FloatArray:
    """(n, count) plane waves of 14 to 60 mm whose random sums make skin uneven."""
    rng = np.random.Generator(np.random.PCG64(_SEED))
    ways = rng.normal(size=(count, 3))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    lengths = np.geomspace(14.0, 60.0, count)
    return np.sin(rest @ (2.0 * np.pi * ways / lengths[:, None]).T + rng.uniform(0, 6.28, count))
