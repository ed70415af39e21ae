"""Brings glasses to rest on a head: ears, nose and skin agreed upon.

From the four anchors (rigid, no scale, no mirror) the temples come to lie on the roots of the
ears, the front is pushed back until it first touches the skin, both pads on the nose, and each
temple opens at its hinge until it clears the head. Other ways of wearing glasses put the nodes
elsewhere and turn the front, and settle alike. Nothing is drawn at random.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from trimesh.registration import procrustes

from pipeline.geometry import Anchors, FloatArray, Head
from pipeline.skin import NOSE_STEP_MM, SkinSurface, nose_at, nose_nodes
from pipeline.spec import WearSpec
from pipeline.transforms import apply, compose, rotation_about, translation
from pipeline.wearing import SIDES, EyewearShape, Temple

#: How far a hinge turns at all; what is accepted is narrower and the recipe's to say.
_HINGE_RANGE_DEG = (-8.0, 30.0)
_BACK = (0.0, 0.0, -1.0)
_UP = np.array([0.0, 1.0, 0.0])
_SETTLE_ROUNDS = 12
_SETTLED_MM = 2e-3
#: Pads whose gap in depth is below this touch.
_TOUCHING_MM = 0.6
#: How far glasses slide along the nose in search of a place where the pads touch, and how
#: much of a slide they are spared.
_SLIDES_MM = (1.5, 3.0, 4.5, 6.0, 7.5, 9.0, 10.5)
_SLIDE_STEPS = 4
_YIELD = 0.1
#: mm sideways per mm of difference between the gaps of the pads: flanks fall at some 50 degrees.
_FALL = 2.5
_ASIDE_MM = 3.0
#: Clusters of the front whose heads lie no nearer than this to what touches do not touch.
_NEAR_MM = 4.0
_OPEN_STEPS = 6
_ROUGH_STEPS = 2
#: A turn of a temple, rad, too small to go on for.
_OPENED = 1e-5
#: The strip of temple judged against the side of the head ends this far before the ear node ...
_EAR_MARGIN_MM = 4.0
#: ... and begins this far behind the hinge, where a turn begins to move it.
_HINGE_MARGIN_MM = 20.0
#: Behind the ear a temple presses this far into skin and hair before it opens further.
_SKIN_GIVES_MM = 0.6
_SPARE_MM = 0.1
_BEHIND_STEPS = 4
_RAISE_STEPS = 4
#: Temples that slope down behind the ears must rise higher to come clear of them, both alike.
_RAISE_STEPS_UP = 10


@dataclass(frozen=True, eq=False)
class Seat:
    """A pose on the way to rest: (4, 4) pose, and degrees by which the temples open.

    gaps: how far back the left and right pad could still move, mm. above: whether what touches
    first lies above the pads. aside: mm to the left of the nose nodes' middle, where both touch.
    yaw: degrees by which the front is to look to the left of straight ahead. behind: how deep
    each temple lies in the head behind the ear, mm.
    """

    pose: FloatArray
    openings: dict[str, float]
    gaps: tuple[float, float] = (np.inf, np.inf)
    above: bool = False
    aside: float = 0.0
    yaw: float = 0.0
    behind: dict[str, float] = field(default_factory=dict)

    @property
    def gap(self) -> float:
        return max(self.gaps)


def settle(head: Head, skin: SkinSurface, shape: EyewearShape, nose: float, wear: WearSpec) -> Seat:
    """The seat at nose position `nose`, or as near to it as the pads can touch the nose.

    Where brows or cheeks would hold the front off, the glasses slide down or up the nose until
    the pads touch. A tenth of the way is left, so that a position further down stays one. On the
    forehead they lie where they are put.
    """
    head = replace(head, anchors=_tipped(head.anchors, wear.roll_deg))
    nodes = rest_nodes(head, skin, shape, nose, wear)
    pose = procrustes(
        shape.anchors.as_array(), nodes.as_array(), reflection=False, scale=False, return_cost=False
    )
    start = Seat(pose, dict.fromkeys(SIDES, 0.0), yaw=wear.yaw_deg)
    seat = _come_to_rest(skin, shape, nodes, start)
    if _TOUCHING_MM < seat.gap < np.inf and wear.mode != "pushed_up":
        length = NOSE_STEP_MM * nose + wear.slip_mm
        down = _slide(head, skin, shape, length, seat)
        nodes = nose_at(head, length + (1.0 - _YIELD) * down, skin)
        seat = _come_to_rest(skin, shape, nodes, seat)
    return _ease(skin, shape, nodes, seat, wear.mode == "pushed_up")


def rest_nodes(
    head: Head, skin: SkinSurface, shape: EyewearShape, nose: float, wear: WearSpec
) -> Anchors:
    """Where on `head` the four anchors of glasses are to lie.

    Raises ValueError for `nose` outside [0, 3].
    """
    on_nose = nose_nodes(head, nose, skin, wear.slip_mm)
    if wear.mode != "pushed_up":
        return on_nose
    # Straight above where they are labelled, on the forehead as seen from in front.
    lowest = min(lens.low[1] for lens in shape.lenses.values())
    nodes = head.anchors.as_array()
    nodes[2:, 1] += wear.lift_mm + shape.anchors.as_array()[2:, 1].mean() - lowest
    clearance = skin.clearance(nodes[2:], _BACK)
    nodes[2:, 2] -= np.where(np.isfinite(clearance), clearance, 0.0)
    return Anchors(*nodes)


def _tipped(anchors: Anchors, roll_deg: float) -> Anchors:
    """The temple node of one side raised so that a pair laid on both is rolled by so much."""
    rise = (anchors.temple_left[0] - anchors.temple_right[0]) * np.tan(np.radians(roll_deg))
    return replace(
        anchors,
        temple_left=anchors.temple_left + max(rise, 0.0) * _UP,
        temple_right=anchors.temple_right + max(-rise, 0.0) * _UP,
    )


def _ease(
    skin: SkinSurface, shape: EyewearShape, nodes: Anchors, seat: Seat, pushed_up: bool
) -> Seat:
    """The seat with temples opened and raised until they do not press into skull and auricles."""
    steps = _RAISE_STEPS_UP if pushed_up else _RAISE_STEPS
    for step in range(steps):
        eased = {
            side: _clear_behind(skin, temple, seat, getattr(nodes, f"temple_{side}"))
            for side, temple in shape.temples.items()
        }
        lacking = {s: depth - _SKIN_GIVES_MM for s, (_, depth) in eased.items()}
        if max(lacking.values()) <= 0 or step == steps - 1:
            break
        if pushed_up:
            lacking = dict.fromkeys(lacking, max(lacking.values()))
        raised = {
            f"temple_{side}": getattr(nodes, f"temple_{side}") + (lack + _SPARE_MM) * _UP
            for side, lack in lacking.items()
            if lack > 0
        }
        nodes = replace(nodes, **raised)
        seat = _come_to_rest(skin, shape, nodes, seat)
    return replace(
        seat,
        openings={side: opening for side, (opening, _) in eased.items()},
        behind={side: depth for side, (_, depth) in eased.items()},
    )


def _slide(head: Head, skin: SkinSurface, shape: EyewearShape, length: float, seat: Seat) -> float:
    """mm down the nose (up where negative) to the nearest place where the pads touch; 0 if none.

    length: mm along the skin from the labelled nose nodes to where the glasses are now. There is
    no such place where the front comes off the brow only to rest on the cheeks, or the reverse.
    """
    way = 1.0 if seat.above else -1.0

    def tried(slid: float) -> Seat:
        nodes = nose_at(head, length + way * slid, skin)
        return _come_to_rest(skin, shape, nodes, seat)

    low, excess = 0.0, seat.gap - _TOUCHING_MM
    for high in _SLIDES_MM:
        found = tried(high)
        lack = found.gap - _TOUCHING_MM
        if lack <= 0:
            break
        if found.above != seat.above:
            return 0.0
        low, excess = high, lack
    else:
        return 0.0
    for _ in range(_SLIDE_STEPS):
        # Between the middle and the line's zero: neither alone closes in on a kink from both ends.
        zero = low + (high - low) * excess / (excess - lack)
        middle = 0.5 * (zero + 0.5 * (low + high))
        value = tried(middle).gap - _TOUCHING_MM
        if value > 0:
            low, excess = middle, value
        else:
            high, lack = middle, value
    return way * float(high)


def _come_to_rest(skin: SkinSurface, shape: EyewearShape, nodes: Anchors, seat: Seat) -> Seat:
    """Ears, nose and skin agreed upon, from a seat that may be far off."""
    bridge = 0.5 * (nodes.nose_left + nodes.nose_right)
    pose, openings, aside, fall = seat.pose, seat.openings, seat.aside, _FALL
    last: tuple[float, float] | None = None
    for _ in range(_SETTLE_ROUNDS):
        turn = _lean(shape, nodes, pose, openings, bridge, seat.yaw)
        pose = _seat(shape, compose(turn, pose), bridge, aside)
        pose, uneven = _push_roughly(skin, shape, pose)
        before = aside, openings
        if np.isfinite(uneven):
            if last is not None and abs(aside - last[0]) > 1e-6:
                fall = float(np.clip((uneven - last[1]) / (aside - last[0]), 1.0, 8.0))
            last = aside, uneven
            aside = float(np.clip(aside - uneven / fall, -_ASIDE_MM, _ASIDE_MM))
        openings = _lay(shape, nodes, pose, openings)
        openings = _clear(skin, shape, nodes, pose, openings, rough=True)
        moved = np.abs(turn - np.eye(4))[:3, :3].max() * 100 + abs(aside - before[0])
        moved += max(abs(openings[s] - before[1][s]) for s in SIDES)
        if moved < _SETTLED_MM:
            break
    rested = _push(skin, shape, pose)
    openings = _lay(shape, nodes, rested.pose, openings)
    openings = _clear(skin, shape, nodes, rested.pose, openings)
    return replace(rested, openings=openings, aside=aside, yaw=seat.yaw)


def _lean(
    shape: EyewearShape,
    nodes: Anchors,
    pose: FloatArray,
    openings: dict,
    bridge: FloatArray,
    yaw_deg: float,
) -> FloatArray:
    """The turn about the bridge that lays both temples on the ears.

    It also turns the front to look `yaw_deg` to the left of straight ahead.
    """
    lift = {}
    for side, temple in shape.temples.items():
        ear = getattr(nodes, f"temple_{side}")
        lift[side] = ear - temple.at(temple.underside, pose, openings[side], ear[2])
    ears = 0.5 * (nodes.temple_left + nodes.temple_right)
    apart = nodes.temple_left[0] - nodes.temple_right[0]
    pitch = np.arctan(0.5 * (lift["left"][1] + lift["right"][1]) / (bridge[2] - ears[2]))
    roll = np.arctan((lift["left"][1] - lift["right"][1]) / apart)
    own = apply(pose, shape.anchors.as_array())
    ahead, wanted = own[2:].mean(axis=0) - own[:2].mean(axis=0), bridge - ears
    yaw = np.arctan2(wanted[0], wanted[2]) - np.arctan2(ahead[0], ahead[2])
    angles = np.degrees([pitch, yaw, roll])
    angles[1] += yaw_deg
    return compose(*(rotation_about(np.eye(3)[i], angles[i], bridge) for i in range(3)))


def _seat(shape: EyewearShape, pose: FloatArray, bridge: FloatArray, aside: float) -> FloatArray:
    """Moves the middle of the nose anchors to the nose nodes, and `aside` mm to the left."""
    now = apply(pose, 0.5 * (shape.anchors.nose_left + shape.anchors.nose_right))
    return compose(translation(bridge - now + [aside, 0, 0]), pose)


def _push_roughly(
    skin: SkinSurface, shape: EyewearShape, pose: FloatArray
) -> tuple[FloatArray, float]:
    """Moves the front back to about where it first meets skin.

    Also returns by how many mm the left pad is then further from that than the right one; nan
    where a side has none.
    """
    left, right, front = (
        skin.rough_clearance(apply(pose, points), _BACK)
        for points in (shape.rests["left"], shape.rests["right"], shape.front.sparse)
    )
    gaps = left.min(initial=np.inf), right.min(initial=np.inf)
    least = min(*gaps, front.min())
    uneven = gaps[0] - gaps[1] if np.isfinite(gaps).all() else np.nan
    return compose(translation([0, 0, -least]), pose), uneven


def _push(skin: SkinSurface, shape: EyewearShape, pose: FloatArray) -> Seat:
    """Moves the front along the head's z to where its first point meets skin."""
    rough = skin.rough_clearance(apply(pose, shape.front.sparse), _BACK)
    near = shape.front.of(rough < rough.min() + _NEAR_MM)
    rests = [shape.rests[side] for side in SIDES]
    points = apply(pose, np.concatenate([*rests, near]))
    clearance = skin.clearance(points, _BACK)
    least = clearance.min()
    if not np.isfinite(least):
        return Seat(pose, {})
    ends = np.cumsum([len(rest) for rest in rests])
    left, right, _ = np.split(clearance, ends)
    first = points[clearance.argmin()]
    pads = points[: ends[1], 1].mean() if ends[1] else first[1]
    return Seat(
        pose=compose(translation([0, 0, -least]), pose),
        openings={},
        gaps=(left.min(initial=np.inf) - least, right.min(initial=np.inf) - least),
        above=bool(first[1] > pads),
    )


