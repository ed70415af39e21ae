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
from pipeline.transforms import apply, compose, rotation_about
from pipeline.triangles import refined

_FRONT_SPACING_MM = 1.2
_LENS_SPACING_MM = 3.0
_TEMPLE_SPACING_MM = 2.0
_PROFILE_MM = 3.0
#: What lies this much behind the first point of a cell, seen from the skin, never meets it first.
_FACE_MM = 0.8
_FACE_CELL_MM = 0.5
_CLUSTER_MM = 2.0
_WHOLE_MM = 1.5
_REST_MM = 8.0
_REST_SPACING_MM = 0.75
SIDES = ("left", "right")


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points (n, 3) mm of a surface that may touch skin, in clusters no larger than 2 mm.

    cluster: (n,) int64, whose each point is. sparse: (k, 3) mm, of each cluster the point that
    is likely to touch first.
    """

    points: FloatArray
    cluster: NDArray[np.int64]
    sparse: FloatArray

    def of(self, chosen: NDArray[np.bool_]) -> FloatArray:
        """All points of the clusters that `chosen`, (k,) bool, names."""
        return self.points[chosen[self.cluster]]


def hinge_turn(hinge: Hinge, side: str, opening: float) -> FloatArray:
    """(4, 4) turn that opens the temple of `side` ('left', 'right') by so many degrees."""
    return rotation_about(hinge.axis, -opening if side == "left" else opening, hinge.origin)


@dataclass(frozen=True, eq=False)
class Temple:
    """One temple before it is opened.

    face: the inner face of its surface. whole: points all over it. underside, inner: (k, 3) mm,
    its lowest and its innermost point in each 3 mm of its length. `sign` is +1 on the left, -1 on
    the right.
    """

    face: Cloud
    whole: FloatArray
    underside: FloatArray
    inner: FloatArray
    hinge: Hinge
    side: str
    sign: int
    anchor: FloatArray

    def posed(self, pose: FloatArray, opening: float) -> FloatArray:
        """(4, 4) that places the temple: turned by `opening` degrees, then with the front."""
        return compose(pose, hinge_turn(self.hinge, self.side, opening))

    def at(self, profile: FloatArray, pose: FloatArray, opening: float, z: float) -> FloatArray:
        """The point (3,) of a profile, (k, 3), as posed and opened, at depth `z` of the head."""
        line = apply(self.posed(pose, opening), profile)
        line = line[np.argsort(line[:, 2], kind="stable")]
        return np.array([*(np.interp(z, line[:, 2], line[:, i]) for i in range(2)), z])


@dataclass(frozen=True, eq=False)
class Lens:
    """The back of a lens: z = terms @ (1, x, y, x^2, x y, y^2) mm in the glasses' frame.

    A sphere of the usual curves is met to 0.1 mm. low, high: (2,) mm, its box seen from in front.
    plane: (3,) z = plane @ (1, x, y) of the whole lens.
    """

    terms: FloatArray
    plane: FloatArray
    low: FloatArray
    high: FloatArray

    def gap(self, points: FloatArray) -> FloatArray:
        """mm along z from points (n, 3) in the glasses' frame to the back; (n,) float64."""
        return np.asarray(_quadratic(points) @ self.terms - points[:, 2])

    def covers(self, points: FloatArray) -> NDArray[np.bool_]:
        """Which points (n, 3) lie in its box; (n,) bool."""
        flat = points[:, :2]
        return np.asarray(((flat >= self.low) & (flat <= self.high)).all(axis=1))

    def middle(self) -> FloatArray:
        """The point (3,) of the back in the middle of its box."""
        x, y = 0.5 * (self.low + self.high)
        return np.array([x, y, self.gap(np.array([[x, y, 0.0]]))[0]])


class EyewearShape:
    """Points over a pair of glasses in its own frame.

    front: the rear of all parts but the temples. rests: 'left' and 'right', the points of pads and
    bridge of that side, and of rims within 8 mm of the nose anchor. lenses: 'left' and 'right', or
    what the rims of that side span where there is no lens. temples: 'left' and 'right'.

    Raises AssetError if the front or a temple has no surface.
    """

    def __init__(self, eyewear: Eyewear) -> None:
        self.anchors = eyewear.anchors
        points = {name: _spread(part, _spacing(name)) for name, part in eyewear.parts.items()}
        front = _stack(p for name, p in points.items() if name not in TEMPLE_PARTS)
        if not len(front):
            raise AssetError(f"{eyewear.name}: no front: neither rims, bridge, pads nor lenses")
        self.front = _cloud(front, axis=2, sign=1)
        middle = 0.5 * (self.anchors.nose_left[0] + self.anchors.nose_right[0])
        self.rests: dict[str, FloatArray] = {}
        self.lenses: dict[str, Lens] = {}
        self.temples: dict[str, Temple] = {}
        for side, sign in zip(SIDES, (1, -1), strict=True):
            self.rests[side] = _rest(points, getattr(self.anchors, f"nose_{side}"), middle, sign)
            rims = points.get("rims", front)
            half = rims[(rims[:, 0] - middle) * sign > 0]
            self.lenses[side] = _lens(points.get(f"lens_{side}", half if len(half) else front))
            self.temples[side] = _temple(eyewear, points, side, sign)


