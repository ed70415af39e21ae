"""Eyes and mouth of parametric heads: all that is wet."""

from __future__ import annotations

from typing import Any

import bpy

from pipeline.blender.frames import METRES_PER_MM
from pipeline.blender.shading import Shader
from pipeline.catalog.appearance import scaled
from pipeline.catalog.eyes import IRIS_ANGLE_RAD
from pipeline.geometry import RGB, Appearance

_IRIS_DIAMETER_MM = 11.8
_BLACK: RGB = (0.003, 0.003, 0.003)
_VEINS: RGB = (0.50, 0.20, 0.17)
_CORNERS: RGB = (0.52, 0.30, 0.27)


def eye(name: str, who: Appearance) -> bpy.types.Material:
    """Sclera, limbus, iris with radial fibres, pupil; one wet coat over all."""
    shader = Shader(name)
    angle = shader.attribute("gaze_angle")["Fac"]
    around = shader.attribute("iris_uv")["Vector"]
    # The ring where the sclera runs into the iris is soft and dark.
    in_sclera = shader.ramp(angle, IRIS_ANGLE_RAD - 0.025, IRIS_ANGLE_RAD + 0.045)
    color = shader.mix(
        in_sclera, _iris(shader, who, angle, around), _sclera(shader, who, angle, around)
    )
    shade = shader.attribute("lid_shade")["Fac"]
    color = shader.times(color, shade)
    return _coated(shader, color, coat_roughness=0.03)


def _iris(shader: Shader, who: Appearance, angle: Any, around: Any) -> Any:
    """Light and dark fibres, a lighter collar around the pupil, a dark rim."""
    pupil = IRIS_ANGLE_RAD * who.pupil_mm / _IRIS_DIAMETER_MM
    # Divided by the distance from the axis, the pattern runs along radii.
    flat = shader.times(around, (1.0, 1.0, 0.0))
    outwards = shader.node("ShaderNodeVectorMath", {0: flat}, operation="NORMALIZE").outputs[0]
    bent = shader.node("ShaderNodeVectorMath", {0: around, 1: outwards}, operation="ADD").outputs[0]
    fibres = shader.ramp(shader.noise(bent, scale=7.0, detail=3.0), 0.3, 0.7)
    dark, light, rim = (scaled(who.iris, factor) for factor in (0.5, 1.5, 0.22))
    color = shader.mix(fibres, dark, light)
    collar: RGB = scaled(who.iris, 1.6)
    if who.iris_kind in ("hazel", "green", "grey"):
        collar = (1.5 * who.iris[0] + 0.04, 1.1 * who.iris[1], 0.5 * who.iris[2])
    near = shader.ramp(angle, pupil + 0.45 * (IRIS_ANGLE_RAD - pupil), pupil)
    color = shader.mix(shader.math("MULTIPLY", near, 0.6), color, collar)
    edge = shader.ramp(angle, IRIS_ANGLE_RAD - 0.09, IRIS_ANGLE_RAD - 0.005)
    color = shader.mix(shader.math("MULTIPLY", edge, 0.85), color, rim)
    return shader.mix(shader.ramp(angle, pupil + 0.02, pupil - 0.005), color, _BLACK)


def _sclera(shader: Shader, who: Appearance, angle: Any, around: Any) -> Any:
    """Off-white, pink and veined towards the corners."""
    long = shader.times(around, (2.0, 9.0, 4.0))
    lines = shader.math("ABSOLUTE", shader.math("SUBTRACT", shader.noise(long, 1.6, 2.0), 0.5))
    veins = shader.math("MULTIPLY", shader.ramp(lines, 0.045, 0.0), shader.ramp(angle, 0.45, 1.0))
    color = shader.mix(shader.math("MULTIPLY", veins, 0.4), who.sclera, _VEINS)
    return shader.mix(shader.attribute("corner")["Fac"], color, _CORNERS)


def wet_flesh(name: str) -> bpy.types.Material:
    """Caruncles and the rims of the lower lids, where tears stand."""
    shader = Shader(name)
    return _coated(shader, shader.attribute("albedo")["Vector"], coat_roughness=0.08)


def _coated(shader: Shader, color: Any, coat_roughness: float) -> bpy.types.Material:
    node = shader.node(
        "ShaderNodeBsdfPrincipled",
        {
            "Base Color": color,
            "Roughness": 0.6,
            "Specular IOR Level": 0.1,
            "Coat Weight": 1.0,
            "Coat Roughness": coat_roughness,
            "Coat IOR": 1.376,
        },
    )
    return shader.finish(node.outputs[0])


def teeth(name: str, who: Appearance) -> bpy.types.Material:
    """Enamel, browner to the neck and darker towards the back of the mouth; pink gums."""
    shader = Shader(name)
    gum = shader.attribute("gum")["Fac"]
    depth = shader.attribute("depth")["Fac"]
    pale = shader.mix(shader.attribute("neck")["Fac"], who.teeth, _neck_of(who.teeth))
    gums = scaled((0.44, 0.17, 0.16), 1.0 - 0.45 * who.melanin)
    color = shader.mix(gum, pale, gums)
    dark = shader.ramp(depth, 0.0, 1.0)
    color = shader.mix(dark, color, (0.05, 0.02, 0.018))
    return _moist(shader, color, 0.28)


def tongue(name: str) -> bpy.types.Material:
    """Pink, spotted with paler papillae."""
    shader = Shader(name)
    grain = shader.noise(shader.node("ShaderNodeNewGeometry").outputs["Position"], 900.0, 2.0)
    color = shader.mix(grain, (0.34, 0.10, 0.095), (0.41, 0.17, 0.155))
    return _moist(shader, color, 0.42)


def _moist(shader: Shader, color: Any, roughness: float) -> bpy.types.Material:
    node = shader.node(
        "ShaderNodeBsdfPrincipled",
        {
            "Base Color": color,
            "Roughness": roughness,
            "Subsurface Weight": 1.0,
            "Subsurface Radius": (8.0, 5.0, 4.0),
            "Subsurface Scale": METRES_PER_MM,
        },
        subsurface_method="BURLEY",
    )
    return shader.finish(node.outputs[0])


def _neck_of(tooth: RGB) -> RGB:
    return (0.93 * tooth[0], 0.86 * tooth[1], 0.74 * tooth[2])