def _lay(shape: EyewearShape, nodes: Anchors, pose: FloatArray, openings: dict) -> dict[str, float]:
    """Degrees by which each temple opens to touch the ear node with its inner face."""
    laid = {}
    for side, temple in shape.temples.items():
        ear = getattr(nodes, f"temple_{side}")
        lever = max(apply(pose, temple.hinge.origin)[2] - ear[2], 30.0)
        opening = openings[side]
        for _ in range(_OPEN_STEPS):
            inner = temple.at(temple.inner, pose, opening, ear[2])
            need = temple.sign * (ear[0] - inner[0]) / lever
            opening = _clamp(opening + np.degrees(np.arctan(need)))
            if abs(need) < _OPENED:
                break
        laid[side] = opening
    return laid


def _clear(
    skin: SkinSurface,
    shape: EyewearShape,
    nodes: Anchors,
    pose: FloatArray,
    openings: dict,
    rough: bool = False,
) -> dict[str, float]:
    """Degrees, at least `openings`, by which each temple opens to clear the side of the head."""
    cleared = {}
    for side, temple in shape.temples.items():
        ear = getattr(nodes, f"temple_{side}")
        hinge = apply(pose, temple.hinge.origin)
        opening = openings[side]
        for _ in range(_ROUGH_STEPS if rough else _OPEN_STEPS):
            points, clearance = beside(skin, temple, pose, opening, ear, rough)
            lever = hinge[2] - points[:, 2]
            need = np.where(
                lever > _HINGE_MARGIN_MM, -clearance / np.maximum(lever, _HINGE_MARGIN_MM), -np.inf
            )
            most = float(need.max(initial=-np.inf))
            if most < _OPENED:
                break
            opening = _clamp(opening + np.degrees(np.arctan(most)))
        cleared[side] = opening
    return cleared


