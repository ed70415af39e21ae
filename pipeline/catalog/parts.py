"""Tells the parts of somebody's glasses apart: rims, pads, temples, lenses; finds the hinges."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from pipeline.errors import AssetError
from pipeline.geometry import FloatArray, Hinge, Material, Surface

CLEAR_LENS = Material((0.95, 0.95, 0.95), metallic=0.0, roughness=0.0, transmission=1.0)
_WORDS = {
    "lens": ("lens", "linse", "glass", "glas"),
    "temple": ("temple", "arm", "leg", "ear", "earhook"),
    "pads": ("pad", "nosepad", "nose"),
    "bridge": ("bridge",),
    "rims": ("frame", "rim", "front", "body"),
}
_WHOLE_PAIRS = ("glasses", "eyeglasses", "sunglasses", "armature", "earth")
#: What lies further behind the foremost point than this is temple, not a front that wraps.
_FRONT_DEPTH_MM = 28.0
_PX_PER_MM = 4.0
#: A double bridge closes some 40 mm2 and more, the loop of a pad arm less.
_HOLE_MM2 = 40.0


@dataclass(frozen=True, eq=False)
class Piece:
    """One mesh of a file: the names of its object and material, its surface and opacity."""

    name: str
    material_name: str
    surface: Surface
    opacity: float = 1.0

    @property
    def transparent(self) -> bool:
        material = self.surface.material
        return self.opacity < 1 or (material is not None and material.transmission > 0)


@dataclass(frozen=True, eq=False)
class _Share:
    """The faces of a piece that belong to one part."""

    piece: Piece
    faces: NDArray[np.int64]


def eyewear_parts(
    pieces: Sequence[Piece], path: Path
) -> tuple[dict[str, Surface], tuple[Hinge, Hinge], int]:
    """Parts by name, the left and right hinge, and the number of closed lens openings.

    Pieces are in our frame and mm. Raises AssetError where there is no temple on a side, or
    nothing but temples.
    """
    front = max(float(p.surface.vertices[:, 2].max()) for p in pieces)
    shares: dict[str, list[_Share]] = {}
    for piece in pieces:
        for name, faces in _split(piece, front).items():
            if len(faces):
                shares.setdefault(name, []).append(_Share(piece, faces))
    parts = {name: _merge(name, found) for name, found in sorted(shares.items())}
    for side in ("left", "right"):
        if f"temple_{side}" not in parts:
            raise AssetError(
                f"{path}: no {side} temple found more than {_FRONT_DEPTH_MM:.0f} mm "
                "behind the front; glasses need open temples"
            )
    if not set(parts) - {"temple_left", "temple_right"}:
        raise AssetError(f"{path}: nothing but temples found; the front is missing")
    hinges = (_hinge(parts["temple_left"]), _hinge(parts["temple_right"]))
    closed = [parts[name] for name in ("rims", "bridge", "pads") if name in parts]
    return parts, hinges, count_holes(closed)


def told_by_name(name: str) -> str | None:
    """'lens', 'temple', 'pads', 'bridge', 'rims' or None, from an object's or material's name."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    for part, known in _WORDS.items():
        for word in words:
            if word.startswith(_WHOLE_PAIRS):
                continue
            if any(word in (k, k + "s") or (len(k) > 3 and word.startswith(k)) for k in known):
                return part
    return None


def _split(piece: Piece, front: float) -> dict[str, NDArray[np.int64]]:
    """The faces of a piece by part."""
    surface = piece.surface
    kind = told_by_name(piece.name)
    if kind is None:
        kind = "lens" if piece.transparent else told_by_name(piece.material_name)
    faces = surface.triangles()
    middles = surface.vertices[faces].mean(axis=1)
    left = middles[:, 0] > 0
    if kind == "lens":
        return {"lens_left": faces[left], "lens_right": faces[~left]}
    if kind == "temple" and surface.vertices[:, 2].min() < front - _FRONT_DEPTH_MM:
        return {"temple_left": faces[left], "temple_right": faces[~left]}
    if kind in ("pads", "bridge"):
        return {kind: faces}
    return _split_by_shape(surface, faces, middles, front, find_lenses=kind is None)


