"""What parts of somebody's glasses are made of, and how a part of several materials keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.catalog.finishes import FRAMES, PADS
from pipeline.geometry import LENS_PARTS, FloatArray, Material, Surface

CLEAR_LENS = Material((0.95, 0.95, 0.95), metallic=0.0, roughness=0.0, transmission=1.0)
#: Lenses that are opaque in the file stay so if they are as dark as sunglasses or mirror.
_DARK = 0.1
#: Rows of a texture that carry one plain colour.
_PLAIN_ROWS = 8
_MAX_PIXELS = 4096 * 4096


def part_material(part: str, material: Material | None, opacity: float) -> Material:
    """The material for a surface of a part: the file's own, or a sensible one where it has none.

    opacity: 0..1, of the file. Lenses become glass of the file's colour, unless it says they are
    opaque and they look it.
    """
    if part in LENS_PARTS:
        return _lens(material, opacity)
    if material is not None:
        return material
    return PADS if part == "pads" else FRAMES["black"]


def _lens(material: Material | None, opacity: float) -> Material:
    if material is None:
        return CLEAR_LENS
    material = without_texture(material)
    through = max(material.transmission, 1.0 - opacity)
    if through > 0:
        return replace(material, metallic=0.0, transmission=through)
    luminance = float(np.dot(material.base_color, (0.2126, 0.7152, 0.0722)))
    return material if luminance < _DARK or material.metallic > 0.5 else CLEAR_LENS


def merged(surfaces: Sequence[Surface]) -> Surface:
    """One surface of several triangle meshes; vertices that no face uses are left out.

    Colours and textures stay, stacked in one texture; metal and gloss are those of the largest.
    A texture that repeats, or too many large ones, come out as their mean colour.
    """
    surfaces = [_compact(surface) for surface in surfaces]
    starts = np.cumsum([0, *(len(s.vertices) for s in surfaces)])
    vertices = np.concatenate([s.vertices for s in surfaces])
    faces = np.concatenate([s.faces + k for s, k in zip(surfaces, starts[:-1], strict=True)])
    largest = surfaces[int(np.argmax([_area(s) for s in surfaces]))].material
    materials = [s.material or Material() for s in surfaces]
    plain = all(m.texture is None for m in materials)
    if len(surfaces) == 1 or (plain and len({m.base_color for m in materials}) == 1):
        return Surface(vertices, faces, surfaces[0].uv, material=largest)
    texture, uv = _stacked(surfaces, materials)
    material = replace(largest or Material(), base_color=(1.0, 1.0, 1.0), texture=texture)
    return Surface(vertices, faces, uv, material=material)


def _compact(surface: Surface) -> Surface:
    used, faces = np.unique(surface.faces, return_inverse=True)
    uv = None if surface.uv is None else surface.uv[used]
    faces = faces.reshape(-1, 3).astype(np.int64)
    return replace(surface, vertices=surface.vertices[used], faces=faces, uv=uv, attributes={})


def _area(surface: Surface) -> float:
    corners = surface.vertices[surface.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return float(np.linalg.norm(normals, axis=1).sum())


def _stacked(
    surfaces: Sequence[Surface], materials: Sequence[Material]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A texture with a band of rows for each surface, and where in it their vertices lie."""
    pictured = [
        m.texture is not None and s.uv is not None and bool((np.ptp(s.uv, axis=0) <= 1.001).all())
        for s, m in zip(surfaces, materials, strict=True)
    ]
    sizes = [m.texture.shape for m in materials if m.texture is not None]
    width = max((size[1] for size in sizes), default=_PLAIN_ROWS)
    if sum(size[0] for size in sizes) * width > _MAX_PIXELS:
        pictured, width = [False] * len(surfaces), _PLAIN_ROWS
    bands = [
        _band(m if keep else without_texture(m), width)
        for m, keep in zip(materials, pictured, strict=True)
    ]
    texture = np.concatenate(bands)
    uvs, row = [], 0
    for surface, band, keep in zip(surfaces, bands, pictured, strict=True):
        if keep and surface.uv is not None:
            low = np.floor(surface.uv.min(axis=0) + 1e-3)
            place = np.clip(surface.uv - low, 0, 1)
        else:
            place = np.full((len(surface.vertices), 2), 0.5)
        # Half a pixel inside, so that no band bleeds into the next.
        u = (0.5 + place[:, 0] * (width - 1)) / width
        v = 1 - (row + 0.5 + (1 - place[:, 1]) * (len(band) - 1)) / len(texture)
        uvs.append(np.column_stack([u, v]))
        row += len(band)
    return texture, np.concatenate(uvs).astype(np.float32)


def _band(material: Material, width: int) -> NDArray[np.uint8]:
    """(h, width, 3) uint8 sRGB: the texture of a material times its colour."""
    color = np.array(material.base_color)
    if material.texture is None:
        return np.tile(_srgb(color), (_PLAIN_ROWS, width, 1))
    texture = material.texture
    if texture.shape[1] != width:
        texture = np.asarray(Image.fromarray(texture).resize((width, texture.shape[0])))
    table = _srgb(_linear(np.arange(256) / 255.0)[:, None] * color)
    return np.stack([table[texture[..., i], i] for i in range(3)], axis=-1)


def without_texture(material: Material) -> Material:
    """The material with the mean colour of its texture instead of the texture."""
    if material.texture is None:
        return material
    # Of few enough pixels to be quick, spread over the whole.
    pixels = material.texture.reshape(-1, 3)
    mean = _linear(pixels[:: max(1, len(pixels) // 100_000)] / 255.0).mean(axis=0)
    red, green, blue = (float(c) for c in np.array(material.base_color) * mean)
    return replace(material, base_color=(red, green, blue), texture=None)


def _linear(srgb: FloatArray) -> FloatArray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _srgb(linear: FloatArray) -> NDArray[np.uint8]:
    linear = np.clip(linear, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * srgb).astype(np.uint8)
