"""Stanford PLY: text and binary, polygons and triangle strips."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.catalog.formats.polygons import (
    MAX_VERTICES,
    Indices,
    Polygons,
    check_face_count,
    check_indices,
    strip_triangles,
    triangle_mesh,
    triangulated,
)
from pipeline.catalog.formats.texture import colour_rows, read_texture
from pipeline.catalog.piece import Piece
from pipeline.errors import AssetError
from pipeline.geometry import FloatArray, Material, Surface

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2",
    "int32": "i4", "uint32": "u4", "int64": "i8", "uint64": "u8", "float32": "f4",
    "float64": "f8",
}  # fmt: skip
_FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_HEADER_BYTES = 1 << 16
_CHUNK = 100_000
_INDEX_NAMES = ("vertex_indices", "vertex_index")
_UV_NAMES = (("u", "v"), ("s", "t"), ("texture_u", "texture_v"))


@dataclass(frozen=True, eq=False)
class _Property:
    name: str
    dtype: np.dtype
    count_dtype: np.dtype | None = None


@dataclass(frozen=True, eq=False)
class _Element:
    name: str
    count: int
    properties: list[_Property] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Header:
    binary: bool
    elements: list[_Element]
    texture: str | None
    body: int


@dataclass(frozen=True, eq=False)
class _List:
    """The lists of one property: how long each is, (m,) int64, and all their values, (k,)."""

    counts: Indices
    values: NDArray


_Columns = Mapping[str, "NDArray | _List"]


def read_ply(path: Path) -> list[Piece]:
    """One piece, with vertex colours and texture where the file has them.

    A texture whose file is missing is left out. Raises AssetError for a header that is none, a
    body shorter than the header says, indices that are not whole, and a broken texture.
    """
    header = _header(path)
    for element in header.elements:
        if element.name == "vertex" and element.count > MAX_VERTICES:
            raise AssetError(f"{path}: announces {element.count} vertices; simplify the mesh")
        if element.name in ("face", "tristrips"):
            check_face_count(element.count, path)
    with path.open("rb") as file:
        file.seek(header.body)
        read = _read_binary if header.binary else _read_text
        tables = {element.name: read(file, element, path) for element in header.elements}
    columns = tables.get("vertex", {}).items()
    vertex = {name: column for name, column in columns if not isinstance(column, _List)}
    if not {"x", "y", "z"} <= set(vertex):
        raise AssetError(f"{path}: no vertices with x, y and z in this PLY file")
    points = np.stack([vertex[axis].astype(np.float64) for axis in "xyz"], axis=1)
    polygons, uv = _polygons(tables, path)
    check_indices(polygons.corners, len(points), "vertex", path)
    names = next((pair for pair in _UV_NAMES if set(pair) <= set(vertex)), None)
    if uv is None and names:
        uv = np.stack([vertex[name].astype(np.float64) for name in names], axis=1)
        polygons = Polygons(polygons.corners, polygons.counts, polygons.corners)
    polygons, _ = triangulated(points, polygons, path)
    old, faces, new_uv = triangle_mesh(points, uv, polygons)
    attributes = {}
    if {"red", "green", "blue"} <= set(vertex):
        colours = colour_rows([vertex[c] for c in ("red", "green", "blue")])
        attributes["color"] = colours[old]
    image = None if header.texture is None else path.parent / header.texture
    texture = read_texture(image, path)
    material = None if texture is None else Material((1.0, 1.0, 1.0), texture=texture)
    return [Piece("", "", Surface(points[old], faces, new_uv, attributes, material))]


def ply_texture(path: Path) -> list[Path]:
    """The texture that a PLY file names, or none."""
    header = _header(path)
    return [path.parent / header.texture] if header.texture else []


def _header(path: Path) -> _Header:
    with path.open("rb") as file:
        start = file.read(_HEADER_BYTES)
    end = start.find(b"end_header")
    if start[:3] != b"ply" or end < 0:
        raise AssetError(f"{path}: no PLY file, or one cut off in its header")
    # The line ends as the first one does: a binary body may begin with the byte of a line feed.
    newline = b"\r\n" if start[3:5] == b"\r\n" else start[3:4]
    if newline not in (b"\n", b"\r\n", b"\r"):
        raise AssetError(f"{path}: no PLY file: its first line is not 'ply'")
    body = end + len(b"end_header")
    while start[body : body + 1] in (b" ", b"\t"):
        body += 1
    elements: list[_Element] = []
    form, texture = "", None
    for raw in start[:end].split(newline)[1:]:
        words = raw.decode("utf-8", errors="replace").split()
        line = " ".join(words)
        if line.lower().startswith("comment texturefile") and len(words) > 2:
            texture = raw.decode("utf-8", errors="replace").strip().split(None, 2)[2]
        elif words[:1] == ["format"] and len(words) > 1:
            form = words[1]
        elif words[:1] == ["element"] and len(words) == 3 and words[2].isdigit():
            elements.append(_Element(words[1], int(words[2])))
        elif words[:1] == ["property"] and elements:
            elements[-1].properties.append(_property(words, _FORMATS.get(form, ""), line, path))
        elif words and words[0] not in ("comment", "obj_info"):
            raise AssetError(f"{path}: PLY header: cannot read the line '{line[:60]}'")
    if form not in _FORMATS:
        raise AssetError(f"{path}: PLY header: unknown format '{form[:40]}'")
    for element in elements:
        if not element.properties:
            raise AssetError(f"{path}: PLY header: '{element.name}' has no properties")
        if len({p.name for p in element.properties}) < len(element.properties):
            raise AssetError(f"{path}: PLY header: a property of '{element.name}' is given twice")
    return _Header(form != "ascii", elements, texture, body + len(newline))


def _property(words: list[str], order: str, line: str, path: Path) -> _Property:
    types = words[2:4] if words[1:2] == ["list"] else words[1:2]
    length = 5 if words[1:2] == ["list"] else 3
    if len(words) != length or set(types) - set(_TYPES):
        raise AssetError(f"{path}: PLY header: cannot read the line '{line[:60]}'")
    dtypes = [np.dtype(order + _TYPES[name]) for name in types]
    if len(dtypes) == 2 and dtypes[0].kind == "f":
        raise AssetError(f"{path}: PLY header: lists are counted in whole numbers: '{line[:60]}'")
    return _Property(words[-1], dtypes[-1], dtypes[0] if len(dtypes) == 2 else None)


def _cut_off(path: Path, element: _Element, found: int) -> AssetError:
    return AssetError(
        f"{path}: cut off or broken: {element.count} times '{element.name}' is announced, "
        f"at most {found} can be read; save the mesh again"
    )


def _read_text(file: BinaryIO, element: _Element, path: Path) -> _Columns:
    single = all(p.count_dtype is None for p in element.properties)
    tables = []
    done = 0
    while done < element.count:
        lines = list(itertools.islice(file, min(_CHUNK, element.count - done)))
        rows = [words for words in map(bytes.split, lines) if words]
        if not lines:
            raise _cut_off(path, element, done)
        try:
            tables.append(_text_rows(rows, element, single))
        except (ValueError, IndexError, OverflowError):
            raise _cut_off(path, element, done + len(rows) - 1) from None
        done += len(rows)
    return _stacked(tables)


def _text_rows(rows: list[list[bytes]], element: _Element, single: bool) -> _Columns:
    if single:
        width = len(element.properties)
        if any(len(words) < width for words in rows):
            raise ValueError
        flat = itertools.chain.from_iterable(words[:width] for words in rows)
        table = np.fromiter(map(float, flat), np.float64, width * len(rows)).reshape(-1, width)
        return {p.name: _typed(table[:, i], p.dtype) for i, p in enumerate(element.properties)}
    values: list[list[float]] = [[] for _ in element.properties]
    counts: list[list[int]] = [[] for _ in element.properties]
    for words in rows:
        at = 0
        for i, prop in enumerate(element.properties):
            size = 1
            if prop.count_dtype is not None:
                size = int(words[at])
                counts[i].append(size)
                at += 1
            if size < 0 or at + size > len(words):
                raise ValueError
            values[i].extend(map(float, words[at : at + size]))
            at += size
    return {
        p.name: np.array(v) if p.count_dtype is None else _List(np.array(c), np.array(v))
        for p, v, c in zip(element.properties, values, counts, strict=True)
    }


def _typed(column: FloatArray, dtype: np.dtype) -> NDArray:
    """A column of a text as the type that is announced, or as it is where that does not hold it."""
    typed = column.astype(dtype)
    return typed if dtype.kind == "f" or (typed == column).all() else column


def _stacked(tables: list[_Columns]) -> _Columns:
    result: dict[str, NDArray | _List] = {}
    for name in tables[0] if tables else ():
        found = [table[name] for table in tables]
        lists = [f for f in found if isinstance(f, _List)]
        if lists:
            counts = np.concatenate([f.counts for f in lists])
            result[name] = _List(counts, np.concatenate([f.values for f in lists]))
        else:
            result[name] = np.concatenate([np.asarray(f) for f in found])
    return result


def _read_binary(file: BinaryIO, element: _Element, path: Path) -> _Columns:
    start = file.tell()
    left = path.stat().st_size - start
    fixed = [(p.name, p.dtype) for p in element.properties if p.count_dtype is None]
    least = sum(p.dtype.itemsize if p.count_dtype is None else p.count_dtype.itemsize
                for p in element.properties)  # fmt: skip
    if element.count * least > left:
        raise _cut_off(path, element, left // max(least, 1))
    if len(fixed) == len(element.properties):
        rows = np.frombuffer(file.read(element.count * least), np.dtype(fixed))
        return {name: rows[name] for name, _ in fixed}
    raw = file.read()
    found = _even_lists(raw, element) or _uneven_lists(raw, element)
    if found is None:
        raise _cut_off(path, element, element.count - 1)
    columns, used = found
    file.seek(start + used)
    return columns


def _even_lists(raw: bytes, element: _Element) -> tuple[_Columns, int] | None:
    """Columns and bytes used, if each list is as long as its like in the first row."""
    fields: list[tuple] = []
    at = 0
    for i, prop in enumerate(element.properties):
        size = 1
        if prop.count_dtype is not None:
            if at + prop.count_dtype.itemsize > len(raw):
                return None
            size = int(np.frombuffer(raw, prop.count_dtype, 1, at)[0])
            fields.append((f"n{i}", prop.count_dtype))
            at += prop.count_dtype.itemsize
        if not 0 <= size * prop.dtype.itemsize <= len(raw):
            return None
        fields.append((f"v{i}", prop.dtype, (size,)))
        at += size * prop.dtype.itemsize
    if not element.count or element.count * at > len(raw):
        return None
    rows = np.frombuffer(raw, np.dtype(fields), element.count)
    columns: dict[str, NDArray | _List] = {}
    for i, prop in enumerate(element.properties):
        values = rows[f"v{i}"].reshape(-1)
        if prop.count_dtype is None:
            columns[prop.name] = values
            continue
        counts = rows[f"n{i}"].astype(np.int64)
        if (counts != counts[0]).any():
            return None
        columns[prop.name] = _List(counts, values)
    return columns, element.count * at


def _uneven_lists(raw: bytes, element: _Element) -> tuple[_Columns, int] | None:
    """The same row by row; None if the bytes do not suffice."""
    at = 0
    starts: list[list[int]] = [[] for _ in element.properties]
    counts: list[list[int]] = [[] for _ in element.properties]
    steps = [
        (
            starts[i].append, counts[i].append, p.dtype.itemsize,
            0 if p.count_dtype is None else p.count_dtype.itemsize,
            "big" if p.count_dtype is not None and p.count_dtype.byteorder == ">" else "little",
        )
        for i, p in enumerate(element.properties)
    ]  # fmt: skip
    for _ in range(element.count):
        for add_start, add_count, size, prefix, order in steps:
            number = 1
            if prefix:
                number = int.from_bytes(raw[at : at + prefix], order)  # type: ignore[arg-type]
                add_count(number)
                at += prefix
            add_start(at)
            at += number * size
        if at > len(raw):
            return None
    columns: dict[str, NDArray | _List] = {}
    for prop, places, sizes in zip(element.properties, starts, counts, strict=True):
        if prop.count_dtype is None:
            columns[prop.name] = _gathered(raw, prop.dtype, np.array(places, int), np.ones(1, int))
        else:
            numbers = np.array(sizes, dtype=np.int64)
            values = _gathered(raw, prop.dtype, np.array(places, dtype=np.int64), numbers)
            columns[prop.name] = _List(numbers, values)
    return columns, at


def _gathered(raw: bytes, dtype: np.dtype, starts: Indices, counts: Indices) -> NDArray:
    """The runs of `counts` values that begin at the bytes `starts`, one after the other."""
    counts = np.broadcast_to(counts, starts.shape)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    at = np.repeat(starts, counts) + within * dtype.itemsize
    source = np.frombuffer(raw, np.uint8)
    return source[at[:, None] + np.arange(dtype.itemsize)].reshape(-1).view(dtype)


def _polygons(tables: Mapping[str, _Columns], path: Path) -> tuple[Polygons, NDArray | None]:
    """Faces and strips, and a texture coordinate for each corner where the faces have them."""
    none = np.zeros(0, dtype=np.int64)
    corners, counts, uv = none, none, None
    face = tables.get("face", {})
    listed = next((face[name] for name in _INDEX_NAMES if name in face), None)
    if isinstance(listed, _List):
        whole = listed.counts >= 3
        kept = np.repeat(whole, listed.counts)
        corners, counts = _indices(listed.values[kept], path), listed.counts[whole]
        wedge = face.get("texcoord")
        if isinstance(wedge, _List) and (wedge.counts == 2 * listed.counts).all():
            uv = np.asarray(wedge.values, dtype=np.float64).reshape(-1, 2)[kept]
    strips = tables.get("tristrips", {})
    listed = next((strips[name] for name in _INDEX_NAMES if name in strips), None)
    if isinstance(listed, _List):
        ends = np.cumsum(listed.counts)
        values = np.insert(_indices(listed.values, path), ends, -1)
        triangles = strip_triangles(values)
        corners = np.concatenate([corners, triangles.ravel()])
        counts = np.concatenate([counts, np.full(len(triangles), 3)])
        uv = None
    if not len(counts):
        raise AssetError(f"{path}: a PLY file without faces: a point cloud; make a mesh of it")
    uvs = None if uv is None else np.arange(len(corners))
    return Polygons(corners, counts, uvs), uv


def _indices(values: NDArray, path: Path) -> Indices:
    """Values as indices, (k,) int64. Raises AssetError for numbers that are not whole."""
    if values.dtype.kind == "f":
        bad = ~(np.abs(values) < 1 << 53) | (values != np.floor(values))
        if bad.any():
            raise AssetError(
                f"{path}: a face names vertex {values[bad][0]}, which is no index; "
                "save the mesh again"
            )
    return values.astype(np.int64)
