"""From linear renderings to the images of a sample: arrays in, arrays out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise import Denoiser, denoised_layers
from pipeline.pixels import Float32, Mask, UInt8, differing, srgb_from_linear, to_uint8, to_uint16
from pipeline.rendering import Coverage, Rendering
from pipeline.shadows import shadow_labels
from pipeline.spec import LAYERS, SampleSpec


def finish(spec: SampleSpec, rendering: Rendering, denoiser: Denoiser) -> dict[str, NDArray]:
    """All images of a sample by key, as stored: see `pipeline.spec.IMAGE_KEYS`.

    `refraction_flow`, which needs no picture, is not among them. uint8 (h, w, 3) RGB layers, uint8
    (h, w) masks of 0 and 255 and `alpha_full`, uint16 (h, w) `shadow_matte` with 65535 for 1 and
    (h, w, 3) `lens_transmittance` likewise.
    """
    gain = np.float32(spec.light.gain)
    traced = rendering.layers
    shown = denoised_layers(rendering, denoiser) if spec.render.denoise else traced
    images: dict[str, NDArray] = {
        layer: to_uint8(srgb_from_linear(shown[layer] * gain)) for layer in LAYERS
    }
    for name, extra in rendering.extras.items():
        color = extra.color
        if spec.render.denoise:
            assert extra.guides is not None
            # Where the colours are equal they stay so.
            changed = extra.where & differing(color, traced["all"])
            guides = denoiser.with_clean_albedo(extra.guides, rendering.silhouette)
            color = denoiser.replace(shown["all"], color, guides, changed)
        images[name] = to_uint8(srgb_from_linear(color * gain))
    if rendering.transmittance is not None:
        images["lens_transmittance"] = to_uint16(rendering.transmittance)
    # Only camera rays tell these two layers apart, and only the eyewear's own pixels take them.
    touched = np.any(traced["all"] != traced["shadow"], axis=2)
    images |= coverage_masks(rendering.coverage, touched)
    return images | shadow_labels(rendering, gain, denoiser)


def coverage_masks(coverage: Coverage, touched: Mask) -> dict[str, UInt8]:
    """The masks that are coverage cut at one half, and `alpha_full`.

    The latter is at least 1 where the eyewear is `touched` (h, w) by a sample of the picture, which
    may have more of them than coverage. Of a pixel that both lenses half cover, the left one
    has it.
    """
    touched = touched | (coverage.full > 0)
    left = _cut(coverage.lens_left)
    right = np.where(left > 0, 0, _cut(coverage.lens_right)).astype(np.uint8)
    return {
        "mask_frame": _cut(coverage.frame),
        "mask_lens_left": left,
        "mask_lens_right": right,
        "mask_lenses": np.maximum(left, right),
        "mask_legs": _cut(coverage.legs),
        "mask_full": _cut(coverage.full),
        "alpha_full": np.maximum(to_uint8(np.clip(coverage.full, 0, 1)), touched.astype(np.uint8)),
    }


def _cut(coverage: Float32) -> UInt8:
    return np.where(coverage >= 0.5, 255, 0).astype(np.uint8)
