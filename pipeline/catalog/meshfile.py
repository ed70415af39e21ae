"""Mesh files of any kind to pieces: what the file is, how large it may be, what is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.catalog.anchors import sidecar_path
from pipeline.catalog.data import MESH_SUFFIXES
from pipeline.catalog.formats.gltf import read_gltf
from pipeline.catalog.formats.gltfdata import FAULTS, gltf_companions
from pipeline.catalog.formats.obj import obj_companions, read_obj
from pipeline.catalog.formats.ply import ply_texture, read_ply
from pipeline.catalog.formats.polygons import Indices, compacted
from pipeline.catalog.formats.stl import read_stl
from pipeline.catalog.formats.texture import is_there
from pipeline.catalog.piece import Piece
from pipeline.errors import AssetError
from pipeline.yamlfile import one_line

MAX_FILE_BYTES = 1 << 31
_SNIFFED_BYTES = 4096
_READERS: Mapping[str, Callable[[Path], list[Piece]]] = {
    ".obj": read_obj, ".ply": read_ply, ".stl": read_stl, ".glb": read_gltf, ".gltf": read_gltf,
}  # fmt: skip
_COMPANIONS: Mapping[str, Callable[[Path], list[Path]]] = {
    ".obj": obj_companions, ".ply": ply_texture, ".glb": gltf_companions,
    ".gltf": gltf_companions,
}  # fmt: skip
_EXPORT = "open it in a 3D program and export OBJ, PLY, STL or GLB"
#: First bytes of files that are often renamed or saved by mistake, and what to do with them.
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip archive; unpack it and name the mesh inside"),
    (b"Rar!", "a RAR archive; unpack it and name the mesh inside"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it and name the mesh inside"),
    (b"\x1f\x8b", "gzip data; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "zstd data, as of a .blend file; unpack it or export OBJ or GLB"),
    (b"BLENDER", "a .blend file; export OBJ or GLB from Blender"),
    (b"Kaydara FBX", f"an FBX file; {_EXPORT}"),
    (b"; FBX", f"an FBX file; {_EXPORT}"),
    (b"version https://git-lfs", "a pointer of Git LFS; get the file itself with `git lfs pull`"),
    (b"PXR-USDC", f"a USD file; {_EXPORT}"),
    (b"#usda", f"a USD file; {_EXPORT}"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
)  # fmt: skip


def read_pieces(path: Path) -> list[Piece]:
    """The meshes of a file, node transforms applied, in the file's own axes and unit.

    Vertices that no face uses, faces that name a vertex twice, and second copies of a face are
    left out, and so are material libraries and textures whose files are missing, as they often
    are of downloads. Raises AssetError, on one line with the path and the remedy, for files that
    are missing, too large, cut off, broken or no meshes, point clouds, textures that are there
    and cannot be read, and coordinates of faces that are not finite.
    """
    check_file(path)
    suffix = path.suffix.lower()
    try:
        _check_kind(path, suffix)
        # What is not finite is refused once it is known which vertices are used.
        with np.errstate(all="ignore"):
            found = _READERS[suffix](path)
    except OSError as fault:
        raise AssetError(f"{path}: cannot be read: {one_line(fault)}") from None
    except MemoryError:
        raise AssetError(f"{path}: too large for this machine's memory; simplify it") from None
    pieces = [_checked(path, piece) for piece in found]
    pieces = [piece for piece in pieces if len(piece.surface.faces)]
    if not pieces:
        raise AssetError(
            f"{path}: no faces: a point cloud, lines or an empty mesh; save it as a triangle mesh"
        )
    return pieces


def check_file(path: Path) -> None:
    """Raises AssetError if there is no such file, or its name is no mesh's."""
    if path.suffix.lower() not in MESH_SUFFIXES:
        raise AssetError(
            f"{path}: not a mesh format that is read here ({', '.join(MESH_SUFFIXES)})"
        )
    if not path.is_file():
        raise AssetError(f"{path}: no such mesh file")