def _split_by_shape(
    surface: Surface, faces: NDArray, middles: FloatArray, front: float, find_lenses: bool
) -> dict[str, NDArray[np.int64]]:
    behind = middles[:, 2] < front - _FRONT_DEPTH_MM
    left = middles[:, 0] > 0
    labels = _components(surface.vertices, faces)
    order = np.argsort(labels, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    lens = np.zeros(len(faces), dtype=bool)
    for group in groups:
        corners = surface.vertices[np.unique(faces[group])]
        low, high = corners.min(axis=0), corners.max(axis=0)
        if low[0] * high[0] > 0 and low[2] < front - 2 * _FRONT_DEPTH_MM:
            behind[group] = True
        elif find_lenses and low[2] > front - _FRONT_DEPTH_MM and _is_pane(corners, low, high):
            lens[group] = True
    return {
        "temple_left": faces[behind & left],
        "temple_right": faces[behind & ~left],
        "lens_left": faces[lens & left],
        "lens_right": faces[lens & ~left],
        "rims": faces[~behind & ~lens],
    }


def _components(vertices: FloatArray, faces: NDArray) -> NDArray[np.int64]:
    """(m,) label of the connected group of each face; corners at one place are one corner."""
    places = np.unique(np.round(vertices, 4), axis=0, return_inverse=True)[1].reshape(-1)
    corners = places[faces]
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]]])
    return trimesh.graph.connected_component_labels(edges, node_count=places.max() + 1)[
        corners[:, 0]
    ]


def _is_pane(corners: FloatArray, low: FloatArray, high: FloatArray) -> bool:
    """Whether a piece is as large as a lens and has no hole in its middle, seen from in front."""
    width, height = high[0] - low[0], high[1] - low[1]
    if not (25 < width < 160 and 18 < height < 80):
        return False
    middle = 0.5 * (low + high)
    if width > 90:
        middle[0] += 0.25 * width
    near = np.abs(corners[:, :2] - middle[:2]) < 0.25 * min(width, height)
    return bool(near.all(axis=1).any())


def _merge(name: str, shares: list[_Share]) -> Surface:
    vertices, faces, start = [], [], 0
    for share in shares:
        used, local = np.unique(share.faces, return_inverse=True)
        vertices.append(share.piece.surface.vertices[used])
        faces.append(local.reshape(-1, 3) + start)
        start += len(used)
    sizes = [_area(share) for share in shares]
    uv = None
    material = _material(name, shares[int(np.argmax(sizes))].piece)
    if material is not None and material.texture is not None:
        sources = [share.piece.surface.uv for share in shares]
        if len(shares) == 1 and sources[0] is not None:
            uv = sources[0][np.unique(shares[0].faces)]
        else:
            material = _without_texture(material)
    return Surface(np.concatenate(vertices), np.concatenate(faces), uv, material=material)


def _area(share: _Share) -> float:
    corners = share.piece.surface.vertices[share.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return float(np.linalg.norm(normals, axis=1).sum())


def _without_texture(material: Material) -> Material:
    """The material with the mean colour of its texture instead of the texture."""
    if material.texture is None:
        return material
    mean = (material.texture.reshape(-1, 3).mean(axis=0) / 255.0) ** 2.2
    red, green, blue = (float(c) for c in np.array(material.base_color) * mean)
    return replace(material, base_color=(red, green, blue), texture=None)


def _material(name: str, piece: Piece) -> Material | None:
    material = piece.surface.material
    if not name.startswith("lens"):
        return material
    if material is None or not piece.transparent:
        return CLEAR_LENS
    if material.texture is not None:
        material = _without_texture(material)
    return replace(
        material, metallic=0.0, transmission=max(material.transmission, 1.0 - piece.opacity)
    )


def _hinge(temple: Surface) -> Hinge:
    used = temple.vertices[np.unique(temple.faces)]
    end = used[used[:, 2] > used[:, 2].max() - 3.0]
    return Hinge(0.5 * (end.min(axis=0) + end.max(axis=0)), np.array([0.0, 1.0, 0.0]))


def count_holes(surfaces: Sequence[Surface]) -> int:
    """Openings of more than 40 mm2 that surfaces in mm close all round, seen along z."""
    if not surfaces:
        return 0
    corners = np.concatenate([s.vertices[s.triangles()][:, :, :2] for s in surfaces])
    low = corners.min(axis=(0, 1)) - 2.0
    width, height = np.ceil((corners.max(axis=(0, 1)) + 2.0 - low) * _PX_PER_MM).astype(int)
    if width * height > 4_000_000:
        return 0
    image = Image.new("1", (int(width), int(height)))
    draw = ImageDraw.Draw(image)
    for triangle in ((corners - low) * _PX_PER_MM).reshape(-1, 6).tolist():
        draw.polygon(triangle, fill=1, outline=1)
    labels, count = ndimage.label(~np.asarray(image))
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    sizes = np.bincount(labels.ravel(), minlength=count + 1) / _PX_PER_MM**2
    large = [k for k in range(1, count + 1) if k not in border and sizes[k] > _HOLE_MM2]
    return len(large)
