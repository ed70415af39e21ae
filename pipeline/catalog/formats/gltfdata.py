"""What a glTF 2.0 file holds: its JSON, its buffers, and numbers out of them."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import numpy as np
from numpy.typing import NDArray

from pipeline.catalog.formats.polygons import MAX_VERTICES
from pipeline.errors import AssetError
from pipeline.geometry import FloatArray

DRACO = "KHR_draco_mesh_compression"
#: What broken JSON makes Python raise where it is taken for glTF.
FAULTS = (
    ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError,
    struct.error,
)  # fmt: skip
_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")
#: What a file may require; all else is refused, as the specification asks.
_KNOWN = (
    DRACO, "KHR_mesh_quantization", "KHR_texture_transform", "KHR_lights_punctual",
    "EXT_texture_webp", "KHR_materials_",
)  # fmt: skip
_MAX_BUFFER_BYTES = 1 << 31


def opened(path: Path) -> tuple[dict, bytes]:
    """The JSON of a file, and the binary chunk of a .glb."""
    raw = path.read_bytes()
    chunk = b""
    if raw[:4] == b"glTF":
        if len(raw) < 20:
            raise AssetError(f"{path}: cut off in the header of a GLB file")
        _, version, length, size, kind = struct.unpack_from("<4sIIII", raw)
        if version != 2 or kind != 0x4E4F534A:
            raise AssetError(f"{path}: GLB of version {version}; save it as glTF 2.0")
        if len(raw) < length or len(raw) < 20 + size:
            raise AssetError(
                f"{path}: cut off: {len(raw)} of {max(length, 20 + size)} bytes are there"
            )
        at = 20 + size
        while at + 8 <= length and not chunk:
            size_of, kind = struct.unpack_from("<II", raw, at)
            if kind == 0x004E4942:
                chunk = raw[at + 8 : at + 8 + size_of]
            at += 8 + size_of
        raw = raw[20 : 20 + size]
    tree = json.loads(raw)
    if not isinstance(tree, dict) or "asset" not in tree:
        raise AssetError(f"{path}: JSON, but no glTF: it has no 'asset'")
    version = str(tree["asset"].get("version", ""))
    if not version.startswith("2"):
        raise AssetError(f"{path}: glTF of version '{version[:20]}'; save it as glTF 2.0")
    return tree, chunk


def check_required(tree: dict, path: Path) -> None:
    """Raises AssetError for compression and extensions that are required but not read here."""
    required = [str(name) for name in tree.get("extensionsRequired", [])]
    packed = [name for name in required if name in _MESHOPT]
    for view in tree.get("bufferViews", []):
        packed += [name for name in view.get("extensions", {}) if name in _MESHOPT]
    if packed:
        raise AssetError(
            f"{path}: compressed with {packed[0]}; decompress it first: "
            "npx @gltf-transform/cli copy IN.glb OUT.glb"
        )
    for name in required:
        if not name.startswith(_KNOWN):
            raise AssetError(
                f"{path}: needs the glTF extension {name[:60]}, which is not read here; "
                "save the mesh without it"
            )


class Buffers:
    """The arrays of one file; methods raise AssetError, or one of FAULTS for broken JSON."""

    def __init__(self, path: Path, tree: dict, chunk: bytes) -> None:
        self.path, self.tree = path, tree
        # Primitives often share accessors, each of them using a part.
        self.accessor = lru_cache(maxsize=6)(self._accessor)
        self._buffers = [self._buffer(i, b, chunk) for i, b in enumerate(tree.get("buffers", []))]

    def _accessor(self, number: int) -> NDArray:
        """(count, width) float64 of an accessor, normalised integers as what they stand for."""
        given = self.tree["accessors"][index(number)]
        count, width = given["count"], _WIDTHS[given["type"]]
        if not 0 <= count <= MAX_VERTICES:
            raise AssetError(f"{self.path}: an accessor of {count} elements; simplify the mesh")
        dtype = np.dtype(_COMPONENTS[given["componentType"]])
        if "bufferView" in given:
            values = self._elements(
                given["bufferView"], given.get("byteOffset", 0), count, dtype, width
            )
        else:
            values = np.zeros((count, width), dtype)
        if "sparse" in given:
            sparse = given["sparse"]
            which, what = sparse["indices"], sparse["values"]
            kind = np.dtype(_COMPONENTS[which["componentType"]])
            places = self._elements(
                which["bufferView"], which.get("byteOffset", 0), sparse["count"], kind, 1
            )
            values = values.copy()
            values[places[:, 0]] = self._elements(
                what["bufferView"], what.get("byteOffset", 0), sparse["count"], dtype, width
            )
        return scaled(values, given)

    def _elements(
        self, view: int, offset: int, count: int, dtype: np.dtype, width: int
    ) -> NDArray:
        """(count, width) of a buffer view. Raises AssetError if the view is too short."""
        data = self.view(view)
        size = dtype.itemsize * width
        stride = self.tree["bufferViews"][view].get("byteStride", size)
        needed = offset + stride * (count - 1) + size if count else 0
        if offset < 0 or stride < size or needed > len(data):
            raise AssetError(
                f"{self.path}: broken glTF: an accessor of {count} elements reaches beyond its "
                f"{len(data)} bytes; save the mesh again"
            )
        return np.ndarray((count, width), dtype, data, offset, (stride, dtype.itemsize))

    def view(self, number: int) -> memoryview:
        given = self.tree["bufferViews"][index(number)]
        start, size = given.get("byteOffset", 0), given["byteLength"]
        data = self._buffers[index(given["buffer"])]
        if start < 0 or size < 0 or start + size > len(data):
            raise AssetError(
                f"{self.path}: cut off: a buffer of {len(data)} bytes where {start + size} are used"
            )
        return memoryview(data)[start : start + size]

    def _buffer(self, number: int, given: dict, chunk: bytes) -> bytes:
        uri = given.get("uri")
        if uri is None:
            return chunk if number == 0 else b""
        return self.resource(uri)

    def resource(self, uri: str) -> bytes:
        """Bytes of a data URI or of a file beside this one."""
        if uri.startswith("data:"):
            head, _, body = uri.partition(",")
            raw = unquote_to_bytes(body)
            try:
                return base64.b64decode(raw) if head.endswith(";base64") else raw
            except binascii.Error:
                raise AssetError(f"{self.path}: broken glTF: base64 data is cut off") from None
        file = self.path.parent / unquote(uri)
        if not file.is_file():
            raise AssetError(f"{self.path}: its file '{unquote(uri)[:100]}' is missing beside it")
        if file.stat().st_size > _MAX_BUFFER_BYTES:
            raise AssetError(f"{file}: larger than the {_MAX_BUFFER_BYTES} bytes that are read")
        return file.read_bytes()


def index(value: Any) -> int:
    """An index of the JSON: Python would take -1 for the last."""
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r:.40} is no index")
    return value


def scaled(values: NDArray, accessor: dict) -> FloatArray:
    """float64; normalised integers by the specification's section 3.6.2.2, else as they are."""
    if accessor.get("normalized") and values.dtype.kind in "iu":
        return np.maximum(values.astype(np.float64) / np.iinfo(values.dtype).max, -1.0)
    return values.astype(np.float64)


def gltf_companions(path: Path) -> list[Path]:
    """Buffers and images that a glTF file names beside itself.

    Raises AssetError, or one of FAULTS, for a broken file.
    """
    tree = opened(path)[0]
    entries = [*tree.get("buffers", []), *tree.get("images", [])]
    uris = [str(entry.get("uri", "data:")) for entry in entries]
    return [path.parent / unquote(uri) for uri in uris if not uri.startswith("data:")]
