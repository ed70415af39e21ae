"""What frames, lenses and pads are made of. Colours are linear Rec. 709."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pipeline.geometry import Material


def _acetate(color: tuple[float, float, float], roughness: float = 0.2) -> Material:
    return Material(color, metallic=0.0, roughness=roughness, ior=1.48)


def _metal(color: tuple[float, float, float], roughness: float) -> Material:
    return Material(color, metallic=1.0, roughness=roughness)


#: Gold, silver and titanium: reflectance at normal incidence from S. Lagarde, "Feeding a
#: physically based shading model" (2011). Coatings (gunmetal, bronze, black) and acetate colours
#: are our own estimates from how such frames look. Cellulose acetate has an index of about 1.48.
FRAMES: Mapping[str, Material] = {
    "black": _acetate((0.008, 0.008, 0.009), 0.16),
    "matte_black": _acetate((0.010, 0.010, 0.011), 0.38),
    "havana": _acetate((0.075, 0.026, 0.009), 0.18),
    "dark_brown": _acetate((0.028, 0.012, 0.007), 0.2),
    "honey": _acetate((0.30, 0.13, 0.035), 0.2),
    "navy": _acetate((0.008, 0.016, 0.055), 0.2),
    "burgundy": _acetate((0.075, 0.007, 0.013), 0.18),
    "forest": _acetate((0.010, 0.035, 0.018), 0.22),
    "crystal_grey": _acetate((0.36, 0.36, 0.36), 0.18),
    "ivory": _acetate((0.66, 0.58, 0.45), 0.22),
    "red": _acetate((0.33, 0.012, 0.012), 0.18),
    "gold": _metal((1.000, 0.766, 0.336), 0.2),
    "silver": _metal((0.972, 0.960, 0.915), 0.18),
    "titanium": _metal((0.542, 0.497, 0.449), 0.32),
    "gunmetal": _metal((0.180, 0.180, 0.190), 0.25),
    "bronze": _metal((0.350, 0.200, 0.100), 0.28),
    "black_metal": _metal((0.030, 0.030, 0.032), 0.28),
}

#: CR-39 has an index of 1.498. The colour is what a whole lens lets through; with an
#: antireflection coating a clear one passes about 97 %.
LENSES: Mapping[str, Material] = {
    name: Material(tint, roughness=0.0, transmission=1.0, ior=1.498)
    for name, tint in {
        "clear": (0.97, 0.98, 0.97),
        "light_grey": (0.62, 0.63, 0.64),
        "light_brown": (0.70, 0.56, 0.42),
        "grey": (0.26, 0.27, 0.28),
        "brown": (0.34, 0.21, 0.12),
        "green": (0.20, 0.27, 0.19),
    }.items()
}

PADS = Material((0.55, 0.52, 0.47), roughness=0.3, ior=1.43)

#: Reflectance that makes a tip of a metallic surface look like black plastic.
TIP = (0.035, 0.035, 0.036)


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
