"""Wavefront OBJ and its material libraries."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.catalog.formats.polygons import (
    MAX_VERTICES,
    Indices,
    Polygons,
    check_face_count,
    check_indices,
    triangle_mesh,
    triangulated,
)
from pipeline.catalog.formats.texture import colour_rows, linear_from_srgb, read_texture
from pipeline.catalog.piece import Piece
from pipeline.errors import AssetError
from pipeline.geometry import FloatArray, Material, Surface

#: Lines that are turned into arrays at a time.
_CHUNK = 100_000
#: Objects and groups beyond this many are told apart by their material alone.
_MAX_GROUPS = 2_000
_MAX_MTL_BYTES = 20_000_000
_MTL_MAPS = ("map_", "bump", "disp", "decal", "norm", "refl")


def read_obj(path: Path) -> list[Piece]:
    """One piece for every object or group and material.

    Curves, lines and points are left out, as are material libraries and textures that are
    missing; vertex colours behind the coordinates are kept. Raises AssetError for lines of
    vertices and faces that cannot be read, indices without a vertex, and broken textures.
    """
    lines = _Lines(path)
    vertices, polygons, groups = lines.vertices(), *lines.faces()
    check_indices(polygons.corners, len(vertices), "vertex", path)
    uv = lines.uvs()
    if polygons.uvs is not None:
        check_indices(polygons.uvs[polygons.uvs != -1], len(uv), "texture coordinate", path)
    positions = vertices[:, :3]
    polygons, owners = triangulated(positions, polygons, path)
    colours = colour_rows(list(vertices[:, 3:6].T)) if vertices.shape[1] >= 6 else None
    materials = _materials(lines.libraries, path)
    pieces = []
    for (name, used), part in lines.parts(polygons, groups[owners]):
        old, faces, part_uv = triangle_mesh(positions, uv, part)
        material, opacity = materials.get(used, (None, 1.0))
        attributes = {} if colours is None else {"color": colours[old]}
        surface = Surface(positions[old], faces, part_uv, attributes, material)
        pieces.append(Piece(name, used, surface, opacity))
    return pieces


def obj_companions(path: Path) -> list[Path]:
    """The material libraries that an OBJ file names, and the images that those name."""
    found = []
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        named = [line.strip() for line in file if line.lstrip()[:6].lower() == "mtllib"]
    for library in chain.from_iterable(_libraries(line, path.parent) for line in named):
        found.append(library)
        for line in _mtl_lines(library):
            if line.lower().startswith(_MTL_MAPS):
                image = _named_file(line, library.parent)
                found += [image] if image else []
    return found


class _Lines:
    """The lines of a file by kind, as arrays."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.libraries: list[Path] = []
        self._rows: dict[str, list[str]] = {"v": [], "vt": [], "f": []}
        self._arrays: dict[str, list] = {"v": [], "vt": [], "f": []}
        self._done = {"v": 0, "vt": 0, "f": 0}
        #: Names of object and material, numbered; which follow each other from which face on.
        self._keys: dict[tuple[str, str], int] = {("", ""): 0}
        self._runs: list[tuple[int, int]] = [(0, 0)]
        self._names = ("", "")
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            last = self._read(_joined(file))
        for key in self._rows:
            self._flush(key)
        if last.startswith("f") and not last.endswith("\n") and len(last.split()) < 4:
            raise AssetError(f"{path}: cut off in its last line: '{last[:60]}'")

    def _read(self, lines: Iterator[str]) -> str:
        """Takes in all lines; returns the last."""
        line = ""
        for line in lines:
            key, _, rest = line.partition(" ")
            if key not in self._rows:
                words = line.split(None, 1)
                if len(words) < 2:
                    continue
                key, rest = words
                if key not in self._rows:
                    self._other(key, rest.strip(), line)
                    continue
            if key == "f" and "-" in rest:
                rest = self._absolute(rest)
            rows = self._rows[key]
            rows.append(rest)
            if len(rows) == _CHUNK:
                self._flush(key)
        return line

    def _other(self, key: str, rest: str, line: str) -> None:
        group, material = self._names
        if key in ("o", "g"):
            group = rest
        elif key == "usemtl":
            material = rest
        elif key == "mtllib":
            self.libraries += _libraries(line.strip(), self.path.parent)
        if (group, material) != self._names:
            self._names = (group, material)
            number = self._keys.setdefault(self._names, len(self._keys))
            self._runs.append((self._count("f"), number))

    def _count(self, key: str) -> int:
        return self._done[key] + len(self._rows[key])

    def _absolute(self, rest: str) -> str:
        """A face line with indices that count back from the last vertex made plain."""
        totals = (self._count("v"), self._count("vt"), 0)
        try:
            refs = [
                "/".join(
                    _counted(int(i), total) if i.startswith("-") else i
                    for i, total in zip(word.split("/"), totals, strict=False)
                )
                for word in rest.split()
            ]
        except ValueError:
            raise self._fault("f", rest) from None
        return " ".join(refs)

    def _flush(self, key: str) -> None:
        rows, self._rows[key] = self._rows[key], []
        if not rows:
            return
        self._done[key] += len(rows)
        if key == "f":
            check_face_count(self._done["f"], self.path)
        elif self._done[key] > MAX_VERTICES:
            raise AssetError(f"{self.path}: more than {MAX_VERTICES} vertices; simplify the mesh")
        convert: Callable = _corners if key == "f" else _numbers
        try:
            self._arrays[key].append(convert(rows))
        except (ValueError, OverflowError):
            raise self._fault(key, _first_bad(rows, convert)) from None

    def _fault(self, key: str, rest: str) -> AssetError:
        what = "vertex numbers" if key == "f" else "numbers"
        return AssetError(
            f"{self.path}: expected {what} in the line '{key} {rest.strip()[:60]}'; "
            "broken or no OBJ file"
        )

    def vertices(self) -> FloatArray:
        """(n, 3) or (n, 6) float64."""
        return self._table("v", 3)

    def uvs(self) -> FloatArray:
        """(p, 2) float64, v up."""
        return self._table("vt", 1)[:, [0, -1]] if self._done["vt"] else np.zeros((0, 2))

    def _table(self, key: str, least: int) -> FloatArray:
        tables = self._arrays[key] or [np.zeros((0, least))]
        width = min(table.shape[1] for table in tables)
        if width < least:
            raise AssetError(f"{self.path}: a '{key}' line of {width} numbers; broken OBJ file")
        width = min(width, 2 if key == "vt" else 6)
        return np.concatenate([table[:, :width] for table in tables])

    def faces(self) -> tuple[Polygons, Indices]:
        """The faces of three corners and more, and the number of the group of each, (m,)."""
        chunks = self._arrays["f"]
        counts, corners, uvs = (
            np.concatenate([np.zeros(0, np.int64), *(chunk[i] for chunk in chunks)])
            for i in range(3)
        )
        starts = np.array([start for start, _ in self._runs] + [len(counts)])
        numbers = np.array([number for _, number in self._runs], dtype=np.int64)
        groups = np.repeat(numbers, np.diff(starts))
        whole = counts >= 3
        polygons = Polygons(corners, counts, uvs if (uvs != -1).any() else None).take(whole)
        return polygons, groups[whole]

    def parts(
        self, polygons: Polygons, groups: Indices
    ) -> Iterator[tuple[tuple[str, str], Polygons]]:
        """The names of object and material of each piece, and its faces."""
        keys = list(self._keys)
        if len(keys) > _MAX_GROUPS:
            keys = [("", material) for _, material in keys]
        if len(set(keys)) > _MAX_GROUPS:
            keys = [("", "")] * len(keys)
        numbers = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        place = np.array([numbers[key] for key in keys], dtype=np.int64)[groups]
        for number, part in polygons.split(place):
            yield list(numbers)[number], part


