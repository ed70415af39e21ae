"""Materials of parametric heads: skin, eyes, lashes, teeth, tongue.

Meshes of the user's have materials of their own, or plain skin. Procedural patterns hang on the
attribute `rest`, a vertex's place on the average head, so that they move with the face.
"""

from __future__ import annotations

from typing import Any

import bpy

from pipeline.blender.cloth import worn
from pipeline.blender.shading import Shader, principled
from pipeline.catalog.eyes import IRIS_ANGLE_RAD
from pipeline.geometry import RGB, WORN, Appearance, Head, Material, Surface

#: Angle of the pupil's rim from the optical axis (radians): a third of the iris', as in a room.
_PUPIL_RAD = 0.13
#: Mean free paths of light in skin by colour (mm), of the size that Jensen et al. 2001 measured
#: (skin 1: 3.67, 1.37, 0.68), shortened since a head is not a flat slab.
_SKIN_RADIUS_MM: RGB = (2.4, 0.9, 0.5)
_MM = 0.001
_PLAIN_SKIN = Material(base_color=(0.46, 0.25, 0.17), roughness=0.5)


def material(name: str, surface: Surface, head: Head) -> bpy.types.Material:
    """The material of a head's surface: its own, or that of its kind."""
    who = head.appearance
    if name.startswith(WORN):
        return worn(name, surface.material or Material())
    if who is None or surface.material is not None:
        colored = "color" in surface.attributes
        return principled(name, surface.material or _PLAIN_SKIN, colored)
    if name.startswith("eye_"):
        return _eye(name, who)
    if name == "lashes":
        dark = tuple(0.5 * c for c in who.brow)
        return principled(name, Material(base_color=_rgb(dark), roughness=0.7))
    if name == "teeth":
        return _wet(name, (0.62, 0.56, 0.45), 0.25)
    if name == "tongue":
        return _wet(name, (0.42, 0.13, 0.12), 0.35)
    return _skin(name, who)


def _skin(name: str, who: Appearance) -> bpy.types.Material:
    shader = Shader(name)
    rest = shader.attribute("rest")["Vector"]
    color = _skin_color(shader, who, rest)
    lips = shader.attribute("lips")["Fac"]
    mouth = shader.attribute("mouth_inside")["Fac"]
    scalp = _hair_share(shader, who, rest)
    pores = _noise(shader, rest, scale=0.9, detail=3.0)
    bump = shader.node("ShaderNodeBump", {"Strength": 0.2, "Distance": 0.3 * _MM, "Height": pores})
    rough = shader.math("SUBTRACT", 0.5, shader.math("MULTIPLY", lips, 0.15))
    rough = shader.math("ADD", rough, shader.math("MULTIPLY", scalp, 0.2), clamp=True)
    node = shader.node(
        "ShaderNodeBsdfPrincipled",
        {
            "Base Color": color,
            "Roughness": rough,
            "Specular IOR Level": 0.42,
            "IOR": 1.4,
            "Subsurface Weight": shader.math("SUBTRACT", 1.0, shader.math("MAXIMUM", mouth, scalp)),
            "Subsurface Radius": _SKIN_RADIUS_MM,
            "Subsurface Scale": _MM,
            "Normal": bump.outputs[0],
        },
        # Random walks look hardly better at portrait size and cost half as much again in all.
        subsurface_method="BURLEY",
    )
    return shader.finish(node.outputs[0])


def _skin_color(shader: Shader, who: Appearance, rest: Any) -> Any:
    """Base skin, mottled by blood and pigment, with freckles, lips, lids, brows and scalp."""
    flush = (who.skin[0] * 0.98, who.skin[1] * 0.88, who.skin[2] * 0.87)
    pale = tuple(min(1.0, c * 1.05) for c in who.skin)
    blotches = shader.ramp(_noise(shader, rest, scale=0.05, detail=3.0), 0.3, 0.75)
    color = shader.mix(blotches, pale, flush)
    spots = shader.ramp(_noise(shader, rest, scale=0.35, detail=2.0), 0.62, 0.72)
    brown = _rgb(tuple(c * f for c, f in zip(who.skin, (0.55, 0.42, 0.36), strict=True)))
    color = shader.mix(shader.math("MULTIPLY", spots, 0.6 * who.freckles), color, brown)
    lids = shader.attribute("lids")["Fac"]
    tired = _rgb(tuple(c * f for c, f in zip(who.skin, (0.86, 0.74, 0.74), strict=True)))
    color = shader.mix(shader.math("MULTIPLY", lids, 0.45), color, tired)
    color = shader.mix(shader.attribute("lips")["Fac"], color, who.lips)
    color = shader.mix(_hair_share(shader, who, rest), color, who.hair)
    color = shader.mix(_brow_share(shader, who, rest), color, who.brow)
    return shader.mix(shader.attribute("mouth_inside")["Fac"], color, (0.25, 0.06, 0.055))


