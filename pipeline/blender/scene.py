"""One sample as two Blender scenes that share meshes: the picture, and flat labels.

Everything of the previous sample is removed first; only the HDR world stays, because its
importance map is slow to build. Object names never change, so a sample's pixels do not depend on
what a worker rendered before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from pipeline.blender import people, shading
from pipeline.blender.device import Machine
from pipeline.blender.frames import BLENDER_FROM_WORLD, METRES_PER_MM, turned_world
from pipeline.blender.meshes import add_copy, add_object
from pipeline.camera import SENSOR_MM, face_centre, world_from_camera
from pipeline.geometry import LENS_PARTS, FloatArray, Head, Material, Surface
from pipeline.spec import SampleSpec

#: A lens that lets less of the light through than this hides what is behind it from the masks:
#: the border between filter categories 1 and 2 of ISO 12312-1 (43%).
CLEAR_LENS_TRANSMITTANCE = 0.43


#: Samples of a coverage: cut at one half, an edge then errs by about a hundredth of a pixel.
LABEL_SPP = 64


@dataclass(frozen=True, eq=False)
class BuiltScene:
    """The Blender side of a sample. Objects are keyed by surface or part name."""

    spec: SampleSpec
    picture: bpy.types.Scene
    labels: bpy.types.Scene
    head: Mapping[str, bpy.types.Object]
    eyewear: Mapping[str, bpy.types.Object]
    label_head: Mapping[str, bpy.types.Object]
    label_eyewear: Mapping[str, bpy.types.Object]
    dark_lenses: frozenset[str]
    lens_ior: Mapping[str, float]
    centre: FloatArray
    eyewear_points: FloatArray


def build(
    spec: SampleSpec, head: Head, parts: Mapping[str, Surface], hdri: Path, machine: Machine
) -> BuiltScene:
    """Scenes of one sample.

    parts: eyewear as worn, in the head's frame (mm). hdri: file of the world.
    """
    _clear()
    turn = turned_world(spec.light.rotation_deg)
    picture, labels = _scene("picture", spec, machine), _scene("labels", spec, machine)
    # Coverage is of the pixel's square, however few samples the picture has.
    labels.cycles.pixel_filter_type = "BOX"
    labels.cycles.samples = LABEL_SPP
    picture.world = _world(hdri)
    labels.world = _black_world()
    for scene in (picture, labels):
        _add_camera(scene, spec, face_centre(head.anchors), turn)

    head_objects = {
        name: add_object(picture, name, surface, people.material(name, surface, head), turn)
        for name, surface in head.surfaces.items()
    }
    eyewear_objects = {
        name: add_object(picture, name, surface, _eyewear_material(name, surface), turn)
        for name, surface in parts.items()
    }
    black = shading.emission("label_black", (0.0, 0.0, 0.0))
    return BuiltScene(
        spec=spec,
        picture=picture,
        labels=labels,
        head=head_objects,
        eyewear=eyewear_objects,
        label_head={
            name: add_copy(labels, f"{name}_label", obj, black)
            for name, obj in head_objects.items()
        },
        label_eyewear={
            name: add_copy(labels, f"{name}_label", obj, black)
            for name, obj in eyewear_objects.items()
        },
        dark_lenses=frozenset(
            name for name in LENS_PARTS if name in parts and is_dark(parts[name].material)
        ),
        lens_ior={
            name: (parts[name].material or Material()).ior for name in LENS_PARTS if name in parts
        },
        centre=face_centre(head.anchors),
        eyewear_points=np.concatenate([surface.vertices for surface in parts.values()]),
    )


def is_dark(material: Material | None) -> bool:
    """Whether a lens of this material hides what is behind it from the masks."""
    if material is None or material.transmission < 0.5:
        return True
    return float(np.dot(material.base_color, (0.2126, 0.7152, 0.0722))) < CLEAR_LENS_TRANSMITTANCE


def save_blend(built: BuiltScene, path: Path) -> None:
    """Saves a scene to open in Blender: images packed, the picture in the window."""
    for window in bpy.context.window_manager.windows:
        window.scene = built.picture
    for scene in bpy.data.scenes:
        if scene not in (built.picture, built.labels):
            bpy.data.scenes.remove(scene)
    for image in bpy.data.images:
        if image.source == "FILE" and not image.packed_file:
            image.pack()
    bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True, check_existing=False)


def _eyewear_material(name: str, surface: Surface) -> bpy.types.Material:
    material = surface.material or Material()
    if name in LENS_PARTS and material.transmission >= 0.5:
        return shading.lens(name, material)
    return shading.principled(name, material)


def _clear() -> None:
    """Removes all but the HDR world and its image."""
    for scene in bpy.data.scenes:
        for obj in list(scene.collection.all_objects):
            bpy.data.objects.remove(obj)
    worlds = {world for world in bpy.data.worlds if world.name.startswith(_HDR_PREFIX)}
    kept = {n.image for w in worlds for n in w.node_tree.nodes if n.type == "TEX_ENVIRONMENT"}
    data = [*bpy.data.objects, *bpy.data.meshes, *bpy.data.materials, *bpy.data.cameras]
    data += [image for image in bpy.data.images if image not in kept]
    data += [*bpy.data.lights, *bpy.data.textures]
    bpy.data.batch_remove(data)


_HDR_PREFIX = "hdr:"


def _world(hdri: Path) -> bpy.types.World:
    """The world of an HDR file; only one is kept in memory."""
    name = _HDR_PREFIX + hdri.name[-40:]
    world = bpy.data.worlds.get(name)
    if world is not None and world["path"] == str(hdri):
        return world
    for old in [w for w in bpy.data.worlds if w.name.startswith(_HDR_PREFIX)]:
        for node in old.node_tree.nodes:
            if node.type == "TEX_ENVIRONMENT":
                bpy.data.images.remove(node.image)
        bpy.data.worlds.remove(old)
    world = bpy.data.worlds.new(name)
    world["path"] = str(hdri)
    if world.node_tree is None:
        world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    nodes.clear()
    environment = nodes.new("ShaderNodeTexEnvironment")
    environment.image = bpy.data.images.load(str(hdri))
    environment.image.colorspace_settings.name = "Linear Rec.709"
    background = nodes.new("ShaderNodeBackground")
    output = nodes.new("ShaderNodeOutputWorld")
    links.new(environment.outputs["Color"], background.inputs["Color"])
    links.new(background.outputs[0], output.inputs["Surface"])
    return world


def _black_world() -> bpy.types.World:
    world = bpy.data.worlds.get("black")
    if world is None:
        world = bpy.data.worlds.new("black")
        if world.node_tree is None:
            world.use_nodes = True
        world.node_tree.nodes.clear()
    return world


def _scene(name: str, spec: SampleSpec, machine: Machine) -> bpy.types.Scene:
    """A scene with the settings on which the equality of layers rests."""
    scene = bpy.data.scenes.get(name)
    if scene is None:
        scene = bpy.data.scenes.new(name)
    render, cycles = scene.render, scene.cycles
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
    # Adaptive sampling spends samples by what it sees, which differs between layers.
    cycles.use_adaptive_sampling = False
    cycles.time_limit = 0.0
    # The automatic choice depends on the number of samples and on the version.
    cycles.sampling_pattern = "TABULATED_SOBOL"
    cycles.pixel_filter_type = "BLACKMAN_HARRIS"
    cycles.filter_width = 1.5
    return scene


def _add_camera(
    scene: bpy.types.Scene, spec: SampleSpec, centre: FloatArray, turn: FloatArray
) -> None:
    data = bpy.data.cameras.new(f"{scene.name}_camera")
    data.sensor_fit = "HORIZONTAL"
    data.sensor_width = SENSOR_MM
    data.lens = spec.camera.focal_mm
    data.shift_x, data.shift_y = -spec.camera.shift_x, -spec.camera.shift_y
    data.clip_start, data.clip_end = 0.01, 1000.0
    pose = BLENDER_FROM_WORLD @ world_from_camera(spec.camera, centre)
    pose[:3, :3] /= METRES_PER_MM
    obj = bpy.data.objects.new(f"{scene.name}_camera", data)
    obj.matrix_world = Matrix((turn @ pose).tolist())
    scene.collection.objects.link(obj)
    scene.camera = obj
