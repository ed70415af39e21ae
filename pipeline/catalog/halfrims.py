"""Fronts whose upper and lower halves differ: half rims, and brow bars over wire rims."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.catalog.frames import (
    BUTT_START_MM,
    GROOVE_MM,
    FrontParts,
    Plan,
    arm_height,
    bar,
    both,
    butt_hinge,
    edge_distance,
    end_distance,
    end_piece,
    smooth_min,
    wire_rim,
)
from pipeline.catalog.sweep import Body, rounded_rect, tube_body

FloatArray = NDArray[np.float64]

#: A rim runs on this far beyond what is soldered to it, mm.
_BEYOND_MM = 1.5
#: Of a brow bar, mm: how far outside the lens it begins, so that a line of the metal rim shows;
#: how much deeper it is than that rim; its width beside the nose as a share of that above the lens.
_BROW_INSET_MM = 0.3
_BROW_DEEPER_MM = 1.5
_BROW_SLIM = 0.45


def half_rim_front(plan: Plan, above: bool) -> FrontParts:
    """Metal along one half of each lens, the other held by a nylon cord in its edge.

    The cord, 0.5 mm and clear, lies sunk in a groove of the lens and is not modelled. The rim is
    wider at the top by `brow_mm` and reaches past what it carries: end piece, bridge and pad arm.
    """
    width = plan["rim_width_mm"] + plan["brow_mm"] * _upward(plan)
    middle = plan["rim_width_mm"] / 2 - GROOVE_MM
    half_end = plan["temple_height_mm"] / 2 + _BEYOND_MM
    half_bar = plan["bridge_thickness_mm"] / 2 + _BEYOND_MM
    temporal_y, nasal_y = plan["endpiece_height_mm"], plan["bridge_height_mm"]
    arm_y = arm_height(plan)
    if above:
        # Half of the lens and no less is held from above, else the cord would not keep it.
        temporal_y = min(temporal_y - half_end, 0.0)
        nasal_y = min(nasal_y - half_bar, arm_y - _BEYOND_MM)
    else:
        temporal_y = temporal_y + half_end
        nasal_y = max(nasal_y + half_bar, arm_y + _BEYOND_MM)
    first = plan.outline.index_at(temporal_y, middle, temporal=True)
    last = plan.outline.index_at(nasal_y, middle, temporal=False)
    if not above:
        first, last = last, first
    count = (last - first) % len(plan.outline.points)
    # Close together where the ends are bevelled.
    at = np.unique([0, 1, 2, *range(4, count - 3, 4), count - 2, count - 1, count])
    at = (first + at) % len(plan.outline.points)
    points, normals = plan.outline.points[at], plan.outline.normals[at]
    inner = points - GROOVE_MM * normals
    outer = points + (width[at] - GROOVE_MM)[:, None] * normals
    rim = _strip(plan, inner, outer, plan["rim_depth_mm"])
    start = plan.outline.at_height(plan["endpiece_height_mm"], middle, temporal=True)
    end, hinge, temple_x = end_piece(plan, start, 0.0)
    bridge = bar(plan, middle, plan["bridge_height_mm"], plan["bridge_arch_mm"])
    return FrontParts([*both(rim), *both(end)], [bridge], hinge, temple_x, 0.3)


def browline_front(plan: Plan) -> tuple[FrontParts, list[Body]]:
    """Wire rims with a metal bridge, and apart from them acetate brow bars with end pieces.

    `rim_width_mm` and `rim_depth_mm` are those of the wire; the bar stands `brow_mm` higher.
    """
    rim = wire_rim(plan)
    depth = plan["rim_depth_mm"] + _BROW_DEEPER_MM
    inner, outer = _brow_edges(plan)
    brow = _strip(plan, inner, outer, depth)
    outer_x = plan.centre_x + float(outer[:, 0].max())
    barrel, hinge, temple_x = butt_hinge(plan, outer_x, depth / 2)
    middle = plan["rim_width_mm"] / 2 - GROOVE_MM
    bridge = bar(plan, middle, plan["bridge_height_mm"], plan["bridge_arch_mm"])
    rims = [*both(rim), *both(barrel)]
    return FrontParts(rims, [bridge], hinge, temple_x, BUTT_START_MM), both(brow)


def _upward(plan: Plan) -> FloatArray:
    """(n,) how far the outline faces up at each of its samples, from 0 to 1."""
    return np.asarray(np.maximum(plan.outline.normals[:, 1], 0.0) ** 1.5)


def _brow_edges(plan: Plan) -> tuple[FloatArray, FloatArray]:
    """Lower and upper edge of the left brow bar from its tip to the nose, (n, 2) about the lens."""
    tip_x = plan["lens_width_mm"] / 2 + plan["endpiece_mm"]
    tip_y = plan["endpiece_height_mm"] - plan["temple_height_mm"] / 2
    nasal = plan.outline.at_height(
        min(plan["bridge_height_mm"] - plan["bridge_thickness_mm"] - _BEYOND_MM, 4.0),
        plan["brow_mm"] * _BROW_SLIM,
        temporal=False,
    )
    angle = np.linspace(np.arctan2(tip_y, tip_x), np.arctan2(nasal[1], nasal[0]) % (2 * np.pi), 900)
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    slim = _BROW_SLIM + (1 - _BROW_SLIM) * _upward(plan)
    width = plan["rim_width_mm"] - GROOVE_MM + plan["brow_mm"] * slim
    reach = np.full(len(angle), plan["lens_width_mm"] / 2 + 30.0)
    for _ in range(40):
        x, y = reach * direction[:, 0], reach * direction[:, 1]
        end = end_distance(plan, x + plan.centre_x, y)
        reach = reach - 0.9 * smooth_min(edge_distance(plan, width, x, y), end, 5.0)
    outer = reach[:, None] * direction
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(outer, axis=0), axis=1))])
    even = np.concatenate([[0.0, 0.15, 0.4], np.linspace(1.0, s[-1] - 1.0, 90)])
    even = np.concatenate([even, s[-1] - even[2::-1]])
    angle = np.interp(even, s, angle)
    outer = np.stack([np.interp(even, s, outer[:, i]) for i in range(2)], axis=1)
    lens, normals = plan.outline.at_angles(angle, 0.0)
    return lens + _BROW_INSET_MM * normals, outer


def _strip(plan: Plan, inner: FloatArray, outer: FloatArray, depth: float) -> Body:
    """Bar along the left lens between two edges, (n, 2) about the lens, its ends bevelled."""
    across = outer - inner
    wide = np.linalg.norm(across, axis=1)
    profile = rounded_rect(wide, depth, 0.35 * np.minimum(np.minimum(wide, depth), 2.4))
    profile[[0, -1]] *= 0.6
    profile[[1, -2]] *= 0.88
    middle, unit = (inner + outer) / 2, across / wide[:, None]
    flat = middle[:, None] + profile[..., :1] * unit[:, None]
    return tube_body(plan.on_lens(flat, profile[..., 1]))
