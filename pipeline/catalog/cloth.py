"""Cloth on one person: draped over the torso, cut along necklines, hemmed; and sheets of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from pipeline.catalog.fields import smoothstep
from pipeline.catalog.sweep import Body
from pipeline.catalog.torso import CENTRE, DOWNS, TURNS, Torso, from_funnel, funnel
from pipeline.geometry import FloatArray, Material, Surface, as_triangles

IntArray = NDArray[np.int64]
#: Vertices (n, 3), quads or triangles, and where the pattern lies at each vertex, (n, 3) mm.
Patch = tuple[FloatArray, IntArray, FloatArray]

#: Cloth is no nearer to skin (mm).
_LEAST_EASE_MM = 2.0
#: Within so many mm (of the chart) of its neckline cloth lies close; from there on it hangs.
_CLOSE_MM = 40.0
#: The one of `DOWNS` at the neck's root.
_ROOT = 8


@dataclass(frozen=True, eq=False)
class Drape:
    """A person's torso, ready to be clothed. skin: (c, 3) mm, coarse vertices of the `Torso`.

    folds: weights of the torso's fold fields. size: the person's, to the average. stiff: over how
    many vertices cloth bridges hollows, squared.
    """

    torso: Torso
    skin: FloatArray
    folds: FloatArray
    size: float
    stiff: int = 16

    @cached_property
    def fine_skin(self) -> FloatArray:
        """(t, 3) mm; beyond where the skin ends, it is drawn on."""
        return np.asarray(self.torso.to_fine @ self.skin + self.size * self.torso.shift)

    @cached_property
    def skin_normals(self) -> FloatArray:
        return self.torso.normals(self.fine_skin)

    @cached_property
    def hung(self) -> FloatArray:
        """(t, 3) mm: as a membrane that bridges hollows and lies outside the skin."""
        normals, hung = self.torso.normals(self.skin), self.skin
        for _ in range(self.stiff):
            hung = self.torso.mean @ hung
            under = _LEAST_EASE_MM - ((hung - self.skin) * normals).sum(axis=1)
            hung = hung + normals * np.maximum(under, 0.0)[:, None]
        return np.asarray(self.torso.to_fine @ hung + self.size * self.torso.shift)

    def cloth(self, inside: FloatArray, ease_mm: float, thickness_mm: float) -> FloatArray:
        """(t, 3) mm: cloth over the torso; `inside` (t,) mm says how far it is to the neckline."""
        loose = smoothstep(inside, 0.0, _CLOSE_MM)
        base = self.fine_skin + loose[:, None] * (self.hung - self.fine_skin)
        normals = self.torso.normals(base)
        fall = self.torso.folds @ self.folds
        # Weight draws folds outwards: cloth touches the body in few places only.
        lift = thickness_mm + loose * (ease_mm + np.maximum(fall, -ease_mm))
        base = base + normals * lift[:, None]
        depth = ((base - self.fine_skin) * self.skin_normals).sum(axis=1)
        least = thickness_mm + loose * _LEAST_EASE_MM
        return np.asarray(base + self.skin_normals * np.maximum(least - depth, 0.0)[:, None])

    @cached_property
    def centre(self) -> FloatArray:
        """(3,) mm: of the neck's root, as `torso.CENTRE` on the average head."""
        moved = self.torso.around_neck @ (self.fine_skin - self.torso.rest)
        ring = moved.reshape(len(TURNS), len(DOWNS), 3)[:, _ROOT]
        return np.asarray(CENTRE + ring.mean(axis=0))


