"""Lips that meet on the neutral face, whatever the identity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import FloatArray

_COLUMNS_MM = np.linspace(-21.0, 21.0, 13)
_OVERLAP_MM, _MOST_MM, _REACH_MM = 0.35, 4.0, 6.0


@dataclass(frozen=True, eq=False)
class Lips:
    """Which subdivided vertices touch, per column across the mouth, and what follows them.

    upper, lower: (13, 4) fine vertex indices. columns: (v,) coarse vertices that follow, with
    `place` (v,) their fractional column and `share` (v,) how far up they go per mm of gap.
    """

    upper: NDArray[np.int64]
    lower: NDArray[np.int64]
    follow: NDArray[np.int64]
    place: FloatArray
    share: FloatArray

    def closing(self, fine_skin: FloatArray) -> FloatArray:
        """(v,) upward displacement in mm of the vertices `follow`; fine_skin: (f, 3) mm."""
        gap = fine_skin[self.upper, 1].min(axis=1) - fine_skin[self.lower, 1].max(axis=1)
        gap = np.clip(gap + _OVERLAP_MM, 0.0, _MOST_MM)
        return self.share * np.interp(self.place, np.arange(len(gap)), gap)


def find_lips(rest: FloatArray, lips: FloatArray, jaw_y: FloatArray, coarse_count: int) -> Lips:
    """Label the lips by how the jaw moves them.

    rest: (f, 3) mm, the average head; lips: (f,) 0..1; jaw_y: (f,) upward displacement in mm by
    an open jaw; the first `coarse_count` fine vertices are the coarse ones.
    """
    uppers, lowers, edges, seams = [], [], [], []
    # Where the lips turn inwards; what lies deeper does not meet.
    outer = (lips > 0.25) & (rest[:, 2] > 26.0 - 0.28 * np.abs(rest[:, 0]))
    for column in _COLUMNS_MM:
        near = np.flatnonzero(outer & (np.abs(rest[:, 0] - column) < 2.0))
        edge = 0.5 * (jaw_y[near].min() + jaw_y[near].max())
        above, below = near[jaw_y[near] > edge], near[jaw_y[near] <= edge]
        uppers.append(above[np.argsort(rest[above, 1])[:4]])
        lowers.append(below[np.argsort(-rest[below, 1])[:4]])
        edges.append(edge)
        seams.append(0.5 * (rest[uppers[-1][0], 1] + rest[lowers[-1][0], 1]))
    own, jaw = rest[:coarse_count], jaw_y[:coarse_count]
    x = own[:, 0]
    away = (own[:, 1] - np.interp(x, _COLUMNS_MM, seams)) / _REACH_MM
    side = np.clip((np.interp(x, _COLUMNS_MM, edges) - jaw) / 1.5, -1.0, 1.0)
    ends = np.clip((27.0 - np.abs(x)) / 5.0, 0.0, 1.0)
    share = 0.5 * side * ends * np.exp(-(away**2)) * np.clip((own[:, 2] - 5.0) / 8.0, 0.0, 1.0)
    follow = np.flatnonzero(np.abs(share) > 0.005)
    place = np.interp(x[follow], _COLUMNS_MM, np.arange(len(_COLUMNS_MM)))
    return Lips(np.array(uppers), np.array(lowers), follow, place, share[follow])
