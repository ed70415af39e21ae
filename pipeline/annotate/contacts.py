"""Where open glasses rest on ears and nose, once it is known how they stand.

All is in mm of a pair whose front is 140 mm wide, in our axes with z along the temples and the
origin at the bridge.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from pipeline.annotate.mirror import spread
from pipeline.errors import Unsure
from pipeline.geometry import FloatArray

#: Fronts of adults' glasses are 125 to 150 mm wide.
FRONT_MM = 140.0
#: Outward normal of the left flank of a nose where pads rest: the mean over our persons 0 to 29,
#: at their nose nodes at position 0; its components vary by 0.1.
NOSE_NORMAL = np.array([0.58, 0.38, 0.72]) / np.linalg.norm([0.58, 0.38, 0.72])
#: Pads hang this far below the lower edge of the bridge (14 to 17 mm in our designs; the rims
#: beside a saddle bridge touch sooner), give or take.
_PAD_DROP_MM, _PAD_ABOUT_MM = 12.0, 5.8
_PAD_RADIUS_MM, _PAD_DEPTH_MM = 9.0, 3.0
#: A temple without a bend rests on the ear this far behind the bridge: the length to bend of retail
#: temples is 90 to 105 mm, of 135 to 150; but no closer to its tip than what the ear holds.
_STRAIGHT_MM, _TIP_MM = 105.0, 20.0
BEND_DEG = 8.0
#: A front that wraps reaches back this far.
_WRAP_MM = -40.0
#: Lengths over which temples bend, mm.
_BENDS_MM = (1.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0)
_SLICE_MM = 2.0
_TEMPLE_SAMPLES = 30_000
_NOSE_SAMPLES = 30_000


@dataclass(frozen=True, eq=False)
class Bend:
    """Where, z in mm, a temple begins to bend, over how many mm, by how many degrees down.

    error: root mean square of what the fit misses the middle line by, mm.
    """

    begin: float
    width: float
    degrees: float
    error: float


def section(triangles: FloatArray, axis: int, at: float) -> FloatArray:
    """(k, 3) where edges of triangles, (t, 3, 3), cross the plane of that coordinate."""
    height = triangles[:, :, axis] - at
    met = triangles[(height.min(axis=1) <= 0) & (height.max(axis=1) > 0)]
    ends = np.concatenate([met[:, [0, 1]], met[:, [1, 2]], met[:, [2, 0]]])
    height = ends[:, :, axis] - at
    crossed = (height > 0).sum(axis=1) == 1
    ends, height = ends[crossed], height[crossed]
    share = height[:, :1] / (height[:, :1] - height[:, 1:])
    return np.asarray(ends[:, 0] + share * (ends[:, 1] - ends[:, 0]))


def temple_triangles(triangles: FloatArray, sign: int) -> FloatArray:
    """The triangles, (k, 3, 3), of the temple of one side, those of the front left out."""
    beside = triangles[:, :, 0].mean(axis=1) * sign > 0.2 * FRONT_MM
    temple = triangles[beside & (triangles[:, :, 2].min(axis=1) < _WRAP_MM)]
    if not len(temple) or temple[:, :, 2].min() > 2 * _WRAP_MM:
        raise Unsure("no temple on one side; glasses need both, open")
    return temple


def bend_of(temple: FloatArray) -> Bend:
    """The bend of a temple: two straight stretches of its middle line and a parabola between."""
    tip = float(temple[:, :, 2].min())
    points = spread(temple, _TEMPLE_SAMPLES)
    bins = np.floor((_WRAP_MM - points[:, 2]) / _SLICE_MM).astype(np.int64)
    inside = (bins >= 0) & (points[:, 2] > tip + 3.0)
    bins, heights = bins[inside], points[inside, 1]
    if not len(bins) or len(np.unique(bins)) < 20:
        raise Unsure("no temples that run back; glasses need open temples")
    low, high = np.full(bins.max() + 1, np.inf), np.full(bins.max() + 1, -np.inf)
    np.minimum.at(low, bins, heights)
    np.maximum.at(high, bins, heights)
    rows = np.column_stack([_WRAP_MM - _SLICE_MM * (np.arange(len(low)) + 0.5), low, high])
    rows = rows[low <= high]
    # The sides of a front that wraps are taller than a temple.
    tall = rows[:, 2] - rows[:, 1] > 2.2 * np.median(rows[:, 2] - rows[:, 1])
    tall &= rows[:, 0] > 2 * _WRAP_MM
    rows = rows[tall.nonzero()[0].max(initial=-1) + 1 :]
    at, middle = rows[:, 0], 0.5 * (rows[:, 1] + rows[:, 2])
    tried = [_bend_at(at, middle, z, w) for z in at[at < -60.0][:-4] for w in _BENDS_MM]
    best = min(tried, key=lambda bend: bend.error, default=Bend(0.0, 0.0, 0.0, np.inf))
    for step in (1.0, 0.25):
        near = step * np.arange(-4, 5)
        wide = [max(best.width + 2 * w, 1.0) for w in near]
        tried = [_bend_at(at, middle, best.begin + b, w) for b in near for w in wide]
        best = min([best, *tried], key=lambda bend: bend.error)
    if best.degrees < BEND_DEG:
        return replace(best, begin=max(-_STRAIGHT_MM, tip + _TIP_MM))
    return best


def _bend_at(at: FloatArray, middle: FloatArray, begin: float, width: float) -> Bend:
    inside = np.clip(begin - at, 0, width)
    fall = 0.5 * inside**2 / width + np.maximum(begin - at - width, 0)
    columns = np.column_stack([np.ones(len(at)), at, fall])
    solved = np.linalg.lstsq(columns, middle, rcond=None)[0]
    error = float(np.sqrt(np.mean((columns @ solved - middle) ** 2)))
    turn = np.arctan(solved[1] - solved[2]) - np.arctan(solved[1])
    return Bend(float(begin), width, float(np.degrees(turn)), error)


def temple_rest(temple: FloatArray, sign: int, z: float) -> FloatArray:
    """The inner lower edge, (3,), of a temple at depth z."""
    cut = section(temple, 2, z)
    if not len(cut):
        corners = temple.reshape(-1, 3)
        cut = corners[np.abs(corners[:, 2] - z) <= np.abs(corners[:, 2] - z).min() + 1.0]
    low, high = cut[:, 1].min(), cut[:, 1].max()
    lower = cut[cut[:, 1] <= low + 0.3 * (high - low)]
    return np.asarray(lower[(lower @ (-sign, -1.0, 0.0)).argmax()])


def front_height(triangles: FloatArray) -> float:
    """mm from the lower to the upper edge of the front where lenses are."""
    corners = triangles.reshape(-1, 3)
    away = np.abs(corners[:, 0])
    front = corners[(corners[:, 2] > -20) & (away > 18) & (away < 58)]
    return float(np.ptp(front[:, 1])) if len(front) else 0.0


def bridge_low(triangles: FloatArray) -> float:
    """y of the lower edge of the bridge."""
    middle = section(triangles, 0, 0.0)
    if not len(middle):
        raise Unsure("no glasses with open temples: nothing joins the left to the right half")
    return float(middle[:, 1].min())


def nose_rest(triangles: FloatArray, sign: int, low: float) -> FloatArray:
    """The middle, (3,), of what faces one flank of the nose: a pad, or the rim beside the bridge.

    Seen from the nose the surface is a height field of 1 mm cells. What stands out most near where
    pads hang is grown to all that belongs to it.
    """
    box = np.array([[0.5, low - 24.0, -25.0], [22.0, low + 3.0, 8.0]])
    half = triangles * (sign, 1, 1)
    near = (half.min(axis=1) < box[1]).all(axis=1) & (half.max(axis=1) > box[0]).all(axis=1)
    points = spread(half[near], _NOSE_SAMPLES) if near.any() else np.zeros((0, 3))
    points = points[((points > box[0]) & (points < box[1])).all(axis=1)]
    if not len(points):
        raise Unsure("no glasses with open temples: nothing that could rest on a nose")
    height = points @ -NOSE_NORMAL
    unlikely = ((points[:, 1] - low + _PAD_DROP_MM) / _PAD_ABOUT_MM) ** 2
    top = int((height - unlikely).argmax())
    across = np.linalg.svd(NOSE_NORMAL[None])[2][1:]
    cells = np.floor((points - points[top]) @ across.T).astype(np.int64) + 10
    within = np.linalg.norm(points - points[top], axis=1) < _PAD_RADIUS_MM
    within &= height > height[top] - _PAD_DEPTH_MM
    cells, points, height = cells[within], points[within], height[within]
    order = np.lexsort((-height, cells @ (20, 1)))
    seen = order[np.unique((cells @ (20, 1))[order], return_index=True)[1]]
    field = np.zeros((20, 20), dtype=bool)
    field[cells[seen, 0], cells[seen, 1]] = True
    labels = ndimage.label(field)[0]
    patch = points[seen][labels[cells[seen, 0], cells[seen, 1]] == labels[10, 10]]
    middle = patch.mean(axis=0)
    return np.asarray(patch[np.linalg.norm(patch - middle, axis=1).argmin()] * (sign, 1, 1))
