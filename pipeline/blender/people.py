"""Materials of parametric heads. Meshes of the user's have their own, or plain skin."""

from __future__ import annotations

import bpy

from pipeline.blender import eyes, skin
from pipeline.blender.cloth import worn
from pipeline.blender.shading import principled
from pipeline.geometry import RGB, WORN, Head, Material, Surface

_PLAIN_SKIN = Material(base_color=(0.46, 0.25, 0.17), roughness=0.5)


def material(name: str, surface: Surface, head: Head) -> bpy.types.Material:
    """The material of a head's surface: its own, or that of its kind."""
    who = head.appearance
    if name.startswith(WORN):
        return worn(name, surface.material or Material())
    if who is None or surface.material is not None:
        colored = "color" in surface.attributes
        return principled(name, surface.material or _PLAIN_SKIN, colored)
    if name in ("eye_left", "eye_right"):
        return eyes.eye(name, who)
    if name == "eye_rims":
        return eyes.wet_flesh(name)
    if name == "lashes":
        dark: RGB = (0.4 * who.hair[0], 0.4 * who.hair[1], 0.4 * who.hair[2])
        return principled(name, Material(base_color=dark, roughness=0.7))
    if name == "teeth":
        return eyes.teeth(name, who)
    if name == "tongue":
        return eyes.tongue(name)
    return skin.skin(name, who)