def _counted(back: int, total: int) -> str:
    """The number, from 1, of what lies so far back; negative before the first, for 0 is none."""
    number = back + total + 1
    return str(number if number > 0 else number - 1)


def _joined(file: Iterator[str]) -> Iterator[str]:
    """Lines, those that end in a backslash with the next."""
    for line in file:
        while line.endswith("\\\n"):
            line = line[:-2] + " " + next(file, "")
        yield line


def _numbers(rows: Sequence[str]) -> FloatArray:
    """(n, c) float64; c is the least number of columns of a row."""
    width = len(rows[0].split())
    if {len(row.split()) for row in rows} == {width}:
        flat = _at_once(" ".join(rows), np.dtype(np.float64))
        if len(flat) == width * len(rows):
            return flat.reshape(-1, width)
    split = [row.split() for row in rows]
    width = min(len(words) for words in split)
    if max(len(words) for words in split) != width:
        split = [words[:width] for words in split]
    flat = np.fromiter(map(float, chain.from_iterable(split)), np.float64, width * len(split))
    return flat.reshape(-1, width)


def _corners(rows: Sequence[str]) -> tuple[Indices, Indices, Indices]:
    """Corners of each face; vertex and texture coordinate of each corner, from 0, -1 for none."""
    first = rows[0].split()
    width, slashes = len(first), first[0].count("/") if first else 0
    # Nearly all files are alike from line to line and have no empty fields.
    shapes = {(len(row.split()), row.count("/")) for row in rows}
    if shapes == {(width, width * slashes)} and "//" not in rows[0]:
        flat = _at_once(" ".join(rows).replace("/", " "), np.dtype(np.int64))
        if len(flat) == len(rows) * width * (slashes + 1):
            refs = flat.reshape(-1, slashes + 1)
            uvs = refs[:, 1] - 1 if slashes else np.full(len(refs), -1)
            return np.full(len(rows), width), refs[:, 0] - 1, uvs
    split = [row.partition("#")[0].split() for row in rows]
    counts = np.fromiter(map(len, split), np.int64, len(split))
    words = [word.split("/", 2) for word in chain.from_iterable(split)]
    corners = np.fromiter((int(word[0]) for word in words), np.int64, len(words)) - 1
    second = (int(word[1]) if len(word) > 1 and word[1] else 0 for word in words)
    return counts, corners, np.fromiter(second, np.int64, len(words)) - 1


