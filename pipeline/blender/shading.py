"""A thin hand over Blender's shader nodes, and the materials that any mesh can have."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import RGB, Material

#: See `let_darken`.
DARK = 1


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

    def noise(self, vector: Any, scale: float, detail: float) -> Any:
        """0..1; `scale` in features per unit of the vector."""
        inputs: dict[str | int, Any] = {"Vector": vector, "Scale": scale, "Detail": detail}
        return self.node("ShaderNodeTexNoise", inputs).outputs[0]

    def times(self, vector: Any, factor: Any) -> Any:
        """A vector or colour, component by component times another."""
        inputs: dict[str | int, Any] = {0: vector, 1: factor}
        return self.node("ShaderNodeVectorMath", inputs, operation="MULTIPLY").outputs[0]

    def finish(self, surface: Any) -> bpy.types.Material:
        """Connects the shader socket to the output and hands out the material."""
        self.node("ShaderNodeOutputMaterial", {"Surface": surface})
        return self.material


def let_darken(material: bpy.types.Material) -> None:
    """Lets objects of a material be black in any light: those whose `pass_index` is `DARK`."""
    tree = material.node_tree
    output = next(node for node in tree.nodes if node.type == "OUTPUT_MATERIAL")
    mix = tree.nodes.new("ShaderNodeMixShader")
    index = tree.nodes.new("ShaderNodeObjectInfo").outputs["Object Index"]
    # The second shader stays empty, and Cycles works out neither where it is not mixed in.
    sources = (index, output.inputs["Surface"].links[0].from_socket)
    for source, socket in zip(sources, mix.inputs, strict=False):
        tree.links.new(source, socket)
    tree.links.new(mix.outputs[0], output.inputs["Surface"])


def emission(name: str, color: RGB) -> bpy.types.Material:
    """Flat colour, whatever the light."""
    shader = Shader(name)
    return _glowing(shader, shader.node("ShaderNodeEmission", {"Color": color}).outputs[0])


def painted(name: str, attribute: str) -> bpy.types.Material:
    """Flat colours of a mesh attribute, whatever the light."""
    shader = Shader(name)
    color = shader.attribute(attribute)["Vector"]
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
        surface = shader.node("ShaderNodeAddShader", {0: surface, 1: bent.outputs[0]}).outputs[0]
    return _glowing(shader, surface)


def _glowing(shader: Shader, surface: Any) -> bpy.types.Material:
    """A material that is seen to glow but lights nothing."""
    shader.material.cycles.emission_sampling = "NONE"
    return shader.finish(surface)


def principled(name: str, material: Material, vertex_colors: bool = False) -> bpy.types.Material:
    """Metallic-roughness material, with its texture or else the vertices' own attribute `color`."""
    shader = Shader(name)
    color = _textured(shader, material, material.base_color)
    if material.texture is None and vertex_colors:
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


def _textured(shader: Shader, material: Material, color: Any) -> Any:
    """A colour times the material's texture, if there is one."""
    if material.texture is None:
        return color
    values = material.texture.astype(np.float32) / 255.0
    image = shader.node(
        "ShaderNodeTexImage", image=image_of(shader.material.name, values, linear=False)
    )
    return shader.mix(1.0, image.outputs["Color"], color, "MULTIPLY")


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


def frame(name: str, material: Material) -> bpy.types.Material:
    """Plastic or metal of a frame. Translucent plastic tints the light that passes through it.

    Rays on their way to light meet it as they meet a lens, see `lens`.
    """
    shader = Shader(name)
    color = _textured(shader, material, _patterned(shader, material))
    solid = shader.node(
        "ShaderNodeBsdfPrincipled",
        {
            "Base Color": color,
            "Metallic": material.metallic,
            "Roughness": material.roughness,
            "IOR": material.ior,
            "Transmission Weight": material.transmission,
        },
    ).outputs[0]
    if not material.transmission:
        return shader.finish(solid)
    root = shader.node("ShaderNodeGamma", {"Color": color, "Gamma": 0.5}).outputs[0]
    passing = shader.node("ShaderNodeBsdfTransparent", {"Color": root})
    share = shader.math("MULTIPLY", _to_light(shader), material.transmission)
    mixed = shader.node("ShaderNodeMixShader", {0: share, 1: solid, 2: passing.outputs[0]})
    return shader.finish(mixed.outputs[0])


#: Name of the node whose value, 1 or 0, says whether lenses reflect and smudges scatter.
_REFLECTIONS = "reflections"
#: What a smudge scatters of the light at most, and sizes of smudges and of specks of dust, per mm.
_SMUDGE, _SMUDGES_A_MM, _DUST_A_MM = 0.06, 0.08, 2.2


