"""Puts glasses on a head as they are worn, from four anchors, and says how well they sit.

The pose starts from the anchors (rigid, no scale, no mirror), then settles: the temples come to
lie on the roots of the ears, the front is pushed back until it first touches the skin, and each
temple opens at its hinge until it clears the side of the head. Nothing is drawn at random.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from trimesh.registration import procrustes

from pipeline.geometry import TEMPLE_PARTS, Anchors, Eyewear, FloatArray, Head, Surface
from pipeline.skin import SkinSurface, heights_at, nose_nodes
from pipeline.spec import FitLimits
from pipeline.transforms import apply, compose, rotation_about, translation
from pipeline.wearing import SIDES, EyewearShape, Temple

#: How far a hinge turns at all; what is accepted is narrower and the recipe's to say.
_HINGE_RANGE_DEG = (-8.0, 30.0)
_BACK = np.array([0.0, 0.0, -1.0])
_SETTLE_ROUNDS = 12
_SETTLED_MM = 3e-4
#: Points of the front no nearer than this at first never come to touch; later, far fewer do.
_NEAR_MM = 15.0
_OPEN_STEPS = 6
#: A turn of a temple, rad, too small to go on for.
_OPENED = 1e-7
#: The strip of temple judged against the side of the head ends this far before the ear node ...
_EAR_MARGIN_MM = 4.0
#: ... and begins this far behind the hinge, where a turn begins to move it.
_HINGE_MARGIN_MM = 20.0


@dataclass(frozen=True, eq=False)
class Fit:
    """Where a pair of glasses sits on a head, and how well.

    world_from_glasses: (4, 4) float64, rigid, places the front; the temples turn first at their
    hinges. opening_left_deg, opening_right_deg: positive opens either temple outwards.
    `reason` is '' if `accepted`, else it names the first figure beyond its limit.

    figures, mm unless named _deg:
    residual_{temple,nose}_{left,right}_mm  glasses' anchor to the head's node at this position
    penetration_front_mm, penetration_temple_{left,right}_mm, penetration_mm  depth in the skin
    pad_gap_{left,right}_mm       pad or bridge of that side to the skin
    ear_gap_{left,right}_mm       underside of the temple above (+) or below (-) the ear node
    ear_side_gap_{left,right}_mm  inner face of the temple outside (+) the ear node
    bend_{left,right}_mm          temple anchor in front of (+) or behind (-) the ear node
    pantoscopic_tilt_deg          lens planes to the head's vertical, + with the lower edge back
    vertex_distance_{left,right}_mm, vertex_distance_mm  back of the lens to the cornea (to the
                                  skin behind its middle where the eyes are not known); the least
    roll_deg, yaw_deg             of the front about the head's z and y
    opening_{left,right}_deg      as above

    A depth is the distance from a point under the skin to the nearest skin. The front is judged
    all over, seen from in front. Temples are judged from the side, and only before the ear node:
    behind it the pinna lies outside them.
    """

    world_from_glasses: FloatArray
    opening_left_deg: float
    opening_right_deg: float
    accepted: bool
    reason: str
    figures: dict[str, float]


def fit(
    head: Head,
    eyewear: Eyewear,
    nose: float,
    limits: FitLimits | None = None,
    *,
    skin: SkinSurface | None = None,
    shape: EyewearShape | None = None,
) -> Fit:
    """Fit `eyewear` on `head` at nose position `nose` in [0, 3].

    `skin` and `shape` are those of the head and the eyewear, for callers that fit often. The
    answer is the same at every call, and does not depend on the order of vertices or faces.
    Raises ValueError for `nose` outside [0, 3]; AssetError where a mesh lacks what is needed.
    A poor fit is returned, not raised: see `Fit.accepted`.
    """
    limits = limits or FitLimits()
    skin = skin or SkinSurface(head)
    shape = shape or EyewearShape(eyewear)
    nodes = nose_nodes(head, nose, skin)
    pose, openings, near = _settle(skin, shape, nodes)
    figures = _figures(head, skin, shape, nodes, pose, openings, near)
    reason = _reason(figures, limits)
    return Fit(pose, openings["left"], openings["right"], not reason, reason, figures)


def posed_parts(eyewear: Eyewear, placed: Fit) -> dict[str, Surface]:
    """All parts of `eyewear` in head coordinates, the temples turned at their hinges."""
    parts = {}
    for name, part in eyewear.parts.items():
        matrix = placed.world_from_glasses
        if name in TEMPLE_PARTS:
            matrix = compose(matrix, temple_turn(eyewear, placed, name.removeprefix("temple_")))
        parts[name] = replace(part, vertices=apply(matrix, part.vertices))
    return parts


def temple_turn(eyewear: Eyewear, placed: Fit, side: str) -> FloatArray:
    """(4, 4) turn of the temple of `side` ('left', 'right') in the glasses' own frame."""
    hinge = getattr(eyewear, f"hinge_{side}")
    opening = getattr(placed, f"opening_{side}_deg")
    return rotation_about(hinge.axis, -opening if side == "left" else opening, hinge.origin)


