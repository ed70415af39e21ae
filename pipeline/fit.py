"""Puts glasses on a head as they are worn, from four anchors, and says how well they sit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.geometry import TEMPLE_PARTS, WORN, Anchors, Eyewear, FloatArray, Head, Surface
from pipeline.limits import FitLimits, WearLimits
from pipeline.settle import Seat, beside, rest_nodes, settle
from pipeline.skin import SkinSurface
from pipeline.spec import WearSpec
from pipeline.transforms import apply, compose
from pipeline.triangles import heights_at
from pipeline.wearing import SIDES, EyewearShape, Lens, hinge_turn

_BACK = (0.0, 0.0, -1.0)
#: What a lens must not touch but may not be skin.
_BEHIND_LENSES = ("lashes", "eye_left", "eye_right")
#: Without known eyes, what lies this far about the middle of a lens is taken for the eye.
_PUPIL_MM = 6.0
#: From a temple node back to where a head has skin near, and a mask does not.
_BEHIND_NODE = np.array([0.0, 0.0, 25.0])
_SKIN_ENDS_MM = 20.0


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
    lash_gap_{left,right}_mm      back of the lens to lashes and eyeball, where the head has them
    vertex_distance_{left,right}_mm, vertex_distance_mm  back of the lens to the cornea (to what
                                  is behind its middle where the eyes are not known, or the
                                  glasses are pushed up); the least
    roll_deg, yaw_deg             of the front about the head's z and y
    opening_{left,right}_deg      as above

    A depth is the distance from a point under the skin to the nearest skin. The front is judged
    seen from in front; temples seen from the side before the ear node and, behind it, where the
    auricle lies outside them, by `SkinSurface.enclosed`.
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
    wear: WearSpec | None = None,
    skin: SkinSurface | None = None,
    shape: EyewearShape | None = None,
) -> Fit:
    """Fit `eyewear` on `head` at nose position `nose` in [0, 3], worn in the way of `wear`.

    limits: those of that way if None. `eyewear` is as large as it is to be, see `resized`.
    `skin` and `shape` are those of the head and the eyewear, for callers that fit often. The
    answer is the same at every call, and does not depend on the order of vertices or faces.
    Raises ValueError for `nose` outside [0, 3]; AssetError where a mesh lacks what is needed.
    A poor fit is returned, not raised: see `Fit.accepted`.
    """
    wear = wear or WearSpec()
    limits = limits or WearLimits().of(wear.mode)
    skin = skin or SkinSurface(head)
    shape = shape or EyewearShape(eyewear)
    seat = settle(head, skin, shape, nose, wear)
    nodes = rest_nodes(head, skin, shape, nose, wear)
    figures = _figures(head, skin, shape, nodes, seat, wear.mode != "pushed_up")
    reason = _reason(figures, limits, _earless(skin, head.anchors))
    openings = seat.openings
    return Fit(seat.pose, openings["left"], openings["right"], not reason, reason, figures)


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
    return hinge_turn(hinge, side, getattr(placed, f"opening_{side}_deg"))


def _depth(skin: SkinSurface, under: FloatArray) -> float:
    """Distance to the nearest skin of the deepest of points that lie under it; 0 for none."""
    return float(skin.closest(under)[1].max()) if len(under) else 0.0


def _figures(
    head: Head,
    skin: SkinSurface,
    shape: EyewearShape,
    nodes: Anchors,
    seat: Seat,
    before_eyes: bool,
) -> dict[str, float]:
    pose, openings = seat.pose, seat.openings
    front = apply(pose, shape.front.sparse)
    figures = {"penetration_front_mm": _depth(skin, front[skin.clearance(front, _BACK) < 0])}
    for side, temple in shape.temples.items():
        ear = getattr(nodes, f"temple_{side}")
        anchor = apply(temple.posed(pose, openings[side]), temple.anchor)
        pad = apply(pose, getattr(shape.anchors, f"nose_{side}"))
        under = temple.at(temple.underside, pose, openings[side], ear[2])
        inner = temple.at(temple.inner, pose, openings[side], ear[2])
        points, clearance = beside(skin, temple, pose, openings[side], ear)
        before = _depth(skin, points[clearance < 0])
        figures |= {
            f"residual_temple_{side}_mm": _distance(anchor, ear),
            f"residual_nose_{side}_mm": _distance(pad, getattr(nodes, f"nose_{side}")),
            f"penetration_temple_{side}_mm": max(before, seat.behind[side]),
            f"pad_gap_{side}_mm": _pad_gap(skin, apply(pose, shape.rests[side])),
            f"ear_gap_{side}_mm": float(under[1] - ear[1]),
            f"ear_side_gap_{side}_mm": float(temple.sign * (inner[0] - ear[0])),
            f"bend_{side}_mm": float(anchor[2] - ear[2]),
            f"lash_gap_{side}_mm": _lash_gap(head, shape.lenses[side], pose),
            f"vertex_distance_{side}_mm": _vertex_distance(
                head, skin, shape.lenses[side], pose, side if before_eyes else None
            ),
            f"opening_{side}_deg": openings[side],
        }
    figures["penetration_mm"] = max(v for k, v in figures.items() if k.startswith("penetration_"))
    figures["vertex_distance_mm"] = min(figures[f"vertex_distance_{s}_mm"] for s in SIDES)
    figures["pantoscopic_tilt_deg"] = _tilt_deg(shape, pose)
    figures["roll_deg"] = float(np.degrees(np.arctan2(pose[1, 0], pose[0, 0])))
    figures["yaw_deg"] = float(np.degrees(np.arctan2(-pose[2, 0], pose[0, 0])))
    return figures


def _distance(a: FloatArray, b: FloatArray) -> float:
    return float(np.linalg.norm(a - b))


def _tilt_deg(shape: EyewearShape, pose: FloatArray) -> float:
    """Of the mean plane of both lenses to the head's vertical."""
    normals = [pose[:3, :3] @ [*-lens.plane[1:], 1.0] for lens in shape.lenses.values()]
    return float(np.degrees(np.arctan(np.mean([-n[1] / n[2] for n in normals]))))


