"""Holds layers put together from parts against the same layers traced in full."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.blender import labels, layers
from pipeline.blender.scene import BuiltScene
from pipeline.pixels import Float32, dilated, srgb_from_linear
from pipeline.rendering import Rendering
from pipeline.spec import LAYERS

#: Pictures of fewer samples leave out more by their noise alone.
_JUDGED_SPP = 512
#: Layers are equal further from the eyewear, drawn without what hides it, than this.
EQUAL_BEYOND_PX = 2
#: Blocks in which a change is averaged: an eighth of the picture, 16 px of 128.
_BLOCKS_A_SIDE = 8


def verify_layers(built: BuiltScene, rendering: Rendering) -> dict[str, float]:
    """Figures of a sample's layers against layers traced in full.

    unequal_px: pixels that differ where the rules say equal: `all` and `shadow`, `glass` and
    `face` beyond 2 px of the eyewear, as stored and in full; and every traced pixel, as stored
    against in full. unequal_by: the largest of these differences. omitted: of what was not traced,
    the largest mean change of any block, by channel; omitted_abs: the same of the change's absolute
    value, which noise adds to. border: share of the picture in which `all` was traced. Changes are
    in bytes of 8-bit sRGB. broken: 1 if a pixel is unequal, or more is omitted than is to be by a
    picture of `_JUDGED_SPP` or more; else 0.
    """
    stored = rendering.layers
    full = {name: layers.trace_layer(built, name)["Combined"][..., :3] for name in LAYERS}
    coverage, _ = labels.render_coverage(built, hide_head=True)
    far = ~dilated(coverage.full > 0, EQUAL_BEYOND_PX)
    seen, border = rendering.silhouette, rendering.border
    everywhere = np.ones_like(seen)
    equal = [
        (pictures[one], pictures[other], far)
        for pictures in (stored, full)
        for one, other in (("all", "shadow"), ("glass", "face"))
    ] + [
        (stored[name], full[name], where)
        for name, where in zip(LAYERS, (border, seen, seen, everywhere), strict=True)
    ]
    spec = built.portrait.spec
    gain = np.float32(spec.light.gain)
    changes = [_bytes(full[name] * gain) - _bytes(stored[name] * gain) for name in LAYERS]
    unequal = sum(int((np.any(a != b, axis=2) & where).sum()) for a, b, where in equal)
    omitted = max(_largest_block(change) for change in changes)
    judged = spec.render.spp >= _JUDGED_SPP
    return {
        "broken": float(unequal > 0 or (judged and omitted > layers.OMITTED_BYTES)),
        "unequal_px": unequal,
        "unequal_by": max(
            float((np.abs(_bytes(a * gain) - _bytes(b * gain)).max(axis=2) * where).max())
            for a, b, where in equal
        ),
        "omitted": omitted,
        "omitted_abs": max(_largest_block(np.abs(change)) for change in changes),
        "border": float(border.mean()),
    }


def _bytes(linear: Float32) -> Float32:
    return srgb_from_linear(linear) * np.float32(255.0)


def _largest_block(change: Float32) -> float:
    side = max(1, len(change) // _BLOCKS_A_SIDE)
    return float(np.abs(cv2.blur(change, (side, side))).max())
