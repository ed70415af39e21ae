"""Renders the layers and the coverage of a built scene.

The four layers are one scene with the eyewear's ray visibility switched. With a fixed number of
samples and one seed, Cycles' random numbers depend on pixel and sample only, so pixels that no
path ties to the eyewear come out bit-identical in all layers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
import OpenEXR

from pipeline.blender import shading
from pipeline.blender.scene import BuiltScene
from pipeline.camera import project
from pipeline.finish import Coverage, Float32, Rendering
from pipeline.geometry import LENS_PARTS, TEMPLE_PARTS

#: Which rays meet the eyewear in each layer. `glass` keeps transmission, so that temples show
#: through lenses; `shadow` loses camera rays only, so that shadows are those of `all`.
VISIBLE_TO = {
    "all": {"camera", "diffuse", "glossy", "transmission", "volume_scatter", "shadow"},
    "glass": {"camera", "transmission"},
    "shadow": {"diffuse", "glossy", "transmission", "volume_scatter", "shadow"},
    "face": set(),
}
_RAYS = ("camera", "diffuse", "glossy", "transmission", "volume_scatter", "shadow")
#: The pixel filter reaches 0.75 px; a box this much wider than the eyewear holds it all.
_BOX_MARGIN_PX = 3
#: The denoiser sees this much more than what is taken from its output, so that no seam shows.
_DENOISER_MARGIN_PX = 16


@dataclass(frozen=True)
class Box:
    """Columns left..right-1 and rows top..bottom-1 of a picture, first row on top."""

    left: int
    top: int
    right: int
    bottom: int

    def slices(self) -> tuple[slice, slice]:
        """Rows and columns in the picture."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def within(self, outer: Box) -> tuple[slice, slice]:
        """Rows and columns in a picture of `outer` alone."""
        rows = slice(self.top - outer.top, self.bottom - outer.top)
        return rows, slice(self.left - outer.left, self.right - outer.left)

    def widened(self, margin: int, size: int) -> Box:
        """Wider by `margin` on all sides, within a picture of `size`."""
        return Box(
            max(self.left - margin, 0),
            max(self.top - margin, 0),
            min(self.right + margin, size),
            min(self.bottom + margin, size),
        )


def eyewear_box(built: BuiltScene) -> Box | None:
    """The pixels that a camera ray can meet the eyewear in, or None if it is out of sight."""
    size = built.spec.render.size
    pixels = project(built.spec.camera, built.centre, built.eyewear_points, size)
    left, top = np.clip(np.floor(pixels.min(axis=0)) - _BOX_MARGIN_PX, 0, size).astype(int)
    right, bottom = np.clip(np.ceil(pixels.max(axis=0)) + _BOX_MARGIN_PX, 0, size).astype(int)
    if right <= left or bottom <= top:
        return None
    return Box(int(left), int(top), int(right), int(bottom))


def render(built: BuiltScene) -> Rendering:
    """All layers, noisy and denoised, and the coverage of the eyewear.

    `face` and `all` are traced in full. `glass` differs from `face`, and `shadow` from `all`,
    only where a camera ray can meet the eyewear: that box is traced, the rest taken over.
    """
    noisy: dict[str, Float32] = {}
    denoised: dict[str, Float32] = {}
    for layer in ("face", "all"):
        noisy[layer], denoised[layer] = render_layer(built, layer)
    for layer, base in (("glass", "face"), ("shadow", "all")):
        noisy[layer], denoised[layer] = noisy[base].copy(), denoised[base].copy()
        box = eyewear_box(built)
        if box is None:
            continue
        wide = box.widened(_DENOISER_MARGIN_PX, built.spec.render.size)
        for target, part in zip(
            (noisy[layer], denoised[layer]), render_layer(built, layer, wide), strict=True
        ):
            target[box.slices()] = part[box.within(wide)]
    return Rendering(noisy=noisy, denoised=denoised, coverage=render_coverage(built))


def show(built: BuiltScene, layer: str) -> None:
    """Sets the picture up for a layer, in full; 'all' is how a person wants to find it."""
    for obj in built.eyewear.values():
        for ray in _RAYS:
            setattr(obj, f"visible_{ray}", ray in VISIBLE_TO[layer])
    _set_border(built.picture, None)


