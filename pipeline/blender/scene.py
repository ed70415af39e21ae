"""Builds the scene of a portrait once, and dresses it with one pair of glasses after another.

There is one Blender scene for ever: Cycles drops all it has built when another scene is rendered.
A portrait is head, camera, light and noise; the samples of a portrait differ in their eyewear.
Everything of the previous portrait is removed first; only the HDR world stays. Cycles starts anew
with each portrait, because the order in which it holds objects, and with it the last bits of some
pixels, hangs on what it held before; so a sample's pixels do not depend on what a worker rendered
before it. Until the next portrait no object comes or goes: each part that eyewear can have is an
object from the start, without a mesh as long as none is worn. So Cycles builds head and hair once.

Labels are rendered of the same objects in flat colours (`pipeline.blender.labels`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from pipeline.blender import people, shading
from pipeline.blender.device import Machine
from pipeline.blender.frames import BLENDER_FROM_WORLD, METRES_PER_MM, turned_world
from pipeline.blender.meshes import add_object, new_mesh
from pipeline.blender.strands import add_strands
from pipeline.blender.trace import NEAREST_SCREEN_MM, add_screen, keep_apart
from pipeline.blender.world import KEPT, add_lamps, add_world
from pipeline.camera import SENSOR_MM, View, face_centre, view_of
from pipeline.catalog.catalog import Surroundings
from pipeline.catalog.finishes import is_dark
from pipeline.geometry import EYEWEAR_PARTS, LENS_PARTS, FloatArray, Head, Material, Surface
from pipeline.spec import SampleSpec

_SCENE = "picture"
#: Skin that glasses stand before lies within this of their bridge: eyes, nose and upper cheeks.
_GLASSES_REACH_MM = 60.0
#: Where a pinhole's screen stands, as a share of the way to the nose: before all that is held, too.
_SCREEN_AT = 0.02


@dataclass(frozen=True, eq=False)
class Portrait:
    """The Blender side of what samples of one portrait share. Objects are keyed by surface.

    spec: of any of its samples. eyewear: objects of each part of `EYEWEAR_PARTS`, worn or not: what
    is seen, and its twin (`trace.keep_apart`). view: what the camera sees, in the head's frame.
    """

    spec: SampleSpec
    scene: bpy.types.Scene
    head: Mapping[str, bpy.types.Object]
    eyewear: Mapping[str, tuple[bpy.types.Object, bpy.types.Object]]
    view: View


@dataclass(frozen=True, eq=False)
class BuiltScene:
    """The Blender side of a sample: a portrait and the parts of the eyewear that it wears.

    lenses: materials of the lenses; dark_lenses: those of them that hide what is behind.
    eyewear_points: (n, 3) mm in the head's frame; eyewear_triangles: (t, 3) int64 into them.
    """

    portrait: Portrait
    eyewear: Mapping[str, bpy.types.Object]
    dark_lenses: frozenset[str]
    lenses: Mapping[str, Material]
    eyewear_points: FloatArray
    eyewear_triangles: NDArray[np.int64]


def build_portrait(
    spec: SampleSpec, head: Head, around: Surroundings, machine: Machine
) -> Portrait:
    """The scene of a portrait, without eyewear."""
    _clear()
    turn = turned_world(spec.light.rotation_deg)
    view = view_of(spec.camera, head)
    scene = _scene(spec, machine)
    _add_camera(scene, view, turn)
    scene.world = add_world(spec, around, scene.camera)
    add_lamps(scene, spec.light, face_centre(head.anchors), turn)
    objects = {
        name: add_object(
            scene, name, new_mesh(name, surface, people.material(name, surface, head)), turn
        )
        for name, surface in head.surfaces.items()
    }
    objects |= {
        f"hair_{name}": add_strands(scene, f"hair_{name}", strands, turn)
        for name, strands in head.hair.items()
    }
    for obj in objects.values():
        shading.let_darken(obj.data.materials[0])
    eyewear = {name: _nothing(scene, name, turn) for name in EYEWEAR_PARTS}
    ahead = _screen_ahead_mm(view, head)
    add_screen(scene, ahead, float(view.blur_at_px(np.array(ahead), 1)))
    return Portrait(spec=spec, scene=scene, head=objects, eyewear=eyewear, view=view)


def _screen_ahead_mm(view: View, head: Head) -> float:
    """How far before the camera the screen is to stand: right before what glasses are before.

    Before a pinhole it stands where holes are large beside the rounding of far places.
    """
    nose = head.anchors.as_array()[2:].mean(axis=0)
    if not view.aperture_mm:
        return max(NEAREST_SCREEN_MM, _SCREEN_AT * float(view.ahead_mm(nose[None])[0]))
    parts = [s.vertices for name, s in head.surfaces.items() if name.startswith("skin")]
    skin = np.concatenate(parts)
    around = np.linalg.norm(skin - nose, axis=1) < _GLASSES_REACH_MM
    ahead = view.ahead_mm(skin[around] if around.any() else nose[None])
    return float(np.clip(ahead.min(), NEAREST_SCREEN_MM, view.focus_mm))


def wear(portrait: Portrait, parts: Mapping[str, Surface]) -> BuiltScene:
    """Puts eyewear on a portrait, in place of what it wore.

    parts: eyewear as worn, in the head's frame (mm).
    """
    caustics = portrait.spec.render.caustics
    for name, pair in portrait.eyewear.items():
        mesh = (
            new_mesh(name, parts[name], _eyewear_material(name, parts[name], caustics))
            if name in parts
            else bpy.data.meshes.new(name)
        )
        for obj in pair:
            obj.data = mesh
    # Meshes, materials and textures of what was worn before.
    bpy.data.orphans_purge(do_recursive=True)
    lenses = {name: parts[name].material or Material() for name in LENS_PARTS if name in parts}
    starts = np.cumsum([0, *(len(surface.vertices) for surface in parts.values())])[:-1]
    return BuiltScene(
        portrait=portrait,
        eyewear={name: portrait.eyewear[name][0] for name in parts},
        dark_lenses=frozenset(name for name, material in lenses.items() if is_dark(material)),
        lenses=lenses,
        eyewear_points=np.concatenate([surface.vertices for surface in parts.values()]),
        eyewear_triangles=np.concatenate(
            [
                surface.triangles() + start
                for surface, start in zip(parts.values(), starts, strict=True)
            ]
        ),
    )


def _nothing(
    scene: bpy.types.Scene, name: str, matrix: FloatArray
) -> tuple[bpy.types.Object, bpy.types.Object]:
    """An object without a mesh to speak of, placed by `matrix`, and its twin."""
    obj = add_object(scene, name, bpy.data.meshes.new(name), matrix)
    return obj, keep_apart(scene, obj)


def save_blend(built: BuiltScene, path: Path) -> None:
    """Saves a scene to open in Blender: images packed, the picture in the window."""
    for window in bpy.context.window_manager.windows:
        window.scene = built.portrait.scene
    for scene in bpy.data.scenes:
        if scene != built.portrait.scene:
            bpy.data.scenes.remove(scene)
    for image in bpy.data.images:
        if not image.packed_file and (image.source == "FILE" or image.has_data):
            image.pack()
    bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True, check_existing=False)


def _eyewear_material(name: str, surface: Surface, caustics: bool) -> bpy.types.Material:
    material = surface.material or Material()
    if name in LENS_PARTS and material.is_glass():
        return shading.lens(name, material, caustics)
    return shading.frame(name, material)


def _clear() -> None:
    """Removes all but the HDR world's images."""
    for scene in bpy.data.scenes:
        scene.world = None
        for obj in list(scene.collection.all_objects):
            bpy.data.objects.remove(obj)
    data = [*bpy.data.objects, *bpy.data.meshes, *bpy.data.materials, *bpy.data.cameras]
    data += [image for image in bpy.data.images if not image.name.startswith(KEPT)]
    data += [*bpy.data.worlds]
    data += [*bpy.data.lights, *bpy.data.textures, *bpy.data.hair_curves]
    bpy.data.batch_remove(data)


