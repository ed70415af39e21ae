"""Plain geometry of triangles, (t, 3, 3) float64: cut small, and crossed by a line."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import FloatArray

_MAX_CUTS = 14
_MAX_TRIANGLES = 1_000_000


def refined(triangles: FloatArray, spacing: float) -> tuple[FloatArray, NDArray]:
    """Triangles cut at the middle of their longest edge until no edge exceeds `spacing`.

    triangles: (t, 3, 3) float64. Returns the small ones, (s, 3, 3) float64, and the triangles
    they came from, (s,) int64. A mesh of millions of huge triangles stays coarser.
    """
    owners = np.arange(len(triangles))
    done, done_owners, count = [], [], 0
    for _ in range(_MAX_CUTS):
        corners = [triangles[:, i] for i in range(3)]
        edges = np.stack([_lengths(corners[i] - corners[i - 2]) for i in range(3)])
        # The slack keeps lengths that are equal up to rounding from being cut differently.
        large = edges.max(axis=0) > spacing * (1 + 1e-6)
        small, cut = np.flatnonzero(~large), np.flatnonzero(large)
        done.append(triangles.take(small, axis=0))
        done_owners.append(owners.take(small))
        count += len(small)
        triangles, owners = triangles.take(cut, axis=0), owners.take(cut)
        if not len(cut) or len(cut) + count > _MAX_TRIANGLES:
            break
        longest = (edges.take(cut, axis=1) * [[1 + 2e-9], [1 + 1e-9], [1]]).argmax(axis=0)
        points, first = triangles.reshape(-1, 3), 3 * np.arange(len(cut))
        a, b, c = (points.take(first + (longest + i) % 3, axis=0) for i in range(3))
        middle = 0.5 * (a + b)
        halves = np.empty((2, len(cut), 3, 3))
        for half, three in zip(halves, ((a, middle, c), (middle, b, c)), strict=True):
            half[:, 0], half[:, 1], half[:, 2] = three
        triangles = halves.reshape(-1, 3, 3)
        owners = np.concatenate([owners, owners])
    return np.concatenate([*done, triangles]), np.concatenate([*done_owners, owners])


def _lengths(ways: FloatArray) -> FloatArray:
    """Of (n, 3); many times as fast as a norm along an axis so short."""
    squares = ways * ways
    return np.sqrt(squares[:, 0] + squares[:, 1] + squares[:, 2])


def heights_at(triangles: FloatArray, x: float, y: float) -> FloatArray:
    """z of every crossing of triangles, (t, 3, 3), with the line along z through (x, y); (k,)."""
    least = np.minimum(np.minimum(triangles[:, 0], triangles[:, 1]), triangles[:, 2])
    most = np.maximum(np.maximum(triangles[:, 0], triangles[:, 1]), triangles[:, 2])
    near = (least[:, 0] <= x) & (most[:, 0] >= x) & (least[:, 1] <= y) & (most[:, 1] >= y)
    triangles = triangles[near]
    corners = triangles[:, :, :2] - (x, y)
    first, second = np.roll(corners, -1, axis=1), np.roll(corners, -2, axis=1)
    areas = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    total = areas.sum(axis=1)
    inside = (total != 0) & ((areas >= 0).all(axis=1) | (areas <= 0).all(axis=1))
    weights = areas[inside] / total[inside, None]
    return (weights * triangles[inside, :, 2]).sum(axis=1)
