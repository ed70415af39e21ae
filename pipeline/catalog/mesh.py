"""The user's own meshes: heads and glasses as OBJ, PLY, STL or glTF, with four anchor points.

What trimesh makes of a file is checked here, because much that is broken loads as an empty mesh.
"""

from __future__ import annotations

import json
import logging
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import trimesh
from numpy.typing import NDArray

from pipeline.catalog.anchors import (
    AnchorFrame,
    anchor_frame,
    eyewear_upside_down,
    head_upside_down,
    read_anchors,
    sidecar_path,
)
from pipeline.catalog.data import MESH_SUFFIXES
from pipeline.catalog.parts import Piece, eyewear_parts
from pipeline.errors import AssetError
from pipeline.geometry import Eyewear, FloatArray, Head, Material, Surface
from pipeline.skin import SkinSurface
from pipeline.transforms import apply

#: An anchor on a head may lie this far off its surface: further is a slip of the pen.
ANCHOR_OFF_MM = 15.0
_MAX_TEXTURE_PX = 4096
_Colour = tuple[float, float, float, float]
_COMPRESSED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")
_NOT_SKIN = re.compile(r"eye|iris|sclera|cornea|pupil|lash|teeth|tooth|tongue|gum|hair|brow", re.I)
#: Clear shells over the eyes, which without their shaders would hide them.
_SHELL = re.compile(r"occlusion|lacrimal|eyeblend|tear", re.I)


_MTL_MAPS = ("map_", "bump", "disp", "decal", "norm", "refl")


@dataclass(frozen=True, eq=False)
class _Gltf:
    """What trimesh leaves out of a glTF file: material extensions by material name."""

    required: tuple[str, ...] = ()
    materials: Mapping[str, dict] = field(default_factory=dict)


def load_head(path: Path | str) -> Head:
    """A head from a mesh file and its `NAME.anchors.yaml`, in mm and our axes.

    Surfaces: 'skin', the largest piece, 'skin_2', ... the others, each with its own material and
    base colour texture; eyes, teeth, lashes and hair, known by their names, are 'extra_1', ...,
    on which glasses do not rest. Eye centres are not known. Raises AssetError, on one line with
    the path and the remedy, for anything missing, broken, or labelled wrongly.
    """
    path = Path(path)
    frame, pieces = _load(path)
    pieces = [p for p in pieces if not _SHELL.search(p.name)] or pieces
    extras = [p for p in pieces if _NOT_SKIN.search(p.name)]
    skins = [p for p in pieces if not _NOT_SKIN.search(p.name)]
    if not skins:
        skins, extras = extras, []
    skins.sort(key=lambda p: -len(p.surface.faces))
    surfaces = {
        ("skin" if i == 0 else f"skin_{i + 1}"): _fleshed(p.surface) for i, p in enumerate(skins)
    }
    surfaces |= {f"extra_{i + 1}": piece.surface for i, piece in enumerate(extras)}
    head = Head(path.stem, surfaces, frame.anchors, unit=frame.unit)
    vertices = np.concatenate([piece.surface.vertices for piece in skins])
    _check_anchors(sidecar_path(path), vertices, head, head_upside_down)
    return head


def companions(path: Path) -> list[Path]:
    """The mesh file, its sidecar, and the files of its folder that it names, each once.

    Those are an OBJ's material libraries with their maps, and a glTF's buffers and images. Names
    that point to no file are left out: the loader says what it misses.
    """
    found = [path, sidecar_path(path)]
    if path.suffix.lower() == ".obj":
        libraries = [path.parent / name for name in _named_in(path, ("mtllib",))]
        found += libraries
        for library in libraries:
            found += [path.parent / name for name in _named_in(library, _MTL_MAPS)]
    elif path.suffix.lower() == ".gltf":
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            entries = [*data.get("buffers", []), *data.get("images", [])]
            uris = [entry.get("uri", "data:") for entry in entries]
        except (ValueError, AttributeError, TypeError, RecursionError):
            uris = []
        found += [path.parent / unquote(str(u)) for u in uris if not str(u).startswith("data:")]
    return [file for file in dict.fromkeys(found) if file.is_file()]


def _named_in(path: Path, keywords: tuple[str, ...]) -> list[str]:
    """Last words of the lines of an OBJ or MTL file that begin with one of the keywords."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = [line.split() for line in file if line.lstrip().lower().startswith(keywords)]
    return [words[-1] for words in lines if len(words) > 1]


def _fleshed(surface: Surface) -> Surface:
    """Without its material if that is a modeller's plain grey: the renderer knows better skin."""
    material = surface.material
    if material is None or material.texture is not None:
        return surface
    grey = max(material.base_color) - min(material.base_color) < 0.02
    return replace(surface, material=None) if grey else surface