def _settle(
    skin: SkinSurface, shape: EyewearShape, nodes: Anchors
) -> tuple[FloatArray, dict[str, float], FloatArray]:
    """Pose and openings, and the points of the front that lie near the skin then."""
    pose = procrustes(
        shape.anchors.as_array(), nodes.as_array(), reflection=False, scale=False, return_cost=False
    )
    openings = dict.fromkeys(SIDES, 0.0)
    bridge = 0.5 * (nodes.nose_left + nodes.nose_right)
    near, band = shape.front, _NEAR_MM
    for _ in range(_SETTLE_ROUNDS):
        turn = _lean(shape, nodes, pose, openings, bridge)
        pose = _seat(shape, compose(turn, pose), bridge)
        pose, near = _push(skin, near, pose, band)
        before, openings = openings, _open(skin, shape, nodes, pose, openings)
        moved = np.abs(turn - np.eye(4))[:3, :3].max() * 100
        moved += max(abs(openings[s] - before[s]) for s in SIDES)
        if moved < _SETTLED_MM:
            break
        band = min(_NEAR_MM, 4.0 + 2.0 * moved)
    pose, near = _push(skin, shape.front, pose, 1.0)
    return pose, _open(skin, shape, nodes, pose, openings), near


def _lean(
    shape: EyewearShape, nodes: Anchors, pose: FloatArray, openings: dict, bridge: FloatArray
) -> FloatArray:
    """The turn about the bridge that lays both temples on the ears and the front straight ahead."""
    lift = {}
    for side, temple in shape.temples.items():
        ear = getattr(nodes, f"temple_{side}")
        lift[side] = ear - _at(temple, temple.underside, pose, openings[side], ear[2])
    ears = 0.5 * (nodes.temple_left + nodes.temple_right)
    apart = nodes.temple_left[0] - nodes.temple_right[0]
    pitch = np.arctan(0.5 * (lift["left"][1] + lift["right"][1]) / (bridge[2] - ears[2]))
    roll = np.arctan((lift["left"][1] - lift["right"][1]) / apart)
    own = apply(pose, shape.anchors.as_array())
    ahead, wanted = own[2:].mean(axis=0) - own[:2].mean(axis=0), bridge - ears
    yaw = np.arctan2(wanted[0], wanted[2]) - np.arctan2(ahead[0], ahead[2])
    angles = np.degrees([pitch, yaw, roll])
    return compose(*(rotation_about(np.eye(3)[i], angles[i], bridge) for i in range(3)))


def _at(
    temple: Temple, profile: FloatArray, pose: FloatArray, opening: float, z: float
) -> FloatArray:
    """The point (3,) of a temple's profile, as posed and opened, at depth `z` of the head."""
    posed = apply(compose(pose, _turn(temple, opening)), profile)
    order = np.argsort(posed[:, 2], kind="stable")
    line = posed[order]
    return np.array([np.interp(z, line[:, 2], line[:, i]) for i in range(2)] + [z])


def _turn(temple: Temple, opening: float) -> FloatArray:
    return rotation_about(temple.hinge.axis, -temple.sign * opening, temple.hinge.origin)


