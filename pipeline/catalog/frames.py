"""Fronts of eyewear: acetate cut from one sheet, metal rims, and drilled rimless lenses.

Half rims and brow bars are in `halfrims`.

A front is built for the wearer's left and mirrored, so it is symmetric to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.catalog.fields import atan2
from pipeline.catalog.optics import LensForm
from pipeline.catalog.outline import Front, Outline
from pipeline.catalog.sweep import (
    HOLD_MM,
    Body,
    cylinder,
    grid_faces,
    join,
    outward,
    ring_body,
    rounded_rect,
    spline,
    sweep,
    tube_body,
    wire,
)

FloatArray = NDArray[np.float64]

#: How far the lens reaches into the groove of a rim, mm. Grooves of retail frames are about 0.5 to
#: 0.7 mm deep.
GROOVE_MM = 0.6
#: Where an acetate temple begins, mm behind its pin: it butts against the end piece.
BUTT_START_MM = -3.4


@dataclass(frozen=True, eq=False)
class Plan:
    """The numbers of one pair (keys of `Design`, mm, degrees, dioptres) and its curved front."""

    numbers: Mapping[str, float]
    outline: Outline
    front: Front
    lens: LensForm

    def __getitem__(self, key: str) -> float:
        return self.numbers[key]

    @property
    def centre_x(self) -> float:
        """Flat x of the left lens centre."""
        return self.front.half_bridge + self.front.lens_width / 2

    def on_lens(self, uv: FloatArray, depth: float | FloatArray = 0.0) -> FloatArray:
        """(..., 3) mm from points (..., 2) about the centre of the left lens."""
        return self.front.place(self.centre_x + uv[..., 0], uv[..., 1], depth)

    def lens_depths(self, uv: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(...,) depths of the left lens' front and back at points (..., 2); see `on_lens`."""
        fall = self.front.sag(uv[..., 0], uv[..., 1])
        return self.lens.front(uv) + fall, self.lens.back(uv) + fall


@dataclass(frozen=True, eq=False)
class FrontParts:
    """Bodies of both sides, and where the left temple is hinged and begins.

    hinge: (3,) mm, the pin. temple_x: x of the temple's middle. temple_start: mm along the
    temple from the pin (negative: in front of it) at which it begins.
    """

    rims: list[Body]
    bridge: list[Body]
    hinge: FloatArray
    temple_x: float
    temple_start: float


def both(body: Body) -> list[Body]:
    """A body and its mirror image."""
    return [body, body.mirrored()]


# --- acetate -----------------------------------------------------------------------------------


def acetate_front(plan: Plan, keyhole: bool) -> FrontParts:
    """One body of rims, bridge and end pieces, as milled from a sheet of acetate."""
    contour, normals, gap = _contour(plan, keyhole)
    body = _plate(plan, contour, normals, gap)
    height = plan["endpiece_height_mm"]
    level = np.abs(contour[:, 1] - height) < 0.35 * plan["temple_height_mm"]
    outer_x = float(contour[level, 0].max())
    barrel, hinge, temple_x = butt_hinge(plan, outer_x, plan["rim_depth_mm"] / 2)
    return FrontParts([body, *both(barrel)], [], hinge, temple_x, BUTT_START_MM)


def butt_hinge(plan: Plan, outer_x: float, half_depth: float) -> tuple[Body, FloatArray, float]:
    """Hinge behind an acetate end piece that ends at flat x `outer_x`: barrel, pin, temple's x."""
    height, thick = plan["endpiece_height_mm"], plan["temple_thickness_mm"]
    back = plan.front.place(outer_x - 1.0, height, -half_depth)
    temple_x = float(plan.front.place(outer_x, height, -half_depth)[0]) - 0.35 - thick / 2
    hinge = np.array([temple_x - thick / 2 - 0.4, back[1], back[2] - 1.8])
    barrel = cylinder(hinge, (0, 1, 0), 1.2, min(6.0, plan["temple_height_mm"] - 1.0))
    return barrel, hinge, temple_x


