"""Where the eyewear's shadow lies, and how much light it leaves: labels as of many samples.

A layer with the shadow and the same without share their random numbers, so they differ only where
a path met the eyewear, and what a pixel's samples have in common cancels in their ratio. What noise
is left is that of visibility: a light is hidden or not, sample by sample. What the shadow takes,
1 - dark / lit, is smooth where that noise is largest, in penumbras, so it is denoised itself; the
layers' texture is no part of it.

Its error is what `make verify-shadow` measures. Tried and left: the raw ratio, the ratio of
denoised or blurred layers, (lit - dark) / (lit, blurred) alone or averaged in, albedo as a guide,
the denoiser's network for pictures without an upper bound, which all err more; normals as a guide,
which change nothing; regression on a shadow pass of white, diffuse heads, which errs less but costs
too much.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.denoise import Denoiser
from pipeline.pixels import (
    REC709_LUMINANCE,
    Float32,
    Mask,
    bounding_box,
    differing,
    dilated,
    srgb_from_linear,
    to_uint16,
)
from pipeline.rendering import Coverage, Rendering

#: Lyu et al. 2022: a pixel is in shadow where 0.3|dR| + 0.59|dG| + 0.11|dB| of 'all' against
#: 'glass' exceeds 12.75 of 255.
LYU_LUMA = (0.3, 0.59, 0.11)
LYU_THRESHOLD = 12.75
#: Below this luminance, as shown, a ratio says nothing.
MATTE_FLOOR = 1e-4
#: A shadow that takes less than this is one that samples need not be spent on.
SLIGHT_SHADOW = 0.015
#: The denoiser sees this much more than what is taken from its output.
_MARGIN_PX = 16


def shadow_labels(
    rendering: Rendering, gain: np.float32, denoiser: Denoiser
) -> dict[str, NDArray]:
    """`mask_shadow`, uint8 (h, w) of 0 and 255, and `shadow_matte`, uint16 (h, w), 65535 for 1."""
    layers = {name: layer * gain for name, layer in rendering.for_labels.items()}
    left = shadow_ratio(layers["shadow"], layers["face"], denoiser)
    seen = rendering.silhouette[..., None]
    dark = np.where(seen, layers["all"], layers["shadow"])
    lit = np.where(seen, layers["glass"], layers["face"])
    behind = shadow_ratio(dark, lit, denoiser)
    lit = cv2.GaussianBlur(lit, (0, 0), 1.0)
    return {
        "mask_shadow": shadow_mask(lit, behind, rendering.coverage),
        "shadow_matte": to_uint16(left),
    }


def shadow_ratio(dark: Float32, lit: Float32, denoiser: Denoiser) -> Float32:
    """(h, w) in 0..1: the share of light that the shadow leaves, min(1, Y(dark) / Y(lit)).

    dark, lit: noise-locked (h, w, 3) linear layers, as exposed. 1 where no path ties a pixel to
    the eyewear, or `lit` is darker than `MATTE_FLOOR`.
    """
    tied = differing(dark, lit)
    ratio = np.ones(tied.shape, np.float32)
    box = bounding_box(tied)
    if box is not None:
        area = box.widened(_MARGIN_PX, len(tied)).slices()
        shaded, full = _luminance(dark[area]), _luminance(lit[area])
        # Where there is no light, none is taken: the denoiser spreads what it is given.
        taken = np.maximum(full - shaded, 0) / np.maximum(full, MATTE_FLOOR)
        found = 1 - denoiser.denoise_share(taken)
        ratio[area] = np.where(tied[area] & (full >= MATTE_FLOOR), found, 1.0)
    return ratio


def may_be_shadow(dark: Float32, lit: Float32) -> Mask:
    """(h, w): where noisy layers, blurred, let a shadow of more than `SLIGHT_SHADOW` be seen."""
    shaded, full = (cv2.GaussianBlur(_luminance(layer), (0, 0), 1.0) for layer in (dark, lit))
    shadow = shaded < (1 - SLIGHT_SHADOW) * full
    return dilated(shadow, 1) & differing(dark, lit)


def shadow_mask(lit: Float32, ratio: Float32, coverage: Coverage) -> NDArray[np.uint8]:
    """Lyu's rule on noise-free `glass` (h, w, 3), as exposed, and the share of light left (h, w).

    The eyewear itself is left out.
    """
    change = (srgb_from_linear(lit) - srgb_from_linear(lit * ratio[..., None])) * 255.0
    shadow = change @ np.array(LYU_LUMA, np.float32) > LYU_THRESHOLD
    eyewear = coverage.frame + coverage.dark_lens >= 0.5
    return np.where(shadow & ~eyewear, 255, 0).astype(np.uint8)


def _luminance(linear: Float32) -> Float32:
    return np.maximum(linear @ np.array(REC709_LUMINANCE, np.float32), 0)
