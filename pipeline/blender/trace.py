"""Traces chosen pixels of a scene and no others: a few borders, and a screen before the camera.

Path tracing is what a sample costs, and layers share most of their pixels. A border alone is a
rectangle, while eyewear is thin; so where a border holds pixels that nobody asked for, a black
screen that only camera rays meet stands right before the camera, with holes for the pixels wanted.
Cycles' random numbers depend on pixel and sample only, so the pixels in the holes are those of a
picture traced in full, to the last bit (`tests/test_trace.py`).

Rays of one pixel through an open lens spread before and behind the plane in focus and meet in it.
The screen stands right before the skin then, where they have nearly met, and its holes are wider by
as much as they are still apart.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

import bpy
import numpy as np
import OpenEXR
from numpy.typing import NDArray

from pipeline.blender import shading
from pipeline.blender.frames import METRES_PER_MM
from pipeline.blender.meshes import fill_mesh
from pipeline.camera import SENSOR_MM
from pipeline.pixels import Box, Float32, Mask, bounding_box, boxes_around, dilated

#: Which rays an object can be seen by.
RAYS = ("camera", "diffuse", "glossy", "transmission", "volume_scatter", "shadow")
_NO_RAYS = ("volume_scatter",)
#: What callers may ask for, also where no pixel is traced; without denoising the first alone.
_PASSES = ("Combined", "Denoising Albedo", "Denoising Normal")
#: Holes are cut out of cells, so many to a pixel's side, and are a cell wider than the pixels
#: wanted, whose outermost rays rounding must not let meet the screen.
_CELLS = 4
#: A pinhole's screen stands behind the near clipping plane (0.01 m), before everything else.
NEAREST_SCREEN_MM = 11.0
#: A call of the renderer takes as long as so many camera rays that end at the screen (measured:
#: 10 ms a call, 0.25 us a ray on two cores).
_RAYS_A_CALL = 40_000


def trace(scene: bpy.types.Scene, wanted: Mask) -> dict[str, Float32]:
    """Passes by name, (h, w) or (h, w, c) float32, first row on top; 0 where not `wanted` (h, w).

    Raises RuntimeError if Cycles gives no usable picture.
    """
    size = scene.render.resolution_x
    passes: dict[str, Float32] = {}
    boxes = boxes_around(wanted, _RAYS_A_CALL / scene.cycles.samples)
    _raise_screen(scene, wanted, boxes)
    for box in boxes:
        set_border(scene, box)
        for name, part in _render_passes(scene).items():
            whole = passes.setdefault(name, np.zeros((size, size, *part.shape[2:]), np.float32))
            whole[box.slices()] = np.where(_like(wanted[box.slices()], part), part, 0)
    clear(scene)
    nothing = np.zeros((size, size, 3), np.float32)
    names = _PASSES if scene.view_layers[0].cycles.denoising_store_passes else _PASSES[:1]
    return passes or dict.fromkeys(names, nothing)


def clear(scene: bpy.types.Scene) -> None:
    """Takes away border and screen, as a person wants to find the scene."""
    set_border(scene, None)
    show_to(scene.objects[_screen_name(scene)], ())


def set_border(scene: bpy.types.Scene, box: Box | None) -> None:
    """Restricts rendering to a box of pixels, or to none."""
    render, size = scene.render, scene.render.resolution_x
    whole = Box(0, 0, size, size)
    render.use_border = render.use_crop_to_border = box not in (None, whole)
    if box is not None:
        # A quarter pixel inwards keeps Blender's float32 rounding away from the pixel's edge.
        render.border_min_x = (box.left + 0.25) / size
        render.border_max_x = (box.right + 0.25) / size
        render.border_min_y = (size - box.bottom + 0.25) / size
        render.border_max_y = (size - box.top + 0.25) / size


def show_to(obj: bpy.types.Object, rays: Collection[str]) -> None:
    """Lets an object be met by these rays (of `RAYS`) and no others.

    An object that no ray may meet stays visible to rays in volumes, of which there are none: what
    Cycles drops and takes up again changes its order of objects, in no certain way, and with it
    the last bits of pixels in which surfaces touch.
    """
    for ray in RAYS:
        setattr(obj, f"visible_{ray}", ray in (rays or _NO_RAYS))


def add_screen(scene: bpy.types.Scene, ahead_mm: float, blur: float) -> None:
    """Adds the screen, down; a scene that is traced needs one.

    ahead_mm: where it stands. blur: how far rays of a pixel are apart there, as a share of the
    picture's width.
    """
    name = _screen_name(scene)
    screen = bpy.data.objects.new(name, bpy.data.meshes.new(name))
    screen.data.materials.append(shading.emission(name, (0.0, 0.0, 0.0)))
    screen.hide_viewport = True
    screen["ahead_m"], screen["blur"] = ahead_mm * METRES_PER_MM, blur
    screen.matrix_world = scene.camera.matrix_world
    anything = np.ones((_CELLS, _CELLS), bool), Box(0, 0, 1, 1), 1
    fill_mesh(screen.data, *_strips(*anything, scene.camera.data, screen["ahead_m"]))
    show_to(screen, ())
    scene.collection.objects.link(screen)
    keep_apart(scene, screen)


def keep_apart(scene: bpy.types.Scene, obj: bpy.types.Object) -> bpy.types.Object:
    """Has Cycles make a tree of its own of an object's mesh, as of any that two objects share.

    In the tree of all others it would change the order in which surfaces are met, and with it the
    pixels of paths that meet two at the same distance. The second object, which this returns, can
    be met by no ray.
    """
    twin = bpy.data.objects.new(f"{obj.name}_twin", obj.data)
    twin.matrix_world = obj.matrix_world
    twin.hide_viewport = True
    show_to(twin, ())
    scene.collection.objects.link(twin)
    return twin


def _like(mask: Mask, image: Float32) -> Mask:
    return mask if image.ndim == 2 else mask[..., None]


def _raise_screen(scene: bpy.types.Scene, wanted: Mask, boxes: list[Box]) -> None:
    """Puts the screen over what is in the boxes but not wanted."""
    screen = scene.objects[_screen_name(scene)]
    inside = np.zeros_like(wanted)
    for box in boxes:
        # Rays of a box's rim pixels leave it by as much: nothing is to stop them there.
        inside[box.slices()] = True
    area = bounding_box(inside & ~wanted)
    show_to(screen, ())
    if area is None:
        return
    reach = 1 + math.ceil(screen["blur"] * len(wanted) * _CELLS)
    # Holes begin outside the area as well.
    area = area.widened(math.ceil(reach / _CELLS), len(wanted))
    part = area.slices()
    covered = _cells(inside[part]) & ~dilated(_cells(wanted[part]), reach)
    if covered.any():
        show_to(screen, ("camera",))
        strips = _strips(covered, area, len(wanted), scene.camera.data, screen["ahead_m"])
        fill_mesh(screen.data, *strips)


def _cells(mask: Mask) -> Mask:
    """(h, w) as cells."""
    return mask.repeat(_CELLS, axis=0).repeat(_CELLS, axis=1)


def _screen_name(scene: bpy.types.Scene) -> str:
    return f"{scene.name}_screen"


def _strips(
    covered: Mask, area: Box, size: int, camera: bpy.types.Camera, distance: float
) -> tuple[NDArray, NDArray]:
    """(4n, 3) metres in the camera's frame, (n, 4): quads, one for each run of covered cells.

    covered: the cells of an area of a picture `size` pixels wide. Rows that are alike share theirs.
    Two quads without extent, in corners of the picture, give every screen the same bounds. On
    bounds hangs in which order Cycles meets objects, and on that the last bits of pixels in which
    parts of the eyewear touch.
    """
    starts = np.flatnonzero(np.r_[True, (covered[1:] != covered[:-1]).any(axis=1)])
    ends = np.r_[starts[1:], len(covered)]
    edges = np.diff(np.pad(covered[starts].astype(np.int8), ((0, 0), (1, 1))), axis=1)
    row, left = np.nonzero(edges == 1)
    right = np.nonzero(edges == -1)[1]
    top, bottom = starts[row], ends[row]
    u = (area.left + np.stack([left, right, right, left], axis=1) / _CELLS) / size
    v = (area.top + np.stack([bottom, bottom, top, top], axis=1) / _CELLS) / size
    u, v = (np.concatenate([share, [[0.0] * 4, [1.0] * 4]]) for share in (u, v))
    width = distance * SENSOR_MM / camera.lens
    corners = np.empty((*u.shape, 3))
    corners[..., 0] = (u - 0.5 + camera.shift_x) * width
    corners[..., 1] = (0.5 - v + camera.shift_y) * width
    corners[..., 2] = -distance
    return corners.reshape(-1, 3), np.arange(corners.size // 3).reshape(-1, 4)


def _render_passes(scene: bpy.types.Scene) -> dict[str, Float32]:
    """One call of the renderer. Raises RuntimeError if Cycles gives no usable picture."""
    with tempfile.TemporaryDirectory(prefix="eyeglass-") as folder:
        path = Path(folder) / "passes.exr"
        settings = scene.render.image_settings
        if hasattr(settings, "media_type"):
            settings.media_type = "MULTI_LAYER_IMAGE"
        settings.file_format = "OPEN_EXR_MULTILAYER"
        settings.color_depth = "32"
        settings.exr_codec = "NONE"
        scene.render.filepath = str(path)
        bpy.ops.render.render(write_still=True, scene=scene.name)
        if not path.is_file():
            raise RuntimeError("Cycles wrote no picture; its own message stands above")
        passes = _read_exr(path)
    if not all(np.isfinite(image).all() for image in passes.values()):
        raise RuntimeError("Cycles gave pixels that are not finite")
    return passes


def _read_exr(path: Path) -> dict[str, Float32]:
    """Passes of an OpenEXR file by name, without the view layer's name; X, Y, Z are joined."""
    channels: dict[str, Float32] = {}
    with OpenEXR.File(str(path)) as file:
        for part in file.parts:
            for name, channel in part.channels.items():
                channels[name.split(".", 1)[1]] = np.array(channel.pixels, np.float32)
    return _join_vectors(channels)


def _join_vectors(channels: Mapping[str, Float32]) -> dict[str, Float32]:
    joined = dict(channels)
    for name in channels:
        if name.endswith(".X") and f"{name[:-2]}.Y" in channels:
            stem = name[:-2]
            joined[stem] = np.stack([joined.pop(f"{stem}.{axis}") for axis in "XYZ"], axis=2)
    return joined