def _at_once(text: str, dtype: np.dtype) -> NDArray:
    """All numbers of a text; fewer, or none, if something in it is no number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return np.fromstring(text, dtype, sep=" ")
        except ValueError:
            return np.zeros(0, dtype)


def _first_bad(rows: Sequence[str], convert: Callable) -> str:
    for row in rows:
        try:
            convert([row])
        except (ValueError, OverflowError):
            return row
    return rows[0]


def _libraries(line: str, folder: Path) -> list[Path]:
    """The files that an mtllib line names: one whose name may have blanks, or several."""
    whole = _named_file(line, folder)
    words = line.split()[1:]
    if whole is not None and whole.name != (words[-1] if words else ""):
        return [whole]
    return [file for file in (_existing(word, folder) for word in words) if file]


def _named_file(line: str, folder: Path) -> Path | None:
    """The file that the end of a line names, after a keyword and options."""
    words = line.split()
    for start in range(1, len(words)):
        # Blanks as they stand in the line, which may be more than one.
        found = _existing(line.split(None, start)[-1].strip(), folder)
        if found is not None:
            return found
    return None


def _existing(name: str, folder: Path) -> Path | None:
    """A file by its name in a folder; of a path from another machine, its last part."""
    name = name.strip('"').replace("\\", "/")
    try:
        for candidate in (folder / name, folder / name.rsplit("/", 1)[-1]):
            if candidate.is_file():
                return candidate
    except (OSError, ValueError):
        return None
    return None


def _mtl_lines(library: Path) -> list[str]:
    with library.open("rb") as file:
        text = file.read(_MAX_MTL_BYTES).decode("utf-8-sig", errors="replace")
    return [line.strip() for line in text.splitlines()]


def _materials(libraries: list[Path], path: Path) -> dict[str, tuple[Material, float]]:
    """Material and opacity by name."""
    described: dict[str, dict[str, str]] = {}
    folders: dict[str, Path] = {}
    name = ""
    for library in dict.fromkeys(libraries):
        for line in _mtl_lines(library):
            key, _, rest = line.replace("\t", " ").partition(" ")
            if key.lower() == "newmtl":
                name = rest.strip()
                described[name], folders[name] = {}, library.parent
            elif name in described:
                described[name][key.lower()] = line
    return {n: _material(d, folders[n], path) for n, d in described.items()}


def _material(lines: dict[str, str], folder: Path, path: Path) -> tuple[Material, float]:
    red, green, blue = _values(lines, "kd", (0.8, 0.8, 0.8))
    linear = [float(c) for c in linear_from_srgb(np.array([red, green, blue]))]
    image = _named_file(lines["map_kd"], folder) if "map_kd" in lines else None
    # Not Tr, which half of all writers mean the other way round.
    (opacity,) = _values(lines, "d", (1.0,))
    (roughness,) = _values(lines, "pr", (0.5,))
    (metallic,) = _values(lines, "pm", (0.0,))
    texture = read_texture(image, path)
    # Beside a texture writers leave any grey, or black, and programs show the texture alone.
    base_color = (1.0, 1.0, 1.0) if texture is not None else (linear[0], linear[1], linear[2])
    material = Material(base_color, metallic, roughness, texture=texture)
    return material, opacity


def _values(lines: dict[str, str], key: str, default: tuple[float, ...]) -> tuple[float, ...]:
    """Numbers in 0..1 after a keyword, or the default where they cannot be read."""
    try:
        words = [float(word) for word in lines.get(key, "").split()[1 : 1 + len(default)]]
    except ValueError:
        return default
    if len(words) < len(default) or not np.isfinite(words).all():
        return default
    return tuple(min(max(word, 0.0), 1.0) for word in words)
