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
#: three seconds a file; with more of them it is refused.
_EAR_BUDGET = 200_000_000
_EAR_OVERHEAD = 6_000
_FAN_TRIES = 8


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
    vertices: FloatArray, uv: NDArray | None, triangles: Polygons
) -> tuple[Indices, Indices, NDArray[np.float32] | None]:
    """Triangles whose vertices have one texture coordinate each.

    vertices: (n, 3) and uv: (p, 2) as the file numbers them, or None; triangles: polygons of
    three corners each. Returns for every new vertex the old, (v,) int64; faces, (t, 3) int64;
    and the uv of every new vertex, (v, 2) float32, or None.
    """
    corners, uvs = triangles.corners, triangles.uvs
    if uv is None or uvs is None or (uvs < 0).all():
        used, faces = compacted(corners.reshape(-1, 3), len(vertices))
        return used, faces, None
    if np.array_equal(corners, uvs):
        used, faces = compacted(corners.reshape(-1, 3), len(vertices))
        return used, faces, uv[used].astype(np.float32)
    used, inverse = np.unique(corners * (len(uv) + 1) + uvs + 1, return_inverse=True)
    old, place = np.divmod(used, len(uv) + 1)
    new_uv = np.concatenate([np.zeros((1, 2)), uv])[place].astype(np.float32)
    return old, inverse.reshape(-1, 3), new_uv


def compacted(faces: Indices, count: int) -> tuple[Indices, Indices]:
    """Which of `count` vertices faces use, (v,) int64, and the faces by their place among those."""
    used = np.zeros(count, dtype=bool)
    used[faces] = True
    return np.flatnonzero(used), (np.cumsum(used) - 1)[faces]


def triangulated(
    vertices: FloatArray, polygons: Polygons, path: Path
) -> tuple[Polygons, Indices]:
    """Triangles, n - 2 for a face of n corners, and the number of the face of each, (t,) int64.

    Faces become fans around a corner that sees all of them. Those where none is found are cut ear
    by ear (Meisters, "Polygons have ears", 1975) in the plane of their Newell normal.
    Raises AssetError where that would take too long, and over MAX_FACES triangles.
    """
    counts = polygons.counts
    check_face_count(int((counts - 2).sum()), path)
    if (counts == 3).all():
        return polygons, np.arange(len(counts))
    starts = np.cumsum(counts) - counts
    three = starts[counts == 3][:, None] + np.arange(3)
    larger = counts > 3
    kept = np.flatnonzero(np.repeat(larger, counts))
    cut = _cut(vertices[polygons.corners[kept]], counts[larger], path)
    places = np.concatenate([three.ravel(), kept[cut.ravel()]])
    owners = np.repeat(np.arange(len(counts)), counts)[places[::3]]
    uvs = None if polygons.uvs is None else polygons.uvs[places]
    return Polygons(polygons.corners[places], np.full(len(owners), 3), uvs), owners


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


def _cut(points: FloatArray, counts: Indices, path: Path) -> Indices:
    """Triangles of faces of four corners and more; points: (k, 3), one row a corner."""
    starts = np.cumsum(counts) - counts
    after = np.arange(1, len(points) + 1)
    after[starts + counts - 1] = starts
    spokes = points - points[np.repeat(starts, counts)]
    normals = np.add.reduceat(np.cross(spokes, spokes[after]), starts)
    shift = _fan_starts(points, starts, counts, normals)
    clipped = (shift < 0) & (counts > 4)
    sizes = counts[clipped].astype(np.float64)
    if (sizes * (_EAR_OVERHEAD + sizes * sizes)).sum() > _EAR_BUDGET:
        raise AssetError(
            f"{path}: polygons of too many corners: {len(sizes)} that are concave, of up to "
            f"{sizes.max():.0f}; triangulate the mesh first"
        )
    fans = _fans(starts[~clipped], counts[~clipped], np.maximum(shift[~clipped], 0))
    ears = [
        starts[i] + _ears(_flat(points[starts[i] : starts[i] + counts[i]], normals[i]))
        for i in np.flatnonzero(clipped)
    ]
    return np.concatenate([fans, *ears])


def _fan_starts(
    points: FloatArray, starts: Indices, counts: Indices, normals: FloatArray
) -> Indices:
    """The first of each face's corners that sees all of it, (m,) int64; -1 for none.

    From there no triangle of a fan turns against the face's normal, (m, 3). One of the corners of
    every quad and pentagon without crossings does; of larger faces the first few are tried.
    """
    found = np.full(len(counts), -1)
    size = np.einsum("ij,ij->i", normals, normals)
    for shift in range(_FAN_TRIES):
        left = np.flatnonzero((found < 0) & (counts > shift))
        if not len(left):
            break
        fans = _fans(starts[left], counts[left], np.full(len(left), shift))
        first = points[fans[:, 0]]
        turned = np.cross(points[fans[:, 1]] - first, points[fans[:, 2]] - first)
        cuts = counts[left] - 2
        along = np.einsum("ij,ij->i", turned, np.repeat(normals[left], cuts, axis=0))
        right = along >= -1e-9 * np.repeat(size[left], cuts)
        found[left[np.logical_and.reduceat(right, np.cumsum(cuts) - cuts)]] = shift
    return found


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