def load_eyewear(path: Path | str) -> Eyewear:
    """Glasses from a mesh file and its `NAME.anchors.yaml`, in mm and our axes.

    Parts are told by the names of objects and materials, by transparency, then by shape; hinges
    stand at the front ends of the temples. Raises AssetError, on one line with the path and the
    remedy, for anything missing, broken, or labelled wrongly, or if no temples can be told.
    """
    path = Path(path)
    frame, pieces = _load(path)
    surfaces = {f"skin_{i}": piece.surface for i, piece in enumerate(pieces)}
    vertices = np.concatenate([piece.surface.vertices for piece in pieces])
    whole = Head(path.stem, surfaces, frame.anchors)
    _check_anchors(sidecar_path(path), vertices, whole, eyewear_upside_down)
    parts, hinges, holes = eyewear_parts(pieces, path)
    return Eyewear(path.stem, parts, frame.anchors, *hinges, holes=holes, unit=frame.unit)


def _check_anchors(sidecar: Path, vertices: FloatArray, mesh: Head, upside_down: Any) -> None:
    try:
        distances = SkinSurface(mesh).closest(mesh.anchors.as_array())[1]
    except AssetError:
        raise AssetError(f"{sidecar}: the mesh lies nowhere near these points") from None
    if upside_down(vertices, mesh.anchors):
        raise AssetError(
            f"{sidecar}: left and right seem swapped (the mesh stands on its head): "
            "left is the wearer's left"
        )
    worst = int(distances.argmax())
    if distances[worst] > ANCHOR_OFF_MM:
        key = ("temple_left", "temple_right", "nose_left", "nose_right")[worst]
        raise AssetError(
            f"{sidecar}: {key} lies {distances[worst]:.0f} mm off the mesh "
            f"(at most {ANCHOR_OFF_MM:.0f}); points are in the file's own coordinates"
        )


def _load(path: Path) -> tuple[AnchorFrame, list[Piece]]:
    if path.suffix.lower() not in MESH_SUFFIXES:
        raise AssetError(
            f"{path}: not a mesh format that is read here ({', '.join(MESH_SUFFIXES)})"
        )
    if not path.is_file():
        raise AssetError(f"{path}: no such mesh file")
    sidecar = sidecar_path(path)
    frame = anchor_frame(read_anchors(sidecar), sidecar)
    pieces = [_in_frame(piece, frame) for piece in read_pieces(path)]
    return frame, pieces


def _in_frame(piece: Piece, frame: AnchorFrame) -> Piece:
    vertices = apply(frame.mm_from_file, piece.surface.vertices)
    return replace(piece, surface=replace(piece.surface, vertices=vertices))


def read_pieces(path: Path) -> list[Piece]:
    """The meshes of a file, node transforms applied, in the file's own axes and unit.

    Raises AssetError for files that do not load, compressed glTF, point clouds, meshes without
    faces, and coordinates that are not finite.
    """
    gltf = _read_gltf(path)
    packed = [name for name in _COMPRESSED if name in gltf.required]
    if packed:
        raise AssetError(
            f"{path}: compressed with {packed[0]}; decompress it first, as by gltf-transform copy"
        )
    logging.getLogger("trimesh").setLevel(logging.CRITICAL)
    try:
        scene = trimesh.load_scene(path, process=False)
        found = [(node, *scene.graph[node]) for node in sorted(scene.graph.nodes_geometry)]
    except Exception as fault:  # loaders raise anything on broken files
        text = " ".join(str(fault).split())[:120] or type(fault).__name__
        raise AssetError(f"{path}: cannot be read as a mesh: {text}") from None
    pieces = []
    for node, matrix, name in found:
        mesh = scene.geometry[name]
        if not isinstance(mesh, trimesh.Trimesh) or not len(mesh.faces):
            continue
        pieces.append(_piece(path, mesh, np.asarray(matrix), f"{node} {name}", gltf))
    if not pieces:
        raise AssetError(
            f"{path}: no faces: a point cloud, triangle strips or an empty mesh; "
            "save it again as a plain triangle mesh"
        )
    return pieces


