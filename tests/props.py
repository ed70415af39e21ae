"""Things of known form and colour that tests put before the camera of a built portrait."""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import numpy as np
from mathutils import Matrix

from pipeline.blender import shading
from pipeline.blender.frames import blender_points, turned_world
from pipeline.blender.scene import Portrait


def add_prop(
    portrait: Portrait,
    points: np.ndarray,
    faces: Sequence[tuple[int, ...]],
    material: bpy.types.Material,
) -> bpy.types.Object:
    """A mesh of points (n, 3), mm in the head's frame."""
    mesh = bpy.data.meshes.new("prop")
    mesh.from_pydata(blender_points(points).tolist(), [], list(faces))
    mesh.materials.append(material)
    prop = bpy.data.objects.new("prop", mesh)
    prop.matrix_world = Matrix(turned_world(portrait.spec.light.rotation_deg).tolist())
    portrait.scene.collection.objects.link(prop)
    return prop


def add_card(portrait: Portrait, centre: np.ndarray, half_mm: float, reflectance: float) -> None:
    """A grey, matt square that faces straight ahead."""
    shader = shading.Shader("card")
    grey = (reflectance, reflectance, reflectance)
    matt = shader.finish(shader.node("ShaderNodeBsdfDiffuse", {"Color": grey}).outputs[0])
    corners = half_mm * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0.0]])
    add_prop(portrait, centre + corners, [(0, 1, 2, 3)], matt)


def weighted_centre(weight: np.ndarray) -> np.ndarray:
    """(2,) u and v in px of the middle of an image's (h, w) light."""
    rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
