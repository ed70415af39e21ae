"""Surfaces that rays meet, with smooth normals; Embree finds the triangle, we the point on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import trimesh

from pipeline.geometry import FloatArray, Surface


class Solid:
    """Surfaces as one thing that rays meet."""

    def __init__(self, surfaces: Sequence[Surface]) -> None:
        starts = np.cumsum([0, *(len(s.vertices) for s in surfaces)])[:-1]
        vertices = np.concatenate([s.vertices for s in surfaces])
        faces = np.concatenate([s.triangles() + n for s, n in zip(surfaces, starts, strict=True)])
        self._mesh = trimesh.Trimesh(vertices, faces, process=False)
        self._corners = vertices[faces]
        self._normals = np.asarray(self._mesh.vertex_normals)[faces]

    def hit(self, start: FloatArray, ways: FloatArray) -> tuple[FloatArray, FloatArray]:
        """How far (n,) mm rays (n, 3) go until they meet it (inf: never), and its normal there."""
        reach, normals = np.full(len(start), np.inf), np.zeros((len(start), 3))
        if not len(start):
            return reach, normals
        triangles = self._mesh.ray.intersects_first(start, ways)
        met = np.flatnonzero(triangles >= 0)
        # Found in single precision; where on the triangle's plane, in double.
        a, b, c = np.moveaxis(self._corners[triangles[met]], 1, 0)
        across = np.cross(b - a, c - a)
        slope = (across * ways[met]).sum(axis=1)
        slope = np.where(np.abs(slope) < 1e-12, np.nan, slope)
        far = (across * (a - start[met])).sum(axis=1) / slope
        point = start[met] + far[:, None] * ways[met]
        square = (across**2).sum(axis=1)
        second = (np.cross(point - a, c - a) * across).sum(axis=1) / square
        third = (np.cross(b - a, point - a) * across).sum(axis=1) / square
        weights = np.stack([1 - second - third, second, third], axis=1)
        normal = (weights[..., None] * self._normals[triangles[met]]).sum(axis=1)
        reach[met] = np.where(np.isfinite(far), far, np.inf)
        normals[met] = normal / np.linalg.norm(normal, axis=1, keepdims=True)
        return reach, normals
