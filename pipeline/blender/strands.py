"""Hair to Blender curves, and what hair is made of."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from pipeline.blender.frames import METRES_PER_MM, blender_points
from pipeline.blender.shading import Shader
from pipeline.geometry import FloatArray, Strands

_SHUFFLE = 73.1
#: Cycles takes curves whose object is scaled evenly into one tree with all meshes, which it builds
#: at every call of the renderer, some 0.1 s of it for hair. This little, which squared is more than
#: the 1e-6 that Cycles calls even, keeps them in one of their own, which it builds once.
_UNEVEN = 1.0 + 1e-5


def add_strands(
    scene: bpy.types.Scene, name: str, strands: Strands, matrix: FloatArray
) -> bpy.types.Object:
    """An object of `strands` (mm, our axes) placed by `matrix` (Blender's axes)."""
    count, length = strands.points.shape[:2]
    curves = bpy.data.hair_curves.new(name)
    curves.add_curves([length] * count)
    points = blender_points(strands.points.reshape(-1, 3).astype(np.float64)).astype(np.float32)
    curves.attributes["position"].data.foreach_set("vector", points.ravel())
    radius = (strands.radius * METRES_PER_MM).astype(np.float32).ravel()
    curves.attributes.new("radius", "FLOAT", "POINT").data.foreach_set("value", radius)
    curves.attributes.new("shade", "FLOAT", "CURVE").data.foreach_set("value", strands.shade)
    curves.materials.append(_material(name, strands))
    obj = bpy.data.objects.new(name, curves)
    obj.matrix_world = Matrix(matrix.tolist()) @ Matrix.Scale(_UNEVEN, 4, (0.0, 0.0, 1.0))
    scene.collection.objects.link(obj)
    return obj


def _material(name: str, strands: Strands) -> bpy.types.Material:
    """Opaque fibres: light scattered within, and a highlight along each.

    Fibres that let light through, as real ones do, would tie the layers' random numbers to the
    glasses behind them; the color is the albedo of a mass of hair, which makes up for it.
    """
    shader = Shader(name)
    shade = shader.attribute("shade")["Fac"]
    grey = shader.ramp(shade, 1.0 - strands.second_share - 1e-3, 1.0 - strands.second_share + 1e-3)
    color = shader.mix(grey, strands.color, strands.second_color)
    # Another number of each hair, out of the same one.
    other = shader.math("FRACT", shader.math("MULTIPLY", shade, _SHUFFLE))
    value = shader.math("ADD", shader.math("MULTIPLY", other, 0.6), 0.7)
    color = shader.mix(1.0, color, value, mode="MULTIPLY")
    body = shader.node("ShaderNodeBsdfDiffuse", {"Color": color})
    gloss = shader.node(
        "ShaderNodeBsdfHair",
        {
            "Color": shader.mix(0.5, color, (0.05, 0.05, 0.05)),
            "Offset": -0.05,
            "RoughnessU": 0.24,
            "RoughnessV": 0.9,
        },
        component="Reflection",
    )
    both = shader.node("ShaderNodeAddShader", {0: body.outputs[0], 1: gloss.outputs[0]})
    return shader.finish(both.outputs[0])
