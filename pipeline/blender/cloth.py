"""Materials of what heads wear: woven and knitted cloth, and plain things such as buttons."""

from __future__ import annotations

from typing import Any

import bpy

from pipeline.blender.frames import METRES_PER_MM
from pipeline.blender.shading import Shader
from pipeline.geometry import Material


def worn(name: str, material: Material) -> bpy.types.Material:
    """Opaque, with the material's pattern over the attribute `place`, mm."""
    shader = Shader(name)
    inputs: dict[str | int, Any] = {
        "Base Color": material.base_color,
        "Metallic": material.metallic,
        "Roughness": material.roughness,
        "IOR": material.ior,
    }
    if material.sheen:
        tint = tuple(0.5 + 0.5 * c for c in material.base_color)
        inputs |= {
            "Sheen Weight": material.sheen,
            "Sheen Roughness": 0.5,
            "Sheen Tint": tint,
            "Specular IOR Level": 0.15,
        }
    if material.pattern:
        inputs |= _patterned(shader, material)
    node = shader.node("ShaderNodeBsdfPrincipled", inputs)
    return shader.finish(node.outputs[0])


def _patterned(shader: Shader, material: Material) -> dict[str | int, Any]:
    """The colour of a cloth's pattern, and the normal where it is a relief."""
    place = shader.attribute("place")["Vector"]
    axes = shader.node("ShaderNodeSeparateXYZ", {"Vector": place}).outputs
    first, second, period = material.base_color, material.second_color, material.period_mm

    def bars(axis: Any, share: float, mm: float = period) -> Any:
        """1 on bars that take a share of every period."""
        phase = shader.math("FRACT", shader.math("DIVIDE", axis, mm))
        return shader.math("LESS_THAN", phase, share)

    if material.pattern in ("knit", "ribs"):
        wave = shader.math("SINE", shader.math("MULTIPLY", axes[0], 6.2832 / period))
        if material.pattern == "knit":
            # Stitches lean to either side of their column in turn.
            lean = shader.math("ADD", axes[1], shader.math("MULTIPLY", wave, 0.25 * period))
            row = shader.math("SINE", shader.math("MULTIPLY", lean, 6.2832 / (0.75 * period)))
            wave = shader.math("ADD", wave, shader.math("MULTIPLY", row, 0.5))
        groove = shader.ramp(wave, -1.2, 0.2)
        dark = tuple(0.55 * c for c in first)
        depth = 0.14 * period * METRES_PER_MM
        bump = shader.node("ShaderNodeBump", {"Strength": 0.7, "Distance": depth, "Height": wave})
        return {"Base Color": shader.mix(groove, dark, first), "Normal": bump.outputs[0]}
    if material.pattern == "stripes":
        share = bars(axes[1], 0.5)
    elif material.pattern == "pinstripes":
        share = bars(axes[0], 0.16)
    elif material.pattern == "checks":
        crossed = shader.math("ADD", bars(axes[0], 0.45), bars(axes[1], 0.45))
        share = shader.math("MULTIPLY", crossed, 0.42)
    elif material.pattern == "print":
        share = shader.ramp(shader.noise(place, 2.2 / period, 1.0), 0.6, 0.63)
    elif material.pattern == "denim":
        drawn = shader.times(place, (1.6, 0.25, 1.6))
        share = shader.math("MULTIPLY", shader.noise(drawn, 0.8, 2.0), 0.9)
    else:
        drawn = shader.times(place, (0.35, 1.6, 0.35))
        share = shader.ramp(shader.noise(drawn, 1.0 / period, 2.0), 0.3, 0.75)
    return {"Base Color": shader.mix(share, first, second)}