def _contour(plan: Plan, keyhole: bool) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Outer edge of the left half: (n, 2) flat mm and inward-safe normals; the bridge's y span."""
    # Seen from within the height of the bridge, neither its upper nor its lower edge is hidden.
    cx, cy = plan.centre_x, plan["bridge_height_mm"]
    y = np.linspace(-plan["lens_height_mm"] / 2, plan["lens_height_mm"] / 2, 4000)
    solid = _outside(plan, np.zeros_like(y), y, keyhole) < 0
    gap = np.array([y[solid].min(), y[solid].max()])
    start = np.arctan2(gap[0] - cy, -cx) % (2 * np.pi)
    end = 2 * np.pi + np.arctan2(gap[1] - cy, -cx)
    angle = np.linspace(start, end, 1000)[1:-1]
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    reach = np.full(len(angle), 0.5 * plan["lens_width_mm"] + 30.0)
    inward = direction[:, 0] < 0
    reach[inward] = np.minimum(reach[inward], cx / -direction[inward, 0])
    for _ in range(30):
        x, v = cx + reach * direction[:, 0], cy + reach * direction[:, 1]
        reach = reach - 0.9 * _outside(plan, x, v, keyhole)
    points = np.stack([cx + reach * direction[:, 0], cy + reach * direction[:, 1]], axis=1)
    points[:, 0] = np.maximum(points[:, 0], 0.0)
    points = np.concatenate([[[0.0, gap[0]]], points, [[0.0, gap[1]]]])
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    even = np.linspace(0.0, s[-1], 170)
    points = np.stack([np.interp(even, s, points[:, i]) for i in range(2)], axis=1)
    tangent = np.gradient(points, axis=0)
    normals = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    # Level at the middle, so that the two halves meet without a crease.
    normals[0], normals[-1] = (0.0, -1.0), (0.0, 1.0)
    return points, normals, gap


def _outside(plan: Plan, x: FloatArray, y: FloatArray, keyhole: bool) -> FloatArray:
    """About the distance in mm from flat points (n,) to the front's silhouette; inside negative."""
    half_bridge = plan.front.half_bridge
    rim = _rim_distance(plan, x - plan.centre_x, y)
    drop = y - plan["bridge_height_mm"] + 0.012 * x**2
    bridge = box_distance(x, drop, half_bridge, plan["bridge_thickness_mm"] / 2, 0.5)
    front = smooth_min(rim, bridge, 4.5)
    front = smooth_min(front, end_distance(plan, x, y), 6.0)
    if keyhole:
        front = _cut_keyhole(plan, front, x, y)
    return front


def end_distance(plan: Plan, x: FloatArray, y: FloatArray) -> FloatArray:
    """About the distance in mm from flat points (n,) to an acetate end piece; inside negative."""
    rise = np.deg2rad(plan["endpiece_rise_deg"])
    length = plan["endpiece_mm"] + plan["rim_width_mm"] + 8.0
    tip_x = plan.centre_x + plan["lens_width_mm"] / 2 + plan["endpiece_mm"] + plan["rim_width_mm"]
    mid_x = tip_x - length / 2 * np.cos(rise)
    mid_y = plan["endpiece_height_mm"] - (length / 2 - 3.0) * np.sin(rise)
    dx, dy = x - mid_x, y - mid_y
    along, across = dx * np.cos(rise) + dy * np.sin(rise), dy * np.cos(rise) - dx * np.sin(rise)
    half_high = plan["temple_height_mm"] / 2 + 0.9
    return box_distance(along, across, length / 2, half_high, 2.0)


