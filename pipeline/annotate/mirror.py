"""Planes on which the surface of a mesh is its own mirror image, and points spread over it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from pipeline.geometry import FloatArray

_FEW, _MORE = 400, 1500
_DIRECTIONS = 160
_STARTS = 6
#: Starts and ends nearer than this to one another are one, degrees.
_START_DEG, _SAME_DEG = 12.0, 5.0
_ROUNDS = 25
#: Of the mirrored points, those that miss by most are no part of what mirrors itself.
_KEPT = 0.8
#: A miss counts no more than this, in units of the size of the mesh.
_FAR = 0.3


@dataclass(frozen=True, eq=False)
class Plane:
    """Points p with normal @ p == offset; `miss`: mean distance of a mirrored point to the rest."""

    normal: FloatArray
    offset: float
    miss: float


def spread(triangles: FloatArray, count: int) -> FloatArray:
    """(count, 3) points spread over triangles, (t, 3, 3), by area; they move with the triangles.

    Places within triangles follow the additive recurrence of the plastic number (M. Roberts, "The
    unreasonable effectiveness of quasirandom sequences", 2018).
    """
    total = np.cumsum(areas(triangles))
    place = (np.arange(count) + 0.5) / count
    chosen = np.minimum(np.searchsorted(total, place * total[-1]), len(triangles) - 1)
    share = (np.arange(1, count + 1)[:, None] * (0.7548776662466927, 0.5698402909980532)) % 1.0
    share = np.where(share.sum(axis=1, keepdims=True) > 1, 1 - share, share)
    a, b, c = np.moveaxis(triangles[chosen], 1, 0)
    return np.asarray(a + share[:, :1] * (b - a) + share[:, 1:] * (c - a))


def areas(triangles: FloatArray) -> FloatArray:
    """(t,) twice the areas of triangles, (t, 3, 3)."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    return np.sqrt(np.einsum("ij,ij->i", normals, normals))


def mirror_planes(points: FloatArray) -> list[Plane]:
    """Planes on which points, (n, 3), of mean 0 and root mean square 1, mirror themselves best.

    Best first, no two within 5 degrees. Normals that are tried lie evenly about the principal
    axes, so they turn with the points.
    """
    axes = np.linalg.eigh(points.T @ points)[1].T
    k = np.arange(_DIRECTIONS) + 0.5
    z, turn = 1 - k / _DIRECTIONS, np.pi * (1 + 5**0.5) * k
    flat = np.sqrt(1 - z * z)
    half_sphere = np.column_stack([flat * np.cos(turn), flat * np.sin(turn), z])
    tried = np.concatenate([np.eye(3), half_sphere]) @ axes
    tree = cKDTree(points)
    few, more = (points[:: max(1, len(points) // n)] for n in (_FEW, _MORE))
    rough = np.array([_miss(tree, few, normal, 0.0) for normal in tried])
    starts: list[FloatArray] = []
    found: list[Plane] = []
    for normal in tried[np.argsort(rough, kind="stable")]:
        if len(starts) == _STARTS:
            break
        if _apart(normal, starts) < _START_DEG:
            continue
        starts.append(normal)
        normal, offset = _settled(tree, more, normal)
        if _apart(normal, [plane.normal for plane in found]) > _SAME_DEG:
            found.append(Plane(normal, offset, _miss(tree, more, normal, offset)))
    return sorted(found, key=lambda plane: plane.miss)


def _apart(normal: FloatArray, others: list[FloatArray]) -> float:
    """Degrees to the nearest of other normals, which have no sign; 90 without others."""
    nearest = max((abs(float(normal @ other)) for other in others), default=0.0)
    return float(np.degrees(np.arccos(min(1.0, nearest))))


def _mirrored(points: FloatArray, normal: FloatArray, offset: float) -> FloatArray:
    return points - 2 * (points @ normal - offset)[:, None] * normal


def _miss(tree: cKDTree, points: FloatArray, normal: FloatArray, offset: float) -> float:
    return float(np.minimum(tree.query(_mirrored(points, normal, offset))[0], _FAR).mean())


def _settled(tree: cKDTree, points: FloatArray, normal: FloatArray) -> tuple[FloatArray, float]:
    """Normal and offset near a plane through the middle where mirrored points meet others best."""
    offset = 0.0
    for _ in range(_ROUNDS):
        distances, nearest = tree.query(_mirrored(points, normal, offset))
        kept = distances <= np.quantile(distances, _KEPT)
        a, b = points[kept], tree.data[nearest[kept]]
        middle = 0.5 * (a.mean(axis=0) + b.mean(axis=0))
        # The reflection that takes a to b best has the least eigenvector of what they share.
        shared = (a - a.mean(axis=0)).T @ (b - b.mean(axis=0))
        found = np.linalg.eigh(shared + shared.T)[1][:, 0]
        found = found if found @ normal > 0 else -found
        moved = float(np.linalg.norm(found - normal)) + abs(float(found @ middle) - offset)
        normal, offset = found, float(found @ middle)
        if moved < 1e-5:
            break
    return normal, offset
