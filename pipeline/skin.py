"""Questions about the skin of a head: how far, where first, and along it down the nose.

`SkinSurface` keeps what it finds of a head; keep one for many fits.
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
#: Nearest skin is looked for this far round the points asked about, then everywhere.
_PATCH_MM = 16.0
#: Rays are cast at the skin seen this far beside the points asked about.
_VIEW_MM = 12.0
#: ... and as far behind them.
_VIEW_DEPTH_MM = 40.0


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
        lengths = np.sqrt(np.einsum("ij,ij->i", normals, normals))
        self.triangles: FloatArray = triangles[lengths > 0]
        self.normals: FloatArray = normals[lengths > 0] / lengths[lengths > 0, None]
        self._last: tuple[_Patch, FloatArray, FloatArray] | None = None
        self._views: dict[tuple[float, float, float], _View] = {}

    @cached_property
    def _bounds(self) -> tuple[FloatArray, FloatArray]:
        """Least and greatest coordinates of each triangle, (t, 3) each."""
        a, b, c = np.moveaxis(self.triangles, 1, 0)
        return np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)

    def _within(self, low: FloatArray, high: FloatArray) -> NDArray:
        """Indices of the triangles whose boxes meet the box from `low` to `high`, (3,) each."""
        least, most = self._bounds
        return np.flatnonzero(((most >= low) & (least <= high)).all(axis=1))

    def closest(self, points: ArrayLike) -> tuple[FloatArray, FloatArray, NDArray]:
        """Nearest points on the skin to `points`, (n, 3) mm.

        Returns them, (n, 3) float64, their distances, (n,) mm, and their triangles, (n,) int64.
        Exact on the candidates: the owners of the 16 nearest middles of triangles cut to 4 mm.
        """
        asked = np.asarray(points, dtype=np.float64)
        patch, reach = self._patch(asked)
        near, distances, triangles = patch.closest(asked)
        far = distances > reach
        if far.any():
            whole = self._whole.closest(asked[far])
            near[far], distances[far], triangles[far] = whole
        return near, distances, triangles

    def least_distance(self, points: ArrayLike) -> float:
        """Distance in mm of the nearest of `points`, (n, 3), to the skin; inf for none."""
        asked = np.asarray(points, dtype=np.float64)
        if not len(asked):
            return float("inf")
        patch, reach = self._patch(asked)
        least = patch.least_distance(asked)
        return least if least <= reach else self._whole.least_distance(asked)

    def _patch(self, points: FloatArray) -> tuple[_Patch, float]:
        """Skin about `points`, and the distance up to which what it answers is true of all."""
        low, high = points.min(axis=0), points.max(axis=0)
        if self._last is not None:
            patch, least, most = self._last
            reach = float(min((low - least).min(), (most - high).min()))
            if reach >= 0.5 * _PATCH_MM:
                return patch, reach
        low, high = low - _PATCH_MM, high + _PATCH_MM
        patch = _Patch(self.triangles, self._within(low, high))
        self._last = patch, low, high
        return patch, _PATCH_MM

    @cached_property
    def _whole(self) -> _Patch:
        return _Patch(self.triangles, np.arange(len(self.triangles)))

    def clearance(self, points: ArrayLike, direction: ArrayLike) -> FloatArray:
        """How far `points`, (n, 3) mm, can move along `direction`, (3,), before they meet skin.

        Rays start beyond the head, so a point that is already past the first skin gets a
        negative figure. (n,) float64 mm; inf where a ray meets no skin, or only such as lies
        40 mm and more behind all the points.
        """
        asked = np.asarray(points, dtype=np.float64)
        if not len(asked):
            return np.zeros(0)
        unit = np.asarray(direction, dtype=np.float64)
        unit = unit / np.linalg.norm(unit)
        return self._view(unit, asked).clearance(asked)

    def _view(self, unit: FloatArray, points: FloatArray) -> _View:
        """The skin that rays along `unit` through `points` can meet, kept for the next."""
        key = (float(unit[0]), float(unit[1]), float(unit[2]))
        view = self._views.get(key)
        if view is None or not view.covers(points):
            view = _View(self, unit, points, view)
            self._views[key] = view
        return view

    def walk_down(self, start: ArrayLike, length_mm: float) -> FloatArray:
        """The point, (3,) mm, `length_mm` down along the skin from the skin nearest to `start`.

        Steps of at most 0.5 mm follow -y as far as it lies in the skin, then snap to the skin.
        """
        (here,), _, (triangle,) = self.closest(np.asarray(start, dtype=np.float64)[None])
        left = float(length_mm)
        around = self._within(here - left - 1.0, here + left + 1.0)
        least, most = (bound[around] for bound in self._bounds)
        while left > 1e-9:
            normal = self.normals[triangle]
            down = np.array([0.0, -1.0, 0.0]) + normal[1] * normal
            size = float(np.linalg.norm(down))
            if size < 1e-6:
                break
            step = min(_WALK_STEP_MM, left)
            aim = here + step * down / size
            # The skin just left is one step away, so the nearest is no further.
            reached = ((most >= aim - 1.01 * step) & (least <= aim + 1.01 * step)).all(axis=1)
            tried = around[reached]
            near = _closest_on(self.triangles[tried], np.broadcast_to(aim, (len(tried), 3)))
            best = int(np.linalg.norm(near - aim, axis=1).argmin())
            here, triangle = near[best], tried[best]
            left -= step
        return here


class _Patch:
    """Nearest points among some triangles of `triangles`, (t, 3, 3): those of indices `chosen`."""

    def __init__(self, triangles: FloatArray, chosen: NDArray) -> None:
        self.triangles = triangles
        small, owners = refined(triangles[chosen], spacing=4.0)
        self.owners = chosen[owners]
        self.tree = cKDTree(small.mean(axis=1)) if len(small) else None

    def closest(self, asked: FloatArray) -> tuple[FloatArray, FloatArray, NDArray]:
        if self.tree is None:
            none = np.full(len(asked), np.inf)
            return np.repeat(none[:, None], 3, axis=1), none, np.zeros(len(asked), np.int64)
        found = self.tree.query(asked, k=min(_NEIGHBOURS, len(self.owners)))[1]
        candidates = self.owners[found.reshape(len(asked), -1)]
        near = _closest_on(
            self.triangles[candidates.ravel()], np.repeat(asked, candidates.shape[1], axis=0)
        ).reshape(*candidates.shape, 3)
        distances = np.linalg.norm(near - asked[:, None], axis=2)
        best = distances.argmin(axis=1)
        rows = np.arange(len(asked))
        return near[rows, best], distances[rows, best], candidates[rows, best]

    def least_distance(self, asked: FloatArray) -> float:
        if self.tree is None:
            return float("inf")
        rough = self.tree.query(asked)[0]
        nearest = self.closest(asked[[rough.argmin()]])[1][0]
        # No point of a triangle is further from its middle than two thirds of its longest edge.
        others = asked[rough <= nearest + 4.0 * 2 / 3 + 1e-6]
        return float(min([nearest, *self.closest(others)[1]]))


def _closest_on(triangles: FloatArray, points: FloatArray) -> FloatArray:
    return np.asarray(trimesh.triangles.closest_point(triangles, points))


class _View:
    """Skin seen along `unit`, (3,), round about `points` and what `known` covers."""

    def __init__(
        self, skin: SkinSurface, unit: FloatArray, points: FloatArray, known: _View | None
    ) -> None:
        self.unit = unit
        other = np.eye(3)[np.abs(unit).argmin()]
        side = np.cross(unit, other)
        side /= np.linalg.norm(side)
        self.across = np.stack([side, np.cross(unit, side)], axis=1)
        flat = points @ self.across
        self.low, self.high = flat.min(axis=0) - _VIEW_MM, flat.max(axis=0) + _VIEW_MM
        if known is not None:
            self.low = np.minimum(self.low, known.low)
            self.high = np.maximum(self.high, known.high)
        # Skin far behind all points is not what they meet first, nor are they under it.
        self.deepest = float((points @ unit).max()) + _VIEW_DEPTH_MM
        if known is not None:
            self.deepest = max(self.deepest, known.deepest)
        seen = skin.triangles.reshape(-1, 3) @ np.column_stack([self.across, unit])
        a, b, c = np.moveaxis(seen.reshape(-1, 3, 3), 1, 0)
        most, least = np.maximum(np.maximum(a, b), c), np.minimum(np.minimum(a, b), c)
        # The slack keeps the triangles that a ray in single precision might meet.
        met = ((most[:, :2] >= self.low - 1.0) & (least[:, :2] <= self.high + 1.0)).all(axis=1)
        met &= least[:, 2] <= self.deepest
        triangles, normals = skin.triangles[met], skin.normals[met]
        # Of each triangle: its least and greatest reach along the direction, the offset of its
        # plane, and its normal's share in the direction.
        self.least, self.most = least[met, 2], most[met, 2]
        self.offset = np.einsum("ij,ij->i", triangles[:, 0], normals)
        slope = normals @ unit
        self.slope = np.where(np.abs(slope) < 1e-9, 1e-9, slope)
        self.normals = normals
        self.start = self.least.min() - 10.0 if len(triangles) else 0.0
        faces = np.arange(3 * len(triangles)).reshape(-1, 3)
        self.mesh = trimesh.Trimesh(triangles.reshape(-1, 3), faces, process=False, validate=False)

    def covers(self, points: FloatArray) -> bool:
        flat = points @ self.across
        inside = (flat.min(axis=0) >= self.low).all() and (flat.max(axis=0) <= self.high).all()
        return bool(inside and (points @ self.unit).max() + 0.5 * _VIEW_DEPTH_MM <= self.deepest)

    def clearance(self, asked: FloatArray) -> FloatArray:
        result = np.full(len(asked), np.inf)
        if not len(self.least):
            return result
        reached = asked @ self.unit
        origins = asked + (self.start - reached)[:, None] * self.unit
        hits = self.mesh.ray.intersects_first(origins, np.broadcast_to(self.unit, origins.shape))
        met = hits >= 0
        triangle = hits[met]
        gap = self.offset[triangle] - np.einsum("ij,ij->i", asked[met], self.normals[triangle])
        # A triangle seen edge-on has no one depth: the bounds keep what rounding makes of it near.
        depth = np.maximum(gap / self.slope[triangle], self.least[triangle] - reached[met])
        result[met] = np.minimum(depth, self.most[triangle] - reached[met])
        return result


def _near(surface: Surface, middle: FloatArray) -> FloatArray:
    triangles = np.asarray(surface.vertices, dtype=np.float64)[surface.triangles()]
    if not len(triangles):
        return triangles.reshape(0, 3, 3)
    reached = ((surface.vertices - middle) ** 2).sum(axis=1) < REACH_MM**2
    return triangles[reached[surface.triangles()].any(axis=1)]


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