def _scene(spec: SampleSpec, machine: Machine) -> bpy.types.Scene:
    """The scene, with the settings on which the equality of layers rests."""
    scene = bpy.data.scenes.get(_SCENE)
    if scene is None:
        scene = bpy.data.scenes.new(_SCENE)
    render, cycles = scene.render, scene.cycles
    # Setting it, even to what it is, lets Cycles drop all that it has built.
    render.engine = "CYCLES"
    render.resolution_x = render.resolution_y = spec.render.size
    render.resolution_percentage = 100
    render.pixel_aspect_x = render.pixel_aspect_y = 1.0
    render.use_persistent_data = True
    render.use_compositing = render.use_sequencer = False
    render.threads_mode = "FIXED"
    render.threads = machine.threads
    render.dither_intensity = 0.0
    scene.view_settings.view_transform = "Standard"
    cycles.device = machine.device
    cycles.samples = spec.render.spp
    cycles.seed = spec.render.seed
    cycles.use_animated_seed = False
    # Layers are denoised once they are put together, see `pipeline.denoise`.
    cycles.use_denoising = False
    scene.view_layers[0].cycles.denoising_store_passes = spec.render.denoise
    # Adaptive sampling spends samples by what it sees, which differs between layers.
    cycles.use_adaptive_sampling = False
    cycles.time_limit = 0.0
    # The automatic choice depends on the number of samples and on the version. Blue noise, which
    # denoises a little better, depends on what was rendered before with other numbers of samples.
    cycles.sampling_pattern = "TABULATED_SOBOL"
    # A pixel is the light that falls on its own square, as a sensor's is; so it is tied to what is
    # seen there and to nothing beyond. Cycles makes the box 1 px wide.
    cycles.pixel_filter_type = "BOX"
    return scene


def _add_camera(scene: bpy.types.Scene, view: View, turn: FloatArray) -> None:
    data = bpy.data.cameras.new(f"{scene.name}_camera")
    data.sensor_fit = "HORIZONTAL"
    data.sensor_width = SENSOR_MM
    data.lens = view.focal_mm
    data.shift_x, data.shift_y = -view.shift_x, -view.shift_y
    data.clip_start, data.clip_end = 0.01, 1000.0
    data.dof.use_dof = view.aperture_mm > 0
    if data.dof.use_dof:
        data.dof.focus_distance = view.focus_mm * METRES_PER_MM
        data.dof.aperture_fstop = view.focal_mm / view.aperture_mm
    pose = BLENDER_FROM_WORLD @ view.pose
    pose[:3, :3] /= METRES_PER_MM
    obj = bpy.data.objects.new(f"{scene.name}_camera", data)
    obj.matrix_world = Matrix((turn @ pose).tolist())
    scene.collection.objects.link(obj)
    scene.camera = obj