def render_layer(built: BuiltScene, layer: str, box: Box | None = None) -> tuple[Float32, Float32]:
    """(h, w, 3) float32 linear Rec. 709, as traced and as denoised by OpenImageDenoise.

    With `box`, only that part of the picture.
    """
    show(built, layer)
    scene = built.picture
    scene.cycles.use_denoising = True
    scene.cycles.denoiser = "OPENIMAGEDENOISE"
    scene.cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
    scene.view_layers[0].cycles.denoising_store_passes = True
    passes = _render_passes(scene, box)
    return passes["Noisy Image"][..., :3], passes["Combined"][..., :3]


def render_coverage(built: BuiltScene, hide_head: bool = False) -> Coverage:
    """Coverage of the eyewear's parts from two flat-coloured renderings.

    In the first, clear lenses refract and the rest of the eyewear glows, so that what is seen
    through a lens is where the picture shows it; in the second, lenses glow. `hide_head` leaves
    out what hides the eyewear.
    """
    for obj in built.label_head.values():
        obj.hide_render = hide_head
    red = shading.emission("label_red", (1.0, 0.0, 0.0))
    green = shading.emission("label_green", (0.0, 1.0, 0.0))
    blue = shading.emission("label_blue", (0.0, 0.0, 1.0))
    black = bpy.data.materials["label_black"]

    def paint(lenses: Mapping[str, bpy.types.Material], temples: bpy.types.Material) -> Float32:
        for name, obj in built.label_eyewear.items():
            material = temples if name in TEMPLE_PARTS else lenses.get(name, red)
            obj.material_slots[0].material = material
        return _render_labels(built)

    through = {
        name: black if name in built.dark_lenses else _clear_label(built, name)
        for name in LENS_PARTS
        if name in built.label_eyewear
    }
    seen = paint(through, green)
    front = paint({"lens_left": green, "lens_right": blue}, red)
    lens = {"lens_left": front[..., 1], "lens_right": front[..., 2]}
    dark = sum((lens[name] for name in built.dark_lenses), np.zeros_like(front[..., 0]))
    return Coverage(
        frame=np.minimum(seen[..., 0] + seen[..., 1], 1.0),
        legs=seen[..., 1],
        lens_left=lens["lens_left"],
        lens_right=lens["lens_right"],
        full=np.minimum(front.sum(axis=2), 1.0),
        dark_lens=dark,
    )


def _clear_label(built: BuiltScene, name: str) -> bpy.types.Material:
    return shading.refraction(f"label_{name}", built.lens_ior[name])


def _render_labels(built: BuiltScene) -> Float32:
    """(h, w, 3) colours of the label scene, traced only where the eyewear can be."""
    size = built.spec.render.size
    full = np.zeros((size, size, 3), np.float32)
    box = eyewear_box(built)
    if box is not None:
        scene = built.labels
        scene.cycles.use_denoising = False
        scene.cycles.max_bounces = scene.cycles.transmission_bounces = 8
        full[box.slices()] = _render_passes(scene, box)["Combined"][..., :3]
    return full


def _set_border(scene: bpy.types.Scene, box: Box | None) -> None:
    """Restricts rendering to a box of pixels, or to none."""
    render, size = scene.render, scene.render.resolution_x
    render.use_border = render.use_crop_to_border = box is not None
    if box is not None:
        # A quarter pixel inwards keeps Blender's float32 rounding away from the pixel's edge.
        render.border_min_x = (box.left + 0.25) / size
        render.border_max_x = (box.right + 0.25) / size
        render.border_min_y = (size - box.bottom + 0.25) / size
        render.border_max_y = (size - box.top + 0.25) / size


def _render_passes(scene: bpy.types.Scene, box: Box | None) -> dict[str, Float32]:
    """Passes by name, first row on top. Raises RuntimeError if Cycles gives no usable picture."""
    _set_border(scene, box)
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
    if not np.isfinite(passes["Combined"]).all():
        raise RuntimeError("Cycles gave pixels that are not finite")
    return passes


def _read_exr(path: Path) -> dict[str, Float32]:
    """Channels of all parts of an OpenEXR file by pass name, without the view layer's name."""
    with OpenEXR.File(str(path)) as file:
        return {
            name.split(".", 1)[1]: np.array(channel.pixels, np.float32)
            for part in file.parts
            for name, channel in part.channels.items()
        }
