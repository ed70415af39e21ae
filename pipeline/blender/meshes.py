"""Surfaces to Blender mesh objects."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from pipeline.blender.frames import blender_points
from pipeline.geometry import FloatArray, Surface


def add_object(
    scene: bpy.types.Scene, name: str, mesh: bpy.types.Mesh, matrix: FloatArray
) -> bpy.types.Object:
    """An object of a mesh, placed by `matrix` (Blender's axes)."""
    obj = bpy.data.objects.new(name, mesh)
    obj.matrix_world = Matrix(matrix.tolist())
    scene.collection.objects.link(obj)
    return obj


def fill_mesh(mesh: bpy.types.Mesh, vertices: FloatArray, faces: NDArray[np.int64]) -> None:
    """Gives a mesh other (n, 3) vertices, in its own metres, and (m, corners) faces."""
    count, corners = faces.shape
    mesh.clear_geometry()
    mesh.vertices.add(len(vertices))
    mesh.loops.add(count * corners)
    # By the attributes' names, which takes a hundredth of the time of `co` and `vertex_index`.
    mesh.attributes["position"].data.foreach_set("vector", _flat(vertices))
    mesh.attributes[".corner_vert"].data.foreach_set("value", faces.ravel().astype(np.int32))
    mesh.polygons.add(count)
    mesh.polygons.foreach_set("loop_start", np.arange(0, count * corners, corners, dtype=np.int32))
    mesh.update(calc_edges=True)


def new_mesh(name: str, surface: Surface, material: bpy.types.Material) -> bpy.types.Mesh:
    """A smooth mesh of `surface` (mm, our axes) with its attributes and texture coordinates."""
    mesh = bpy.data.meshes.new(name)
    mesh.materials.append(material)
    fill_mesh(mesh, blender_points(surface.vertices), surface.faces)
    for key, values in surface.attributes.items():
        if values.ndim == 1:
            mesh.attributes.new(key, "FLOAT", "POINT").data.foreach_set("value", _flat(values))
        else:
            mesh.attributes.new(key, "FLOAT_VECTOR", "POINT").data.foreach_set(
                "vector", _flat(values)
            )
    if surface.uv is not None:
        layer = mesh.uv_layers.new(name="UVMap")
        layer.data.foreach_set("uv", _flat(surface.uv[surface.faces.ravel()]))
    return mesh


def _flat(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=np.float32).ravel()