def _cut_keyhole(plan: Plan, front: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """Fills the gap below the bridge, then cuts a round hole and a wedge that widens downward."""
    low = plan["bridge_height_mm"] - plan["bridge_thickness_mm"] / 2
    radius = 0.2 * plan["bridge_mm"]
    centre = low - 0.7 * radius
    fill = box_distance(x, y - low + 4.0, plan.front.half_bridge, 5.0, 0.5)
    front = smooth_min(front, fill, 4.0)
    hole = np.hypot(x, y - centre) - radius
    slope = 0.55
    wedge = (np.abs(x) - 0.74 * radius + slope * (y - centre + 0.7 * radius)) / np.hypot(1, slope)
    wedge = np.maximum(wedge, y - centre)
    return -smooth_min(-front, smooth_min(hole, wedge, 2.2), 1.2)


def _rim_distance(plan: Plan, u: FloatArray, v: FloatArray) -> FloatArray:
    rise = np.maximum(plan.outline.normals[:, 1], 0.0)
    nasal = np.maximum(-plan.outline.normals[:, 0], 0.0) ** 1.5
    # However thick the frame, the nose must pass between the rims.
    slim = max(0.0, 0.8 * plan["rim_width_mm"] - 2.2)
    width = plan["rim_width_mm"] - GROOVE_MM - slim * nasal + plan["brow_mm"] * rise**1.5
    return edge_distance(plan, width, u, v)


def edge_distance(plan: Plan, width: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
    """About the distance in mm from (n,) points about the lens centre to a curve round the lens.

    The curve lies `width` mm, one a sample of the outline, outside it; within it is negative.
    """
    edge = plan.outline.points + width[:, None] * plan.outline.normals
    own, radius = atan2(edge[:, 1], edge[:, 0]), np.hypot(edge[:, 0], edge[:, 1])
    cosine = np.abs(np.sum(edge * plan.outline.normals, axis=1)) / radius
    angle = np.arctan2(v, u)
    there = np.interp(angle, own, radius, period=2 * np.pi)
    outside: FloatArray = np.hypot(u, v) - there
    return outside * np.interp(angle, own, cosine, period=2 * np.pi)


def box_distance(
    x: FloatArray, y: FloatArray, half_x: float, half_y: float, round_: float
) -> FloatArray:
    """mm from points to a box about 0 with corners rounded by `round_` mm; inside negative."""
    qx, qy = np.abs(x) - half_x + round_, np.abs(y) - half_y + round_
    beyond = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0))
    return beyond + np.minimum(np.maximum(qx, qy), 0) - round_


def smooth_min(a: FloatArray, b: FloatArray, reach: float) -> FloatArray:
    """The lesser of two distances; where they are within `reach` mm, less, as if by a fillet."""
    h = np.maximum(reach - np.abs(a - b), 0.0) / reach
    return np.minimum(a, b) - h**2 * reach / 4


def _plate(plan: Plan, contour: FloatArray, normals: FloatArray, gap: FloatArray) -> Body:
    """Both halves as one body with rounded edges, open to each other at the bridge."""
    edge = min(1.0, 0.28 * plan["rim_width_mm"], 0.3 * plan["rim_depth_mm"])
    columns = 5
    inside = edge + HOLD_MM
    ys = np.linspace(gap[1] - inside, gap[0] + inside, columns + 2)[1:-1]
    outer = np.concatenate([contour, np.stack([np.zeros(columns), ys], axis=1)])
    outer_normal = np.concatenate([normals, np.zeros((columns, 2))])
    # Columns are matched by where the flat face begins, so that they never cross on it.
    pole_y = plan["bridge_height_mm"]
    from_lens = outer - inside * outer_normal - (plan.centre_x, pole_y)
    angle = np.unwrap(atan2(from_lens[:, 1], from_lens[:, 0]))
    angle = _smoothed_turn(np.maximum.accumulate(angle))
    lens, lens_normal = plan.outline.at_angles(angle, pole_y)
    inner = lens - GROOVE_MM * lens_normal + (plan.centre_x, 0.0)

    turn = np.linspace(0.0, np.pi / 2, 4)
    arc_in, arc_down = edge * (1 - np.sin(turn)), edge * (1 - np.cos(turn))
    inset = np.concatenate([[inside], arc_in, [0.0]])
    half = plan["rim_depth_mm"] / 2
    depth = half - np.concatenate([[0.0], arc_down, [inside]])
    side_inset = np.concatenate([inset, inset[::-1]])
    side_depth = np.concatenate([depth, -depth[::-1]])
    out = outer[:, None] - side_inset[:, None] * outer_normal[:, None]
    inn = inner[:, None] + side_inset[::-1, None] * lens_normal[:, None]
    share = np.array([1 / 3, 2 / 3])[:, None]
    face = inn[:, -1:] * (1 - share) + out[:, :1] * share
    rear = out[:, -1:] * (1 - share) + inn[:, :1] * share
    flat = np.concatenate([out, rear, inn, face], axis=1)
    depths = np.concatenate([side_depth, [-half] * 2, side_depth[::-1], [half] * 2])
    rows, cols = flat.shape[:2]
    vertices = plan.front.place(flat[..., 0], flat[..., 1], depths[None]).reshape(-1, 3)
    body = outward(Body(vertices, grid_faces(rows, cols, closed=True)))
    return _weld_mirror(body)


