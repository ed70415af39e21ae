"""What lights a portrait and what stands behind it: the world's nodes, and lamps.

Rays see the world in three ways. Those on their way to light meet a small map of it, of which the
importance map is exact and quick. Those that surfaces reflect meet the world in full. The camera,
and rays that lenses bend on from it, meet the background, where that is not the world: a picture
infinitely far away, fixed to the camera.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from pipeline.backdrop import SPAN, backdrop
from pipeline.blender import shading
from pipeline.blender.frames import BLENDER_FROM_WORLD, METRES_PER_MM, blender_points
from pipeline.camera import SENSOR_MM
from pipeline.catalog.catalog import Surroundings
from pipeline.catalog.light import light_map
from pipeline.catalog.sky import direction, sky_map
from pipeline.geometry import FloatArray
from pipeline.spec import LampSpec, LightSpec, SampleSpec

#: Images of the HDR world begin so; they stay when the scene is cleared.
KEPT = "hdr:"
_LIGHT, _SHOWN = f"{KEPT}light", f"{KEPT}shown"
#: Directions this far aside of the camera's axis or behind it see the picture's edge.
_LEAST_COSINE = 0.05


def add_world(
    spec: SampleSpec, around: Surroundings, camera: bpy.types.Object
) -> bpy.types.World:
    """The world of a portrait. camera: as it stands in the scene."""
    world = bpy.data.worlds.new("world")
    if world.node_tree is None:
        world.use_nodes = True
    nodes = _Nodes(world.node_tree)
    light, shown = _images(spec.light, around.hdri)
    path = nodes.add("ShaderNodeLightPath").outputs
    gain = spec.light.world_gain
    through = path["Is Transmission Ray"]
    seen = nodes.larger(nodes.larger(path["Is Camera Ray"], path["Is Glossy Ray"]), through)
    surface = nodes.mixed(
        seen, nodes.glow(nodes.around(light, "Closest"), gain),
        nodes.glow(nodes.around(shown, "Linear"), gain),
    )  # fmt: skip
    if spec.background.kind != "world":
        picture = shading.image_of(
            "backdrop", backdrop(spec.background, around.photo) / np.float32(spec.light.gain), True
        )
        # Hair lets rays through as well, but scatters them: it is lit by the world.
        lens = nodes.math("MULTIPLY", through, path["Is Singular Ray"])
        behind = nodes.glow(_before_camera(nodes, picture, camera), 1.0)
        surface = nodes.mixed(nodes.larger(path["Is Camera Ray"], lens), surface, behind)
    nodes.link(surface, nodes.add("ShaderNodeOutputWorld").inputs["Surface"])
    # As light, each pixel of the map shines evenly, so an importance map of the same size is
    # exact: as little noise as from Blender's own choice of size, in a fraction of the time, which
    # each start of Cycles costs.
    world.cycles.sampling_method = "MANUAL"
    world.cycles.sample_map_resolution = max(light.size[0], 64)
    return world


def add_lamps(
    scene: bpy.types.Scene, light: LightSpec, centre: FloatArray, turn: FloatArray
) -> None:
    """Lamps about the face's `centre` (3,) mm, turned with everything but the world.

    They are reflected in eyes and lenses, but not seen by the camera, nor through lenses.
    """
    for index, spec in enumerate(light.lamps):
        name = f"lamp_{index}"
        way = direction(spec.azimuth_deg, spec.elevation_deg)
        data = bpy.data.lights.new(name, "SUN" if spec.distance_mm is None else "AREA")
        data.color = spec.color
        if spec.distance_mm is None:
            data.angle, data.energy = np.deg2rad(spec.width_deg), spec.strength
        else:
            data.shape = "RECTANGLE"
            data.size, data.size_y = _sides_m(spec, spec.distance_mm)
            data.energy = _watts(spec, spec.distance_mm)
        obj = bpy.data.objects.new(name, data)
        towards = turn[:3, :3] @ BLENDER_FROM_WORLD[:3, :3] @ way
        # A lamp shines along its own -z, and its y is as upright as can be.
        pose = Vector(towards).to_track_quat("Z", "Y").to_matrix().to_4x4()
        place = blender_points((centre + way * (spec.distance_mm or 1000.0))[None])[0]
        pose.translation = Vector(turn[:3, :3] @ place)
        obj.matrix_world = pose
        obj.visible_camera = obj.visible_transmission = False
        scene.collection.objects.link(obj)


def _sides_m(lamp: LampSpec, distance_mm: float) -> tuple[float, float]:
    wide, high = (
        float(2 * distance_mm * np.tan(np.deg2rad(angle) / 2) * METRES_PER_MM)
        for angle in (lamp.width_deg, lamp.height_deg)
    )
    return wide, high


def _watts(lamp: LampSpec, distance_mm: float) -> float:
    """Power of an area lamp: radiance times pi times its area.

    Irradiance of a point before the middle of a rectangle is pi times radiance times the form
    factor (Howell, "A Catalog of Radiation Heat Transfer Configuration Factors", B-4, four times).
    """
    a, b = (np.tan(np.deg2rad(angle) / 2) for angle in (lamp.width_deg, lamp.height_deg))
    first, second = np.sqrt(1 + a * a), np.sqrt(1 + b * b)
    factor = (2 / np.pi) * (
        a / first * np.arctan(b / first) + b / second * np.arctan(a / second)
    )
    wide, high = _sides_m(lamp, distance_mm)
    return float(lamp.strength / factor * wide * high)


def _images(light: LightSpec, hdri: Path | None) -> tuple[bpy.types.Image, bpy.types.Image]:
    """The world as light, and as it is reflected; those of one HDR file stay in memory."""
    if light.sky is not None:
        image = shading.image_of("sky", sky_map(light.sky), linear=True)
        return image, image
    assert hdri is not None
    kept = bpy.data.images.get(_SHOWN)
    if kept is None or kept.get("path") != str(hdri):
        for name in (_LIGHT, _SHOWN):
            if name in bpy.data.images:
                bpy.data.images.remove(bpy.data.images[name])
        shading.image_of(_LIGHT, light_map(hdri), linear=True)
        shown = bpy.data.images.load(str(hdri))
        shown.colorspace_settings.name = "Linear Rec.709"
        # Last: images without it are some that were not finished.
        shown.name, shown["path"] = _SHOWN, str(hdri)
    return bpy.data.images[_LIGHT], bpy.data.images[_SHOWN]


def _before_camera(nodes: _Nodes, picture: bpy.types.Image, camera: bpy.types.Object) -> Any:
    """Colour of a picture across `SPAN` of the frame, by the direction in which a ray leaves.

    Turned into the camera's frame, (x, y, z) with z backwards, a direction is seen at x / -z and
    y / -z from the camera's axis.
    """
    data = camera.data
    # Towards where the ray goes: the background's normal points back at its start.
    way = nodes.add("ShaderNodeNewGeometry").outputs["Incoming"]
    axes = np.array(camera.matrix_world)[:3, :3].T

    def along(axis: FloatArray) -> Any:
        node = nodes.add("ShaderNodeVectorMath", operation="DOT_PRODUCT")
        nodes.link(way, node.inputs[0])
        node.inputs[1].default_value = (-axis).tolist()
        return node.outputs["Value"]

    forward = nodes.larger(along(-axes[2]), _LEAST_COSINE)
    place = nodes.add("ShaderNodeCombineXYZ")
    for index, shift in enumerate((data.shift_x, data.shift_y)):
        tangent = nodes.math("DIVIDE", along(axes[index]), forward)
        # The frame is 1 wide at tangents of sensor / focal length; the picture's middle is its.
        scale = data.lens / SENSOR_MM / SPAN
        scaled = nodes.math("MULTIPLY", tangent, scale)
        nodes.link(nodes.math("ADD", scaled, 0.5 - shift / SPAN), place.inputs[index])
    image = nodes.add("ShaderNodeTexImage", image=picture, extension="MIRROR")
    nodes.link(place.outputs[0], image.inputs["Vector"])
    return image.outputs["Color"]


class _Nodes:
    """A thin hand over the nodes of a world."""

    def __init__(self, tree: bpy.types.NodeTree) -> None:
        self._tree = tree
        tree.nodes.clear()

    def add(self, kind: str, **settings: Any) -> Any:
        node = self._tree.nodes.new(kind)
        for name, value in settings.items():
            setattr(node, name, value)
        return node

    def link(self, output: Any, socket: Any) -> None:
        self._tree.links.new(output, socket)

    def math(self, operation: str, first: Any, second: Any) -> Any:
        node = self.add("ShaderNodeMath", operation=operation)
        for socket, value in zip(node.inputs, (first, second), strict=False):
            if isinstance(value, bpy.types.NodeSocket):
                self.link(value, socket)
            else:
                socket.default_value = value
        return node.outputs[0]

    def larger(self, first: Any, second: Any) -> Any:
        return self.math("MAXIMUM", first, second)

    def around(self, image: bpy.types.Image, interpolation: str) -> Any:
        """Colour of an equirectangular image."""
        node = self.add("ShaderNodeTexEnvironment", image=image, interpolation=interpolation)
        return node.outputs["Color"]

    def glow(self, color: Any, strength: float) -> Any:
        node = self.add("ShaderNodeBackground")
        self.link(color, node.inputs["Color"])
        node.inputs["Strength"].default_value = strength
        return node.outputs[0]

    def mixed(self, share: Any, first: Any, second: Any) -> Any:
        node = self.add("ShaderNodeMixShader")
        for index, socket in enumerate((share, first, second)):
            self.link(socket, node.inputs[index])
        return node.outputs[0]
