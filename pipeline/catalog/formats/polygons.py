"""Polygons as files hold them, corner by corner, to the triangles of a Surface."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import AssetError
from pipeline.geometry import FloatArray

Indices = NDArray[np.int64]
#: More is refused: such a mesh wants simplifying, and would take minutes and many gigabytes.
MAX_FACES = 10_000_000
MAX_VERTICES = 3 * MAX_FACES
#: Concave polygons are cut ear by ear while the estimate of that work stays below this, some
#: three seconds; the rest become fans, which have no holes but reach over the notches.
_EAR_BUDGET = 200_000_000
_EAR_OVERHEAD = 6_000


@dataclass(frozen=True, eq=False)
class Polygons:
    """Faces of any number of corners, one after the other.

    corners: (k,) int64, the vertex of each corner. counts: (m,) int64, corners of each face, at
    least 3, with the sum k. uvs: (k,) int64, the texture coordinate of each corner, -1 for
    none; or None.
    """

    corners: Indices
    counts: Indices
    uvs: Indices | None = None

    def take(self, chosen: NDArray[np.bool_]) -> Polygons:
        """The faces where `chosen`, (m,) bool, holds."""
        kept = np.repeat(chosen, self.counts)
        uvs = None if self.uvs is None else self.uvs[kept]
        return Polygons(self.corners[kept], self.counts[chosen], uvs)

    def split(self, labels: Indices) -> Iterator[tuple[int, Polygons]]:
        """Each label, lowest first, and the faces that bear it; labels: (m,) int64."""
        faces = np.argsort(labels, kind="stable")
        corners = np.argsort(np.repeat(labels, self.counts), kind="stable")
        found, starts = np.unique(labels[faces], return_index=True)
        counts = self.counts[faces]
        ends = np.append(starts, len(labels))
        places = np.concatenate([[0], np.cumsum(counts)])[ends]
        for i, label in enumerate(found):
            mine = corners[places[i] : places[i + 1]]
            uvs = None if self.uvs is None else self.uvs[mine]
            yield int(label), Polygons(self.corners[mine], counts[ends[i] : ends[i + 1]], uvs)


def check_face_count(count: int, path: Path) -> None:
    """Raises AssetError over MAX_FACES."""
    if count > MAX_FACES:
        raise AssetError(
            f"{path}: {count} faces, more than the {MAX_FACES} that are read; simplify the mesh"
        )


def check_indices(indices: Indices, count: int, what: str, path: Path) -> None:
    """Raises AssetError if an index lies outside 0..count-1; `what` it is of, for people."""
    if len(indices) and (indices.min() < 0 or indices.max() >= count):
        bad = int(indices[(indices < 0) | (indices >= count)][0])
        raise AssetError(
            f"{path}: a face names {what} {bad} (from 0), but the file has {count}; "
            "the file is cut off or broken: save the mesh again"
        )


def triangle_mesh(
    vertices: FloatArray, uv: NDArray | None, polygons: Polygons
) -> tuple[Indices, Indices, NDArray[np.float32] | None]:
    """Triangles whose vertices have one texture coordinate each.

    vertices: (n, 3) and uv: (p, 2) as the file numbers them, or None. Returns for every new
    vertex the old, (v,) int64; faces, (t, 3) int64; and the uv of every new vertex, (v, 2)
    float32, or None.
    """
    triangles = triangulated(vertices, polygons)
    if uv is None or polygons.uvs is None or (polygons.uvs < 0).all():
        used, faces = compacted(polygons.corners[triangles], len(vertices))
        return used, faces, None
    if np.array_equal(polygons.corners, polygons.uvs):
        used, faces = compacted(polygons.corners[triangles], len(vertices))
        return used, faces, uv[used].astype(np.float32)
    keys = polygons.corners * (len(uv) + 1) + polygons.uvs + 1
    used, inverse = np.unique(keys[triangles], return_inverse=True)
    old, place = np.divmod(used, len(uv) + 1)
    new_uv = np.concatenate([np.zeros((1, 2)), uv])[place].astype(np.float32)
    return old, inverse.reshape(-1, 3), new_uv


def compacted(faces: Indices, count: int) -> tuple[Indices, Indices]:
    """Which of `count` vertices faces use, (v,) int64, and the faces by their place among those."""
    used = np.zeros(count, dtype=bool)
    used[faces] = True
    return np.flatnonzero(used), (np.cumsum(used) - 1)[faces]


def triangulated(vertices: FloatArray, polygons: Polygons) -> Indices:
    """(t, 3) int64 numbers of corners, n - 2 triangles for a face of n corners.

    A concave quad is cut at its reflex corner. Larger concave faces are cut ear by ear (Meisters,
    "Polygons have ears", 1975) in the plane of their Newell normal; all others become fans.
    """
    counts = polygons.counts
    starts = np.cumsum(counts) - counts
    if (counts == 3).all():
        return np.arange(len(polygons.corners)).reshape(-1, 3)
    three = starts[counts == 3][:, None] + np.arange(3)
    larger = counts > 3
    # What is not finite, or nearly so, is refused once it is known which vertices are used.
    with np.errstate(invalid="ignore", over="ignore"):
        return np.concatenate([three, _larger(vertices, polygons, larger)])


def _larger(vertices: FloatArray, polygons: Polygons, larger: NDArray[np.bool_]) -> Indices:
    """Triangles of the faces of four corners and more, (t, 3) int64 numbers of corners."""
    kept = np.flatnonzero(np.repeat(larger, polygons.counts))
    return kept[_cut(vertices[polygons.corners[kept]], polygons.counts[larger])]


def strip_triangles(values: Indices) -> Indices:
    """(t, 3) int64 triangles of strips, (k,) int64, each ended by -1; every other one turns.

    Triangles that name a vertex twice only join strips and are left out.
    """
    if len(values) < 3:
        return np.zeros((0, 3), dtype=np.int64)
    triangles = np.stack([values[:-2], values[1:-1], values[2:]], axis=1)
    ends = np.flatnonzero(values < 0)
    place = np.arange(len(triangles))
    begun = np.concatenate([[0], ends + 1])[np.searchsorted(ends, place)]
    odd = (place - begun) % 2 == 1
    triangles[odd] = triangles[odd][:, [1, 0, 2]]
    a, b, c = triangles.T
    return triangles[(triangles >= 0).all(axis=1) & (a != b) & (b != c) & (a != c)]


def _cut(points: FloatArray, counts: Indices) -> Indices:
    """Triangles of faces of four corners and more; points: (k, 3), one row a corner."""
    starts = np.cumsum(counts) - counts
    rows = np.arange(len(points))
    after, before = rows + 1, rows - 1
    after[starts + counts - 1] = starts
    before[starts] = starts + counts - 1
    first = np.repeat(starts, counts)
    spokes = points - points[first]
    normals = np.add.reduceat(np.cross(spokes, spokes[after]), starts)
    turns = np.cross(points - points[before], points[after] - points)
    turn = np.einsum("ij,ij->i", turns, np.repeat(normals, counts, axis=0))
    size = np.einsum("ij,ij->i", normals, normals)
    reflex = turn < -1e-9 * np.repeat(size, counts)
    concave = np.logical_or.reduceat(reflex, starts)
    cost = np.where(concave & (counts > 4), counts * (_EAR_OVERHEAD + counts * counts), 0)
    clipped = (cost > 0) & (np.cumsum(cost) <= _EAR_BUDGET)
    # A fan starts at the first corner, or at the reflex one of a quad.
    shift = np.zeros(len(counts), dtype=np.int64)
    quads = np.flatnonzero(concave & (counts == 4))
    shift[quads] = reflex[starts[quads][:, None] + np.arange(4)].argmax(axis=1)
    fans = _fans(starts[~clipped], counts[~clipped], shift[~clipped])
    ears = [
        starts[i] + _ears(_flat(points[starts[i] : starts[i] + counts[i]], normals[i]))
        for i in np.flatnonzero(clipped)
    ]
    return np.concatenate([fans, *ears])


def _fans(starts: Indices, counts: Indices, shift: Indices) -> Indices:
    cuts = counts - 2
    owner = np.repeat(np.arange(len(counts)), cuts)
    step = np.arange(len(owner)) - np.repeat(np.cumsum(cuts) - cuts, cuts)
    places = np.stack([np.zeros_like(step), step + 1, step + 2], axis=1)
    turned = (places + shift[owner, None]) % counts[owner, None]
    return starts[owner, None] + turned


def _flat(points: FloatArray, normal: FloatArray) -> FloatArray:
    """(n, 2) along the axes across the greatest part of the normal, counter-clockwise."""
    axis = int(np.abs(normal).argmax())
    flat = points[:, [(axis + 1) % 3, (axis + 2) % 3]]
    return flat if normal[axis] > 0 else flat * (1.0, -1.0)


def _ears(flat: FloatArray) -> Indices:
    """(n - 2, 3) int64 corners of triangles of a counter-clockwise polygon, (n, 2)."""
    ring = np.arange(len(flat))
    found = []
    while len(ring) > 3:
        here = flat[ring]
        before, after = np.roll(here, 1, axis=0), np.roll(here, -1, axis=0)
        turn = _cross(here - before, after - here)
        # Only reflex corners can lie in an ear.
        dents = here[turn <= 0]
        inside = np.ones((len(ring), len(dents)), dtype=bool)
        for a, b in ((before, here), (here, after), (after, before)):
            inside &= _cross((b - a)[:, None], dents - a[:, None]) >= 0
            inside &= (dents != a[:, None]).any(axis=2)
        ears = (turn > 0) & ~inside.any(axis=1)
        # An outline that crosses itself may have none: cut somewhere and go on.
        i = int(ears.argmax()) if ears.any() else int(turn.argmax())
        found.append((ring[i - 1], ring[i], ring[(i + 1) % len(ring)]))
        ring = np.delete(ring, i)
    return np.array([*found, tuple(ring)], dtype=np.int64)


def _cross(a: FloatArray, b: FloatArray) -> FloatArray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
