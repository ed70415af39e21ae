"""What frames, lenses and pads are made of. Colours are linear Rec. 709."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from pipeline.geometry import RGB, Material
from pipeline.pixels import REC709_LUMINANCE

Look = Literal["", "gradient", "two_tone", "tortoise"]


def _acetate(
    color: RGB,
    roughness: float = 0.18,
    clear: float = 0.0,
    pattern: Look = "",
    second: RGB = (0.0, 0.0, 0.0),
) -> Material:
    return Material(
        color, 0.0, roughness, transmission=clear, ior=1.48, pattern=pattern, second_color=second
    )


def _metal(color: RGB, roughness: float) -> Material:
    return Material(color, metallic=1.0, roughness=roughness)


_BLACK, _CLEAR = (0.008, 0.008, 0.009), (0.90, 0.90, 0.88)
_AMBER, _BARK = (0.42, 0.16, 0.035), (0.022, 0.008, 0.004)
_GOLD, _SILVER = (1.000, 0.766, 0.336), (0.972, 0.960, 0.915)

#: Gold, silver and titanium: reflectance at normal incidence from S. Lagarde, "Feeding a
#: physically based shading model" (2011); copper in rose gold from the same table. Coatings
#: (gunmetal, bronze, black), paints and acetate colours are our own estimates from how such frames
#: look. Cellulose acetate has an index of about 1.48 (Mazzucchelli 1849, data sheet M49).
FRAMES: Mapping[str, Material] = {
    "black": _acetate(_BLACK, 0.16),
    "matte_black": _acetate((0.010, 0.010, 0.011), 0.38),
    "havana": _acetate((0.13, 0.048, 0.014), 0.17, 0.2, "tortoise", (0.018, 0.007, 0.004)),
    "tortoise": _acetate(_AMBER, 0.16, 0.5, "tortoise", _BARK),
    "blond_tortoise": _acetate((0.66, 0.38, 0.13), 0.16, 0.4, "tortoise", (0.12, 0.04, 0.012)),
    "dark_brown": _acetate((0.028, 0.012, 0.007), 0.2),
    "honey": _acetate((0.62, 0.30, 0.08), 0.16, 0.6),
    "navy": _acetate((0.008, 0.016, 0.055), 0.2),
    "burgundy": _acetate((0.22, 0.012, 0.025), 0.17, 0.35),
    "forest": _acetate((0.010, 0.035, 0.018), 0.22),
    "crystal": _acetate(_CLEAR, 0.08, 0.95),
    "crystal_grey": _acetate((0.45, 0.47, 0.49), 0.1, 0.9),
    "crystal_blush": _acetate((0.82, 0.52, 0.45), 0.1, 0.9),
    "champagne": _acetate((0.80, 0.66, 0.44), 0.1, 0.85),
    "ivory": _acetate((0.66, 0.58, 0.45), 0.22),
    "red": _acetate((0.33, 0.012, 0.012), 0.18),
    "grey_fade": _acetate((0.012, 0.012, 0.014), 0.1, 0.9, "gradient", (0.78, 0.78, 0.78)),
    "brown_fade": _acetate((0.045, 0.018, 0.008), 0.1, 0.9, "gradient", (0.78, 0.56, 0.36)),
    "black_crystal": _acetate(_BLACK, 0.1, 0.95, "two_tone", _CLEAR),
    "havana_ivory": _acetate((0.075, 0.026, 0.009), 0.18, 0.0, "two_tone", (0.66, 0.58, 0.45)),
    "gold": _metal(_GOLD, 0.2),
    "matte_gold": _metal(_GOLD, 0.4),
    "rose_gold": _metal((0.965, 0.690, 0.545), 0.2),
    "silver": _metal(_SILVER, 0.18),
    "matte_silver": _metal(_SILVER, 0.4),
    "titanium": _metal((0.542, 0.497, 0.449), 0.32),
    "gunmetal": _metal((0.180, 0.180, 0.190), 0.25),
    "bronze": _metal((0.350, 0.200, 0.100), 0.28),
    "black_metal": _metal((0.030, 0.030, 0.032), 0.28),
    "black_paint": Material((0.010, 0.010, 0.011), roughness=0.3, ior=1.5),
    "navy_paint": Material((0.012, 0.022, 0.075), roughness=0.4, ior=1.5),
    "red_paint": Material((0.30, 0.014, 0.016), roughness=0.32, ior=1.5),
    "white_paint": Material((0.70, 0.70, 0.68), roughness=0.35, ior=1.5),
}

#: What is left of the reflection of one face under a usual antireflection coating (about 0.5%,
#: most of it green or violet), and of mirrors of half and of third silver.
_GREEN, _VIOLET, _BLUE = (0.002, 0.009, 0.004), (0.006, 0.002, 0.011), (0.003, 0.005, 0.018)
_MIRROR_SILVER, _MIRROR_BLUE = (0.45, 0.45, 0.46), (0.10, 0.22, 0.48)
_MIRROR_GOLD, _MIRROR_RED = (0.46, 0.32, 0.10), (0.48, 0.14, 0.08)


def _lens(
    tint: RGB, coating: RGB | None = None, pattern: Look = "", second: RGB = (0.0, 0.0, 0.0)
) -> Material:
    return Material(
        tint, roughness=0.0, transmission=1.0, ior=1.498, pattern=pattern, second_color=second,
        reflectance=coating,
    )  # fmt: skip


#: The colour is what the material of a whole lens lets through, without what its faces reflect.
#: CR-39 has an index of 1.498; a lens' own comes from its power, see `pipeline.catalog.optics`.
#: Tints by the filter categories of ISO 12312-1 (luminous transmittance 0: over 80%, 1: 43 to 80%,
#: 2: 18 to 43%, 3: 8 to 18%); sunglasses are mostly of category 3, photochromic lenses in a room's
#: daylight between.
LENSES: Mapping[str, Material] = {
    "clear": _lens((0.985, 0.99, 0.985), _GREEN),
    "clear_violet": _lens((0.985, 0.985, 0.985), _VIOLET),
    "uncoated": _lens((0.985, 0.99, 0.985)),
    "blue_filter": _lens((0.97, 0.96, 0.88), _BLUE),
    "light_grey": _lens((0.62, 0.63, 0.64), _GREEN),
    "light_brown": _lens((0.70, 0.56, 0.42), _GREEN),
    "photo_grey": _lens((0.40, 0.42, 0.44), _GREEN),
    "photo_brown": _lens((0.50, 0.37, 0.26), _GREEN),
    "yellow": _lens((0.92, 0.74, 0.16)),
    "blue": _lens((0.22, 0.38, 0.66)),
    "grey": _lens((0.14, 0.15, 0.16)),
    "brown": _lens((0.23, 0.13, 0.065)),
    "green": _lens((0.12, 0.17, 0.11)),
    "grey_gradient": _lens((0.10, 0.105, 0.115), None, "gradient", (0.58, 0.60, 0.62)),
    "brown_gradient": _lens((0.17, 0.09, 0.045), None, "gradient", (0.72, 0.54, 0.38)),
    "blue_gradient": _lens((0.07, 0.11, 0.24), None, "gradient", (0.52, 0.63, 0.80)),
    "silver_mirror": _lens((0.14, 0.15, 0.16), _MIRROR_SILVER),
    "blue_mirror": _lens((0.14, 0.15, 0.16), _MIRROR_BLUE),
    "gold_mirror": _lens((0.20, 0.13, 0.08), _MIRROR_GOLD),
    "red_mirror": _lens((0.18, 0.13, 0.10), _MIRROR_RED),
}

#: A lens that lets less of the light through than this hides what is behind it from the masks:
#: the border between filter categories 1 and 2 of ISO 12312-1 (43%).
CLEAR_LENS_TRANSMITTANCE = 0.43

PADS = Material((0.55, 0.52, 0.47), roughness=0.3, ior=1.43)

#: Reflectance that makes a tip of a metallic surface look like black plastic.
TIP = (0.035, 0.035, 0.036)


def is_dark(material: Material) -> bool:
    """Whether a lens of this material hides what is behind it from the masks."""
    if not material.is_glass():
        return True
    return float(np.dot(material.mean_color(), REC709_LUMINANCE)) < CLEAR_LENS_TRANSMITTANCE


def frame_material(name: str, tip: tuple[float, float, float] | None = None) -> Material:
    """A finish of `FRAMES`; with `tip`, a texture whose right half turns it into that colour."""
    material = FRAMES[name]
    if tip is None:
        return material
    share = np.minimum(np.array(tip) / np.array(material.base_color), 1.0)
    srgb = np.where(share <= 0.0031308, 12.92 * share, 1.055 * share ** (1 / 2.4) - 0.055)
    texture = np.full((4, 16, 3), 255, np.uint8)
    texture[:, 8:] = np.round(255 * srgb).astype(np.uint8)
    return replace(material, texture=texture)