def _hair_share(shader: Shader, who: Appearance, rest: Any) -> Any:
    """Share of close-cropped hair on the scalp, with a ragged hairline."""
    scalp = shader.attribute("scalp")["Fac"]
    grain = _noise(shader, rest, scale=0.8, detail=3.0)
    ragged = shader.math("MULTIPLY", shader.math("SUBTRACT", grain, 0.5), 0.9)
    share = shader.ramp(shader.math("ADD", scalp, ragged), 0.15, 0.95)
    return shader.math("MULTIPLY", share, 0.75)


def _brow_share(shader: Shader, who: Appearance, rest: Any) -> Any:
    """Share of brow hairs: fine streaks along the brow, thinning at its border."""
    brows = shader.attribute("brows")["Fac"]
    stretched = shader.node(
        "ShaderNodeVectorMath", {0: rest, 1: (0.55, 1.7, 0.6)}, operation="MULTIPLY"
    )
    streaks = _noise(shader, stretched.outputs[0], scale=1.3, detail=2.0)
    edge = shader.math(
        "ADD", brows, shader.math("MULTIPLY", shader.math("SUBTRACT", streaks, 0.5), 0.9)
    )
    return shader.math("MULTIPLY", shader.ramp(edge, 0.3, 0.75), 0.35 * who.brow_density)


def _eye(name: str, who: Appearance) -> bpy.types.Material:
    """Sclera with a pink rim, limbus, iris with radial fibres, pupil; one wet coat over all."""
    shader = Shader(name)
    angle = shader.attribute("gaze_angle")["Fac"]
    around = shader.attribute("iris_uv")["Vector"]
    fibres = _noise(shader, around, scale=9.0, detail=4.0)
    dark = _rgb(tuple(0.35 * c for c in who.iris))
    light = _rgb(tuple(min(1.0, 1.5 * c) for c in who.iris))
    iris = shader.mix(shader.ramp(fibres, 0.35, 0.65), dark, light)
    iris = shader.mix(shader.ramp(angle, 0.22, 0.13), iris, light)
    iris = shader.mix(shader.ramp(angle, IRIS_ANGLE_RAD - 0.07, IRIS_ANGLE_RAD), iris, dark)
    iris = shader.mix(
        shader.ramp(angle, _PUPIL_RAD + 0.02, _PUPIL_RAD), iris, (0.004, 0.004, 0.004)
    )
    sclera = shader.mix(shader.ramp(angle, 0.6, 1.3), (0.62, 0.58, 0.54), (0.56, 0.34, 0.3))
    color = shader.mix(
        shader.ramp(angle, IRIS_ANGLE_RAD - 0.02, IRIS_ANGLE_RAD + 0.03), iris, sclera
    )
    node = shader.node(
        "ShaderNodeBsdfPrincipled",
        {
            "Base Color": color,
            "Roughness": 0.6,
            "Specular IOR Level": 0.2,
            "Coat Weight": 1.0,
            "Coat Roughness": 0.02,
            "Coat IOR": 1.376,
        },
    )
    return shader.finish(node.outputs[0])


def _wet(name: str, color: RGB, roughness: float) -> bpy.types.Material:
    shader = Shader(name)
    node = shader.node(
        "ShaderNodeBsdfPrincipled",
        {
            "Base Color": color,
            "Roughness": roughness,
            "Subsurface Weight": 0.4,
            "Subsurface Radius": (1.0, 0.6, 0.5),
            "Subsurface Scale": _MM,
        },
    )
    return shader.finish(node.outputs[0])


def _noise(shader: Shader, vector: Any, scale: float, detail: float) -> Any:
    """0..1 noise; `scale` in features per unit of the vector (mm for `rest`)."""
    node = shader.node("ShaderNodeTexNoise", {"Vector": vector, "Scale": scale, "Detail": detail})
    return node.outputs[0]


def _rgb(values: tuple[float, ...]) -> RGB:
    return (values[0], values[1], values[2])
