"""What the fit asks of a pair of glasses: points spread over its parts, profiles of its temples.

`EyewearShape` is built once per pair; keep one for many fits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import AssetError
from pipeline.geometry import LENS_PARTS, TEMPLE_PARTS, Eyewear, FloatArray, Hinge, Surface
from pipeline.skin import refined

_FRONT_SPACING_MM = 1.2
_LENS_SPACING_MM = 3.0
_TEMPLE_SPACING_MM = 2.0
_PROFILE_MM = 3.0
#: What lies this much further out than the innermost point of a cell never meets skin first.
_FACE_MM = 0.8
_FACE_CELL_MM = 1.5
_REST_MM = 8.0
SIDES = ("left", "right")


@dataclass(frozen=True, eq=False)
class Temple:
    """One temple before it is opened.

    points: (n, 3) mm over the inner face of its surface. underside, inner: (k, 3) mm, its lowest
    and its innermost point in each 3 mm of its length. `sign` is +1 on the left, -1 on the right.
    """

    points: FloatArray
    underside: FloatArray
    inner: FloatArray
    hinge: Hinge
    sign: int
    anchor: FloatArray


class EyewearShape:
    """Points over a pair of glasses in its own frame.

    front: all parts but the temples, (n, 3). rests: 'left' and 'right', the points of pads and
    bridge of that side, and of rims within 8 mm of the nose anchor. lenses: the
    points of each lens, or of the rims on that side; lens_triangles: (t, 3, 3), empty without
    lenses. temples: 'left' and 'right'.

    Raises AssetError if the front or a temple has no surface.
    """

    def __init__(self, eyewear: Eyewear) -> None:
        self.anchors = eyewear.anchors
        points = {name: _spread(part, _spacing(name)) for name, part in eyewear.parts.items()}
        self.front = _stack(p for name, p in points.items() if name not in TEMPLE_PARTS)
        if not len(self.front):
            raise AssetError(f"{eyewear.name}: no front: neither rims, bridge, pads nor lenses")
        middle = 0.5 * (self.anchors.nose_left[0] + self.anchors.nose_right[0])
        self.rests: dict[str, FloatArray] = {}
        self.lenses: dict[str, FloatArray] = {}
        self.lens_triangles: dict[str, FloatArray] = {}
        self.temples: dict[str, Temple] = {}
        for side, sign in zip(SIDES, (1, -1), strict=True):
            self.rests[side] = _rest(points, getattr(self.anchors, f"nose_{side}"), middle, sign)
            lens = eyewear.parts.get(f"lens_{side}")
            self.lens_triangles[side] = np.zeros((0, 3, 3))
            if lens is not None:
                self.lens_triangles[side] = np.asarray(lens.vertices)[lens.triangles()]
            rims = points.get("rims", self.front)
            half = rims[(rims[:, 0] - middle) * sign > 0]
            self.lenses[side] = points.get(f"lens_{side}", half if len(half) else self.front)
            self.temples[side] = _temple(eyewear, points, side, sign)


def _spacing(name: str) -> float:
    if name in TEMPLE_PARTS:
        return _TEMPLE_SPACING_MM
    return _LENS_SPACING_MM if name in LENS_PARTS else _FRONT_SPACING_MM


def _spread(part: Surface, spacing: float) -> FloatArray:
    """The corners of a part and of its triangles cut to `spacing`, each once; (n, 3) mm."""
    corners = np.asarray(part.vertices, dtype=np.float64)[part.triangles()]
    points = refined(corners, spacing)[0].reshape(-1, 3)
    return points[np.unique(_keys(points), return_index=True)[1]]


def _keys(points: FloatArray) -> NDArray[np.uint64]:
    """A number for each point, (n,), the same for those that agree to a millionth of a mm."""
    whole = np.rint(points * 1e6).astype(np.int64).astype(np.uint64)
    # Odd and large, so that only equal points meet; sums wrap, which is meant.
    factors = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
    return np.asarray((whole * factors).sum(axis=1, dtype=np.uint64))


def _stack(arrays: Iterable[FloatArray]) -> FloatArray:
    return np.concatenate([np.zeros((0, 3)), *arrays])


def _rest(points: dict, anchor: FloatArray, middle: float, sign: int) -> FloatArray:
    front = _stack(p for n, p in points.items() if n not in TEMPLE_PARTS + LENS_PARTS)
    near = front[np.linalg.norm(front - anchor, axis=1) < _REST_MM]
    rest = _stack([near, *(points[name] for name in ("pads", "bridge") if name in points)])
    return rest[(rest[:, 0] - middle) * sign >= -1e-6]


def _temple(eyewear: Eyewear, points: dict, side: str, sign: int) -> Temple:
    found = points.get(f"temple_{side}", np.zeros((0, 3)))
    if not len(found):
        raise AssetError(f"{eyewear.name}: no {side} temple")
    return Temple(
        points=_face(found, sign),
        underside=_profile(found, found[:, 1]),
        inner=_profile(found, found[:, 0] * sign),
        hinge=getattr(eyewear, f"hinge_{side}"),
        sign=sign,
        anchor=getattr(eyewear.anchors, f"temple_{side}"),
    )


def _profile(points: FloatArray, measure: NDArray) -> FloatArray:
    """The point of least `measure` in each 3 mm of z, ordered by z; (k, 3)."""
    bins = np.floor(points[:, 2] / _PROFILE_MM).astype(np.int64)
    order = np.lexsort((*points.T, np.round(measure, 6), bins))
    first = np.unique(bins[order], return_index=True)[1]
    return points[order[first]]


def _face(points: FloatArray, sign: int) -> FloatArray:
    """The points (k, 3) of which none lies well inward at the same place seen from the side."""
    cells = np.floor(points[:, 1:] / _FACE_CELL_MM).astype(np.int64)
    _, cell = np.unique(cells @ np.array([1, 1 << 24]), return_inverse=True)
    inward = points[:, 0] * sign
    least = np.full(cell.max() + 1, np.inf)
    np.minimum.at(least, cell, inward)
    return points[inward <= least[cell] + _FACE_MM]
