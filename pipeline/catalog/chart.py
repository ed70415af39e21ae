"""Places on a mesh told by two coordinates, as linear maps from its vertices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import FloatArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_NEIGHBOURS = 4


class Chart:
    """Vertices of a mesh spread over a plane, and triangles between them.

    points: (p, 2). owners: (p,) the mesh's vertex at each. count: how many the mesh has.
    """

    def __init__(self, points: FloatArray, owners: NDArray[np.int64], count: int) -> None:
        from scipy.spatial import Delaunay, cKDTree

        self._points, self._owners, self._count = points, owners, count
        self._tree = cKDTree(points)
        self._triangles = Delaunay(points).simplices.astype(np.int64)
        self._of_point = _triangles_of_points(self._triangles, len(points))

    def at(self, places: FloatArray) -> csr_matrix:
        """(n, count) map from values at the mesh's vertices to those at places (n, 2).

        Beyond the triangles it holds the nearest of them at its border. By hand, since SciPy's
        own search solves small systems with BLAS, whose threads wait for one another for seconds
        on a busy machine.
        """
        from scipy.sparse import csr_matrix

        near = self._tree.query(places, k=_NEIGHBOURS)[1]
        candidates = self._of_point[near].reshape(len(places), -1)
        a, b, c = (self._points[self._triangles[candidates, i]] for i in range(3))
        point = places[:, None]
        whole = _cross(b - a, c - a)
        whole = np.where(np.abs(whole) < 1e-9, np.nan, whole)
        sides = ((b, c), (c, a), (a, b))
        areas = [_cross(first - point, second - point) for first, second in sides]
        shares = np.stack(areas, axis=-1) / whole[..., None]
        least = np.nan_to_num(shares.min(axis=2), nan=-np.inf)
        best = least.argmax(axis=1)
        rows = np.arange(len(places))
        weights = np.maximum(shares[rows, best], 0.0)
        weights /= weights.sum(axis=1, keepdims=True)
        corners = self._owners[self._triangles[candidates[rows, best]]]
        index = (np.repeat(rows, 3), corners.ravel())
        return csr_matrix((weights.ravel(), index), (len(places), self._count))


def _cross(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])


def _triangles_of_points(triangles: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(count, k) triangles at each point, the last repeated where there are fewer."""
    order = np.argsort(triangles.ravel(), kind="stable")
    points, owners = triangles.ravel()[order], order // 3
    start = np.searchsorted(points, np.arange(count))
    size = np.searchsorted(points, np.arange(count), side="right") - start
    steps = np.minimum(np.arange(size.max()), np.maximum(size - 1, 0)[:, None])
    return np.asarray(owners[np.minimum(start[:, None] + steps, len(owners) - 1)])
