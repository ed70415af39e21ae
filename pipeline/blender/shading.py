"""A thin hand over Blender's shader nodes, and the materials that any mesh can have."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import RGB, Material


class Shader:
    """Builds the node tree of one new material, in place of one of the same name."""

    def __init__(self, name: str) -> None:
        old = bpy.data.materials.get(name)
        if old is not None:
            bpy.data.materials.remove(old)
        self.material = bpy.data.materials.new(name)
        if self.material.node_tree is None:
            self.material.use_nodes = True
        self.tree = self.material.node_tree
        self.tree.nodes.clear()

    def node(self, kind: str, inputs: dict[str | int, Any] | None = None, **settings: Any) -> Any:
        """A node; an input is a value, or a socket to link from."""
        node = self.tree.nodes.new(kind)
        for setting, value in settings.items():
            setattr(node, setting, value)
        for key, value in (inputs or {}).items():
            self.set(node.inputs[key], value)
        return node

    def set(self, socket: Any, value: Any) -> None:
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        elif isinstance(value, tuple) and socket.type == "RGBA" and len(value) == 3:
            socket.default_value = (*value, 1.0)
        else:
            socket.default_value = value

    def attribute(self, name: str) -> Any:
        """The 'Fac' or 'Vector' node outputs of a mesh attribute."""
        return self.node("ShaderNodeAttribute", attribute_name=name).outputs

    def mix(self, factor: Any, a: Any, b: Any, mode: str = "MIX") -> Any:
        """Colour socket a + factor * (b - a), or another blend mode."""
        node = self.node("ShaderNodeMix", data_type="RGBA", blend_type=mode)
        self.set(node.inputs[0], factor)
        self.set(node.inputs[6], a)
        self.set(node.inputs[7], b)
        return node.outputs[2]

    def math(self, operation: str, a: Any, b: Any = 0.0, clamp: bool = False) -> Any:
        node = self.node("ShaderNodeMath", {0: a, 1: b}, operation=operation, use_clamp=clamp)
        return node.outputs[0]

    def ramp(self, value: Any, low: float, high: float) -> Any:
        """0 below `low`, 1 above `high`, smooth between (high < low falls)."""
        node = self.node(
            "ShaderNodeMapRange", {0: value, 1: low, 2: high}, interpolation_type="SMOOTHSTEP"
        )
        return node.outputs[0]

    def finish(self, surface: Any) -> bpy.types.Material:
        """Connects the shader socket to the output and hands out the material."""
        self.node("ShaderNodeOutputMaterial", {"Surface": surface})
        return self.material


def emission(name: str, color: RGB) -> bpy.types.Material:
    """Flat colour, whatever the light."""
    shader = Shader(name)
    return _glowing(shader, shader.node("ShaderNodeEmission", {"Color": color}).outputs[0])


def label(
    name: str, first: RGB, behind: RGB = (0.0, 0.0, 0.0), ior: float | None = None
) -> bpy.types.Material:
    """Glows as `first` to a ray from the camera and as `behind` to one that a lens has bent.

    With `ior` it also bends rays as glass of that index does, and takes nothing away.
    """
    shader = Shader(name)
    from_camera = shader.node("ShaderNodeLightPath").outputs["Is Camera Ray"]
    color = shader.mix(from_camera, behind, first)
    surface = shader.node("ShaderNodeEmission", {"Color": color}).outputs[0]
    if ior is not None:
        bent = shader.node(
            "ShaderNodeBsdfRefraction", {"Color": (1.0, 1.0, 1.0), "Roughness": 0.0, "IOR": ior}
        )
        surface = shader.node(
            "ShaderNodeAddShader", {0: surface, 1: bent.outputs[0]}
        ).outputs[0]
    return _glowing(shader, surface)


def _glowing(shader: Shader, surface: Any) -> bpy.types.Material:
    """A material that is seen to glow but lights nothing."""
    shader.material.cycles.emission_sampling = "NONE"
    return shader.finish(surface)


def principled(
    name: str, material: Material, vertex_colors: bool = False
) -> bpy.types.Material:
    """Metallic-roughness material, with its texture or else the vertices' own attribute `color`."""
    shader = Shader(name)
    color: Any = material.base_color
    if material.texture is not None:
        texture = image_of(name, material.texture.astype(np.float32) / 255.0, linear=False)
        image = shader.node("ShaderNodeTexImage", image=texture)
        color = shader.mix(1.0, image.outputs["Color"], color, "MULTIPLY")
    elif vertex_colors:
        color = shader.attribute("color")["Vector"]
    node = shader.node(
        "ShaderNodeBsdfPrincipled",
        {
            "Base Color": color,
            "Metallic": material.metallic,
            "Roughness": material.roughness,
            "IOR": material.ior,
        },
    )
    return shader.finish(node.outputs[0])


def image_of(name: str, values: NDArray[np.float32], linear: bool) -> bpy.types.Image:
    """An image of (h, w, 3) values, first row on top: linear of any height, or sRGB in 0..1."""
    height, width = values.shape[:2]
    image = bpy.data.images.new(name, width, height, float_buffer=linear)
    image.colorspace_settings.name = "Linear Rec.709" if linear else "sRGB"
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., :3] = values[::-1]
    image.pixels.foreach_set(pixels.ravel())
    image.update()
    return image


def lens(name: str, material: Material) -> bpy.types.Material:
    """Glass to the eye, a tinted pane to light.

    Cycles' shadow rays pass Transparent closures only, so refracting glass would cast a black
    shadow. Rays on their way to light (shadow and diffuse ones) therefore meet a Transparent
    closure that lets through what both faces of the pane would: the tint and, per face, one
    minus Fresnel's reflectance at normal incidence, ((n - 1) / (n + 1))**2.
    `base_color` is the tint of the whole lens, so each of its two faces carries the square root.
    """
    shader = Shader(name)
    tint = tuple(float(np.sqrt(c)) for c in material.base_color)
    through = 1.0 - ((material.ior - 1.0) / (material.ior + 1.0)) ** 2
    # Not a Glass closure: that would tint the reflection as well.
    refracted = shader.node(
        "ShaderNodeBsdfRefraction", {"Color": tint, "Roughness": 0.0, "IOR": material.ior}
    )
    reflected = shader.node("ShaderNodeBsdfGlossy", {"Color": (1.0, 1.0, 1.0), "Roughness": 0.0})
    fresnel = shader.node("ShaderNodeFresnel", {"IOR": material.ior})
    glass = shader.node(
        "ShaderNodeMixShader",
        {0: fresnel.outputs[0], 1: refracted.outputs[0], 2: reflected.outputs[0]},
    )
    pane = shader.node("ShaderNodeBsdfTransparent", {"Color": tuple(c * through for c in tint)})
    path = shader.node("ShaderNodeLightPath").outputs
    to_light = shader.math("MAXIMUM", path["Is Shadow Ray"], path["Is Diffuse Ray"])
    mixed = shader.node(
        "ShaderNodeMixShader", {0: to_light, 1: glass.outputs[0], 2: pane.outputs[0]}
    )
    return shader.finish(mixed.outputs[0])
