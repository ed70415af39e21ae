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
    done, done_owners = [], []
    for _ in range(_MAX_CUTS):
        edges = np.linalg.norm(triangles - np.roll(triangles, -1, axis=1), axis=2)
        # The slack keeps lengths that are equal up to rounding from being cut differently.
        large = edges.max(axis=1) > spacing * (1 + 1e-6)
        done.append(triangles[~large])
        done_owners.append(owners[~large])
        triangles, owners = triangles[large], owners[large]
        if not len(triangles) or len(triangles) + sum(map(len, done)) > _MAX_TRIANGLES:
            break
        longest = (edges[large] * [1 + 2e-9, 1 + 1e-9, 1]).argmax(axis=1)
        order = (longest[:, None] + np.arange(3)) % 3
        a, b, c = np.moveaxis(np.take_along_axis(triangles, order[:, :, None], axis=1), 1, 0)
        middle = 0.5 * (a + b)
        triangles = np.concatenate([np.stack([a, middle, c], 1), np.stack([middle, b, c], 1)])
        owners = np.concatenate([owners, owners])
    return np.concatenate([*done, triangles]), np.concatenate([*done_owners, owners])


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
