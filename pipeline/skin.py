"""Questions about the skin of a head: how far, where first, and along it down the nose.

`SkinSurface` keeps what it finds of a head; keep one for many fits.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import trimesh
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
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
#: So far from each anchor, along the axes, triangles are cut at first.
_NEAR_MM = 25.0
#: How far from the box of the anchors reliefs show the skin, and what they say of gaps in it.
_RELIEF_MM = np.array([25.0, 75.0, 40.0])
_NOWHERE_MM = 1e3
#: Nodes of a relief beyond those asked for: two for what lies between nodes, some for later.
_AROUND = 4
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
        skins = [s for n, s in head.surfaces.items() if n.startswith("skin")]
        vertices, faces = _near(skins, middle)
        triangles = vertices[faces]
        normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        lengths = np.sqrt(np.einsum("ij,ij->i", normals, normals))
        whole = np.flatnonzero(lengths > 0)
        if not len(whole):
            raise AssetError(f"{head.name}: no skin within {REACH_MM:.0f} mm of the anchors")
        self.triangles: FloatArray = triangles.take(whole, axis=0)
        self.normals: FloatArray = normals.take(whole, axis=0) / lengths[whole, None]
        self._vertices, self._faces = _used(vertices, faces.take(whole, axis=0))
        self._anchors = head.anchors.as_array()
        self._reliefs: dict[tuple[float, float, float], _Relief] = {}
        self._trails: dict[tuple[float, ...], list[_Step]] = {}

    @cached_property
    def _rays(self) -> _Rays:
        return _Rays(self._vertices, self._faces)

    @cached_property
    def _near_cut(self) -> _Middles:
        """Of the triangles about the anchors, which are all that is asked for in most cases."""
        a, b, c = (self.triangles[:, i] for i in range(3))
        low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
        near = np.zeros(len(low), dtype=bool)
        for anchor in self._anchors:
            x, y, z = ((low <= anchor + _NEAR_MM) & (high >= anchor - _NEAR_MM)).T
            near |= x & y & z
        return _Middles(self.triangles, np.flatnonzero(near))

    @cached_property
    def _cut(self) -> _Middles:
        return _Middles(self.triangles, np.arange(len(self.triangles)))

    def _middles(self, asked: FloatArray, count: int) -> tuple[FloatArray, NDArray]:
        """Distances and owners, (n, count), of the nearest middles of triangles cut to 4 mm."""
        if len(self._near_cut.owners) >= count:
            distances, owners = self._near_cut.nearest(asked, count)
            # Of middles in a cube about an anchor none is lacking.
            inside = _NEAR_MM - np.abs(asked[:, None] - self._anchors).max(axis=2).min(axis=1)
            if (distances[:, -1] < inside - 1e-6).all():
                return distances, owners
        return self._cut.nearest(asked, count)

    def closest(self, points: ArrayLike) -> tuple[FloatArray, FloatArray, NDArray]:
        """Nearest points on the skin to `points`, (n, 3) mm.

        Returns them, (n, 3) float64, their distances, (n,) mm, and their triangles, (n,) int64.
        Exact on the candidates: the owners of the 16 nearest middles of triangles cut to 4 mm.
        """
        asked = np.asarray(points, dtype=np.float64)
        _, candidates = self._middles(asked, _NEIGHBOURS)
        count = candidates.shape[1]
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
        rough = self._middles(asked, 1)[0][:, 0]
        nearest = self.closest(asked[[rough.argmin()]])[1][0]
        # No point of a triangle is further from its middle than two thirds of its longest edge.
        others = asked[rough <= nearest + _CUT_MM * 2 / 3 + 1e-6]
        return float(min([nearest, *self.closest(others)[1]]))

    def within(self, point: FloatArray, length_mm: float) -> bool:
        """Whether there is skin no further than `length_mm` from `point`, (3,)."""
        least = np.sqrt(((self._vertices - point) ** 2).sum(axis=1).min())
        return bool(least <= length_mm - _CUT_MM or self.least_distance(point[None]) <= length_mm)

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
        reached = asked @ unit
        hits = self._rays.first(asked + (self._rays.before(unit) - reached)[:, None] * unit, unit)
        met = hits >= 0
        triangle = hits[met]
        corners, normals = self.triangles[triangle], self.normals[triangle]
        slope = normals @ unit
        slope = np.where(np.abs(slope) < 1e-9, 1e-9, slope)
        gap = np.einsum("ij,ij->i", corners[:, 0] - asked[met], normals) / slope
        # A triangle seen edge-on has no one depth: its bounds keep what rounding makes of it near.
        a, b, c = ((corners.reshape(-1, 3) @ unit).reshape(-1, 3) - reached[met, None]).T
        low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
        result[met] = np.clip(gap, low, high)
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


class _Middles:
    """A tree of the middles of triangles cut to 4 mm, of `chosen` ones out of all."""

    def __init__(self, triangles: FloatArray, chosen: NDArray[np.int64]) -> None:
        small, owners = refined(triangles[chosen], _CUT_MM)
        self.owners = chosen[owners]
        self.tree = cKDTree((small[:, 0] + small[:, 1] + small[:, 2]) / 3.0)

    def nearest(self, points: FloatArray, count: int) -> tuple[FloatArray, NDArray]:
        """Distances and owners, (n, count); fewer where there are fewer."""
        count = min(count, len(self.owners))
        distances, places = self.tree.query(points, k=np.arange(1, count + 1))
        return distances, self.owners[places]


class _Rays:
    """What rays meet first, in single precision, the skin scaled to a diagonal of 100."""

    def __init__(self, vertices: FloatArray, faces: NDArray[np.int64]) -> None:
        self.low, high = vertices.min(axis=0), vertices.max(axis=0)
        size = float(np.sqrt(((high - self.low) ** 2).sum()))
        # A ball that holds all skin, and 10 mm round it.
        self.middle, self.radius = 0.5 * (self.low + high), 0.5 * size + 10.0
        self.scale = 100.0 / size
        self.scene = EmbreeScene()
        # It takes numbers one by one, and Python's own faster than numpy's.
        TriangleMesh(self.scene, self._scaled(vertices).astype(object), faces.astype(object))

    def before(self, unit: FloatArray) -> float:
        """Where along `unit`, (3,), no skin has begun yet."""
        return float(self.middle @ unit - self.radius)

    def first(self, origins: FloatArray, unit: FloatArray) -> NDArray[np.int32]:
        """The triangle that each ray from `origins`, (n, 3), along `unit` meets first; -1: none."""
        ways = np.broadcast_to(unit.astype(np.float32), origins.shape)
        return np.asarray(self.scene.run(self._scaled(origins), np.ascontiguousarray(ways)))

    def _scaled(self, points: FloatArray) -> NDArray[np.float32]:
        return ((points - self.low) * self.scale).astype(np.float32)


class _Relief:
    """How far along an axis skin is first met, on a grid of 1 mm about the anchors, (4, 3).

    Rays are cast where they are asked for and not before.
    """

    def __init__(self, skin: SkinSurface, direction: FloatArray, anchors: FloatArray) -> None:
        self.skin, self.direction = skin, direction
        self.across = np.flatnonzero(direction == 0)
        self.low = (anchors.min(axis=0) - _RELIEF_MM)[self.across]
        high = (anchors.max(axis=0) + _RELIEF_MM)[self.across]
        self.steps = [np.arange(low, top) for low, top in zip(self.low, high, strict=True)]
        self.met = np.full(tuple(map(len, self.steps)), np.nan)

    def clearance(self, points: FloatArray) -> FloatArray:
        places = points[:, self.across] - self.low
        if len(places):
            self._cast(places.min(axis=0), places.max(axis=0))
        met = ndimage.map_coordinates(self.met, places.T, order=1, mode="nearest")
        return np.asarray(met - points @ self.direction)

    def _cast(self, low: FloatArray, high: FloatArray) -> None:
        """Casts the rays still lacking between two places, (2,), and somewhat about them."""
        last = np.array(self.met.shape) - 1
        first = np.clip(np.floor(low) - _AROUND, 0, last).astype(int)
        end = np.clip(np.ceil(high) + _AROUND, 0, last).astype(int) + 1
        window = self.met[first[0] : end[0], first[1] : end[1]]
        rows, columns = np.nonzero(np.isnan(window))
        if not len(rows):
            return
        points = np.zeros((len(rows), 3))
        points[:, self.across[0]] = self.steps[0][first[0] + rows]
        points[:, self.across[1]] = self.steps[1][first[1] + columns]
        met = self.skin.clearance(points, self.direction)
        window[rows, columns] = np.where(np.isfinite(met), met, _NOWHERE_MM)


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


def _near(surfaces: list[Surface], middle: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Vertices (n, 3) of all surfaces, and those of their triangles, (t, 3), that are in reach."""
    vertices = np.concatenate([np.zeros((0, 3)), *(s.vertices for s in surfaces)])
    starts = np.cumsum([0, *(len(s.vertices) for s in surfaces)])
    parts = [s.triangles() + start for s, start in zip(surfaces, starts, strict=False)]
    faces = np.concatenate([np.zeros((0, 3), np.int64), *parts])
    reached = ((vertices - middle) ** 2).sum(axis=1) < REACH_MM**2
    a, b, c = reached[faces].T
    return vertices, faces[a | b | c]


