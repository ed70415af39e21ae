"""Coverage of the eyewear's parts, from one flat-coloured rendering, and where it can be seen."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import bpy
import cv2
import numpy as np

from pipeline.blender import shading
from pipeline.blender.scene import BuiltScene, Portrait
from pipeline.blender.trace import RAYS, show_to, trace
from pipeline.geometry import LENS_PARTS, RGB, TEMPLE_PARTS, FloatArray
from pipeline.pixels import Float32, Mask, UInt8, dilated
from pipeline.rendering import Coverage

#: Samples of a coverage: cut at one half, an edge then errs by about a hundredth of a pixel.
LABEL_SPP = 64
#: Counts in one colour channel: a sample adds 1 to the low count and this much to the high one.
#: More than `LABEL_SPP`, so that sums of samples fall apart into both again; small enough that
#: float32 holds the sums exactly.
_HIGH = 256.0
#: Outlines are drawn on a grid finer than the pixels, by up to so much and of about this width.
_FINEST, _GRID = 4, 1024
#: Drawing errs by so much.
_ERROR_CELLS = 1
#: Triangles of so many cells or less are drawn by points a cell apart, larger ones are filled.
_SMALL_CELLS = 6
#: OpenCV draws to at most this coordinate.
_FAR = 30_000
#: What coverage misses that pictures of more samples see lies within this of what it sees.
_SEEN_WITHIN_PX = 2


def outline(built: BuiltScene) -> Mask:
    """(h, w): pixels that eyewear can be seen in, by its triangles' projection.

    Drawn without what hides it; what that is, coverage tells. What is out of focus is drawn as it
    would be in focus, and all widened by the largest blur.
    """
    view, size = built.portrait.view, built.portrait.spec.render.size
    points, triangles = built.eyewear_points, built.eyewear_triangles
    if not view.in_front(points).all():
        return np.ones((size, size), bool)
    pixels = view.project(points, size)[triangles.T]
    finer = int(np.clip(_GRID // size, 1, _FINEST))
    grid = np.zeros((size * finer, size * finer), np.uint8)
    _draw(grid, pixels * finer)
    fine = dilated(grid.astype(bool), _ERROR_CELLS + math.ceil(_blur_px(built) * finer))
    return fine.reshape(size, finer, size, finer).any(axis=(1, 3))


def _blur_px(built: BuiltScene) -> float:
    """Radius in px of the widest disc that a point of the eyewear is seen as."""
    size = built.portrait.spec.render.size
    return float(built.portrait.view.blur_px(built.eyewear_points, size).max())


def _draw(grid: UInt8, corners: FloatArray) -> None:
    """Marks the cells that triangles (3, t, 2) touch, to within a cell; (0, 0) is the corner."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    visible = ((high >= 0) & (low < len(grid))).all(axis=1)
    extent = np.ceil((high - low).max(axis=1)).clip(1)
    for steps in range(1, _SMALL_CELLS + 1):
        first, second = np.indices((steps + 1, steps + 1)).reshape(2, -1) / steps
        weights = np.stack([1 - first - second, first, second])[:, first + second < 1 + 1e-9]
        chosen = corners[:, visible & (extent == steps)].astype(np.float32)
        columns, rows = (
            np.floor(weights.T.astype(np.float32) @ chosen[..., axis]).astype(np.int32).ravel()
            for axis in (0, 1)
        )
        inside = (columns >= 0) & (rows >= 0) & (columns < len(grid)) & (rows < len(grid))
        grid[rows[inside], columns[inside]] = 1
    # OpenCV's integer coordinates are centres of cells.
    large = np.round(corners[:, visible & (extent > _SMALL_CELLS)] - 0.5).clip(-_FAR, _FAR)
    for triangle in np.ascontiguousarray(large.swapaxes(0, 1), dtype=np.int32):
        cv2.fillConvexPoly(grid, triangle, 1)


