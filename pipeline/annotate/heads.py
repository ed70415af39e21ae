"""Proposes the four anchor points of a head that nobody has labelled.

Nothing is asked of the mesh but that a face can be seen on it: not its axes, unit, place or
normals, nor that it is whole. `pipeline.annotate.registration` says how the face is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.special import expit

from pipeline.annotate.proposal import Proposal
from pipeline.annotate.registration import (
    Cloud,
    Pose,
    find_poses,
    fit_pose,
    fit_shape,
    reference,
    sample,
)
from pipeline.catalog.piece import Piece
from pipeline.errors import Unsure
from pipeline.geometry import Anchors, FloatArray, Head, Surface
from pipeline.skin import SkinSurface

_SEARCH_POINTS, _FIT_POINTS = 24_000, 30_000
#: The middle of a head between face and ears, in the frame of the reference, and how far about
#: it the mesh matters.
_MIDDLE_MM = np.array([0.0, -10.0, 60.0])
_AROUND_MM = 170.0
#: Poses whose tips of the nose lie this near each other and that face the same way are one.
_SAME_MM, _SAME_COSINE = 25.0, 0.9
_STARTS = 5
#: Errors that the fit expects, step by step.
_ERRORS_MM = (15.0,) * 6 + (10.0,) * 5 + (7.0,) * 6 + (5.0,) * 6 + (4.0,) * 6
#: How far about a temple and a nose node the mesh says where it belongs.
_REACHES_MM = (14.0, 14.0, 10.0, 10.0)
_SHIFT_STEPS, _SHIFT_MM, _SHIFT_ERROR_MM = 5, 5.0, 3.0
_STIFFNESS = 0.1
#: An ear is what lies this near its temple node and this far out.
_EAR_MM, _EAR_FROM_MM = 50.0, 60.0
#: Up, ahead and growth that fits of an ear start with.
_EAR_STARTS = (-8.0, 0.0, 8.0), (-12.0, -6.0, 0.0, 6.0, 12.0), (1.0, 1.15)
_EAR_ERRORS_MM = (6.0,) * 4 + (4.0,) * 4 + (3.0,) * 4
#: An ear that lies this far off does not fit at all; and strays of which each counts the same.
_EAR_OFF_MM = 5.0
#: Ears of scans and persons fit to 0.25 to 0.5, hair and the edges of masks to 0.9 and worse.
_EAR_MISFIT = 0.65
_EAR_STRAY_MM, _EAR_GROWTH, _EAR_TURN = 18.0, 0.3, 0.05
#: Costs of `_Face.cost`: faces of scans, masks and persons have 0.3 to 2.9, the best of what is
#: no face (limbs, glasses, rows of teeth, eggs with noses) 3.4 and more.
_EVEN_COST, _COST_SCALE = 3.1, 0.25
#: A second face is one if it costs hardly more than the first.
_SECOND_COST = 0.5
#: From this far off the mesh on, temple nodes lie where no ears are, and how far is hopeless.
_NO_EARS_MM, _NOWHERE_MM = 8.0, 120.0


@dataclass(frozen=True, eq=False)
class _Face:
    """A face as found: pose and shape of the reference, the mesh about it, how well they agree.

    triangles: (t, 3, 3), and `cloud` on them. plane_mm: median distance of the face's points to
    the planes of the mesh. cosine: mean cosine between normals about eyes and nose. oddity: rms
    of the shape in standard deviations.
    """

    pose: Pose
    b: FloatArray
    triangles: FloatArray
    cloud: Cloud
    plane_mm: float
    cosine: float
    oddity: float

    @property
    def cost(self) -> float:
        """About 1 for each figure that is at the edge of what real faces have."""
        return self.plane_mm / 1.5 + (1 - self.cosine) / 0.25 + self.oddity / 1.2


def propose_head(pieces: Sequence[Piece]) -> Proposal:
    """The four anchors of a head, bust, body or mask of a face, in the pieces' own coordinates.

    The pieces may lie in any axes, any unit and anywhere, and have holes, shells, loose parts and
    normals of either sign. Left is the wearer's left. Where the mesh ends before the ears, the
    temple nodes lie on its edge. The same pieces give the same points; turned, scaled, moved or
    in another order they give them to within about a millimetre.

    Raises Unsure where nothing like a face is found, or two are.
    """
    triangles, centre, extent = _triangles(pieces)
    faces = sorted(_faces(triangles), key=lambda face: face.cost)
    if not faces:
        raise Unsure("nothing on it is shaped like a nose in a face")
    face = faces[0]
    confidence = float(expit((_EVEN_COST - face.cost) / _COST_SCALE))
    for other in faces[1:]:
        if other.cost < min(face.cost + _SECOND_COST, _EVEN_COST) and not _same_place(face, other):
            raise Unsure("there are two faces on it; keep one head in a file")
    nodes, off = _anchors(face)
    lost = (float(off[:2].max()) - _NO_EARS_MM) / (_NOWHERE_MM - _NO_EARS_MM)
    confidence *= 1 - min(max(lost, 0.0), 1.0)
    reason = (
        f"a face fits to {face.plane_mm:.1f} mm, normals about eyes and nose to a cosine of "
        f"{face.cosine:.2f}, its shape {face.oddity:.1f} standard deviations from the average"
    )
    if lost > 0:
        reason += f"; the mesh ends {off[:2].max():.0f} mm before the ears"
    return Proposal("head", Anchors(*(nodes * extent + centre)), confidence, reason)


def _triangles(pieces: Sequence[Piece]) -> tuple[FloatArray, FloatArray, float]:
    """All triangles that have an area, (t, 3, 3), brought into -1..1; their centre and extent."""
    found = [piece.surface.vertices[piece.surface.triangles()] for piece in pieces]
    triangles = np.concatenate([np.zeros((0, 3, 3)), *found])
    if not len(triangles):
        raise Unsure("the mesh has no faces")
    centre = np.median(triangles.reshape(-1, 3), axis=0)
    triangles = triangles - centre
    extent = float(np.abs(triangles).max())
    if not 0 < extent < np.inf:
        raise Unsure("the mesh has no extent")
    triangles /= extent
    a, b, c = np.moveaxis(triangles, 1, 0)
    triangles = triangles[np.cross(b - a, c - a).any(axis=1)]
    if not len(triangles):
        raise Unsure("no face of the mesh has an area")
    return triangles, centre, extent


def _faces(triangles: FloatArray) -> list[_Face]:
    """The shape of a face fitted at the likeliest places on the mesh."""
    tip = reference().mean[reference().tip]
    starts: list[Pose] = []
    for pose in find_poses(sample(triangles, _SEARCH_POINTS)):
        noses = np.array([start.placed(tip) for start in starts]).reshape(-1, 3)
        apart = np.linalg.norm(noses - pose.placed(tip), axis=1) / pose.scale
        cosines = [(np.trace(start.rotation.T @ pose.rotation) - 1) / 2 for start in starts]
        if ((apart > _SAME_MM) | (np.array(cosines) < _SAME_COSINE)).all():
            starts.append(pose)
        if len(starts) == _STARTS:
            break
    return [_fitted(triangles, start) for start in starts]


def _fitted(triangles: FloatArray, start: Pose) -> _Face:
    model = reference()
    away = np.linalg.norm(triangles - start.placed(_MIDDLE_MM), axis=2).min(axis=1)
    local = triangles[away < max(_AROUND_MM * start.scale, away.min() * 1.01)]
    cloud = sample(local, _FIT_POINTS)
    pose, b = fit_shape(cloud, start, _ERRORS_MM)
    shape = model.shape(b)[:-4]
    near, normals = cloud.nearest(pose, shape)
    heights = np.abs(np.einsum("ij,ij->i", near - shape, normals))
    cosines = np.abs(np.einsum("ij,ij->i", normals, model.normals))
    return _Face(
        pose=pose,
        b=b,
        triangles=local,
        cloud=cloud,
        plane_mm=float(np.median(heights[model.face])),
        cosine=float(cosines[model.core].mean()),
        oddity=float(np.sqrt((b**2).mean())),
    )


def _same_place(face: _Face, other: _Face) -> bool:
    """Whether two faces have their noses in the same place, or one lies within the other."""
    tip = reference().tip
    here, there = (f.pose.placed(reference().shape(f.b)[tip]) for f in (face, other))
    return bool(np.linalg.norm(here - there) < 150.0 * max(face.pose.scale, other.pose.scale))


def _anchors(face: _Face) -> tuple[FloatArray, FloatArray]:
    """(4, 3) anchors on the mesh, and how far they were off it before, (4,) mm.

    They are those of the shape, moved as the mesh about them asks, and then to the nearest skin.
    """
    shape = reference().shape(face.b)
    moved = []
    for node, reach in zip(shape[-4:], _REACHES_MM, strict=True):
        points = shape[:-4]
        if abs(node[0]) > _EAR_FROM_MM:
            points, node = _with_ear(face, points, node)
        moved.append(node + _shift(face, points, node, reach))
    vertices = face.pose.in_mm(face.triangles.reshape(-1, 3))
    surface = Surface(vertices, np.arange(len(vertices)).reshape(-1, 3))
    skin = SkinSurface(Head("head", {"skin": surface}, Anchors(*moved)))
    nodes, off, _ = skin.closest(moved)
    return face.pose.placed(nodes), off


def _with_ear(face: _Face, shape: FloatArray, node: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The shape, (n, 3), and a temple node after the ear below was fitted on its own.

    Ears differ more from one another than faces in where they sit and how large they are. Where
    nothing fits better than the shape does already, or well, as without ears, nothing moves.
    """
    from_node = np.linalg.norm(shape - node, axis=1)
    ear = np.flatnonzero((from_node < _EAR_MM) & (np.abs(shape[:, 0]) > _EAR_FROM_MM))[::2]
    points, facing = shape[ear], reference().normals[ear]
    even = np.ones(len(ear))
    best = face.pose
    least = min(_misfit(face, best, points, facing, node), _EAR_MISFIT)
    for y, z, growth in product(*_EAR_STARTS):
        pose = _grown(face.pose, node, growth, np.array([0.0, y, z]))
        pose = fit_pose(face.cloud, pose, points, facing, even, _EAR_ERRORS_MM)
        misfit = _misfit(face, pose, points, facing, node)
        if misfit < least:
            best, least = pose, misfit
    return face.pose.in_mm(best.placed(shape)), face.pose.in_mm(best.placed(node))


