"""Questions about the skin of a head: how far, where first, and along it down the nose.

`SkinSurface` keeps what it finds of a head; keep one for many fits.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import trimesh
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from pipeline.errors import AssetError
from pipeline.geometry import Anchors, FloatArray, Head, Surface
from pipeline.triangles import refined

#: How far from the anchors skin is looked at; shoulders and stray parts lie beyond.
REACH_MM = 200.0
NOSE_STEP_MM = 3.0
_WALK_STEP_MM = 0.5
_CUT_MM = 4.0
_NEIGHBOURS = 16
#: How far from the box of the anchors reliefs show the skin, and what they say of gaps in it.
_RELIEF_MM = np.array([25.0, 75.0, 40.0])
_NOWHERE_MM = 1e3
#: Directions that tell what is inside: so many, so far out of the skull at the least (cosine), ...
_VIEWS = 24
_VIEW_LEAST = 0.34
#: ... and from so many of them what lies outside is seen.
_SEEN_ENOUGH = 2
#: A point on the skin is not hidden by it.
_GRAZE_MM = 0.01
_Step = tuple[FloatArray, int]


class SkinSurface:
    """The skin of a head: all its surfaces whose name starts with 'skin', near the anchors.

    Inside and outside are never told by normals, by closedness or by parity, which open scans,
    double shells and faces turned inwards all break, but by what can be seen from beyond the
    head. `clearance`: a point is under the skin in a direction if a ray in that direction,
    started beyond the head, meets skin before it meets the point. `enclosed`: a point is inside
    if that is so for nearly all directions, so that a hole or a gap alone lets nothing out.

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
        self._anchors = head.anchors.as_array()
        self._reliefs: dict[tuple[float, float, float], _Relief] = {}
        self._trails: dict[tuple[float, ...], list[_Step]] = {}

    @cached_property
    def _ball(self) -> tuple[FloatArray, float]:
        """Middle (3,) and radius of a ball that holds all skin, and 10 mm round it."""
        corners = self.triangles.reshape(-1, 3)
        low, high = corners.min(axis=0), corners.max(axis=0)
        return 0.5 * (low + high), 0.5 * float(np.linalg.norm(high - low)) + 10.0

    @cached_property
    def _scene(self) -> trimesh.Trimesh:
        faces = np.arange(3 * len(self.triangles)).reshape(-1, 3)
        corners = self.triangles.reshape(-1, 3)
        return trimesh.Trimesh(corners, faces, process=False, validate=False)

    @cached_property
    def _cut(self) -> tuple[cKDTree, NDArray]:
        """A tree of the middles of triangles cut to 4 mm, and whose they are."""
        small, owners = refined(self.triangles, _CUT_MM)
        return cKDTree(small.mean(axis=1)), owners

    def closest(self, points: ArrayLike) -> tuple[FloatArray, FloatArray, NDArray]:
        """Nearest points on the skin to `points`, (n, 3) mm.

        Returns them, (n, 3) float64, their distances, (n,) mm, and their triangles, (n,) int64.
        Exact on the candidates: the owners of the 16 nearest middles of triangles cut to 4 mm.
        """
        asked = np.asarray(points, dtype=np.float64)
        tree, owners = self._cut
        count = min(_NEIGHBOURS, len(owners))
        candidates = owners[tree.query(asked, k=count)[1].reshape(len(asked), count)]
        near = _closest_on(
            self.triangles[candidates.ravel()], np.repeat(asked, count, axis=0)
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
        rough = self._cut[0].query(asked)[0]
        nearest = self.closest(asked[[rough.argmin()]])[1][0]
        # No point of a triangle is further from its middle than two thirds of its longest edge.
        others = asked[rough <= nearest + _CUT_MM * 2 / 3 + 1e-6]
        return float(min([nearest, *self.closest(others)[1]]))

    def clearance(self, points: ArrayLike, direction: ArrayLike) -> FloatArray:
        """How far `points`, (n, 3) mm, can move along `direction`, (3,), before they meet skin.

        Rays start beyond the head, so a point that is already past the first skin gets a
        negative figure. (n,) float64 mm; inf where a ray meets no skin.
        """
        asked = np.asarray(points, dtype=np.float64)
        unit = np.asarray(direction, dtype=np.float64)
        unit = unit / np.linalg.norm(unit)
        result = np.full(len(asked), np.inf)
        if not len(asked):
            return result
        middle, radius = self._ball
        reached = asked @ unit
        origins = asked + (middle @ unit - radius - reached)[:, None] * unit
        hits = self._scene.ray.intersects_first(origins, np.broadcast_to(unit, origins.shape))
        met = hits >= 0
        triangle = hits[met]
        corners, normals = self.triangles[triangle], self.normals[triangle]
        slope = normals @ unit
        slope = np.where(np.abs(slope) < 1e-9, 1e-9, slope)
        gap = np.einsum("ij,ij->i", corners[:, 0] - asked[met], normals) / slope
        # A triangle seen edge-on has no one depth: its bounds keep what rounding makes of it near.
        along = corners @ unit - reached[met, None]
        result[met] = np.clip(gap, along.min(axis=1), along.max(axis=1))
        return result

    def rough_clearance(
        self, points: ArrayLike, direction: tuple[float, float, float]
    ) -> FloatArray:
        """As `clearance` along an axis, to some tenths of a mm and many times as fast.

        From a relief of the skin near the anchors at every mm; large where it shows none.
        """
        if direction not in self._reliefs:
            self._reliefs[direction] = _Relief(self, np.array(direction), self._anchors)
        return self._reliefs[direction].clearance(np.asarray(points, dtype=np.float64))

    def enclosed(self, points: ArrayLike, outward: ArrayLike) -> NDArray[np.bool_]:
        """Which of `points`, (n, 3) mm, lie inside the head, (n,) bool.

        Seen from directions within some 70 degrees of `outward`, (3,), a point inside is hidden
        from all of them but what holes let through: fewer than two in 24. So a point in the
        furrow between an auricle and the skull counts as outside, one in the auricle as inside.
        """
        asked = np.asarray(points, dtype=np.float64)
        seen = np.zeros(len(asked), dtype=np.int64)
        for view in _views(np.asarray(outward, dtype=np.float64)):
            hidden = np.flatnonzero(seen < _SEEN_ENOUGH)
            seen[hidden] += self.clearance(asked[hidden], -view) >= -_GRAZE_MM
        return np.asarray(seen < _SEEN_ENOUGH)

    def walk_down(self, start: ArrayLike, length_mm: float) -> FloatArray:
        """The point, (3,) mm, `length_mm` down along the skin from the skin nearest to `start`.

        Steps of at most 0.5 mm follow -y (+y for a negative length) as far as it lies in the
        skin, then snap to the skin.
        """
        begin = np.asarray(start, dtype=np.float64)
        way = -1.0 if length_mm < 0 else 1.0
        trail = self._trails.setdefault((*begin.tolist(), way), [])
        if not trail:
            (here,), _, (triangle,) = self.closest(begin[None])
            trail.append((here, int(triangle)))
        whole = int(abs(length_mm) / _WALK_STEP_MM)
        while len(trail) <= whole:
            trail.append(self._step(*trail[-1], way, _WALK_STEP_MM))
        rest = abs(length_mm) - whole * _WALK_STEP_MM
        return self._step(*trail[whole], way, rest)[0] if rest > 1e-9 else trail[whole][0]

    def _step(self, here: FloatArray, triangle: int, way: float, length: float) -> _Step:
        normal = self.normals[triangle]
        down = way * (np.array([0.0, -1.0, 0.0]) + normal[1] * normal)
        size = float(np.linalg.norm(down))
        if size < 1e-6:
            return here, triangle
        (there,), _, (reached,) = self.closest((here + length * down / size)[None])
        return there, int(reached)


class _Relief:
    """How far along an axis skin is first met, on a grid of 1 mm about the anchors, (4, 3)."""

    def __init__(self, skin: SkinSurface, direction: FloatArray, anchors: FloatArray) -> None:
        self.direction = direction
        self.across = np.flatnonzero(direction == 0)
        self.low = (anchors.min(axis=0) - _RELIEF_MM)[self.across]
        high = (anchors.max(axis=0) + _RELIEF_MM)[self.across]
        steps = [np.arange(low, top) for low, top in zip(self.low, high, strict=True)]
        shape = tuple(map(len, steps))
        grid = np.zeros((*shape, 3))
        grid[..., self.across[0]], grid[..., self.across[1]] = np.meshgrid(*steps, indexing="ij")
        met = skin.clearance(grid.reshape(-1, 3), direction)
        self.met = np.where(np.isfinite(met), met, _NOWHERE_MM).reshape(shape)

    def clearance(self, points: FloatArray) -> FloatArray:
        places = (points[:, self.across] - self.low).T
        met = ndimage.map_coordinates(self.met, places, order=1, mode="nearest")
        return np.asarray(met - points @ self.direction)


def _views(outward: FloatArray) -> FloatArray:
    """24 unit directions, (24, 3), spread evenly over a cap about `outward`; a Fibonacci spiral."""
    axis = outward / np.linalg.norm(outward)
    side = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    side /= np.linalg.norm(side)
    rank = np.arange(_VIEWS)
    along = 1.0 - (rank + 0.5) / _VIEWS * (1.0 - _VIEW_LEAST)
    turn = rank * np.pi * (3.0 - np.sqrt(5.0))
    across = np.sqrt(1.0 - along**2)
    flat = np.stack([across * np.cos(turn), across * np.sin(turn)], axis=1)
    return along[:, None] * axis + flat @ np.stack([side, np.cross(axis, side)])


def _closest_on(triangles: FloatArray, points: FloatArray) -> FloatArray:
    return np.asarray(trimesh.triangles.closest_point(triangles, points))


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
    return nose_at(head, nose * NOSE_STEP_MM, skin or SkinSurface(head))


def nose_at(head: Head, length_mm: float, skin: SkinSurface) -> Anchors:
    """The anchors of `head` with the nose nodes `length_mm` down along the skin."""
    anchors = head.anchors
    return Anchors(
        temple_left=anchors.temple_left,
        temple_right=anchors.temple_right,
        nose_left=skin.walk_down(anchors.nose_left, length_mm),
        nose_right=skin.walk_down(anchors.nose_right, length_mm),
    )
