"""The skin of parametric heads: gloss over flesh that light wanders in.

What varies slowly is painted on vertices by `pipeline.catalog.complexion`. What hangs on the
attribute `rest`, a vertex's place on the average head, moves with the face.
"""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from pipeline.blender.frames import METRES_PER_MM
from pipeline.blender.shading import Shader
from pipeline.geometry import RGB, Appearance

#: How far light wanders in skin by colour (mm): the diffuse mean free path that Jensen et al.,
#: "A practical model for subsurface light transport" (2001), measured ('skin1'), halved: their
#: slab was lit at a point, and heads with all of it look like wax.
_WANDERING_MM = (1.84, 0.69, 0.34)
_PORES_MM, _PORES_A_MM = 0.05, 0.6
_SPOTS_A_MM = 0.17


def skin(name: str, who: Appearance) -> bpy.types.Material:
    """Skin of a person, with the hair that is painted on it."""
    shader = Shader(name)
    rest = shader.attribute("rest")["Vector"]
    mouth = shader.attribute("mouth_inside")["Fac"]
    grain = shader.noise(rest, scale=_PORES_A_MM, detail=2.0)
    hairy = _undergrowth(shader, grain)
    color = _spotted(shader, who, rest, _grained(shader, grain))
    color = shader.mix(hairy, color, shader.mix(who.grey, who.hair, who.grey_hair))
    color = shader.mix(mouth, color, (0.25, 0.06, 0.055))
    shine = shader.math("MULTIPLY", shader.attribute("shine")["Fac"], _bare(shader, hairy))
    node = shader.node(
        "ShaderNodeBsdfPrincipled",
        {
            "Base Color": color,
            "Roughness": shader.math("SUBTRACT", 0.66, shader.math("MULTIPLY", shine, 0.3)),
            "Specular IOR Level": shader.math("ADD", 0.25, shader.math("MULTIPLY", shine, 0.45)),
            "IOR": 1.4,
            "Subsurface Weight": _bare(shader, shader.math("MAXIMUM", mouth, hairy)),
            "Subsurface Radius": subsurface_radius(who.skin),
            "Subsurface Scale": METRES_PER_MM,
            "Normal": _relief(shader, who, grain),
        },
        # Random walks look hardly better at portrait size and cost half as much again in all.
        subsurface_method="BURLEY",
    )
    return shader.finish(node.outputs[0])


def subsurface_radius(albedo: RGB) -> RGB:
    """Radius in mm for Cycles' Burley profile, that gives skin of an albedo its published one.

    Christensen and Burley (2015): the profile exp(-r/d) + exp(-r/3d) over r has d = l / s, with
    s = 3.5 + 100 (A - 0.33)^4 for a diffuse mean free path l. Cycles takes a radius R and uses
    d = R / 4 pi / s', with s' = 1.9 - A + 3.5 (A - 0.8)^2.
    """
    a = np.array(albedo)
    d = np.array(_WANDERING_MM) / (3.5 + 100.0 * (a - 0.33) ** 4)
    red, green, blue = 4.0 * np.pi * d * (1.9 - a + 3.5 * (a - 0.8) ** 2)
    return float(red), float(green), float(blue)


def _bare(shader: Shader, covered: Any) -> Any:
    return shader.math("SUBTRACT", 1.0, covered)


def _grained(shader: Shader, grain: Any) -> Any:
    """The painted albedo, a little lighter and darker from spot to spot."""
    factor = shader.math("ADD", 0.82, shader.math("MULTIPLY", grain, 0.36))
    return shader.times(shader.attribute("albedo")["Vector"], factor)


def _spotted(shader: Shader, who: Appearance, rest: Any, color: Any) -> Any:
    """Freckles, spots of age and moles: one in each cell of a random pattern, or none."""
    if who.freckles < 0.1 and who.moles < 0.3:
        return color
    # The pattern lies elsewhere on everybody.
    own = tuple(float(who.seed // step % 997) for step in (1, 997, 997**2))
    place = shader.node("ShaderNodeVectorMath", {0: rest, 1: own}, operation="ADD").outputs[0]
    cells = shader.node("ShaderNodeTexVoronoi", {"Vector": place, "Scale": _SPOTS_A_MM})
    chance = shader.node("ShaderNodeSeparateColor", {0: cells.outputs["Color"]}).outputs
    distance = cells.outputs["Distance"]
    many = shader.attribute("spots")["Fac"]
    size = shader.math("MULTIPLY", chance[0], shader.math("MULTIPLY", many, 0.45))
    freckle = shader.math("MULTIPLY", _dot(shader, distance, size), 0.55)
    brown: RGB = (who.skin[0] * 0.55, who.skin[1] * 0.42, who.skin[2] * 0.36)
    color = shader.mix(freckle, color, brown)
    rare = shader.math("GREATER_THAN", chance[1], 1.0 - 0.035 * who.moles)
    mole = shader.math("MULTIPLY", _dot(shader, distance, 0.26), rare)
    dark: RGB = (0.25 * brown[0], 0.25 * brown[1], 0.25 * brown[2])
    return shader.mix(shader.math("MULTIPLY", mole, 0.75), color, dark)


def _dot(shader: Shader, distance: Any, size: Any) -> Any:
    """1 within most of a radius, falling to 0 at it."""
    part = shader.math("DIVIDE", distance, shader.math("MAXIMUM", size, 1e-4))
    return shader.ramp(part, 1.0, 0.5)


def _relief(shader: Shader, who: Appearance, grain: Any) -> Any:
    """The normal, bent by pores and by the wrinkles painted on the mesh."""
    phase = shader.math("COSINE", shader.attribute("crease_phase")["Fac"])
    ground = shader.math("POWER", shader.math("MULTIPLY_ADD", phase, 0.5), 2.0)
    crease = shader.math("MULTIPLY", ground, shader.attribute("crease")["Fac"])
    pores = shader.math("MULTIPLY", grain, _PORES_MM * (1.0 + who.lines))
    height = shader.math("SUBTRACT", pores, crease)
    inputs: dict[str | int, Any] = {"Strength": 1.0, "Distance": METRES_PER_MM, "Height": height}
    return shader.node("ShaderNodeBump", inputs).outputs[0]


def _undergrowth(shader: Shader, grain: Any) -> Any:
    """Share of what lies below hairs: more of them, too many to be strands, and their shade."""
    grown = shader.attribute("undergrowth")["Fac"]
    ragged = shader.math("MULTIPLY", shader.math("SUBTRACT", grain, 0.5), 0.5)
    share = shader.ramp(shader.math("ADD", grown, ragged), 0.15, 0.95)
    return shader.math("MULTIPLY", share, 0.8)