def lens(name: str, material: Material, caustics: bool = False) -> bpy.types.Material:
    """Glass to the eye, a tinted pane to light; with `caustics` glass to light as well.

    Cycles' shadow rays pass Transparent closures only, so refracting glass would cast a black
    shadow. Rays on their way to light (shadow and diffuse ones) therefore meet a Transparent
    closure that lets through what both faces of the pane would: the tint and, per face, one
    minus the reflectance at normal incidence. `base_color` is the tint of the whole lens, so each
    of its two faces carries the square root.

    Bare material reflects as Fresnel's equations say. A coating changes that at normal incidence
    and leaves it at grazing incidence, where all coatings reflect alike.

    With `caustics` light reaches skin behind a lens only by paths that find it by chance, bent.
    """
    shader = Shader(name)
    tint = shader.node(
        "ShaderNodeGamma", {"Color": _patterned(shader, material), "Gamma": 0.5}
    ).outputs[0]
    normal, bare = material.normal_reflectance(), ((material.ior - 1.0) / (material.ior + 1.0)) ** 2
    fresnel = shader.node("ShaderNodeFresnel", {"IOR": material.ior}).outputs[0]
    grazing = shader.math("DIVIDE", shader.math("SUBTRACT", fresnel, bare), 1.0 - bare, True)
    taken = shader.mix(grazing, normal, (1.0, 1.0, 1.0))
    left = shader.mix(1.0, tint, shader.mix(1.0, (1.0, 1.0, 1.0), taken, "SUBTRACT"), "MULTIPLY")
    shown = shader.node("ShaderNodeValue")
    shown.name = _REFLECTIONS
    shown.outputs[0].default_value = 1.0
    # Not a Glass closure: that would tint the reflection as well.
    refracted = shader.node(
        "ShaderNodeBsdfRefraction", {"Color": left, "Roughness": 0.0, "IOR": material.ior}
    )
    reflected = shader.node(
        "ShaderNodeBsdfGlossy",
        {"Color": shader.mix(shown.outputs[0], (0.0, 0.0, 0.0), taken), "Roughness": 0.0},
    )
    glass = shader.node(
        "ShaderNodeAddShader", {0: refracted.outputs[0], 1: reflected.outputs[0]}
    ).outputs[0]
    if material.smudges:
        haze = shader.mix(shown.outputs[0], (0.0, 0.0, 0.0), (0.8, 0.8, 0.8))
        film = shader.node("ShaderNodeBsdfDiffuse", {"Color": haze})
        glass = shader.node(
            "ShaderNodeMixShader", {0: _film(shader, material), 1: glass, 2: film.outputs[0]}
        ).outputs[0]
    if caustics:
        return shader.finish(glass)
    through = tuple(1.0 - c for c in normal)
    pane = shader.node(
        "ShaderNodeBsdfTransparent", {"Color": shader.mix(1.0, tint, through, "MULTIPLY")}
    )
    mixed = shader.node("ShaderNodeMixShader", {0: _to_light(shader), 1: glass, 2: pane.outputs[0]})
    return shader.finish(mixed.outputs[0])


def show_reflections(lens: bpy.types.Material, shown: bool) -> None:
    """Lets a material of `lens` reflect and scatter, or only take that light away."""
    lens.node_tree.nodes[_REFLECTIONS].outputs[0].default_value = float(shown)


def _to_light(shader: Shader) -> Any:
    """1 for rays on their way to light, 0 for those that an eye might follow."""
    path = shader.node("ShaderNodeLightPath").outputs
    return shader.math("MAXIMUM", path["Is Shadow Ray"], path["Is Diffuse Ray"])


def _patterned(shader: Shader, material: Material) -> Any:
    """Colour of a material with its pattern, as a value or a socket."""
    first, second = material.base_color, material.second_color
    if not material.pattern:
        return first
    if material.pattern == "tortoise":
        place = shader.attribute("place")["Vector"]
        # Layers of a sheet that was pressed: blotches are longer than high.
        flat = shader.times(place, (0.8, 1.5, 0.5))
        clouds = shader.node(
            "ShaderNodeTexNoise",
            {"Vector": flat, "Scale": 0.085, "Detail": 2.0, "Distortion": 1.2},
        )
        return shader.mix(shader.ramp(clouds.outputs[0], 0.4, 0.6), first, second)
    height = shader.attribute("height")["Fac"]
    low, high = (0.62, 0.58) if material.pattern == "two_tone" else (0.95, 0.1)
    return shader.mix(shader.ramp(height, low, high), first, second)


def _film(shader: Shader, material: Material) -> Any:
    """Share of the light that smudges and dust scatter."""
    place = shader.attribute("place")["Vector"]

    def noise(scale: float, low: float, high: float) -> Any:
        return shader.ramp(shader.noise(place, scale, 3.0), low, high)

    touched = shader.math("MULTIPLY", noise(_SMUDGES_A_MM, 0.5, 0.72), _SMUDGE)
    dust = shader.math("MULTIPLY", noise(_DUST_A_MM, 0.7, 0.76), 2.5 * _SMUDGE)
    return shader.math("MULTIPLY", shader.math("MAXIMUM", touched, dust), material.smudges)