def _smoothed_turn(angle: FloatArray, window: int = 7) -> FloatArray:
    """Rising angles (n,) of one full turn, evened out so that none are equal."""
    half = window // 2
    padded = np.concatenate([angle[-half:] - 2 * np.pi, angle, angle[:half] + 2 * np.pi])
    return np.convolve(np.maximum.accumulate(padded), np.full(window, 1 / window), mode="valid")


def _weld_mirror(half: Body) -> Body:
    """The half and its mirror image as one body, joined where the half lies on x = 0."""
    middle = half.vertices[:, 0] == 0.0
    faces = half.faces[~middle[half.faces].all(axis=1)]
    count = len(half.vertices)
    twin = np.where(middle, np.arange(count), np.arange(count) + count)
    vertices = np.concatenate([half.vertices, half.mirrored().vertices])
    faces = np.concatenate([faces, twin[faces][:, ::-1]])
    used, renumbered = np.unique(faces, return_inverse=True)
    return Body(vertices[used], renumbered.reshape(faces.shape))


# --- metal -------------------------------------------------------------------------------------


def metal_front(plan: Plan, double: bool) -> FrontParts:
    """Wire rims, a bridge of one or two bars, and end pieces bent back to the hinges."""
    middle = plan["rim_width_mm"] / 2 - GROOVE_MM
    rim = wire_rim(plan)
    start = plan.outline.at_height(plan["endpiece_height_mm"], middle, temporal=True)
    end, hinge, temple_x = end_piece(plan, start, 0.0)
    bridge = [bar(plan, middle, plan["bridge_height_mm"], plan["bridge_arch_mm"])]
    if double:
        bridge.append(bar(plan, middle, 0.40 * plan["lens_height_mm"], 0.6))
    return FrontParts([*both(rim), *both(end)], bridge, hinge, temple_x, 0.3)


def wire_rim(plan: Plan) -> Body:
    """Metal all round the left lens, which stands in its groove."""
    width, depth = plan["rim_width_mm"], plan["rim_depth_mm"]
    centre = plan.outline.offset(width / 2 - GROOVE_MM)[::5]
    normal = plan.outline.normals[::5]
    profile = rounded_rect(width, depth, 0.35 * min(width, depth))[0]
    return ring_body(
        plan.on_lens(centre[:, None] + profile[:, :1] * normal[:, None], profile[None, :, 1])
    )


def bar(plan: Plan, offset: float, height: float, arch: float) -> Body:
    """A bridge bar between the rims at flat height `height`, arched up and a little forward."""
    foot = plan.outline.at_height(height, offset, temporal=False)
    return _bridge(plan, plan.centre_x + foot[0], foot[1], arch, 0.0, 0.8)


def _bridge(
    plan: Plan, foot_x: float, foot_y: float, arch: float, depth: float, forward: float
) -> Body:
    t = np.linspace(-1.0, 1.0, 41)
    rise = 1 - t**2
    # Steeper at its feet than a parabola, as bridges are bent.
    rise = 1 - (1 - rise) ** 1.3
    path = plan.front.place(foot_x * t, foot_y + arch * rise, depth + forward * rise)
    thick = plan["bridge_thickness_mm"]
    return tube_body(sweep(path, rounded_rect(0.85 * thick, thick, 0.4 * thick)[0], (0, 1, 0)))