def _piece(path: Path, mesh: trimesh.Trimesh, matrix: FloatArray, name: str, gltf: _Gltf) -> Piece:
    vertices = np.asarray(trimesh.transform_points(mesh.vertices, matrix), dtype=np.float64)
    faces = np.asarray(mesh.faces, dtype=np.int64)
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise AssetError(f"{path}: a face names a vertex that does not exist; save the mesh again")
    if not np.isfinite(vertices[np.unique(faces)]).all():
        raise AssetError(f"{path}: coordinates that are not finite numbers; save the mesh again")
    if np.linalg.det(matrix[:3, :3]) < 0:
        faces = faces[:, ::-1].copy()
    visual = mesh.visual
    uv = getattr(visual, "uv", None)
    uv = np.asarray(uv, dtype=np.float32) if uv is not None and len(uv) == len(vertices) else None
    if uv is not None and not np.isfinite(uv).all():
        uv = None
    material, opacity = _material(getattr(visual, "material", None), gltf)
    if material is not None and material.texture is not None and uv is None:
        material = replace(material, texture=None)
    attributes = {}
    if visual.kind == "vertex":
        colours = np.asarray(visual.vertex_colors, dtype=np.float32)[:, :3] / 255
        attributes["color"] = _linear(colours).astype(np.float32)
    label = str(getattr(getattr(visual, "material", None), "name", None) or "")
    surface = Surface(vertices, faces, uv, attributes, material)
    return Piece(name, label, surface, opacity)


def _index(given: Any) -> float:
    """Index of refraction; files switch refraction off by 1, which no lens is made of."""
    return float(given) if isinstance(given, int | float) and given >= 1.2 else 1.5


def _material(source: Any, gltf: _Gltf) -> tuple[Material | None, float]:
    """A material as ours, and its opacity from 0 to 1."""
    if source is None:
        return None, 1.0
    if isinstance(source, trimesh.visual.material.PBRMaterial):
        extensions = gltf.materials.get(source.name or "", {}).get("extensions", {})
        colour = _colour(source.baseColorFactor, (1.0, 1.0, 1.0, 1.0))
        transmission = extensions.get("KHR_materials_transmission", {}).get("transmissionFactor", 0)
        blended = source.alphaMode == "BLEND"
        opacity = min(colour[3], 0.5 if colour[3] == 1.0 else 1.0) if blended else 1.0
        return (
            Material(
                base_color=colour[:3],
                metallic=1.0 if source.metallicFactor is None else float(source.metallicFactor),
                roughness=1.0 if source.roughnessFactor is None else float(source.roughnessFactor),
                transmission=float(transmission),
                ior=_index(extensions.get("KHR_materials_ior", {}).get("ior", 1.5)),
                texture=_texture(source.baseColorTexture),
            ),
            opacity,
        )
    colour = _colour(getattr(source, "diffuse", None), (0.8, 0.8, 0.8, 1.0))
    red, green, blue = (float(c) for c in _linear(np.array(colour[:3])))
    return Material(
        base_color=(red, green, blue), texture=_texture(getattr(source, "image", None))
    ), colour[3]


def _colour(value: Any, default: _Colour) -> _Colour:
    if value is None:
        return default
    numbers = np.asarray(value)
    scale = 255.0 if numbers.dtype.kind in "ui" else 1.0
    numbers = np.clip(np.append(numbers / scale, 1.0)[:4], 0, 1)
    red, green, blue, alpha = (float(n) for n in numbers)
    return red, green, blue, alpha


def _linear(srgb: NDArray) -> NDArray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _texture(image: Any) -> NDArray[np.uint8] | None:
    if image is None:
        return None
    try:
        if max(image.size) > _MAX_TEXTURE_PX:
            image = image.copy()
            image.thumbnail((_MAX_TEXTURE_PX, _MAX_TEXTURE_PX))
        return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (OSError, ValueError, AttributeError):
        return None


def _read_gltf(path: Path) -> _Gltf:
    """The JSON of a .glb or .gltf; empty for other formats and where it cannot be read."""
    if path.suffix.lower() not in (".glb", ".gltf"):
        return _Gltf()
    try:
        raw = path.read_bytes()
        if raw[:4] == b"glTF":
            raw = raw[20 : 20 + struct.unpack_from("<I", raw, 12)[0]]
        tree = json.loads(raw)
        materials = {m["name"]: m for m in tree.get("materials", []) if m.get("name")}
        return _Gltf(tuple(tree.get("extensionsRequired", ())), materials)
    except (OSError, ValueError, struct.error, AttributeError, TypeError, RecursionError) as fault:
        text = " ".join(str(fault).split())[:120]
        raise AssetError(f"{path}: cannot be read as glTF: {text}") from None