def _spacing(name: str) -> float:
    if name in TEMPLE_PARTS:
        return _TEMPLE_SPACING_MM
    return _LENS_SPACING_MM if name in LENS_PARTS else _FRONT_SPACING_MM


def _spread(part: Surface, spacing: float) -> FloatArray:
    """The corners of a part and of its triangles cut to `spacing`, each once; (n, 3) mm."""
    corners = np.asarray(part.vertices, dtype=np.float64)[part.triangles()]
    points = refined(corners, spacing)[0].reshape(-1, 3)
    if not len(points):
        return points
    keys = _keys(points)
    # A sort that minds ties would find the first of each by itself, but takes far longer.
    order = np.argsort(keys)
    keys = keys[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    return points[np.minimum.reduceat(order, starts)]


def _keys(points: FloatArray) -> NDArray[np.uint64]:
    """A number for each point, (n,), the same for those that agree to a millionth of a mm."""
    whole = np.rint(points * 1e6).astype(np.int64).view(np.uint64)
    # Odd and large, so that only equal points meet; sums wrap, which is meant.
    factors = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
    return np.asarray(whole @ factors)


def _stack(arrays: Iterable[FloatArray]) -> FloatArray:
    return np.concatenate([np.zeros((0, 3)), *arrays])


def _rest(points: dict, anchor: FloatArray, middle: float, sign: int) -> FloatArray:
    front = _stack(p for n, p in points.items() if n not in TEMPLE_PARTS + LENS_PARTS)
    near = front[np.linalg.norm(front - anchor, axis=1) < _REST_MM]
    rest = _stack([near, *(points[name] for name in ("pads", "bridge") if name in points)])
    rest = rest[(rest[:, 0] - middle) * sign >= -1e-6]
    return rest[_first(_cells(rest, _REST_SPACING_MM), rest[:, 2])] if len(rest) else rest


def _quadratic(points: FloatArray) -> FloatArray:
    x, y = points[:, 0], points[:, 1]
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


def _lens(points: FloatArray) -> Lens:
    columns = _quadratic(points)
    plane = np.linalg.lstsq(columns[:, :3], points[:, 2], rcond=None)[0]
    back = _first(_cells(points[:, :2], _LENS_SPACING_MM), points[:, 2])
    terms = np.linalg.lstsq(columns[back], points[back, 2], rcond=None)[0]
    return Lens(terms, plane, points[:, :2].min(axis=0), points[:, :2].max(axis=0))


def _temple(eyewear: Eyewear, points: dict, side: str, sign: int) -> Temple:
    found = points.get(f"temple_{side}", np.zeros((0, 3)))
    if not len(found):
        raise AssetError(f"{eyewear.name}: no {side} temple")
    return Temple(
        face=_cloud(found, axis=0, sign=sign),
        whole=found[_first(_cells(found, _WHOLE_MM), found[:, 0] * sign)],
        underside=_profile(found, found[:, 1]),
        inner=_profile(found, found[:, 0] * sign),
        hinge=getattr(eyewear, f"hinge_{side}"),
        side=side,
        sign=sign,
        anchor=getattr(eyewear.anchors, f"temple_{side}"),
    )


def _profile(points: FloatArray, measure: NDArray) -> FloatArray:
    """The point of least `measure` in each 3 mm of z, ordered by z; (k, 3)."""
    bins = np.floor(points[:, 2] / _PROFILE_MM).astype(np.int64)
    number, measure = np.unique(bins, return_inverse=True)[1].reshape(-1), np.round(measure, 6)
    # Few are left where the least is met; of these the order of vertices must choose none.
    lowest = np.flatnonzero(measure == measure[_first(number, measure)][number])
    order = lowest[np.lexsort((*points[lowest].T, number[lowest]))]
    return points[order[np.unique(number[order], return_index=True)[1]]]


def _cloud(points: FloatArray, axis: int, sign: int) -> Cloud:
    """The points that lie first along the axis, or last for sign -1, at their place across it."""
    depth = points[:, axis] * sign
    place = _cells(np.delete(points, axis, axis=1), _FACE_CELL_MM)
    least = depth[_first(place, depth)]
    points = points[depth <= least[place] + _FACE_MM]
    cluster = _cells(points, _CLUSTER_MM)
    return Cloud(points, cluster, points[_first(cluster, points[:, axis] * sign)])


def _cells(points: FloatArray, size: float) -> NDArray[np.int64]:
    """(n,) number of the grid cell of each point, counted from 0 over the cells there are."""
    cells = np.floor(points / size).astype(np.int64)
    codes = cells @ (1 << 20 * np.arange(points.shape[1]))
    return np.unique(codes, return_inverse=True)[1].reshape(-1)


def _first(group: NDArray[np.int64], measure: NDArray) -> NDArray[np.int64]:
    """Index of the member of least `measure` of each group 0, 1, ...; ties go to the first."""
    least = np.full(int(group.max(initial=-1)) + 1, np.inf)
    np.minimum.at(least, group, measure)
    found = np.flatnonzero(measure == least[group])[::-1]
    first = np.zeros(len(least), dtype=np.int64)
    first[group[found]] = found
    return first