def _grown(pose: Pose, node: FloatArray, growth: float, shift: FloatArray) -> Pose:
    """The pose with everything larger about `node`, (3,) mm, and shifted by (3,) mm."""
    origin = pose.placed((1 - growth) * node + shift)
    return Pose(pose.scale * growth, pose.rotation, origin)


def _misfit(
    face: _Face, pose: Pose, points: FloatArray, facing: FloatArray, node: FloatArray
) -> float:
    """How badly an ear's points, (n, 3) mm, fit in a pose, with what they strayed to get there."""
    near, normals = face.cloud.nearest(pose, points)
    far = np.minimum(np.linalg.norm(near - points, axis=1) / _EAR_OFF_MM, 1)
    askew = 1 - np.abs(np.einsum("ij,ij->i", normals, facing))
    strayed = np.linalg.norm(face.pose.in_mm(pose.placed(node)) - node) / _EAR_STRAY_MM
    grown = np.log(pose.scale / face.pose.scale) / _EAR_GROWTH
    turned = (3 - np.trace(face.pose.rotation.T @ pose.rotation)) / 2 / _EAR_TURN
    return float((far + askew).mean() + 0.1 * (strayed**2 + grown**2 + turned))


def _shift(face: _Face, shape: FloatArray, node: FloatArray, reach: float) -> FloatArray:
    """(3,) mm by which the shape's points, (n, 3), about a node move onto the mesh as one."""
    from_node = np.linalg.norm(shape - node, axis=1)
    near = np.flatnonzero(from_node < 2 * reach)
    share = np.exp(-((from_node[near] / reach) ** 2))
    facing = reference().normals[near]
    shift = np.zeros(3)
    for _ in range(_SHIFT_STEPS):
        points, normals = face.cloud.nearest(face.pose, shape[near] + shift)
        off = points - shape[near]
        cosines = np.abs(np.einsum("ij,ij->i", normals, facing))
        doubt = (1 + (np.linalg.norm(off - shift, axis=1) / _SHIFT_ERROR_MM) ** 2) ** 2
        weight = share * np.clip((cosines - 0.3) / 0.5, 0, 1) / doubt
        matrix = (normals * weight[:, None]).T @ normals
        matrix += (_STIFFNESS * weight.sum() + 1e-9) * np.eye(3)
        pull = normals.T @ (weight * np.einsum("ij,ij->i", off, normals))
        shift = np.linalg.solve(matrix, pull)
        shift *= min(1.0, _SHIFT_MM / max(float(np.linalg.norm(shift)), 1e-9))
    return shift