class Mantle:
    """A surface about the neck as a height field over the funnel: skin, or cloth on it."""

    def __init__(self, drape: Drape, vertices: FloatArray) -> None:
        points = (drape.torso.around_neck @ vertices).reshape(len(TURNS), len(DOWNS), 3)
        self.centre = drape.centre
        _, down, self._rise = funnel(points, self.centre)
        self._down = np.maximum.accumulate(down, axis=1)

    def worn(self, line: FloatArray) -> FloatArray:
        """(turns,) mm down the person's funnel where a line of the chart, (turns,) mm, lies."""
        found = [np.interp(at, DOWNS, own) for at, own in zip(line, self._down, strict=True)]
        return np.asarray(found)

    def rise(self, down: FloatArray) -> FloatArray:
        """(turns, k) mm of the surface at `down`, (turns, k) mm, for each of `TURNS`."""
        found = [np.interp(*each) for each in zip(down, self._down, self._rise, strict=True)]
        return np.asarray(found)

    def above(self, down: FloatArray, height: FloatArray | float) -> FloatArray:
        """(turns, k, 3) points `height` mm over the surface."""
        turn = np.broadcast_to(TURNS[:, None], down.shape)
        return from_funnel(turn, down, self.rise(down) + height, self.centre)

    def kept_above(
        self, out: FloatArray, up: FloatArray, least: float, turn: FloatArray | None = None
    ) -> FloatArray:
        """(turns, k, 3) points `out` of the neck's axis and `up` it, no nearer to the surface.

        They lie at `TURNS`, or turned a little from there: at `turn`, (turns, k) degrees.
        """
        down, rise = (out - up) * np.sqrt(0.5), (out + up) * np.sqrt(0.5)
        below = self.rise(down)
        if turn is None:
            turn = np.broadcast_to(TURNS[:, None], down.shape)
        else:
            places = (turn - TURNS[0]) / (TURNS[1] - TURNS[0])
            below = map_coordinates(
                below, [places, np.broadcast_to(np.arange(down.shape[1]), down.shape)], order=1,
                mode="grid-wrap",
            )  # fmt: skip
        rise = np.maximum(rise, below + least * np.sqrt(2.0))
        return from_funnel(turn, down, rise, self.centre)

    def out_at(self, up: FloatArray) -> FloatArray:
        """(turns, k) mm from the neck's axis to the surface at `up`, (turns, k) mm, on the neck."""
        outs, ups = self.out_up(self._down)
        found = [
            np.interp(u, np.maximum.accumulate(height[::-1]), out[::-1])
            for u, height, out in zip(up, ups, outs, strict=True)
        ]
        return np.asarray(found)

    def out_up(self, down: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(turns, k) mm of the surface at `down`: from the neck's axis, and up it."""
        rise = self.rise(down)
        return (rise + down) * np.sqrt(0.5), (rise - down) * np.sqrt(0.5)


def cut(
    vertices: FloatArray, faces: IntArray, inside: FloatArray, *others: FloatArray
) -> tuple[FloatArray, IntArray, list[FloatArray]]:
    """What is left of quads where `inside`, (n,), is positive: triangles, cut along its zero.

    Returns vertices, faces and `others`, values per vertex, at the new vertices.
    """
    triangles = as_triangles(faces)
    kept = inside > 0.0
    count = kept[triangles].sum(axis=1)
    whole = triangles[count == 3]
    # Turned so that the odd corner, the one alone on its side, comes first.
    split = triangles[(count == 1) | (count == 2)]
    alone = kept[split] == (kept[split].sum(axis=1) == 1)[:, None]
    split = np.take_along_axis(split, (alone.argmax(axis=1)[:, None] + np.arange(3)) % 3, axis=1)
    sides = np.concatenate([split[:, [0, 1]], split[:, [0, 2]]])
    low, high = sides.min(axis=1), sides.max(axis=1)
    keys, place = np.unique(low * len(vertices) + high, return_inverse=True)
    edges = np.stack(np.divmod(keys, len(vertices)), axis=1)
    place = len(vertices) + place.ravel().reshape(2, -1)
    first, second = inside[edges].T
    share = (first / (first - second))[:, None]
    b, c = place
    one = kept[split[:, 0]]
    tips = np.stack([split[:, 0], b, c], axis=1)[one]
    rest = [
        np.stack([b, split[:, 1], split[:, 2]], 1)[~one],
        np.stack([b, split[:, 2], c], 1)[~one],
    ]
    found = np.concatenate([whole, tips, *rest])
    seen = np.zeros(len(vertices) + len(edges), bool)
    seen[found] = True
    used, local = np.flatnonzero(seen), (np.cumsum(seen) - 1)[found]

    def at(values: FloatArray) -> FloatArray:
        flat = values.reshape(len(values), -1)
        new = flat[edges[:, 0]] * (1.0 - share) + flat[edges[:, 1]] * share
        return np.asarray(np.concatenate([flat, new])[used].reshape(-1, *values.shape[1:]))

    return at(vertices), local.reshape(-1, 3).astype(np.int64), [at(o) for o in others]


def tube(rings: FloatArray) -> tuple[FloatArray, IntArray]:
    """Vertices and quads of (n, k, 3) columns that close about the neck, open along their ends."""
    n, k = rings.shape[:2]
    i, j = np.meshgrid(np.arange(n), np.arange(k - 1), indexing="ij")
    right = (i + 1) % n
    quads = np.stack([i * k + j, i * k + j + 1, right * k + j + 1, right * k + j], axis=-1)
    return rings.reshape(-1, 3), quads.reshape(-1, 4).astype(np.int64)


def sheet(grid: FloatArray, thickness: float, closed: bool = False) -> Body:
    """A closed body about a grid of points (n, k, 3), its first axis a ring if `closed`.

    The side that the cross product of first and second axis points to is its front. Quads.
    """
    n, k = grid.shape[:2]
    if closed:
        around = np.concatenate([grid[-1:], grid, grid[:1]])
        first = np.gradient(around, axis=0)[1:-1]
    else:
        first = np.gradient(grid, axis=0)
    normals = np.cross(first, np.gradient(grid, axis=1))
    normals /= np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), 1e-9)
    # Edges are rounded: the rim runs a little further out than either side.
    vertices = np.stack([grid + 0.5 * thickness * normals, grid - 0.5 * thickness * normals])
    index = np.arange(2 * n * k).reshape(2, n, k)
    if closed:
        index = np.concatenate([index, index[:, :1]], axis=1)

    def quads(a: IntArray, b: IntArray) -> IntArray:
        return np.stack([a[:-1], a[1:], b[1:], b[:-1]], axis=-1).reshape(-1, 4)

    top, bottom = index
    faces = [
        np.stack([top[:-1, :-1], top[1:, :-1], top[1:, 1:], top[:-1, 1:]], -1).reshape(-1, 4),
        np.stack([bottom[:-1, :-1], bottom[:-1, 1:], bottom[1:, 1:], bottom[1:, :-1]], -1).reshape(
            -1, 4
        ),
        quads(bottom[:, 0], top[:, 0]),
        quads(top[:, -1], bottom[:, -1]),
    ]
    if not closed:
        faces += [quads(top[0], bottom[0]), quads(bottom[-1], top[-1])]
    return Body(vertices.reshape(-1, 3), np.concatenate(faces))


def made(pieces: list[Patch], material: Material) -> Surface:
    """Pieces of one material as one surface, whose pattern hangs on `place`."""
    starts = np.cumsum([0, *(len(v) for v, _, _ in pieces)])
    same = [as_triangles(f) for _, f, _ in pieces] if len(pieces) > 1 else [pieces[0][1]]
    return Surface(
        np.concatenate([v for v, _, _ in pieces]),
        np.concatenate([f + s for f, s in zip(same, starts, strict=False)]),
        attributes={"place": np.concatenate([p for _, _, p in pieces]).astype(np.float32)},
        material=material,
    )