def _used(vertices: FloatArray, faces: NDArray[np.int64]) -> tuple[FloatArray, NDArray[np.int64]]:
    """The same triangles without the vertices that none of them has."""
    used = np.zeros(len(vertices), dtype=bool)
    used[faces] = True
    return vertices[used], (np.cumsum(used) - 1)[faces]


def nose_nodes(
    head: Head, nose: float, skin: SkinSurface | None = None, slip_mm: float = 0.0
) -> Anchors:
    """The anchors of `head` at nose position `nose` in [0, 3], continuous.

    Each nose node moves 3 mm down along the skin per unit, from the skin nearest to where it is
    labelled, and `slip_mm` further; the temple nodes stay. Raises ValueError outside [0, 3].
    """
    if not 0 <= nose <= 3:
        raise ValueError(f"nose position {nose} is outside 0 to 3")
    return nose_at(head, nose * NOSE_STEP_MM + slip_mm, skin or SkinSurface(head))


def nose_at(head: Head, length_mm: float, skin: SkinSurface) -> Anchors:
    """The anchors of `head` with the nose nodes `length_mm` down along the skin."""
    anchors = head.anchors
    return Anchors(
        temple_left=anchors.temple_left,
        temple_right=anchors.temple_right,
        nose_left=skin.walk_down(anchors.nose_left, length_mm),
        nose_right=skin.walk_down(anchors.nose_right, length_mm),
    )