def _seat(shape: EyewearShape, pose: FloatArray, bridge: FloatArray) -> FloatArray:
    """Moves the middle of the nose anchors to the nose nodes; depth is left to the push."""
    now = apply(pose, 0.5 * (shape.anchors.nose_left + shape.anchors.nose_right))
    return compose(translation(bridge - now), pose)


def _push(
    skin: SkinSurface, points: FloatArray, pose: FloatArray, band: float
) -> tuple[FloatArray, FloatArray]:
    """Moves the front along the head's z to where its first point meets skin.

    Also returns the points, in the glasses' frame, that lie within `band` mm of meeting it.
    """
    clearance = skin.clearance(apply(pose, points), _BACK)
    least = clearance.min()
    if not np.isfinite(least):
        return pose, points
    return compose(translation(least * _BACK), pose), points[clearance < least + band]


def _open(
    skin: SkinSurface,
    shape: EyewearShape,
    nodes: Anchors,
    pose: FloatArray,
    guess: dict[str, float],
) -> dict[str, float]:
    """Degrees by which each temple opens to touch the ear node and clear the side of the head.

    `guess` saves steps and does not decide the answer.
    """
    openings = {}
    for side, temple in shape.temples.items():
        ear = getattr(nodes, f"temple_{side}")
        hinge = apply(pose, temple.hinge.origin)
        opening = guess[side]
        for _ in range(_OPEN_STEPS):
            inner = _at(temple, temple.inner, pose, opening, ear[2])
            need = temple.sign * (ear[0] - inner[0]) / max(hinge[2] - ear[2], 30.0)
            opening = _clamp(opening + np.degrees(np.arctan(need)))
            if abs(need) < _OPENED:
                break
        for _ in range(_OPEN_STEPS):
            points, clearance = _beside(skin, temple, pose, opening, ear)
            lever = hinge[2] - points[:, 2]
            matters = (clearance < 0) & (lever > _HINGE_MARGIN_MM)
            if not matters.any():
                break
            need = (-clearance[matters] / lever[matters]).max()
            opening = _clamp(opening + np.degrees(np.arctan(need)))
            if need < _OPENED:
                break
        openings[side] = float(opening)
    return openings


def _inward(temple: Temple) -> tuple[float, float, float]:
    return (-float(temple.sign), 0.0, 0.0)


def _clamp(opening: float) -> float:
    return float(np.clip(opening, *_HINGE_RANGE_DEG))