def companions(path: Path) -> list[Path]:
    """The mesh file, its sidecar, and the files that it names, each once.

    Those are an OBJ's material libraries with their maps, a PLY's texture, and a glTF's buffers
    and images. Names that point to no file are left out, and all of them if the mesh is broken:
    `read_pieces` says what is wrong with it.
    """
    find = _COMPANIONS.get(path.suffix.lower())
    try:
        named = find(path) if find else []
    except (AssetError, *FAULTS):
        named = []
    return [file for file in dict.fromkeys([path, sidecar_path(path), *named]) if is_there(file)]


def _check_kind(path: Path, suffix: str) -> None:
    """Raises AssetError if the file is empty, too large, or by its first bytes something else."""
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise AssetError(
            f"{path}: {size} bytes, more than the {MAX_FILE_BYTES} that are read; simplify the mesh"
        )
    with path.open("rb") as file:
        start = file.read(_SNIFFED_BYTES)
    if not start.strip(b"\0 \t\r\n"):
        raise AssetError(f"{path}: {'an empty file' if not size else 'no mesh: nothing but zeros'}")
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, what in _FOREIGN:
        if start.startswith(magic) or text.startswith(magic):
            raise AssetError(f"{path}: is {what}")
    if text[:1] == b"<" and suffix != ".stl":
        web = b"<html" in text.lower() or b"<!doctype html" in text.lower()
        what = "a web page, perhaps an error in place of a download" if web else "XML"
        raise AssetError(f"{path}: is {what}; get the mesh file itself")
    other = _other_format(text, suffix)
    if other:
        raise AssetError(f"{path}: is {other} by its content; rename it, or save it as {suffix}")
    if suffix in (".obj", ".gltf") and b"\0" in start and start[:4] != b"glTF":
        raise AssetError(f"{path}: binary data, no {suffix[1:].upper()} file")


def _other_format(text: bytes, suffix: str) -> str | None:
    """Which of our own formats a file is that is named as another of them."""
    if text[:4] == b"glTF" and suffix not in (".glb", ".gltf"):
        return "a GLB file"
    if text[:4] in (b"ply\n", b"ply\r") and suffix != ".ply":
        return "a PLY file"
    if text[:5] == b"solid" and b"facet" in text and suffix != ".stl":
        return "an STL file"
    return None


def _checked(path: Path, piece: Piece) -> Piece:
    """The piece without what no face uses, and without faces that are none."""
    surface = piece.surface
    a, b, c = surface.faces.T
    faces = surface.faces[(a != b) & (b != c) & (a != c)]
    used, faces = compacted(faces, len(surface.vertices))
    faces = _distinct(faces, len(used))
    vertices = surface.vertices[used]
    if not np.isfinite(vertices).all():
        raise AssetError(
            f"{path}: coordinates of faces that are not finite numbers; save the mesh again"
        )
    # Beyond this, squares of lengths overflow.
    if np.abs(vertices).max(initial=0.0) > 1e30:
        raise AssetError(f"{path}: coordinates beyond 1e30; save the mesh again")
    uv = None if surface.uv is None else surface.uv[used]
    if uv is not None and not np.isfinite(uv).all():
        uv = None
    material = surface.material
    if material is not None and material.texture is not None and uv is None:
        material = replace(material, texture=None)
    attributes = {name: values[used] for name, values in surface.attributes.items()}
    return replace(
        piece,
        surface=replace(
            surface, vertices=vertices, faces=faces, uv=uv, attributes=attributes, material=material
        ),
    )


def _distinct(faces: Indices, count: int) -> Indices:
    """The first face of each set of corners, in their order; of `count` vertices in all."""
    corners = np.sort(faces, axis=1)
    if count < 1 << 21:
        # Three such numbers fit 63 bits.
        keys = ((corners[:, 0] * count + corners[:, 1]) * count + corners[:, 2])[:, None]
    else:
        keys = corners
    order = np.lexsort(keys.T)
    ordered = keys[order]
    first = np.ones(len(faces), dtype=bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return faces if first.all() else faces[np.sort(order[first])]
