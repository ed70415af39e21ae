"""Optional labels of a whole picture: depth, normals and what is what, with and without eyewear.

- `depth`: 16-bit grey, distance along the camera's axis in tenths of a millimetre, 0 where there is
  nothing, 65535 for 6553.5 mm and more. `normal`: 16-bit RGB, (n + 1) / 2 * 65535 of the unit
  normal in the camera's axes (x right, y up, z towards the camera), 0 where there is nothing. Both
  are of what the centre of a pixel sees in `all` through a pinhole; clear lenses are left out.
- `parsing_all`, `parsing_face`: 8-bit grey, class of `pipeline.catalog.parsing` that covers most of
  the pixel's square, with and without eyewear, through the lens as the masks are. As in
  CelebAMask-HQ, lenses are glasses like frames, but eyes and brows seen through clear ones are eyes
  and brows, there where the lens shows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import bpy
import numpy as np
from numpy.typing import NDArray

from pipeline.blender import shading
from pipeline.blender.labels import flat, outline
from pipeline.blender.scene import BuiltScene, Portrait
from pipeline.blender.trace import trace
from pipeline.catalog.parsing import (
    CLASSES,
    NUMBER,
    OVER_GLASSES,
    classes_of,
    classes_of_strands,
)
from pipeline.geometry import FloatArray, Head
from pipeline.pixels import Float32, Mask, UInt8
from pipeline.rendering import Coverage

#: Samples of a class. A power of two, so that dividing sums by it loses nothing.
_SPP = 16
#: Counts of samples share a channel: digits of a number of this base.
_BASE = _SPP + 1
#: Classes counted in one rendering: three in each of three channels.
_AT_ONCE = 9
_STEPS_A_MM, _MOST = 10.0, 65535
_ATTRIBUTE = "class_{}"
_STRANDS = "hair_"
#: Width of the filter (px) that sees a pixel's centre alone.
_POINT_PX = 0.01
_NOTHING_M = 1e6


def parsing_face(portrait: Portrait, head: Head) -> UInt8:
    """(h, w): classes of a portrait without eyewear. Its objects get what `parsing_all` needs."""
    size = portrait.spec.render.size
    _paint(portrait, head)
    everything = np.ones((size, size), bool)
    counts = _counts(portrait, {}, everything)
    return counts.argmax(axis=0).astype(np.uint8)


def parsing_all(built: BuiltScene, face: UInt8, coverage: Coverage) -> UInt8:
    """(h, w): classes of a sample; `face`: those of its portrait."""
    worn: dict[bpy.types.Object, float | None] = {}
    for name, obj in built.eyewear.items():
        clear = name in built.lenses and name not in built.dark_lenses
        worn[obj] = built.lenses[name].ior if clear else None
    where = outline(built)
    counts = _counts(built.portrait, worn, where)
    seen = np.where(where, counts.argmax(axis=0), face).astype(np.uint8)
    glasses = (coverage.full >= 0.5) & ~np.isin(seen, OVER_GLASSES)
    return np.where(glasses, NUMBER["eye_g"], seen).astype(np.uint8)


def depth_and_normal(built: BuiltScene) -> dict[str, NDArray[np.uint16]]:
    """`depth` (h, w) and `normal` (h, w, 3) of a sample."""
    portrait, scene = built.portrait, built.portrait.scene
    size = portrait.spec.render.size
    black = shading.emission("label_black", (0.0, 0.0, 0.0))
    opaque = {
        obj: black
        for name, obj in built.eyewear.items()
        if name not in built.lenses or name in built.dark_lenses
    }
    with flat(portrait, opaque, spp=1), _pinhole_passes(scene):
        passes = trace(scene, np.ones((size, size), bool))
    # Versions of Blender differ in the name of its one channel.
    ahead = next(image for name, image in passes.items() if name.startswith("Depth"))
    ahead = ahead.astype(np.float64)
    there = ahead < _NOTHING_M
    steps = np.clip(np.rint(ahead * 1000.0 * _STEPS_A_MM), 1, _MOST)
    # Blender's axes: the camera's, as placed.
    camera = np.array(scene.camera.matrix_world)[:3, :3]
    normal = passes["Normal"].astype(np.float64) @ camera
    length = np.linalg.norm(normal, axis=2, keepdims=True)
    coded = np.rint((normal / np.maximum(length, 1e-9) + 1.0) / 2.0 * _MOST)
    return {
        "depth": np.where(there, steps, 0).astype(np.uint16),
        "normal": np.where(there[..., None], coded, 0).astype(np.uint16),
    }


@contextmanager
def _pinhole_passes(scene: bpy.types.Scene) -> Iterator[None]:
    """Lets rays go through the centres of pixels and the pinhole, and adds depth and normals."""
    cycles, layer, dof = scene.cycles, scene.view_layers[0], scene.camera.data.dof
    before = cycles.pixel_filter_type, cycles.filter_width, dof.use_dof
    cycles.pixel_filter_type, cycles.filter_width, dof.use_dof = "GAUSSIAN", _POINT_PX, False
    layer.use_pass_z = layer.use_pass_normal = True
    try:
        yield
    finally:
        cycles.pixel_filter_type, cycles.filter_width, dof.use_dof = before
        layer.use_pass_z = layer.use_pass_normal = False


def _paint(portrait: Portrait, head: Head) -> None:
    """Gives meshes and strands of a head their classes, as colours of both renderings."""
    codes = np.array([_codes(number) for number in range(len(CLASSES))])
    for name, obj in portrait.head.items():
        strands = name.removeprefix(_STRANDS)
        if name != strands:
            domain, classes = "CURVE", classes_of_strands(strands, head)
        else:
            domain, classes = "FACE", classes_of(name, head)
        for half in (0, 1):
            attribute = obj.data.attributes.new(_ATTRIBUTE.format(half), "FLOAT_VECTOR", domain)
            colors = codes[classes, half].astype(np.float32)
            attribute.data.foreach_set("vector", colors.ravel())


def _codes(number: int) -> FloatArray:
    """(2, 3) colour of a class in each rendering: 1 in its own digit; none for background."""
    codes = np.zeros((2, 3))
    if number:
        half, place = divmod(number - 1, _AT_ONCE)
        codes[half, place // 3] = _BASE ** (place % 3)
    return codes


def _counts(
    portrait: Portrait, worn: Mapping[bpy.types.Object, float | None], where: Mask
) -> Float32:
    """(19, h, w) samples of each class. worn: parts of eyewear to index, None if not clear."""
    counts = np.zeros((len(CLASSES), *where.shape), np.float32)
    kinds = {ior: _clear(ior) for ior in worn.values() if ior is not None}
    for half in (0, 1):
        painted = shading.painted(f"label_classes_{half}", _ATTRIBUTE.format(half))
        red, green, blue = (float(value) for value in _codes(NUMBER["eye_g"])[half])
        opaque = shading.emission(f"label_worn_{half}", (red, green, blue))
        colors = dict.fromkeys(portrait.head.values(), painted)
        colors |= {obj: opaque if ior is None else kinds[ior] for obj, ior in worn.items()}
        with flat(portrait, colors, spp=_SPP):
            seen = trace(portrait.scene, where)["Combined"][..., :3]
        left = np.rint(seen.astype(np.float64) * _SPP)
        for place in range(_AT_ONCE):
            digit = left[..., place // 3] // _BASE ** (place % 3) % _BASE
            counts[1 + half * _AT_ONCE + place] = digit
    counts[0] = _SPP - counts.sum(axis=0)
    return counts


def _clear(ior: float) -> bpy.types.Material:
    """A lens that bends rays and adds nothing to what it shows."""
    return shading.label(f"label_clear_{ior}", (0.0, 0.0, 0.0), ior=ior)