def end_piece(plan: Plan, start: FloatArray, depth: float) -> tuple[Body, FloatArray, float]:
    """Bar from `start` on the left lens out and round to the hinge; pin (3,), temple's x."""
    foot = plan.on_lens(start, depth)
    out_x = float(plan.on_lens(start)[0]) + plan["endpiece_mm"]
    thick, high = plan["temple_thickness_mm"], plan["temple_height_mm"]
    hinge_z = foot[2] - 6.0
    corner = np.array([out_x, foot[1], foot[2] + 0.2])
    turn = np.linspace(0.0, np.pi / 2, 10)
    radius = min(2.6, 0.8 * plan["endpiece_mm"])
    bend = corner + np.stack(
        [radius * (np.sin(turn) - 1), 0 * turn, radius * (np.cos(turn) - 1)], axis=1
    )
    lead = np.linspace(foot, bend[0], 5)[:-1]
    tail = np.linspace(bend[-1], (out_x, foot[1], hinge_z), 5)[1:]
    path = np.concatenate([lead, bend, tail])
    grow = np.interp(np.linspace(0, 1, len(path)), [0, 0.35, 1], [0.75, 1.0, 1.0])
    profile = rounded_rect(np.full(len(path), 1.1 * thick), high * grow, 0.4)
    bar = tube_body(sweep(path, profile))
    pin = np.array([out_x - thick / 2 - 0.7, foot[1], hinge_z])
    barrel = cylinder(pin, (0, 1, 0), 1.0, max(3.4, high - 0.2))
    return join([bar, barrel]), pin, out_x


# --- rimless -----------------------------------------------------------------------------------


def rimless_front(plan: Plan) -> FrontParts:
    """Bridge and end pieces screwed through the lenses."""
    inset = 3.2
    temporal = plan.outline.at_height(plan["endpiece_height_mm"], -inset, temporal=True)
    nasal = plan.outline.at_height(plan["bridge_height_mm"], -inset, temporal=False)
    lift = float(plan.lens_depths(temporal)[0]) + 0.45 * plan["temple_thickness_mm"]
    end, hinge, temple_x = end_piece(plan, temporal, lift)
    foot = float(plan.centre_x + nasal[0])
    raised = float(plan.lens_depths(nasal)[0]) + 0.4 * plan["bridge_thickness_mm"]
    bridge = _bridge(plan, foot, nasal[1], plan["bridge_arch_mm"], raised, 0.3)
    rims = [*both(end), *both(_screw(plan, temporal)), *both(_screw(plan, nasal))]
    return FrontParts(rims, [bridge], hinge, temple_x, 0.3)


def _screw(plan: Plan, at: FloatArray) -> Body:
    """A screw through the left lens at `at` (2,), with a head in front and a nut behind."""
    before, behind = plan.lens_depths(at)
    reach = before + plan["temple_thickness_mm"] + 0.5
    front, back = plan.on_lens(at, reach), plan.on_lens(at, behind - 0.9)
    axis = front - back
    length = float(np.linalg.norm(axis))
    nut = cylinder(plan.on_lens(at, behind - 0.45), axis, 1.25, 0.9)
    return join([cylinder((front + back) / 2, axis, 0.75, length), nut])


def arm_height(plan: Plan) -> float:
    """Flat y at which the arm of a pad leaves a metal rim."""
    return -plan["pad_drop_mm"] + 4.5


def pad_arm(plan: Plan, pad: FloatArray, behind: FloatArray, rimless: bool) -> Body:
    """Wire from the left rim (or the bridge's foot) in a loop to a pad; points (3,) mm.

    pad: the point of the pad that it holds. behind: unit direction there, away from the nose.
    """
    if rimless:
        foot = plan.outline.at_height(plan["bridge_height_mm"], -3.2, temporal=False)
        root = plan.on_lens(foot, plan.lens_depths(foot)[1] - 0.3)
    else:
        offset = plan["rim_width_mm"] / 2 - GROOVE_MM
        foot = plan.outline.at_height(arm_height(plan), offset, temporal=False)
        root = plan.on_lens(foot, -plan["rim_depth_mm"] / 2 + 0.3)
    span = pad - root
    loop = root + span * (0.1, -0.25, 0.45) + behind * 0.4
    turn = pad + behind * 1.6 + (0.0, -0.6, 0.8)
    return wire(spline([root, loop, turn, pad], 20), 0.42, 26, 8)