def _clear_behind(
    skin: SkinSurface, temple: Temple, seat: Seat, ear: FloatArray
) -> tuple[float, float]:
    """Degrees by which a temple opens so that the skull behind the ear yields to it.

    Also returns how deep it lies in the head there even so, as where it cuts the auricle.
    """
    hinge = apply(seat.pose, temple.hinge.origin)
    opening = seat.openings[temple.side]
    point, way = _deepest_behind(skin, temple, seat.pose, opening, ear)
    for _ in range(_BEHIND_STEPS):
        depth = float(np.linalg.norm(way))
        if depth <= _SKIN_GIVES_MM or temple.sign * way[0] < 0.7 * depth:
            break
        need = (depth - _SKIN_GIVES_MM + _SPARE_MM) / (hinge[2] - point[2])
        opening = _clamp(opening + np.degrees(np.arctan(need)))
        point, way = _deepest_behind(skin, temple, seat.pose, opening, ear)
    return opening, float(np.linalg.norm(way))


def _deepest_behind(
    skin: SkinSurface, temple: Temple, pose: FloatArray, opening: float, ear: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """The point (3,) of a temple, from the ear backwards, deepest in the head, and the way out."""
    behind = apply(temple.posed(pose, opening), temple.whole)
    behind = behind[behind[:, 2] <= ear[2] + _EAR_MARGIN_MM]
    inside = behind[skin.enclosed(behind, (temple.sign, 0, 0))]
    if not len(inside):
        return ear, np.zeros(3)
    near, depth, _ = skin.closest(inside)
    deepest = int(depth.argmax())
    return inside[deepest], near[deepest] - inside[deepest]


def _clamp(opening: float) -> float:
    return float(np.clip(opening, *_HINGE_RANGE_DEG))


def beside(
    skin: SkinSurface,
    temple: Temple,
    pose: FloatArray,
    opening: float,
    ear: FloatArray,
    rough: bool = False,
) -> tuple[FloatArray, FloatArray]:
    """Posed points of a temple before the ear, and their clearance towards the head's middle.

    `rough` takes few points and `SkinSurface.rough_clearance`.
    """
    points = temple.face.sparse if rough else temple.face.points
    points = apply(temple.posed(pose, opening), points)
    points = points[points[:, 2] > ear[2] + _EAR_MARGIN_MM]
    inward = (-float(temple.sign), 0.0, 0.0)
    return points, (skin.rough_clearance if rough else skin.clearance)(points, inward)
