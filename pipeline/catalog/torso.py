"""Neck, shoulders and chest of the parametric head, as what clothes lie on.

One map serves all people: which of the skin's vertices it uses, a finer mesh of the same surface
drawn on beyond where the skin ends, and a chart of it. The chart is a funnel about the neck:
`turn`, degrees about the neck's axis, 0 in front and 90 to the subject's left, and `down`, mm along
a cone of 45 degrees that opens downwards, 0 on the neck and growing over shoulders, chest and back.
Over that cone neck and shoulders are a height field: `rise`, mm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.catalog.chart import Chart
from pipeline.catalog.fields import atan2, vertex_normals
from pipeline.catalog.subdivide import catmull_clark
from pipeline.geometry import FloatArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

IntArray = NDArray[np.int64]

#: On the average head (mm): where the neck's axis meets the plane through the pit above the
#: breastbone and the seventh vertebra of the neck; directions to the front in it, and up.
CENTRE = np.array([0.0, -165.0, -100.0])
FORWARD = np.array([0.0, -0.30, 0.954]) / np.hypot(0.30, 0.954)
UPWARD = np.array([0.0, 0.954, 0.30]) / np.hypot(0.30, 0.954)
#: Above this over that plane the skin is chin and jaw.
_NECK_ENDS_MM = 64.0
_CHART_ENDS_MM = 185.0
_TOP_MM = -104.0
#: Cloth goes on so far beyond the skin, in so many steps, down the trunk and along either arm.
_DRAWN_ON_MM = np.array([12.0, 40.0, 90.0, 170.0, 300.0])
_ARM = np.array([0.42, -0.9, 0.0])
#: Degrees and mm of the chart between which nothing round the neck needs more places.
TURNS = np.arange(-180.0, 180.0, 2.5)
DOWNS = np.arange(6.0, 150.0, 4.0)
#: Degrees that count as one mm in the chart's triangulation: the neck is some 50 mm thick.
_DEGREES_A_MM = 1.1


def funnel(points: FloatArray, centre: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """`turn` (n,) degrees, `down` (n,) mm and `rise` (n,) mm of points (n, 3) about a centre."""
    local = points - centre
    ahead, up = local @ FORWARD, local @ UPWARD
    out = np.hypot(local[..., 0], ahead)
    turn = np.degrees(atan2(local[..., 0], ahead))
    return turn, (out - up) * np.sqrt(0.5), (out + up) * np.sqrt(0.5)


def from_funnel(
    turn: FloatArray, down: FloatArray, rise: FloatArray, centre: FloatArray
) -> FloatArray:
    """(..., 3) points of places in the funnel."""
    out, up = (rise + down) * np.sqrt(0.5), (rise - down) * np.sqrt(0.5)
    angle = np.radians(turn)
    flat = np.stack([np.sin(angle) * out, np.cos(angle) * out, up], axis=-1)
    return np.asarray(centre + flat @ np.stack([np.array([1.0, 0.0, 0.0]), FORWARD, UPWARD]))


@dataclass(frozen=True, eq=False)
class Torso:
    """What all people's torsos share; c coarse vertices, t fine ones.

    rows: (c,) the skin's vertices. faces, mean: quads and mean of neighbours of these. to_fine:
    (t, c), and `shift` (t, 3) mm to add. fine_faces: quads. rest: (t, 3) mm, on the average head.
    turn, down: (t,), see above. folds: (t, f) fields about 0 of how cloth falls, in mm.
    """

    rows: IntArray
    faces: IntArray
    mean: csr_matrix
    to_fine: csr_matrix
    shift: FloatArray
    fine_faces: IntArray
    rest: FloatArray
    turn: FloatArray
    down: FloatArray
    folds: FloatArray

    def normals(self, vertices: FloatArray) -> FloatArray:
        """(n, 3) unit normals of coarse or fine vertices."""
        coarse = len(vertices) == len(self.rows)
        return vertex_normals(vertices, self.faces if coarse else self.fine_faces)

    @cached_property
    def _chart(self) -> Chart:
        """Of fine vertices, over (turn, down)."""
        up = (self.rest - CENTRE) @ UPWARD
        used = np.flatnonzero((up < _NECK_ENDS_MM) & (self.down < _CHART_ENDS_MM))
        # Three quarters of a turn more on either side, so that it closes.
        turns = [self.turn[used] + whole for whole in (-360.0, 0.0, 360.0)]
        near = [np.abs(turn) < 220.0 for turn in turns]
        turn = np.concatenate([t[n] for t, n in zip(turns, near, strict=True)])
        owner = np.concatenate([used[n] for n in near])
        places = np.stack([turn / _DEGREES_A_MM, self.down[owner]], axis=1)
        return Chart(places, owner, len(self.rest))

    @cached_property
    def _front(self) -> Chart:
        """Of fine vertices of chest and belly, over (x, y) on the average head."""
        ahead = self.normals(self.rest)[:, 2] > 0.15
        x, y, z = self.rest.T
        used = np.flatnonzero(ahead & (y < -140.0) & (np.abs(x) < 150.0) & (z > -75.0))
        return Chart(self.rest[used, :2], used, len(self.rest))

    def at(self, turn: FloatArray, down: FloatArray) -> csr_matrix:
        """(n, t) map to the points at places of the chart, (n,) each, from fine vertices."""
        turn = (np.ravel(turn) + 180.0) % 360.0 - 180.0
        return self._chart.at(np.stack([turn / _DEGREES_A_MM, np.ravel(down)], axis=1))

    @cached_property
    def around_neck(self) -> csr_matrix:
        """(turns * k, t) `at` all of `TURNS` and `DOWNS`."""
        turn, down = np.meshgrid(TURNS, DOWNS, indexing="ij")
        return self.at(turn, down)

    def before(self, x: FloatArray, y: FloatArray) -> csr_matrix:
        """(n, t) map to the points of chest and belly at x and y, mm on the average head."""
        return self._front.at(np.stack([np.ravel(x), np.ravel(y)], axis=1))


def find_torso(
    faces: IntArray, rest: FloatArray, attributes: Mapping[str, NDArray[np.float32]]
) -> Torso:
    """The torso of skin with quads (m, 4) and vertices at `rest` (n, 3) mm."""
    outside = (rest[:, 1] < _TOP_MM) & (attributes["mouth_inside"] < 0.5)
    # Chin and jaw hang over the neck and would cover it in the chart.
    outside &= (rest - CENTRE) @ UPWARD < _NECK_ENDS_MM + 6.0
    rows, local = np.unique(faces[outside[faces].all(axis=1)], return_inverse=True)
    coarse = local.reshape(-1, 4).astype(np.int64)
    matrix, fine = catmull_clark(coarse, len(rows))
    matrix, shift, fine = _drawn_on(matrix, fine, matrix @ rest[rows])
    fine_rest = matrix @ rest[rows] + shift
    turn, down, _ = funnel(fine_rest, CENTRE)
    return Torso(
        rows=rows.astype(np.int64),
        faces=coarse,
        mean=_mean_of_neighbours(coarse, len(rows)),
        to_fine=matrix,
        shift=shift,
        fine_faces=fine,
        rest=fine_rest,
        turn=turn,
        down=down,
        folds=_fold_fields(fine_rest),
    )


def _drawn_on(
    matrix: csr_matrix, faces: IntArray, rest: FloatArray
) -> tuple[csr_matrix, FloatArray, IntArray]:
    """The mesh with its borders below drawn on: its map, shift (mm) and faces."""
    from scipy.sparse import vstack

    sides = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2)
    keys = np.sort(sides, axis=1) @ np.array([len(rest), 1])
    _, first, count = np.unique(keys, return_index=True, return_counts=True)
    border = sides[first[count == 1]]
    border = border[rest[border, 1].max(axis=1) < -250.0]
    ends = np.unique(border)
    side = np.where(np.abs(rest[ends, 0]) > 200.0, np.sign(rest[ends, 0]), 0.0)
    way = np.where(side[:, None] != 0.0, _ARM * np.stack([side, abs(side), side], 1), (0, -1, 0))
    shifts = (way[None] * _DRAWN_ON_MM[:, None, None]).reshape(-1, 3)
    steps = len(_DRAWN_ON_MM)
    # Index of each border vertex at each step, the mesh's own first.
    index = np.concatenate(
        [ends[None], len(rest) + np.arange(steps * len(ends)).reshape(steps, -1)]
    )
    a, b = (np.searchsorted(ends, border[:, i]) for i in (0, 1))
    more = [
        np.stack([upper[b], upper[a], lower[a], lower[b]], axis=1)
        for upper, lower in pairwise(index)
    ]
    shift = np.concatenate([np.zeros_like(rest), shifts])
    return (
        vstack([matrix, *[matrix[ends]] * steps]).tocsr(),
        shift,
        np.concatenate([faces, *more]),
    )


def _mean_of_neighbours(faces: IntArray, count: int) -> csr_matrix:
    from scipy.sparse import csr_matrix, diags

    sides = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2)
    both = np.concatenate([sides, sides[:, ::-1]])
    matrix = csr_matrix((np.ones(len(both)), both.T), (count, count))
    # Sides of two faces were counted twice. What hangs at a border stays there.
    border = np.unique(matrix.nonzero()[0][matrix.data < 2.0])
    matrix.data[:] = 1.0
    matrix = matrix.tolil()
    for row in border:
        matrix.rows[row], matrix.data[row] = [int(row)], [1.0]
    matrix = matrix.tocsr()
    return (diags(1.0 / np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1.0)) @ matrix).tocsr()


def wavy(points: FloatArray, size_mm: tuple[float, float, float], seed: int) -> FloatArray:
    """(n,) smooth noise of deviation 1 at points (n, 3), with features of that size along axes."""
    rng = np.random.Generator(np.random.PCG64(seed))
    waves = rng.normal(size=(18, 3)) / np.array(size_mm)
    phases = rng.uniform(0.0, 2.0 * np.pi, 18)
    return np.asarray(np.sqrt(2.0 / 18) * np.cos(points @ waves.T + phases).sum(axis=1))


def _fold_fields(rest: FloatArray) -> FloatArray:
    """(t, f) mm: creases from the armpits, falls down the chest, rings about the arms, unrest."""
    x, y, z = rest.T
    beside = np.abs(x)
    pit = np.stack([beside - 178.0, y + 285.0, z + 90.0], axis=1)
    reach = np.linalg.norm(pit, axis=1)
    angle = np.degrees(atan2(pit[:, 1], -pit[:, 0]))
    signed = np.where(x < 0.0, -1.0, 1.0)
    from_pit = np.stack([angle, reach, 150.0 * signed], axis=1)
    near_pit = np.exp(-((reach / 105.0) ** 2)) * np.clip(reach / 40.0, 0.0, 1.0)
    below = 0.4 + 0.6 * np.clip((-190.0 - y) / 150.0, 0.0, 1.0)
    arm = np.clip((beside - 165.0) / 50.0, 0.0, 1.0)
    along = np.stack([0.42 * beside - 0.9 * y, z + 100.0 * signed, 0.9 * beside + 0.42 * y], axis=1)

    def creased(noise: FloatArray) -> FloatArray:
        """Folds that are round on top and sharp at the bottom."""
        return np.asarray(1.6 * (np.sqrt(noise**2 + 0.04) - 0.8))

    fields = []
    for i in range(2):
        fields += [
            2.6 * near_pit * creased(wavy(from_pit, (13.0, 70.0, 60.0), 10 + i)),
            2.2 * below * creased(wavy(rest, (38.0, 150.0, 60.0), 20 + i)),
            2.4 * arm * creased(wavy(along, (20.0, 60.0, 60.0), 30 + i)),
            1.5 * creased(wavy(rest @ _LEANING[i], (24.0, 95.0, 70.0), 40 + i)),
            1.6 * wavy(rest, (45.0, 45.0, 45.0), 50 + i),
        ]
    return np.stack(fields, axis=1)


#: Turns about z that let folds run from either shoulder to the other hip.
_LEANING = tuple(
    np.array([[np.cos(a), -np.sin(a), 0.0], [np.sin(a), np.cos(a), 0.0], [0.0, 0.0, 1.0]])
    for a in (0.75, -0.75)
)
