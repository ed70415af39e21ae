"""What holds between the images of every sample, as far as their pixels can show it.

The renderer promises more than pixels tell: the rule of equal layers (README) speaks of the eyewear
drawn without what hides it, `alpha_full` shows the visible part of it. Each rule here follows from
how the images are made, so no sample that was stored as it was made breaks one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.pixels import INFLUENCE_RADIUS_PX, Mask
from pipeline.spec import MASKS

Images = Mapping[str, NDArray]
#: Those of `pipeline.catalog.parsing`, which is long to import.
_CLASSES = 19
#: Masks that lie inside another: what is seen through a lens is behind eyewear too.
_NESTED = (
    ("mask_frame", "mask_full"),
    ("mask_lenses", "mask_full"),
    ("mask_legs", "mask_frame"),
)


def broken_rules(images: Images, denoised: bool) -> Iterator[tuple[str, str]]:
    """Image and what is wrong with it, for each rule that a sample's images as stored break.

    denoised: whether its RGB layers are. Optional images may be absent.
    """
    masks = {key: images[key] > 127 for key in MASKS}
    broken = (
        *_values(images),
        *_mask_rules(images, masks),
        *_layer_rules(images, denoised),
        *_optional_rules(images),
    )
    for key, what, where in broken:
        if where.any():
            row, column = np.unravel_index(int(np.argmax(where)), where.shape)
            yield key, f"{what}, at {np.count_nonzero(where)} px, first x {column} y {row}"


def _values(images: Images) -> Iterator[tuple[str, str, Mask]]:
    for key in MASKS:
        yield key, "neither 0 nor 255", (images[key] != 0) & (images[key] != 255)


def _mask_rules(images: Images, masks: Mapping[str, Mask]) -> Iterator[tuple[str, str, Mask]]:
    left, right = masks["mask_lens_left"], masks["mask_lens_right"]
    yield "mask_lens_right", "overlaps mask_lens_left", left & right
    other = masks["mask_lenses"] ^ (left | right)
    yield "mask_lenses", "is not mask_lens_left and mask_lens_right together", other
    for inner, outer in _NESTED:
        yield inner, f"reaches out of {outer}", masks[inner] > masks[outer]
    yield "mask_shadow", "lies on mask_frame", masks["mask_shadow"] & masks["mask_frame"]
    # Both are cut from one coverage, which half is rounded to 128 of 255.
    half = images["alpha_full"] >= 128
    yield "mask_full", "is not alpha_full cut at one half", masks["mask_full"] ^ half


def _layer_rules(images: Images, denoised: bool) -> Iterator[tuple[str, str, Mask]]:
    side = 2 * INFLUENCE_RADIUS_PX + 1
    touched = images["alpha_full"]
    near = cv2.dilate(touched, np.ones((side, side), np.uint8))
    away = f"further than {INFLUENCE_RADIUS_PX} px from where alpha_full is not 0"
    yield "glass", f"differs from face {away}", _differing(images, "glass", "face", near == 0)
    if denoised:
        yield "all", f"differs from shadow {away}", _differing(images, "all", "shadow", near == 0)
    else:
        untouched = _differing(images, "all", "shadow", touched == 0)
        yield "all", "differs from shadow where alpha_full is 0", untouched
    if "no_reflection" in images:
        plain = _differing(images, "no_reflection", "all", near == 0)
        yield "no_reflection", f"differs from all {away}", plain


def _optional_rules(images: Images) -> Iterator[tuple[str, str, Mask]]:
    nothing = images["alpha_full"] == 0
    if "lens_transmittance" in images:
        through = (images["lens_transmittance"] != 65535).any(axis=2)
        yield "lens_transmittance", "is not 65535 where alpha_full is 0", through & nothing
    if "refraction_flow" in images:
        valid = images["refraction_flow"][..., 2]
        yield "refraction_flow", "blue is neither 0 nor 1", valid > 1
        yield "refraction_flow", "is valid where alpha_full is 0", (valid != 0) & nothing
    for key in ("parsing_all", "parsing_face"):
        if key in images:
            yield key, "is no class", images[key] >= _CLASSES
    if "parsing_all" in images and "parsing_face" in images:
        other = images["parsing_all"] != images["parsing_face"]
        yield "parsing_all", "differs from parsing_face where alpha_full is 0", other & nothing
    if "depth" in images and "normal" in images:
        one = (images["depth"] == 0) ^ (images["normal"] == 0).all(axis=2)
        yield "normal", "is 0 where depth is not, or the other way round", one


def _differing(images: Images, one: str, other: str, where: Mask) -> Mask:
    """(h, w): where two RGB layers should be equal and are not."""
    if not cv2.norm(images[one], images[other], cv2.NORM_INF, where.astype(np.uint8)):
        return np.zeros_like(where)
    return (images[one] != images[other]).any(axis=2) & where
