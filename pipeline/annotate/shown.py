"""How surfaces look on the page: with textures and colours where a mesh has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import trimesh
from PIL import Image

from pipeline.catalog.piece import Piece
from pipeline.geometry import RGB, FloatArray, Surface
from pipeline.transforms import apply

#: Colour of what has neither material nor vertex colours, linear Rec. 709.
_PLAIN: RGB = (0.5, 0.47, 0.44)
_CLEAR_OPACITY = 0.35


def looks(pieces: Sequence[Piece]) -> list[tuple[Surface, RGB, float]]:
    """The surfaces of pieces, each with a colour for where it has none, and an opacity."""
    return [
        (
            piece.surface,
            piece.surface.material.base_color if piece.surface.material else _PLAIN,
            _CLEAR_OPACITY if piece.transparent else 1.0,
        )
        for piece in pieces
    ]


def as_glb(surfaces: Sequence[tuple[Surface, RGB, float]], local_from_file: FloatArray) -> bytes:
    """Surfaces, each with a colour and an opacity, as one binary glTF in the local frame.

    Those without textures become one mesh: a scan in thousands of pieces would stall the page.
    """
    scene = trimesh.Scene()
    plain: dict[float, list[tuple[Surface, RGB]]] = {}
    for surface, rgb, opacity in surfaces:
        material = surface.material
        if material is None or material.texture is None or surface.uv is None:
            plain.setdefault(opacity, []).append((surface, rgb))
            continue
        image = Image.fromarray(np.ascontiguousarray(material.texture))
        visual = _visual((*material.base_color, opacity), surface.uv, image)
        _add(scene, apply(local_from_file, surface.vertices), surface.triangles(), visual)
    for opacity, group in plain.items():
        starts = np.cumsum([0, *(len(surface.vertices) for surface, _ in group)])
        colours = np.ones((starts[-1], 4))
        for (surface, rgb), start in zip(group, starts, strict=False):
            own = slice(start, start + len(surface.vertices))
            colours[own, :3] = surface.attributes.get("color", rgb)
        visual = _visual((1.0, 1.0, 1.0, opacity))
        visual.vertex_attributes["color"] = np.clip(255 * colours + 0.5, 0, 255).astype(np.uint8)
        vertices = np.concatenate([surface.vertices for surface, _ in group])
        faces = [s.triangles() + start for (s, _), start in zip(group, starts, strict=False)]
        _add(scene, apply(local_from_file, vertices), np.concatenate(faces), visual)
    return scene.export(file_type="glb", include_normals=True)


def _add(scene: trimesh.Scene, vertices: FloatArray, faces: Any, visual: Any) -> None:
    scene.add_geometry(
        trimesh.Trimesh(vertices, faces, visual=visual, process=False, validate=False)
    )


def _visual(rgba: tuple[float, ...], uv: Any = None, image: Any = None) -> Any:
    material = trimesh.visual.material.PBRMaterial(
        baseColorFactor=rgba, baseColorTexture=image, metallicFactor=0.0, roughnessFactor=0.8,
        alphaMode="BLEND" if rgba[3] < 1 else "OPAQUE", doubleSided=True,
    )  # fmt: skip
    return trimesh.visual.TextureVisuals(uv=uv, material=material)