def _pad_gap(skin: SkinSurface, rest: FloatArray) -> float:
    """Distance to the skin of the nearest of the points (n, 3) that may rest on it."""
    if not len(rest):
        return float("inf")
    rough = skin.rough_clearance(rest, _BACK)
    least = max(float(rough.min()), 0.0)
    # Seen along z even a steep flank is no more than a few times as far as it is.
    return skin.least_distance(rest[rough <= 3.0 * least + 4.0])


def _vertex_distance(
    head: Head, skin: SkinSurface, lens: Lens, pose: FloatArray, side: str | None
) -> float:
    """mm along the glasses' z from the back of a lens to the cornea of the eye of `side`.

    Where the lens is before no eye, or the head has none known as such: along the head's z, from
    about the middle of the lens to what is met first there.
    """
    if f"eye_{side}" in head.surfaces:
        # Of the eye looking ahead, wherever it looks: vertices reach furthest at the cornea's apex.
        vertices = head.surfaces[f"eye_{side}"].vertices
        centre = getattr(head, f"eye_{side}")
        reach = np.linalg.norm(vertices - centre, axis=1).max()
        apex = centre + np.array([0.0, 0.0, reach])
        return float(lens.gap(apply(np.linalg.inv(pose), apex[None]))[0])
    middle = apply(pose, lens.middle())
    around = _PUPIL_MM * np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    least = float(skin.clearance(middle + around, _BACK).min())
    others = [s for name, s in head.surfaces.items() if not name.startswith(("skin", WORN))]
    for surface in others:
        met = heights_at(np.asarray(surface.vertices)[surface.triangles()], *middle[:2])
        least = min(least, float(middle[2] - met.max(initial=-np.inf)))
    return least


def _lash_gap(head: Head, lens: Lens, pose: FloatArray) -> float:
    """mm along the glasses' z from lashes and eyes to a lens; inf where none is behind it."""
    names = [name for name in _BEHIND_LENSES if name in head.surfaces]
    if not names:
        return float("inf")
    soft = np.concatenate([head.surfaces[name].vertices for name in names])
    soft = apply(np.linalg.inv(pose), soft)
    return float(lens.gap(soft[lens.covers(soft)]).min(initial=np.inf))


def _earless(skin: SkinSurface, anchors: Anchors) -> dict[str, bool]:
    """Sides on which the skin ends at the temple node, as that of face masks does."""
    return {
        side: not skin.within(getattr(anchors, f"temple_{side}") - _BEHIND_NODE, _SKIN_ENDS_MM)
        for side in SIDES
    }


def _reason(figures: dict[str, float], limits: FitLimits, earless: dict[str, bool]) -> str:
    """'' or the first figure beyond its limit, in the order a wearer would notice."""
    rows: list[tuple[str, float, float]] = [
        ("penetration_front_mm", -np.inf, limits.front_mm),
        ("vertex_distance_mm", limits.vertex_min_mm, limits.vertex_max_mm),
    ]
    for side in SIDES:
        rows += [
            (f"lash_gap_{side}_mm", limits.lash_gap_mm, np.inf),
            (f"pad_gap_{side}_mm", 0.0, limits.pad_gap_mm),
            (f"opening_{side}_deg", -limits.closing_deg, limits.opening_deg),
            (f"penetration_temple_{side}_mm", -np.inf, limits.temple_mm),
            (f"ear_gap_{side}_mm", -limits.ear_gap_mm, limits.ear_gap_mm),
            (f"ear_side_gap_{side}_mm", -limits.ear_side_gap_mm, limits.ear_side_gap_mm),
            # A temple that rests where a mask ends has no ear to bend at.
            (
                f"bend_{side}_mm",
                -np.inf if earless[side] else -limits.bend_behind_mm,
                limits.bend_before_mm,
            ),
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
