"""Finds a face in a cloud of surface points of unknown pose and scale, and fits a shape to it.

The shape is a linear one, learnt from persons of ours. A tip of a nose is looked for by how the
surface lies within 70 mm of it, at every scale; then the face by its distance to the surface; then
pose, scale and shape are improved together, by nearest points and their planes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from pipeline.catalog.head import EXPRESSIONS, bare_head, person
from pipeline.geometry import FloatArray

#: Persons the shape is learnt from; far from the numbers that people use and tests ask about.
_FIRST_PERSON, _PERSONS, _MODES = 500_000, 120, 40
#: Points of the shape lie about this far apart, on nose and ears and elsewhere.
_FINE_MM, _COARSE_MM = 4.0, 6.5
#: Radius of the ball about the tip of the nose that is compared.
_BALL_MM = 70.0
#: What the ball holds at a tip of a nose, measured on 40 persons and four scans: distance of its
#: centroid, spread along the line there and across it, over the radius; the mean square of the
#: normals' cosine with that line. And how far each strays.
_TIP = np.array([0.44, 0.172, 0.562, 0.51])
_TIP_SPREAD = np.array([0.06, 0.02, 0.025, 0.09])
_TIP_FARTHEST = 4.0
_TIPS_PER_RADIUS, _ROLLS = 24, 16
#: Radii, as a share of the cloud's, from a mask of a face down to a body with its arms spread.
_RADII = 0.98 * 1.18 ** -np.arange(19.0)
_POINTS_PER_BALL = 200
_KEPT = 40
_RIGID_ERRORS_MM = (25.0,) * 5 + (15.0,) * 5 + (10.0,) * 5
_CAP_MM = 14.0
#: Weight of the prior on the shape, in points of the shape at 3 mm of error.
_PRIOR = 30.0
_SHAPE_LIMIT = 3.5
_TANGENTIAL = 0.1


@dataclass(frozen=True, eq=False)
class Reference:
    """A linear shape of faces, in mm and our axes.

    mean: (n + 4, 3) points, the four anchors last, in their usual order. modes: (k, n + 4, 3), one
    standard deviation each. normals: (n, 3) on the mean. weight: (n,) in fits. face, core: (n,)
    bool, what a mask of a face shows, and the eyes and nose in it. tip: the tip of the nose.
    """

    mean: FloatArray
    modes: FloatArray
    normals: FloatArray
    weight: FloatArray
    face: NDArray[np.bool_]
    core: NDArray[np.bool_]
    tip: int

    def shape(self, b: FloatArray) -> FloatArray:
        """(n + 4, 3) mm: the mean and `b`, (k,), standard deviations of the modes."""
        return self.mean + np.tensordot(b, self.modes, 1)


@dataclass(frozen=True, eq=False)
class Pose:
    """Where a shape lies: point = scale * rotation @ mm + origin, with a proper (3, 3) rotation."""

    scale: float
    rotation: FloatArray
    origin: FloatArray

    def placed(self, mm: FloatArray) -> FloatArray:
        """Points of the shape, (n, 3) mm, among those of the file."""
        return self.scale * mm @ self.rotation.T + self.origin

    def in_mm(self, points: FloatArray) -> FloatArray:
        """Points of the file, (n, 3), among those of the shape."""
        return (points - self.origin) @ self.rotation / self.scale


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points on a surface, (n, 3), in random order, and its unit normals there, of either sign."""

    points: FloatArray
    normals: FloatArray

    @cached_property
    def tree(self) -> cKDTree:
        return cKDTree(self.points)

    def nearest(self, pose: Pose, shape: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Nearest points to `shape`, (n, 3) mm, and normals there; both (n, 3), in its frame."""
        index = self.tree.query(pose.placed(shape))[1]
        return pose.in_mm(self.points[index]), self.normals[index] @ pose.rotation


def sample(triangles: FloatArray, count: int) -> Cloud:
    """`count` points spread evenly by area over triangles, (t, 3, 3) of total area above 0.

    The same triangles give the same points.
    """
    rng = np.random.default_rng(0)
    a, b, c = np.moveaxis(triangles, 1, 0)
    normals = np.cross(b - a, c - a)
    areas = np.linalg.norm(normals, axis=1)
    reached = np.cumsum(areas)
    places = (rng.permutation(count) + rng.random(count)) / count * reached[-1]
    chosen = np.minimum(np.searchsorted(reached, places, side="right"), len(areas) - 1)
    u, v = rng.random((2, count, 1))
    fold = u + v > 1
    u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
    a, b, c = a[chosen], b[chosen], c[chosen]
    points = a + u * (b - a) + v * (c - a)
    return Cloud(points, normals[chosen] / np.maximum(areas[chosen], 1e-300)[:, None])


@cache
def reference() -> Reference:
    """The shape of a face with ears, learnt from persons of ours with all their expressions."""
    first = bare_head(person(_FIRST_PERSON), "1_neutral").surfaces["skin"]
    regions = first.attributes
    rest = regions["rest"].astype(np.float64)
    x, y, z = rest.T
    fine = (np.abs(x) < 25) & (y > -55) & (y < 20) & (z > -10) | (regions["ears"] > 0.3)
    kept = (y > -115) & (y < 75) & (z > -150) & (np.abs(x) < 110) & ((z > -95) | (y > -60))
    used = np.flatnonzero(kept & (regions["mouth_inside"] < 0.2))
    cells = np.floor(rest[used] / np.where(fine[used], _FINE_MM, _COARSE_MM)[:, None])
    _, one = np.unique(np.column_stack([cells, fine[used]]), axis=0, return_index=True)
    used = used[np.sort(one)]
    shapes, normals = _learnt_from(used, first.triangles())
    mean = shapes.mean(axis=0)
    _, sizes, modes = np.linalg.svd((shapes - mean).reshape(len(shapes), -1), full_matrices=False)
    modes = modes[:_MODES] * sizes[:_MODES, None] / np.sqrt(len(shapes) - 1)
    x, y, z = rest[used].T
    core = (np.abs(x) < 48) & (y > -50) & (y < 32) & (z > -40)
    weight = np.where(fine[used], 0.64, 1.69) * np.where(y < -55, 0.4, 1.0) * np.where(core, 2, 1)
    return Reference(
        mean=mean,
        modes=modes.reshape(_MODES, -1, 3),
        normals=normals,
        weight=weight * np.where(np.abs(y) < 60, 1.0, 0.5),
        face=(y > -85) & (y < 50) & (z > -75),
        core=core,
        tip=int(np.where(core & (np.abs(x) < 12) & (y < -15), mean[:-4, 2], -np.inf).argmax()),
    )


def _learnt_from(used: NDArray, triangles: NDArray) -> tuple[FloatArray, FloatArray]:
    """(p, n + 4, 3) shapes of persons, turned and scaled onto their mean; (n, 3) its normals."""
    names = list(EXPRESSIONS)
    shapes, whole = [], np.zeros((triangles.max() + 1, 3))
    for k in range(_PERSONS):
        name = names[k // 3 % len(names)] if k % 3 == 0 else names[0]
        head = bare_head(person(_FIRST_PERSON + k), name)
        skin = head.surfaces["skin"].vertices
        whole += skin / _PERSONS
        shapes.append(np.concatenate([skin[used], head.anchors.as_array()]))
    mean = np.mean(shapes, axis=0)
    turned = np.stack([similarity(shape, mean).placed(shape) for shape in shapes])
    a, b, c = (whole[triangles[:, i]] for i in range(3))
    normals = np.zeros_like(whole)
    for i in range(3):
        np.add.at(normals, triangles[:, i], np.cross(b - a, c - a))
    return turned, normals[used] / np.linalg.norm(normals[used], axis=1, keepdims=True)


def similarity(mm: FloatArray, points: FloatArray) -> Pose:
    """The pose that brings `mm`, (n, 3), nearest to `points`, (n, 3).

    Least squares without reflection: Umeyama, IEEE PAMI 13(4), 1991.
    """
    centre, aim = mm.mean(axis=0), points.mean(axis=0)
    u, sizes, vt = np.linalg.svd((points - aim).T @ (mm - centre))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u * signs @ vt
    scale = float((sizes * signs).sum() / ((mm - centre) ** 2).sum())
    return Pose(scale, rotation, aim - scale * rotation @ centre)


def find_poses(cloud: Cloud) -> list[Pose]:
    """Likely poses of the mean face in a cloud, the best first; or none."""
    model = reference()
    tips = _tips(cloud)
    if not tips:
        return []
    tries = [
        Pose(scale, turn, tip - scale * turn @ model.mean[model.tip])
        for tip, ahead, scale in tips
        for turn in _rolls(ahead)
    ]
    face = np.flatnonzero(model.face)
    best = _cheapest(cloud, tries, face[:: len(face) // 25], 10 * _KEPT)
    best = _cheapest(cloud, best, face[:: len(face) // 100], _KEPT)
    some = face[::5]
    points, facing, weight = model.mean[some], model.normals[some], model.weight[some]
    best = [fit_pose(cloud, p, points, facing, weight, _RIGID_ERRORS_MM) for p in best]
    return _cheapest(cloud, best, face[::3], _KEPT)


def _tips(cloud: Cloud) -> list[tuple[FloatArray, FloatArray, float]]:
    """Points that may be tips of noses: where, the way out of the face, and units per mm."""
    points = cloud.points
    from_middle = np.linalg.norm(points - np.median(points, axis=0), axis=1)
    extent = float(np.quantile(from_middle, 0.98))
    probed = cKDTree(points[:4000])
    found: list[tuple[FloatArray, FloatArray, float]] = []
    for radius in extent * _RADII:
        counts = probed.query_ball_point(points[:200], radius, return_length=True)
        share = float(np.median(counts)) / min(len(points), 4000)
        enough = int(np.clip(_POINTS_PER_BALL / share, 2000, len(points)))
        tried = points[: int(np.clip(60 / share, 600, 6000))]
        unlike, ahead = _unlike_tip(tried, Cloud(points[:enough], cloud.normals[:enough]), radius)
        taken: list[int] = []
        for i in np.argsort(unlike, kind="stable"):
            if unlike[i] > _TIP_FARTHEST or len(taken) == _TIPS_PER_RADIUS:
                break
            if (np.linalg.norm(tried[taken] - tried[i], axis=1) > 0.12 * radius).all():
                taken.append(int(i))
        found += [(tried[i], ahead[i], radius / _BALL_MM) for i in taken]
    return found


def _unlike_tip(
    tried: FloatArray, cloud: Cloud, radius: float
) -> tuple[FloatArray, FloatArray]:
    """How unlike a tip of a nose each point is, (k,), in spreads; unit vectors out of the face."""
    pairs = cKDTree(tried).sparse_distance_matrix(cloud.tree, radius, output_type="ndarray")
    inside = csr_matrix(
        (np.ones(len(pairs)), (pairs["i"], pairs["j"])), shape=(len(tried), len(cloud.points))
    )
    rows, columns = np.triu_indices(3)
    p, n = cloud.points, cloud.normals
    squares = p[:, rows] * p[:, columns], n[:, rows] * n[:, columns]
    sums = inside @ np.column_stack([np.ones(len(p)), p, *squares])
    counts = sums[:, 0]
    means = sums[:, 1:] / np.maximum(counts, 1)[:, None]
    full = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])
    middle = means[:, :3]
    spread = means[:, 3:9][:, full] - middle[:, :, None] * middle[:, None]
    facing = means[:, 9:15][:, full]
    arms = tried - middle
    lengths = np.linalg.norm(arms, axis=1)
    ahead = arms / np.maximum(lengths, 1e-9 * radius)[:, None]
    along = np.maximum(np.einsum("ni,nij,nj->n", ahead, spread, ahead), 0)
    across = np.maximum(np.trace(spread, axis1=1, axis2=2) - along, 0)
    cosines = np.einsum("ni,nij,nj->n", ahead, facing, ahead)
    here = np.column_stack(
        [lengths / radius, np.sqrt(along) / radius, np.sqrt(across) / radius, cosines]
    )
    unlike = np.linalg.norm((here - _TIP) / _TIP_SPREAD, axis=1)
    return np.where(counts < 20, np.inf, unlike), ahead


def _rolls(ahead: FloatArray) -> FloatArray:
    """(_ROLLS, 3, 3) rotations that bring z to `ahead`."""
    x = np.cross(np.eye(3)[np.abs(ahead).argmin()], ahead)
    x /= np.linalg.norm(x)
    angles = np.arange(_ROLLS)[:, None] * 2 * np.pi / _ROLLS
    across = np.cos(angles) * x + np.sin(angles) * np.cross(ahead, x)
    up = np.cross(ahead, across)
    return np.stack([across, up, np.broadcast_to(ahead, across.shape)], axis=2)


def _cheapest(cloud: Cloud, poses: Sequence[Pose], chosen: NDArray, count: int) -> list[Pose]:
    """The poses in which the chosen points of the mean face agree best with the cloud, in order.

    What counts is how far they lie from it and how askew.
    """
    model = reference()
    mean, normals = model.mean[chosen], model.normals[chosen]
    costs = []
    for some in (poses[i : i + 256] for i in range(0, len(poses), 256)):
        placed = np.stack([pose.placed(mean) for pose in some])
        scales = np.array([pose.scale for pose in some])
        distances, index = cloud.tree.query(placed)
        turned = np.stack([normals @ pose.rotation.T for pose in some])
        askew = 1 - np.abs(np.einsum("pij,pij->pi", turned, cloud.normals[index]))
        far = np.minimum(distances / scales[:, None] / _CAP_MM, 1)
        costs.append((far + 0.5 * askew).mean(axis=1))
    order = np.argsort(np.concatenate(costs), kind="stable")
    return [poses[i] for i in order[:count]]


def fit_pose(
    cloud: Cloud,
    pose: Pose,
    points: FloatArray,
    facing: FloatArray,
    weight: FloatArray,
    errors_mm: Sequence[float],
) -> Pose:
    """The pose of `points`, (n, 3) mm with normals `facing`, improved by one step per error.

    Each step pulls them, by their weights (n,), to the planes of the nearest points of the cloud,
    the less the further these are in terms of the error.
    """
    for error in errors_mm:
        off, normals, trust = _pulls(cloud, pose, points, facing, error)
        pose = _moved(pose, _step(_freedoms(points), normals, off, trust * weight))
    return pose


def fit_shape(cloud: Cloud, pose: Pose, errors_mm: Sequence[float]) -> tuple[Pose, FloatArray]:
    """Pose and shape, (k,), of the face, improved like a pose, from the mean shape on.

    A prior draws the shape to the mean, the less the smaller the error.
    """
    model = reference()
    count, modes = len(model.normals), len(model.modes)
    b = np.zeros(modes)
    bends = model.modes[:, :count].transpose(1, 2, 0)
    for error in errors_mm:
        shape = model.shape(b)[:count]
        off, normals, trust = _pulls(cloud, pose, shape, model.normals, error)
        weight = trust * model.weight
        prior = np.zeros(modes + 7)
        prior[:modes] = _PRIOR * weight.mean() * (error / 3.0) ** 2
        moves = np.concatenate([bends, _freedoms(shape)], axis=2)
        step = _step(moves, normals, off, weight, prior, np.concatenate([b, np.zeros(7)]))
        b = np.clip(b + step[:modes], -_SHAPE_LIMIT, _SHAPE_LIMIT)
        pose = _moved(pose, step[modes:])
    return pose, b


def _pulls(
    cloud: Cloud, pose: Pose, points: FloatArray, facing: FloatArray, error: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """From points to the nearest of the cloud, (n, 3) mm; normals there; trust in these, (n,)."""
    near, normals = cloud.nearest(pose, points)
    off = near - points
    cosines = np.abs(np.einsum("ij,ij->i", normals, facing))
    doubt = (1 + (np.linalg.norm(off, axis=1) / error) ** 2) ** 2
    return off, normals, np.clip((cosines - 0.3) / 0.5, 0, 1) / doubt


def _freedoms(points: FloatArray) -> FloatArray:
    """(n, 3, 7): how points, (n, 3), move with a shift, a turn and a growth of all."""
    moves = np.empty((len(points), 3, 7))
    moves[:, :, :3] = np.eye(3)
    moves[:, :, 3:6] = np.cross(np.eye(3), points[:, None]).transpose(0, 2, 1)
    moves[:, :, 6] = points
    return moves


def _moved(pose: Pose, step: FloatArray) -> Pose:
    """The pose after a step, (7,), of `_freedoms`."""
    rotation = pose.rotation @ Rotation.from_rotvec(step[3:6]).as_matrix()
    growth = float(np.exp(np.clip(step[6], -0.2, 0.2)))
    return Pose(pose.scale * growth, rotation, pose.placed(step[:3]))


def _step(
    moves: FloatArray,
    normals: FloatArray,
    off: FloatArray,
    weight: FloatArray,
    prior: FloatArray | float = 0.0,
    now: FloatArray | float = 0.0,
) -> FloatArray:
    """(m,) the amounts of `moves`, (n, 3, m), that best bring points by `off`, (n, 3), to planes.

    `prior` weighs the squares of the amounts that are reached from `now`.
    """
    out = np.einsum("nij,ni->nj", moves, normals)
    flat, slack = moves.reshape(-1, moves.shape[2]), np.repeat(_TANGENTIAL * weight, 3)
    matrix = (out * weight[:, None]).T @ out + (flat * slack[:, None]).T @ flat
    pull = out.T @ (weight * np.einsum("ij,ij->i", off, normals)) + flat.T @ (slack * off.ravel())
    diagonal = np.diag_indices_from(matrix)
    matrix[diagonal] += prior
    matrix[diagonal] += 1e-9 * np.trace(matrix) / len(matrix) + 1e-12
    return np.linalg.solve(matrix, pull - prior * now)
