"""Surfaces that rays meet, with smooth normals; Embree finds the triangle, we the point on it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import trimesh
from numpy.typing import NDArray

from pipeline.geometry import FloatArray, Surface

#: Where rays aim is told to so many steps across.
_AIM_CELLS = 256


class Solid:
    """Surfaces as one thing that rays meet."""

    def __init__(self, surfaces: Sequence[Surface]) -> None:
        starts = np.cumsum([0, *(len(s.vertices) for s in surfaces)])[:-1]
        vertices = np.concatenate([s.vertices for s in surfaces])
        faces = np.concatenate([s.triangles() + n for s, n in zip(surfaces, starts, strict=True)])
        self._mesh = trimesh.Trimesh(vertices, faces, process=False)
        self._corners = vertices[faces]

    @cached_property
    def _normals(self) -> FloatArray:
        return np.asarray(self._mesh.vertex_normals)[self._mesh.faces]

    def towards(self, start: FloatArray, points: FloatArray) -> Solid | None:
        """What of it rays from `start` (3,) to points (n, 3) can meet, or None; quick to build.

        The points, at least one, lie within 90 degrees of their middle as seen from `start`.
        Triangles are left out whose box, as seen from there, no point is in; the others share no
        corners, so that `reach` is as before and normals of `hit` are those of triangles.
        """
        ahead = points.mean(axis=0) - start
        across = np.cross(ahead, np.eye(3)[np.abs(ahead).argmin()])
        frame = np.stack([across, np.cross(ahead, across), ahead], axis=1)
        frame = frame / np.linalg.norm(frame, axis=0)
        x, y, depth = np.moveaxis((self._mesh.vertices - start) @ frame, 1, 0)
        seen = np.stack([x, y], axis=1) / np.maximum(depth, 1e-3)[:, None]
        aim = (points - start) @ frame
        aim = aim[:, :2] / aim[:, 2:]
        origin, cell = aim.min(axis=0), max(float(np.ptp(aim, axis=0).max()), 1e-9) / _AIM_CELLS
        aimed = np.zeros((_AIM_CELLS + 1, _AIM_CELLS + 1))
        aimed[tuple(((aim - origin) / cell).astype(int).T)] = 1
        counts = np.pad(aimed.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
        faces = np.asarray(self._mesh.faces)
        cells = np.floor((seen - origin) / cell).clip(-1, _AIM_CELLS + 1).astype(np.int32)
        # Corner by corner, since numpy takes long over rows of three.
        a, b, c = faces.T
        (left, top), (right, bottom) = (
            [least(least(side[a], side[b]), side[c]) for side in np.ascontiguousarray(cells.T)]
            for least in (np.minimum, np.maximum)
        )
        left, top = left.clip(0), top.clip(0)
        right, bottom = (np.minimum(end + 1, _AIM_CELLS + 1) for end in (right, bottom))
        left, top = np.minimum(left, right), np.minimum(top, bottom)
        inside = (
            counts[right, bottom] - counts[left, bottom] - counts[right, top] + counts[left, top]
        )
        behind = depth < 1e-3
        chosen = (inside > 0) | behind[a] | behind[b] | behind[c]
        if not chosen.any():
            return None
        corners = self._corners[chosen].reshape(-1, 3)
        return Solid([Surface(corners, np.arange(len(corners)).reshape(-1, 3))])

    def reach(self, start: FloatArray, ways: FloatArray) -> FloatArray:
        """(n,) how far in mm rays (n, 3) go until they meet it; inf: never."""
        return self._met(start, ways)[0]

    def hit(self, start: FloatArray, ways: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What `reach` says, and the normal there, (n, 3); 0 where nothing is met."""
        reach, triangles = self._met(start, ways)
        normals = np.zeros((len(start), 3))
        met = np.flatnonzero(np.isfinite(reach))
        if not len(met):
            return reach, normals
        a, b, c = np.moveaxis(self._corners[triangles[met]], 1, 0)
        point = start[met] + reach[met, None] * ways[met]
        across = np.cross(b - a, c - a)
        square = (across**2).sum(axis=1)
        second = (np.cross(point - a, c - a) * across).sum(axis=1) / square
        third = (np.cross(b - a, point - a) * across).sum(axis=1) / square
        weights = np.stack([1 - second - third, second, third], axis=1)
        normal = (weights[..., None] * self._normals[triangles[met]]).sum(axis=1)
        normals[met] = normal / np.linalg.norm(normal, axis=1, keepdims=True)
        return reach, normals

    def _met(self, start: FloatArray, ways: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
        """How far rays go, (n,), and the triangle that they meet, (n,), -1 for none."""
        reach = np.full(len(start), np.inf)
        if not len(start):
            return reach, np.zeros(0, np.int64)
        triangles = np.asarray(self._mesh.ray.intersects_first(start, ways), np.int64)
        met = np.flatnonzero(triangles >= 0)
        # Found in single precision; where on the triangle's plane, in double.
        a, b, c = np.moveaxis(self._corners[triangles[met]], 1, 0)
        across = np.cross(b - a, c - a)
        slope = (across * ways[met]).sum(axis=1)
        slope = np.where(np.abs(slope) < 1e-12, np.nan, slope)
        far = (across * (a - start[met])).sum(axis=1) / slope
        reach[met] = np.where(np.isfinite(far), far, np.inf)
        return reach, triangles