def render_coverage(built: BuiltScene, hide_head: bool = False) -> tuple[Coverage, Mask]:
    """Coverage of the eyewear's parts, and its silhouette (h, w).

    The silhouette is the pixels in which a camera ray of the picture can meet the eyewear: those of
    coverage, whose first samples are the picture's, and those about them, if the picture has more.
    `hide_head` leaves out what hides them.

    In one rendering each part glows in a colour of its own. Clear lenses also refract, so that
    what is seen through a lens is where the picture shows it. Each channel holds two counts of
    samples: red and green those that meet frame and temples (high: at once; low: at all), blue
    those that first meet the right (high) and the left lens (low).
    """
    drawn, portrait = outline(built), built.portrait
    colors = {obj: _material(built, name) for name, obj in built.eyewear.items()}
    with flat(portrait, colors, hidden=portrait.head.values() if hide_head else ()):
        seen = trace(portrait.scene, drawn)["Combined"][..., :3]
    high, low = _counts(seen)
    lens = {"lens_left": low[..., 2], "lens_right": high[..., 2]}
    at_all = low[..., 0] + low[..., 1]
    at_once = high[..., 0] + high[..., 1] + lens["lens_left"] + lens["lens_right"]
    coverage = Coverage(
        frame=np.minimum(at_all, 1.0),
        legs=low[..., 1],
        lens_left=lens["lens_left"],
        lens_right=lens["lens_right"],
        full=np.minimum(at_once, 1.0),
        dark_lens=sum((lens[name] for name in built.dark_lenses), np.zeros_like(at_all)),
    )
    silhouette = coverage.full > 0
    if portrait.spec.render.spp > LABEL_SPP:
        within = _SEEN_WITHIN_PX + math.ceil(_blur_px(built))
        silhouette = drawn & dilated(silhouette, within)
    return coverage, silhouette


def _material(built: BuiltScene, name: str) -> bpy.types.Material:
    dark: RGB = (0.0, 0.0, 0.0)
    if name not in LENS_PARTS:
        high, low = (
            ((0.0, _HIGH + 1, 0.0), (0.0, 1.0, 0.0))
            if name in TEMPLE_PARTS
            else ((_HIGH + 1, 0.0, 0.0), (1.0, 0.0, 0.0))
        )
        return shading.label(f"label_{name}", high, low)
    count = 1.0 if name == "lens_left" else _HIGH
    ior = None if name in built.dark_lenses else built.lenses[name].ior
    return shading.label(f"label_{name}", (0.0, 0.0, count), dark, ior)


def _counts(seen: Float32) -> tuple[Float32, Float32]:
    """The high and the low count of each channel, as shares of the samples."""
    sums = np.rint(seen.astype(np.float64) * LABEL_SPP)
    high, low = np.divmod(sums, _HIGH)
    return (high / LABEL_SPP).astype(np.float32), (low / LABEL_SPP).astype(np.float32)


@contextmanager
def flat(
    portrait: Portrait,
    colors: Mapping[bpy.types.Object, bpy.types.Material],
    hidden: Collection[bpy.types.Object] = (),
    spp: int = LABEL_SPP,
) -> Iterator[None]:
    """Shows objects in materials that glow, all else of the head in black, then the picture again.

    There is no world to be seen, nor eyewear that has no colour; nor what is `hidden`. No object
    leaves the scene, so that Cycles need not build it again. Coverage is of `spp` samples however
    few the picture has. Colours are counts: what shows through a lens, which is indirect light to
    Cycles, is not clamped.
    """
    cycles = portrait.scene.cycles
    eyewear = [obj for obj, _ in portrait.eyewear.values()]
    before = cycles.samples, cycles.sample_clamp_indirect
    worn = {obj: obj.data.materials[0] for obj in colors}
    cycles.samples, cycles.sample_clamp_indirect = spp, 0.0
    _show_world(portrait.scene, False)
    for obj in portrait.head.values():
        obj.pass_index = 0 if obj in colors else shading.DARK
    for obj in eyewear:
        # Light that surfaces throw on each other is none of a label.
        show_to(obj, ("camera", "transmission") if obj in colors else ())
    for obj in hidden:
        show_to(obj, ())
    for obj, color in colors.items():
        obj.data.materials[0] = color
    try:
        yield
    finally:
        cycles.samples, cycles.sample_clamp_indirect = before
        _show_world(portrait.scene, True)
        for obj in portrait.head.values():
            obj.pass_index = 0
        for obj in (*eyewear, *hidden):
            show_to(obj, RAYS)
        for obj, material in worn.items():
            obj.data.materials[0] = material


def _show_world(scene: bpy.types.Scene, shown: bool) -> None:
    """Lets rays that end at no surface see the world or nothing. Lights stay as they are."""
    # Blender tells Cycles of the change by way of the context.
    with bpy.context.temp_override(scene=scene):
        visible = scene.world.cycles_visibility
        visible.camera = visible.transmission = shown
