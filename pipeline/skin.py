"""Questions about the skin of a head: how far, where first, and along it down the nose.

`SkinSurface` builds its search structures once per head; keep one for many fits.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import trimesh
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from pipeline.errors import AssetError
from pipeline.geometry import Anchors, FloatArray, Head, Surface

#: How far from the anchors skin is looked at; shoulders and stray parts lie beyond.
REACH_MM = 200.0
NOSE_STEP_MM = 3.0
_WALK_STEP_MM = 0.5
_NEIGHBOURS = 16
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
    corners = triangles[:, :, :2] - (x, y)
    first, second = np.roll(corners, -1, axis=1), np.roll(corners, -2, axis=1)
    areas = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    total = areas.sum(axis=1)
    inside = (total != 0) & ((areas >= 0).all(axis=1) | (areas <= 0).all(axis=1))
    weights = areas[inside] / total[inside, None]
    return (weights * triangles[inside, :, 2]).sum(axis=1)


class SkinSurface:
    """The skin of a head: all its surfaces whose name starts with 'skin', near the anchors.

    Which side of a surface is inside is never asked of its normals or its holes: a point is
    under the skin in a direction if a ray in that direction, started beyond the head, meets
    skin before it meets the point.

    Raises AssetError if the head has no skin within reach of its anchors.
    """

    def __init__(self, head: Head) -> None:
        middle = head.anchors.as_array().mean(axis=0)
        found = [_near(s, middle) for n, s in head.surfaces.items() if n.startswith("skin")]
        triangles = np.concatenate([np.zeros((0, 3, 3)), *found])
        if not len(triangles):
            raise AssetError(f"{head.name}: no skin within {REACH_MM:.0f} mm of the anchors")
        normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        lengths = np.linalg.norm(normals, axis=1)
        self.triangles: FloatArray = triangles[lengths > 0]
        self.normals: FloatArray = normals[lengths > 0] / lengths[lengths > 0, None]
        self._reaches: dict[tuple[float, float, float], tuple[FloatArray, ...]] = {}

    @cached_property
    def _mesh(self) -> trimesh.Trimesh:
        faces = np.arange(3 * len(self.triangles)).reshape(-1, 3)
        return trimesh.Trimesh(self.triangles.reshape(-1, 3), faces, process=False, validate=False)

    @cached_property
    def _tree(self) -> tuple[cKDTree, NDArray]:
        small, owners = refined(self.triangles, spacing=4.0)
        return cKDTree(small.mean(axis=1)), owners

    def closest(self, points: ArrayLike) -> tuple[FloatArray, FloatArray, NDArray]:
        """Nearest points on the skin to `points`, (n, 3) mm.

        Returns them, (n, 3) float64, their distances, (n,) mm, and their triangles, (n,) int64.
        Exact on the candidates: the owners of the 16 nearest middles of triangles cut to 4 mm.
        """
        asked = np.asarray(points, dtype=np.float64)
        tree, owners = self._tree
        found = tree.query(asked, k=min(_NEIGHBOURS, len(owners)))[1].reshape(len(asked), -1)
        candidates = owners[found]
        near = trimesh.triangles.closest_point(
            self.triangles[candidates.ravel()], np.repeat(asked, candidates.shape[1], axis=0)
        ).reshape(*candidates.shape, 3)
        distances = np.linalg.norm(near - asked[:, None], axis=2)
        best = distances.argmin(axis=1)
        rows = np.arange(len(asked))
        return near[rows, best], distances[rows, best], candidates[rows, best]

    def least_distance(self, points: ArrayLike) -> float:
        """Distance in mm of the nearest of `points`, (n, 3), to the skin; inf for none."""
        asked = np.asarray(points, dtype=np.float64)
        if not len(asked):
            return float("inf")
        # No skin is further than 4 mm from the nearest middle of a triangle cut to 4 mm.
        rough = self._tree[0].query(asked)[0]
        return float(self.closest(asked[rough <= rough.min() + 4.0])[1].min())

    def clearance(self, points: ArrayLike, direction: ArrayLike) -> FloatArray:
        """How far `points`, (n, 3) mm, can move along `direction`, (3,), before they meet skin.

        Rays start beyond the head, so a point that is already past the first skin gets a
        negative figure. (n,) float64 mm; inf where a ray meets no skin at all.
        """
        asked = np.asarray(points, dtype=np.float64)
        unit = np.asarray(direction, dtype=np.float64)
        unit = unit / np.linalg.norm(unit)
        low, high, offset, slope = self._along(tuple(unit))
        reached = asked @ unit
        origins = asked + (low.min() - 10.0 - reached)[:, None] * unit
        result = np.full(len(asked), np.inf)
        if not len(asked):
            return result
        hits = self._mesh.ray.intersects_first(origins, np.broadcast_to(unit, origins.shape))
        met = hits >= 0
        triangle = hits[met]
        gap = offset[triangle] - np.einsum("ij,ij->i", asked[met], self.normals[triangle])
        # A triangle seen edge-on has no one depth: the bounds keep what rounding makes of it near.
        depth = np.maximum(gap / slope[triangle], low[triangle] - reached[met])
        result[met] = np.minimum(depth, high[triangle] - reached[met])
        return result

    def _along(self, unit: tuple[float, float, float]) -> tuple[FloatArray, ...]:
        """Of each triangle, (t,): its least and greatest reach along a direction, the offset of
        its plane, and its normal's share in the direction."""
        if unit not in self._reaches:
            reach = self.triangles @ np.array(unit)
            slope = self.normals @ np.array(unit)
            offset = np.einsum("ij,ij->i", self.triangles[:, 0], self.normals)
            slope = np.where(np.abs(slope) < 1e-9, 1e-9, slope)
            self._reaches[unit] = (reach.min(axis=1), reach.max(axis=1), offset, slope)
        return self._reaches[unit]

    def walk_down(self, start: ArrayLike, length_mm: float) -> FloatArray:
        """The point, (3,) mm, `length_mm` down along the skin from the skin nearest to `start`.

        Steps of at most 0.5 mm follow -y as far as it lies in the skin, then snap to the skin.
        """
        (here,), _, (triangle,) = self.closest(np.asarray(start, dtype=np.float64)[None])
        left = float(length_mm)
        while left > 1e-9:
            normal = self.normals[triangle]
            down = np.array([0.0, -1.0, 0.0]) + normal[1] * normal
            size = float(np.linalg.norm(down))
            if size < 1e-6:
                break
            step = min(_WALK_STEP_MM, left)
            (here,), _, (triangle,) = self.closest((here + step * down / size)[None])
            left -= step
        return here


def _near(surface: Surface, middle: FloatArray) -> FloatArray:
    triangles = np.asarray(surface.vertices, dtype=np.float64)[surface.triangles()]
    reach = np.linalg.norm(triangles - middle, axis=2).min(axis=1) if len(triangles) else 0
    return triangles[reach < REACH_MM] if len(triangles) else triangles.reshape(0, 3, 3)


def nose_nodes(head: Head, nose: float, skin: SkinSurface | None = None) -> Anchors:
    """The anchors of `head` at nose position `nose` in [0, 3], continuous.

    Each nose node moves 3 mm down along the skin per unit, from the skin nearest to where it is
    labelled; the temple nodes stay. Raises ValueError outside [0, 3].
    """
    if not 0 <= nose <= 3:
        raise ValueError(f"nose position {nose} is outside 0 to 3")
    skin = skin or SkinSurface(head)
    anchors = head.anchors
    return Anchors(
        temple_left=anchors.temple_left,
        temple_right=anchors.temple_right,
        nose_left=skin.walk_down(anchors.nose_left, nose * NOSE_STEP_MM),
        nose_right=skin.walk_down(anchors.nose_right, nose * NOSE_STEP_MM),
    )
