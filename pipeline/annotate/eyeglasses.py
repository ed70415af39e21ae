"""Where unknown glasses rest: the four anchor points, from nothing but the shape of a mesh.

The mesh is mirrored onto itself to find its plane of symmetry. In that plane the bridge is a small
cluster from which the temples run far away in one direction, which is back. Up is where the
bridge and the temples stand on the front, and from where the tips of the temples bend away. All
lengths are then mm of a pair whose front is 140 mm wide, whatever the unit of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.annotate.contacts import (
    BEND_DEG,
    FRONT_MM,
    Bend,
    bend_of,
    bridge_low,
    front_height,
    nose_rest,
    temple_rest,
    temple_triangles,
)
from pipeline.annotate.mirror import Plane, areas, mirror_planes, spread
from pipeline.annotate.proposal import Proposal
from pipeline.catalog.piece import Piece
from pipeline.catalog.shapes import specks
from pipeline.errors import Unsure
from pipeline.geometry import Anchors, FloatArray
from pipeline.transforms import apply, compose

_SAMPLES = 6000


@dataclass(frozen=True, eq=False)
class _Stand:
    """How a mesh stands as glasses.

    frame: (4, 4), mm from file, our axes with z along the temples, origin at the bridge. upright:
    0..1, how clearly one of the two ways is up. mirrored_mm: how far the mirrored surface misses.
    """

    frame: FloatArray
    upright: float
    mirrored_mm: float


def propose_glasses(pieces: Sequence[Piece]) -> Proposal:
    """The anchors of a pair of glasses whose axes, unit and place are unknown.

    pieces: of a file, in its own coordinates. Temples must be open. The answer follows the mesh in
    any motion and scale; names and materials are not asked. Raises Unsure, on one line, for what
    is not a pair of open glasses.
    """
    triangles = _triangles(pieces)
    stand = _stand(spread(triangles, _SAMPLES))
    triangles = apply(stand.frame, triangles.reshape(-1, 3)).reshape(-1, 3, 3)
    height = front_height(triangles)
    temples = {sign: temple_triangles(triangles, sign) for sign in (1, -1)}
    bends = {sign: bend_of(temple) for sign, temple in temples.items()}
    begin = 0.5 * (bends[1].begin + bends[-1].begin)
    if abs(bends[1].begin - bends[-1].begin) < 10.0:
        rests = [temple_rest(temples[sign], sign, begin) for sign in (1, -1)]
    else:
        rests = [temple_rest(temples[sign], sign, bends[sign].begin) for sign in (1, -1)]
    low = bridge_low(triangles)
    noses = [nose_rest(triangles, sign, low) for sign in (1, -1)]
    points = np.stack([*rests, *noses])
    confidence, reason = _judged(stand, points, list(bends.values()), height)
    return Proposal(
        "glasses", Anchors(*apply(np.linalg.inv(stand.frame), points)), confidence, reason
    )


def _triangles(pieces: Sequence[Piece]) -> FloatArray:
    """(t, 3, 3) all triangles of a file that have an area, but no dirt. Raises Unsure without."""
    found = [p.surface.vertices[p.surface.triangles()] for p in pieces]
    triangles = np.concatenate([np.zeros((0, 3, 3)), *found])
    size = areas(triangles)
    triangles = triangles[np.isfinite(size) & (size > 0)]
    triangles = triangles[~specks(triangles)]
    if len(triangles) < 12:
        raise Unsure("no glasses with open temples: hardly a triangle that has an area")
    return triangles


# --- how it stands -----------------------------------------------------------------------------


def _stand(points: FloatArray) -> _Stand:
    """The first plane of symmetry about which points, (n, 3), stand as glasses do.

    Raises Unsure with what the best plane lacks.
    """
    centre = points.mean(axis=0)
    size = float(np.sqrt(((points - centre) ** 2).sum(axis=1).mean()))
    unit = np.diag([1 / size, 1 / size, 1 / size, 1.0])
    unit[:3, 3] = -centre / size
    points = (points - centre) / size
    faults = []
    for plane in mirror_planes(points):
        try:
            stand = _stand_on(points, plane)
            return _Stand(compose(stand.frame, unit), stand.upright, stand.mirrored_mm)
        except Unsure as fault:
            faults.append(fault)
    raise faults[0]


def _stand_on(points: FloatArray, plane: Plane) -> _Stand:
    """Raises Unsure if there are no bridge and temples about this plane of symmetry."""
    away = np.abs(points @ plane.normal - plane.offset)
    flat = np.linalg.svd(plane.normal[None])[2][1:]
    seen = points @ flat.T
    bridge, temples = _bridge_and_temples(seen, away)
    half = float(np.quantile(away, 0.98))
    back = _unit(seen[temples].mean(axis=0) - bridge)
    for _ in range(3):
        across = np.array([-back[1], back[0]])
        along, up = (seen - bridge) @ back, (seen - bridge) @ across
        length = float(np.quantile(along, 0.998))
        straight = (away > 0.6 * half) & (along > 0.2 * length) & (along < 0.6 * length)
        back = _unit(back + _line(along[straight], up[straight])[1] * across)
    across = np.array([-back[1], back[0]])
    along, up = (seen - bridge) @ back, (seen - bridge) @ across
    scale = FRONT_MM / (2 * float(np.quantile(away[along < 0.35 * length], 0.995)))
    votes = _upward(away * scale, along * scale, up * scale)
    y = (1 if votes >= 0 else -1) * across @ flat
    z = -back @ flat
    frame = np.eye(4)
    frame[:3, :3] = scale * np.stack([np.cross(y, z), y, z])
    frame[:3, 3] = -frame[:3, :3] @ (bridge @ flat + plane.offset * plane.normal)
    return _Stand(frame, min(1.0, abs(votes)), plane.miss * scale)


def _bridge_and_temples(seen: FloatArray, away: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Where the bridge lies in the plane of symmetry, (2,), and which points are of temples.

    seen: (n, 2) points in that plane, away: (n,) their distances from it.
    """
    half = float(np.quantile(away, 0.98))
    near = seen[away < 0.15 * half]
    if len(near) < 4:
        raise Unsure("no glasses with open temples: nothing joins the left to the right half")
    bridge = np.median(near, axis=0)
    if np.quantile(np.linalg.norm(near - bridge, axis=1), 0.97) > 0.5 * half:
        raise Unsure("no glasses with open temples: between the halves there is more than a bridge")
    distance = np.linalg.norm(seen - bridge, axis=1)
    reach = float(np.quantile(distance, 0.998))
    if reach < 1.1 * half:
        raise Unsure("no temples that run back; glasses need open temples")
    if reach > 4.0 * half:
        raise Unsure("no glasses with open temples: far longer than wide")
    temples = distance > 0.5 * reach
    if np.quantile(away[temples], 0.03) < 0.4 * half:
        raise Unsure("no room for a head between temples; glasses need open temples")
    return bridge, temples


