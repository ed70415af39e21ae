"""Temples, nose pads and lenses: what every front carries. All for the wearer's left, in mm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.catalog.fields import atan2
from pipeline.catalog.frames import GROOVE_MM, Plan
from pipeline.catalog.outline import Outline, pitch
from pipeline.catalog.sweep import Body, ellipsoid, rounded_rect, sweep, tube_body

FloatArray = NDArray[np.float64]

_SEGMENTS = 4
#: Index in `rounded_rect` of the middle of the inner lower corner.
_INNER_LOWER = 2 * (_SEGMENTS + 3) + 1 + _SEGMENTS // 2
#: Length over which a temple bends down behind the ear, and over which it then turns in, mm.
_BEND_MM = 22.0
_INWARD_MM = 30.0
_INWARD_DEG = 8.0


def acetate_temple(
    plan: Plan, hinge: FloatArray, x: float, start: float
) -> tuple[Body, FloatArray]:
    """Temple of one piece, tall at the front; and the point (3,) that rests on the ear."""
    ear, length = plan["length_to_bend_mm"], plan["temple_length_mm"]
    tall, tip = plan["temple_height_mm"], plan["tip_height_mm"]
    neck = min(0.9 * tip, 0.75 * tall)
    at = [start, 8.0, 0.55 * ear, ear, ear + 20.0, length - 12.0, length]
    high = [tall, tall, 0.5 * (tall + neck), neck, 0.5 * (neck + tip), tip, tip]
    thick = plan["temple_thickness_mm"]
    wide = [thick, thick, 0.95 * thick, 0.85 * thick, 0.85 * thick, 0.85 * thick, 0.8 * thick]
    return _temple(plan, hinge, x, start, np.array(at), np.array(high), np.array(wide), 0.9)


def metal_temple(
    plan: Plan, hinge: FloatArray, x: float, start: float
) -> tuple[Body, Body, FloatArray]:
    """Thin bar, its plastic tip, and the point (3,) that rests on the ear."""
    ear, length = plan["length_to_bend_mm"], plan["temple_length_mm"]
    tall, tip, thick = plan["temple_height_mm"], plan["tip_height_mm"], plan["temple_thickness_mm"]
    sleeve_from = ear - 22.0
    at = np.array([start, 5.0, 25.0, sleeve_from + 6.0])
    high = np.array([tall, tall, 0.75 * tall, 0.7 * tall])
    bar, _ = _temple(plan, hinge, x, start, at, high, np.full(4, thick), 0.45)
    at = np.array([sleeve_from, sleeve_from + 3.0, ear, ear + 20.0, length - 12.0, length])
    high = np.array([0.72 * tip, 0.78 * tip, 0.85 * tip, 0.95 * tip, tip, tip])
    wide = np.array([2.0, 2.3, 2.6, 2.7, 2.8, 2.6])
    sleeve, anchor = _temple(plan, hinge, x, sleeve_from, at, high, wide, 1.1)
    return bar, sleeve, anchor


def _temple(
    plan: Plan,
    hinge: FloatArray,
    x: float,
    start: float,
    at: FloatArray,
    high: FloatArray,
    wide: FloatArray,
    edge: float,
) -> tuple[Body, FloatArray]:
    """Bar from `start` to at[-1] mm along the temple, its section given at stations `at`."""
    from scipy.interpolate import PchipInterpolator

    ear, end = plan["length_to_bend_mm"], float(at[-1])
    round_end = min(float(high[-1]), end - start) / 2
    stations = np.concatenate(
        [
            start + np.array([0.0, 0.12, 0.3, 0.6]),
            np.arange(start + 3.0, min(ear, end - round_end), 3.0),
            np.arange(ear, end - round_end, 1.5),
            end - round_end * (1 - np.sin(np.linspace(0, 0.97, 9) * np.pi / 2)),
        ]
    )
    stations = np.unique(np.round(stations, 6))
    close = np.flatnonzero(np.diff(stations) < 0.1)
    stations = np.delete(stations, [i + 1 if stations[i] == ear else i for i in close])
    blunt = np.clip((stations - (end - round_end)) / round_end, 0.0, 1.0)
    scale = np.sqrt(1 - blunt**2)
    front = np.interp(stations - start, [0.0, 0.12, 0.3], [0.35, 0.12, 0.0])
    heights = PchipInterpolator(at, high)(stations) * scale - 2 * front
    widths = PchipInterpolator(at, wide)(stations) * np.maximum(scale, 0.3) - 2 * front
    path = _temple_path(plan, stations) + np.array([x, hinge[1], hinge[2]])
    rings = sweep(path, rounded_rect(widths, heights, edge, _SEGMENTS))
    anchor = np.zeros(3)
    if stations[0] <= ear <= stations[-1]:
        anchor = rings[int(np.argmin(np.abs(stations - ear))), _INNER_LOWER].copy()
    return tube_body(rings), anchor


def _temple_path(plan: Plan, stations: FloatArray) -> FloatArray:
    """(n, 3) points `stations` mm along the middle of a left temple from its hinge at 0."""
    ear = plan["length_to_bend_mm"]
    fine = np.arange(0.0, plan["temple_length_mm"] + 1.0, 0.25)
    drop = np.deg2rad(plan["temple_bend_deg"]) * _ease((fine - ear + 2.0) / _BEND_MM)
    inward = np.deg2rad(_INWARD_DEG) * _ease((fine - ear) / _INWARD_MM)
    step = np.stack(
        [-np.sin(inward), -np.sin(drop) * np.cos(inward), -np.cos(drop) * np.cos(inward)], axis=1
    )
    mean = 0.5 * (step[1:] + step[:-1]) * 0.25
    points = np.concatenate([np.zeros((1, 3)), np.cumsum(mean, axis=0)])
    out = np.stack([np.interp(stations, fine, points[:, i]) for i in range(3)], axis=1)
    out[:, 2] = np.where(stations < 0, -stations, out[:, 2])
    return out


def _ease(t: FloatArray) -> FloatArray:
    t = np.clip(t, 0.0, 1.0)
    return t * t * (3 - 2 * t)


def nose_pad(plan: Plan, moulded: bool) -> tuple[Body, FloatArray, FloatArray]:
    """Left pad, the point (3,) that rests on the nose, and the unit direction (3,) away from it.

    The pad leans by the frontal angle (seen from the front) and the splay angle (seen from above).
    """
    frontal, splay = np.deg2rad(plan["pad_frontal_deg"]), np.deg2rad(plan["pad_splay_deg"])
    down = np.array([np.sin(frontal), -np.cos(frontal), 0.0])
    back = np.array([np.sin(splay), 0.0, -np.cos(splay)])
    to_nose = np.cross(back, down)
    to_nose /= np.linalg.norm(to_nose)
    wide = np.cross(to_nose, down)
    contact = np.array([plan["pad_distance_mm"] / 2, -plan["pad_drop_mm"], -plan["pad_depth_mm"]])
    half = (7.5, 5.5, 2.0) if moulded else (6.8, 3.7, 1.35)
    axes = pitch(np.stack([half[0] * down, half[1] * wide, half[2] * to_nose]), plan.front.tilt)
    contact = pitch(contact, plan.front.tilt)
    return ellipsoid(contact - axes[2], axes), contact, -axes[2] / half[2]


def lens(plan: Plan, bevelled: bool) -> Body:
    """Left lens: its two surfaces, and between them a bevel for the groove, or a flat edge."""
    points, normals = _edge_points(plan.outline)
    inset = (GROOVE_MM + 0.35, GROOVE_MM + 0.15) if bevelled else (0.45, 0.2)
    front_edge = [points - d * normals for d in inset]
    shares = np.linspace(0.04, 0.98, 14)
    sheet = np.stack([*(front_edge[0] * share for share in shares), *front_edge])
    front, back = plan.lens_depths(sheet)
    before, behind = front[-1], back[-1]
    if bevelled:
        # The bevel follows the groove, at depth 0, as far as the edge reaches there.
        fore = np.maximum(np.minimum(0.2, before - 0.1), behind + 0.4)
        rear = fore - 0.25
        edge = np.stack([points, points, points - inset[1] * normals])
        depth = np.stack([fore, rear, np.maximum(rear - 0.6, behind + 0.05)])
    else:
        bent = 0.1 * np.minimum(before - behind, 2.0)
        edge = np.stack([points - 0.06 * normals, points, points, points - 0.06 * normals])
        depth = np.stack(
            [before - 0.3 * bent, before - bent, behind + bent, behind + 0.3 * bent]
        )
    flat = np.concatenate([sheet, edge, sheet[::-1]])
    return tube_body(plan.on_lens(flat, np.concatenate([front, depth, back[::-1]])))


def _edge_points(outline: Outline) -> tuple[FloatArray, FloatArray]:
    """Points of an outline and its normals, (n, 2), evenly apart, with those that touch the box."""
    extreme = _extremes(outline.points)
    points = np.concatenate([outline.points[::6], outline.points[extreme]])
    normals = np.concatenate([outline.normals[::6], outline.normals[extreme]])
    order = np.argsort(atan2(points[:, 1], points[:, 0]))
    points, normals = points[order], normals[order]
    apart = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1) > 1e-6
    return points[apart], normals[apart]


def _extremes(points: FloatArray) -> list[int]:
    """Indices of the points that touch the lens box."""
    return [int(f(points[:, i])) for i in range(2) for f in (np.argmin, np.argmax)]
