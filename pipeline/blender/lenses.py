"""Optional layers about lenses, each traced only where it differs from `all`.

`no_reflection` is traced where the eyewear is seen: light that lenses throw on skin stays.
"""

from __future__ import annotations

from dataclasses import replace

import bpy
import numpy as np

from pipeline.blender import labels, shading
from pipeline.blender.layers import FaceLayer, color_of, guides_of, influence, trace_layer
from pipeline.blender.scene import BuiltScene
from pipeline.blender.trace import trace
from pipeline.catalog.finishes import LENSES
from pipeline.pixels import Float32, Mask
from pipeline.rendering import Extra, Rendering
from pipeline.spec import SampleSpec

#: Finishes of `sunglasses`, one sample after another.
SUNGLASSES = ("grey", "brown", "green", "grey_gradient", "brown_gradient", "silver_mirror")
_WHITE = "label_white"


def render_extras(
    built: BuiltScene, face: FaceLayer, rendering: Rendering, spec: SampleSpec
) -> Rendering:
    """The rendering with the optional layers that the sample's own spec asks for."""
    wanted = spec.render.layers
    extras: dict[str, Extra] = {}
    if "no_reflection" in wanted:
        extras["no_reflection"] = _no_reflection(built, rendering)
    if "sunglasses" in wanted:
        extras["sunglasses"] = _sunglasses(built, face, rendering, spec.index)
    transmittance = None
    if "lens_transmittance" in wanted:
        transmittance = _transmittance(built)
    return replace(rendering, extras=extras, transmittance=transmittance)


def _no_reflection(built: BuiltScene, rendering: Rendering) -> Extra:
    """`all` with lenses that add nothing: no reflections, and no light that smudges scatter."""
    seen = rendering.silhouette
    shown = [_material(built, name) for name, lens in built.lenses.items() if lens.is_glass()]
    for material in shown:
        shading.show_reflections(material, False)
    try:
        return _extra(built, rendering, seen if shown else np.zeros_like(seen))
    finally:
        for material in shown:
            shading.show_reflections(material, True)


def _sunglasses(built: BuiltScene, face: FaceLayer, rendering: Rendering, index: int) -> Extra:
    """`all` with dark lenses of the same form; `all` itself where they are dark, or there are none.

    index: of the sample, which decides the finish.
    """
    if built.dark_lenses or not built.lenses:
        return _extra(built, rendering, np.zeros_like(rendering.silhouette))
    finish = LENSES[SUNGLASSES[index % len(SUNGLASSES)]]
    worn = {name: _material(built, name) for name in built.lenses}
    for name, material in built.lenses.items():
        dark = replace(finish, ior=material.ior, smudges=material.smudges)
        mesh = built.eyewear[name].data
        if "height" not in mesh.attributes:
            dark = replace(dark, pattern="")
        caustics = built.portrait.spec.render.caustics
        mesh.materials[0] = shading.lens(f"{name}_dark", dark, caustics)
    try:
        return _extra(built, rendering, rendering.border | influence(built, face))
    finally:
        for name, old in worn.items():
            built.eyewear[name].data.materials[0] = old


def _extra(built: BuiltScene, rendering: Rendering, where: Mask) -> Extra:
    passes, worn = trace_layer(built, "all", where), rendering.guides.get("all")
    return Extra(
        color=np.where(where[..., None], color_of(passes), rendering.layers["all"]),
        guides=worn and worn.replaced(where, guides_of(passes)),
        where=where,
    )


def _transmittance(built: BuiltScene) -> Float32:
    """(h, w, 3): the share of what is behind that a pixel's lenses let through; 1 elsewhere."""
    portrait, white = built.portrait, shading.emission(_WHITE, (1.0, 1.0, 1.0))
    black = shading.emission("label_dark", (0.0, 0.0, 0.0))
    shown = dict.fromkeys((*portrait.head.values(), *built.eyewear.values()), white)
    for name, lens in built.lenses.items():
        material = shading.lens(f"through_{name}", lens) if lens.is_glass() else black
        if lens.is_glass():
            shading.show_reflections(material, False)
        shown[built.eyewear[name]] = material
    where, world = labels.outline(built), portrait.scene.world
    with labels.flat(portrait, shown):
        portrait.scene.world = _white_world()
        try:
            seen = trace(portrait.scene, where)["Combined"][..., :3]
        finally:
            portrait.scene.world = world
    return np.where(where[..., None], np.clip(seen, 0.0, 1.0), np.float32(1.0))


def _white_world() -> bpy.types.World:
    world = bpy.data.worlds.get(_WHITE)
    if world is None:
        world = bpy.data.worlds.new(_WHITE)
        if world.node_tree is None:
            world.use_nodes = True
        world.node_tree.nodes["Background"].inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    return world


def _material(built: BuiltScene, name: str) -> bpy.types.Material:
    return built.eyewear[name].data.materials[0]