def _upward(away: FloatArray, along: FloatArray, up: FloatArray) -> float:
    """How much speaks for `up` (positive) or against it (negative); 1 is clear.

    Of points in mm, (n,) each: distances from the plane of symmetry, and from the bridge along
    the temples and across them.
    """
    front = up[(along < 20) & (away > 18) & (away < 58)]
    if len(front) < 10:
        raise Unsure("no glasses with open temples: the front has no room for lenses")
    if not (away < 10).any():
        raise Unsure("no glasses with open temples: the front has no bridge")
    middle = 0.5 * np.sum(np.quantile(front, [0.02, 0.98]))
    bridge = np.median(up[away < 10])
    outer = away > 42
    length = float(along[outer].max(initial=0.0))
    straight = outer & (along > 25) & (along < 0.6 * length)
    start, slope = _line(along[straight], up[straight])
    tips = outer & (along > length - 15)
    drop = np.median(start + slope * along[tips] - up[tips])
    behind = (away < 18) & (along > np.median(along[away < 10]) + 3.0)
    pads = bridge - np.median(up[behind]) if behind.sum() > 3 else 0.0
    # What each in mm speaks for; the tips most clearly, if they bend at all.
    votes = np.array(
        [drop / 8.0, (bridge - middle) / 8.0, (start + 20 * slope - middle) / 8.0, pads / 8.0]
    )
    return float(np.clip(votes, -1, 1) @ (1.5, 1.0, 1.0, 0.7) / 2.0)


def _line(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Intercept and slope of a line through points, the furthest fifth left out."""
    if len(x) < 5:
        raise Unsure("no glasses with open temples: no temples")
    kept = np.ones(len(x), dtype=bool)
    for _ in range(3):
        columns = np.column_stack([np.ones(kept.sum()), x[kept]])
        start, slope = np.linalg.lstsq(columns, y[kept], rcond=None)[0]
        off = np.abs(y - start - slope * x)
        kept = off <= np.quantile(off, 0.8)
    return float(start), float(slope)


def _unit(vector: FloatArray) -> FloatArray:
    return np.asarray(vector / np.linalg.norm(vector))


# --- how sure ----------------------------------------------------------------------------------


def _judged(
    stand: _Stand, points: FloatArray, bends: list[Bend], height: float
) -> tuple[float, str]:
    """Confidence, 0..1, and what it rests on: the product of what each finding leaves of it."""
    flip = np.array([-1.0, 1.0, 1.0])
    apart = points[::2] - points[1::2] * flip
    # One temple may stand open further than the other.
    apart[0, 0] /= 4.0
    worst = float(np.linalg.norm(apart, axis=1).max())
    begin, nose = points[:2, 2].mean(), points[2, 0] - points[3, 0]
    bend = min(bend.degrees for bend in bends)
    findings = {
        "halves that mirror each other": _ramp(stand.mirrored_mm, 6.0, 2.0),
        "which way is up": 0.3 + 0.7 * _ramp(stand.upright, 0.0, 0.5),
        "points that mirror each other": _ramp(worst, 10.0, 2.0),
        "the height of the front": _ramp(height, 8.0, 18.0) * _ramp(height, 110.0, 80.0),
        "the place of the ears": _ramp(begin, -50.0, -80.0) * _ramp(begin, -160.0, -130.0),
        "the width of the nose": _ramp(nose, 3.0, 8.0) * _ramp(nose, 50.0, 38.0),
        "the bend of the temples": 0.7 + 0.3 * _ramp(bend, 0.0, 2 * BEND_DEG),
    }
    confidence = float(np.prod(list(findings.values())))
    weakest = min(findings, key=lambda name: findings[name])
    doubt = f"; weakest: {weakest}" if findings[weakest] < 0.9 else ""
    return confidence, (
        f"glasses, temples bend by {bend:.0f} degrees {-begin:.0f} mm behind the bridge, "
        f"{nose:.0f} mm for the nose (of a front {FRONT_MM:.0f} mm wide){doubt}"
    )


def _ramp(value: float, none: float, full: float) -> float:
    return float(np.clip((value - none) / (full - none), 0.0, 1.0))
