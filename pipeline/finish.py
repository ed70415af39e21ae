"""From linear renderings to the images of a sample: arrays in, arrays out.

All arrays are (h, w) or (h, w, 3), first row on top. Linear means linear Rec. 709 radiance.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.spec import LAYERS, SampleSpec

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

#: Lyu et al. 2022: a pixel is in shadow where 0.3|dR| + 0.59|dG| + 0.11|dB| of 'all' against
#: 'glass' exceeds 12.75 of 255.
LYU_LUMA = (0.3, 0.59, 0.11)
LYU_THRESHOLD = 12.75
#: Rec. 709 (ITU-R BT.709-6) luminance of linear RGB.
REC709_LUMINANCE = (0.2126, 0.7152, 0.0722)
#: Below this luminance of `face` a ratio says nothing.
MATTE_FLOOR = 1e-4
#: A pixel is tied to the eyewear if its samples differ anywhere within this many pixels.
INFLUENCE_RADIUS_PX = 2


@dataclass(frozen=True, eq=False)
class Coverage:
    """Share of each pixel's square covered, (h, w) float32 in 0..1, hidden parts left out.

    frame: rims, bridge, pads and temples, also where seen through a clear lens. legs: the
    temples' part of it. lens_left, lens_right: a lens is in front. full: any eyewear in front.
    dark_lens: a lens in front that hides what is behind it.
    """

    frame: Float32
    legs: Float32
    lens_left: Float32
    lens_right: Float32
    full: Float32
    dark_lens: Float32


@dataclass(frozen=True, eq=False)
class Rendering:
    """What the renderer gives: each layer as traced and as denoised, and the coverage."""

    noisy: dict[str, Float32]
    denoised: dict[str, Float32]
    coverage: Coverage


def finish(spec: SampleSpec, rendering: Rendering) -> dict[str, NDArray]:
    """All images of a sample by key, as stored: see `pipeline.spec.IMAGE_KEYS`.

    uint8 (h, w, 3) RGB layers, uint8 (h, w) masks of 0 and 255 and `alpha_full`, uint16 (h, w)
    `shadow_matte` with 65535 for 1.
    """
    gain = np.float32(2.0**spec.light.exposure_ev)
    shown = rendering.denoised if spec.render.denoise else rendering.noisy
    images: dict[str, NDArray] = {
        layer: to_uint8(srgb_from_linear(shown[layer] * gain)) for layer in LAYERS
    }
    clean = {layer: rendering.denoised[layer] * gain for layer in LAYERS}
    coverage = rendering.coverage
    # Only camera rays tell these two layers apart, and only the eyewear's own pixels take them.
    touched = np.any(rendering.noisy["all"] != rendering.noisy["shadow"], axis=2)
    images |= coverage_masks(coverage, touched)
    tied_shadow = influenced(rendering.noisy["all"], rendering.noisy["glass"])
    images["mask_shadow"] = shadow_mask(clean["all"], clean["glass"], tied_shadow, coverage)
    tied_matte = influenced(rendering.noisy["shadow"], rendering.noisy["face"])
    images["shadow_matte"] = shadow_matte(clean["shadow"], clean["face"], tied_matte)
    return images


def srgb_from_linear(linear: Float32) -> Float32:
    """sRGB-encoded values (IEC 61966-2-1) in 0..1 of linear ones, clipped to 0..1."""
    x = np.clip(linear, 0.0, 1.0)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.power(x, 1 / 2.4) - 0.055).astype(
        np.float32
    )


def to_uint8(values: Float32) -> UInt8:
    """0..1 to 0..255, rounded to nearest, without dithering."""
    return (values * 255.0 + 0.5).astype(np.uint8)


def coverage_masks(coverage: Coverage, touched: NDArray[np.bool_]) -> dict[str, UInt8]:
    """The masks that are coverage cut at one half, and `alpha_full`.

    The latter is at least 1 where the eyewear is `touched` (h, w) by the picture's filter, which
    reaches further than a pixel's own square.
    """
    touched = touched | (coverage.full > 0)
    return {
        "mask_frame": _cut(coverage.frame),
        "mask_lens_left": _cut(coverage.lens_left),
        "mask_lens_right": _cut(coverage.lens_right),
        "mask_lenses": np.maximum(_cut(coverage.lens_left), _cut(coverage.lens_right)),
        "mask_legs": _cut(coverage.legs),
        "mask_full": _cut(coverage.full),
        "alpha_full": np.maximum(to_uint8(np.clip(coverage.full, 0, 1)), touched.astype(np.uint8)),
    }


def influenced(a: Float32, b: Float32) -> NDArray[np.bool_]:
    """(h, w) bool: where two noise-locked renderings differ, or a pixel nearby does.

    Renderings with the same random numbers are equal to the last bit where no path met the
    eyewear; a lone equal pixel among differing ones only had luck with its samples.
    """
    differs = np.any(a != b, axis=2).astype(np.uint8)
    side = 2 * INFLUENCE_RADIUS_PX + 1
    return cv2.dilate(differs, np.ones((side, side), np.uint8)).astype(bool)


def shadow_mask(
    with_shadow: Float32, without: Float32, tied: NDArray[np.bool_], coverage: Coverage
) -> UInt8:
    """Lyu's rule on noise-free linear (h, w, 3) `all` and `glass`, outside the eyewear itself."""
    lit, dark = srgb_from_linear(without), srgb_from_linear(with_shadow)
    change = np.abs(lit - dark) @ np.array(LYU_LUMA, np.float32) * 255.0
    darker = (lit - dark) @ np.array(LYU_LUMA, np.float32) > 0
    eyewear = coverage.frame + coverage.dark_lens >= 0.5
    return np.where((change > LYU_THRESHOLD) & darker & tied & ~eyewear, 255, 0).astype(np.uint8)


def shadow_matte(shadow: Float32, face: Float32, tied: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """min(1, Y(shadow) / Y(face)) of noise-free linear layers, 16-bit; 1 where nothing is tied."""
    weights = np.array(REC709_LUMINANCE, np.float32)
    shaded, lit = np.maximum(shadow @ weights, 0), np.maximum(face @ weights, 0)
    known = (lit >= MATTE_FLOOR) & tied
    ratio = np.where(known, np.minimum(shaded / np.maximum(lit, MATTE_FLOOR), 1.0), 1.0)
    return (ratio * 65535.0 + 0.5).astype(np.uint16)


def _cut(coverage: Float32) -> UInt8:
    return np.where(coverage >= 0.5, 255, 0).astype(np.uint8)