def _beside(
    skin: SkinSurface, temple: Temple, pose: FloatArray, opening: float, ear: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Posed points of a temple before the ear, and their clearance towards the head's middle."""
    points = apply(compose(pose, _turn(temple, opening)), temple.points)
    points = points[points[:, 2] > ear[2] + _EAR_MARGIN_MM]
    return points, skin.clearance(points, _inward(temple))


def _depth(skin: SkinSurface, points: FloatArray, clearance: FloatArray) -> float:
    under = points[clearance < 0]
    return float(skin.closest(under)[1].max()) if len(under) else 0.0


def _figures(
    head: Head,
    skin: SkinSurface,
    shape: EyewearShape,
    nodes: Anchors,
    pose: FloatArray,
    openings: dict[str, float],
    near: FloatArray,
) -> dict[str, float]:
    front = apply(pose, near)
    figures = {"penetration_front_mm": _depth(skin, front, skin.clearance(front, _BACK))}
    for side, temple in shape.temples.items():
        ear = getattr(nodes, f"temple_{side}")
        anchor = apply(compose(pose, _turn(temple, openings[side])), temple.anchor)
        pad = apply(pose, getattr(shape.anchors, f"nose_{side}"))
        under = _at(temple, temple.underside, pose, openings[side], ear[2])
        inner = _at(temple, temple.inner, pose, openings[side], ear[2])
        rest = apply(pose, shape.rests[side])
        figures |= {
            f"residual_temple_{side}_mm": _distance(anchor, ear),
            f"residual_nose_{side}_mm": _distance(pad, getattr(nodes, f"nose_{side}")),
            f"penetration_temple_{side}_mm": _depth(
                skin, *_beside(skin, temple, pose, openings[side], ear)
            ),
            f"pad_gap_{side}_mm": skin.least_distance(rest),
            f"ear_gap_{side}_mm": float(under[1] - ear[1]),
            f"ear_side_gap_{side}_mm": float(temple.sign * (inner[0] - ear[0])),
            f"bend_{side}_mm": float(anchor[2] - ear[2]),
            f"vertex_distance_{side}_mm": _vertex_distance(head, skin, shape, pose, side),
            f"opening_{side}_deg": openings[side],
        }
    figures["penetration_mm"] = max(v for k, v in figures.items() if k.startswith("penetration_"))
    figures["vertex_distance_mm"] = min(figures[f"vertex_distance_{s}_mm"] for s in SIDES)
    tilts = [_plane(apply(pose, shape.lenses[side]))[2] for side in SIDES]
    figures["pantoscopic_tilt_deg"] = float(np.degrees(np.arctan(np.mean(tilts))))
    figures["roll_deg"] = float(np.degrees(np.arctan2(pose[1, 0], pose[0, 0])))
    figures["yaw_deg"] = float(np.degrees(np.arctan2(-pose[2, 0], pose[0, 0])))
    return figures


def _distance(a: FloatArray, b: FloatArray) -> float:
    return float(np.linalg.norm(a - b))


def _plane(points: FloatArray) -> FloatArray:
    """(a, b, c) of the plane z = a + b x + c y nearest to points, (n, 3), along z."""
    columns = np.column_stack([np.ones(len(points)), points[:, :2]])
    return np.linalg.lstsq(columns, points[:, 2], rcond=None)[0]


def _vertex_distance(
    head: Head, skin: SkinSurface, shape: EyewearShape, pose: FloatArray, side: str
) -> float:
    """mm along the head's z from the back of a lens to what lies behind it."""
    points = apply(pose, shape.lenses[side])
    middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
    triangles = apply(pose, shape.lens_triangles[side])
    eye = getattr(head, f"eye_{side}")
    x, y = middle[:2] if eye is None else eye[:2]
    if eye is not None and len(triangles) and not len(heights_at(triangles, x, y)):
        x, y = middle[:2]
    crossed = heights_at(triangles, x, y)
    a, b, c = _plane(points)
    lens = crossed.min() if len(crossed) else a + b * x + c * y
    behind = np.zeros((0, 3, 3))
    if eye is not None and f"eye_{side}" in head.surfaces:
        surface = head.surfaces[f"eye_{side}"]
        behind = np.asarray(surface.vertices, dtype=np.float64)[surface.triangles()]
    ground = heights_at(behind, x, y)
    if not len(ground):
        ground = heights_at(skin.triangles, x, y)
    return float(lens - ground.max()) if len(ground) else float("inf")


def _reason(figures: dict[str, float], limits: FitLimits) -> str:
    """'' or the first figure beyond its limit, in the order a wearer would notice."""
    rows: list[tuple[str, float, float]] = [
        ("penetration_front_mm", -np.inf, limits.front_mm),
        ("vertex_distance_mm", limits.vertex_min_mm, limits.vertex_max_mm),
    ]
    for side in SIDES:
        rows += [
            (f"pad_gap_{side}_mm", 0.0, limits.pad_gap_mm),
            (f"opening_{side}_deg", -limits.closing_deg, limits.opening_deg),
            (f"penetration_temple_{side}_mm", -np.inf, limits.temple_mm),
            (f"ear_gap_{side}_mm", -limits.ear_gap_mm, limits.ear_gap_mm),
            (f"ear_side_gap_{side}_mm", -limits.ear_side_gap_mm, limits.ear_side_gap_mm),
            (f"bend_{side}_mm", -limits.bend_behind_mm, limits.bend_before_mm),
            (f"residual_nose_{side}_mm", 0.0, limits.nose_mm),
        ]
    rows += [
        ("pantoscopic_tilt_deg", limits.tilt_min_deg, limits.tilt_max_deg),
        ("roll_deg", -limits.roll_deg, limits.roll_deg),
        ("yaw_deg", -limits.yaw_deg, limits.yaw_deg),
    ]
    for name, low, high in rows:
        value = figures[name]
        if not low <= value <= high:
            bound = high if value > high else low
            return f"{name} {value:.2f} is beyond the limit {bound:g}"
    return ""
