"""STL, binary and text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.catalog.formats.polygons import check_face_count
from pipeline.catalog.piece import Piece
from pipeline.errors import AssetError
from pipeline.geometry import FloatArray, Surface

_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("rest", "<u2")])
_HEADER_BYTES = 84


def read_stl(path: Path) -> list[Piece]:
    """One piece; corners at the very same place become one vertex.

    Raises AssetError for a file that is shorter than it says, or neither kind of STL.
    """
    with path.open("rb") as file:
        head = file.read(1024)
    size = path.stat().st_size
    said = int.from_bytes(head[80:84], "little") if len(head) >= _HEADER_BYTES else 0
    expected = _HEADER_BYTES + _RECORD.itemsize * said
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:5].lower() == b"solid" and b"\0" not in head
    # Some binary files begin with the word of the text form; none has their exact length.
    if text and size != expected:
        corners = _text(path)
    elif len(head) < _HEADER_BYTES:
        raise AssetError(f"{path}: no STL: shorter than the header of one")
    elif size < expected:
        raise AssetError(
            f"{path}: cut off: {said} faces are announced, {(size - _HEADER_BYTES) // 50} are "
            "there; or not an STL file at all"
        )
    else:
        check_face_count(said, path)
        records = np.fromfile(path, _RECORD, count=said, offset=_HEADER_BYTES)
        corners = records["corners"].reshape(-1, 3).astype(np.float64)
    vertices, faces = _welded(corners)
    return [Piece("", "", Surface(vertices, faces))]


def _text(path: Path) -> FloatArray:
    ended = False

    def numbers() -> Iterator[float]:
        nonlocal ended
        count = 0
        with path.open("rb") as file:
            for line in file:
                words = line.split()
                key = words[0].lower() if words else b""
                ended = (ended and not key) or key == b"endsolid"
                if key != b"vertex":
                    continue
                if len(words) != 4:
                    raise ValueError(words)
                count += 1
                if count % 300_000 == 0:
                    check_face_count(count // 3, path)
                yield from map(float, words[1:])

    try:
        corners = np.fromiter(numbers(), np.float64).reshape(-1, 3)
    except ValueError:
        raise AssetError(f"{path}: a vertex that is not three numbers; broken STL") from None
    if not ended or len(corners) % 3:
        raise AssetError(f"{path}: cut off: a text STL ends with endsolid; save it again")
    return corners


def _welded(corners: FloatArray) -> tuple[FloatArray, np.ndarray]:
    """Vertices, (n, 3), and faces, (m, 3), from the corners of triangles, (3 m, 3)."""
    order = np.lexsort(corners.T)
    ordered = corners[order]
    fresh = np.ones(len(ordered), dtype=bool)
    fresh[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    faces = np.empty(len(ordered), dtype=np.int64)
    faces[order] = np.cumsum(fresh) - 1
    return ordered[fresh], faces.reshape(-1, 3)
