"""Photos of the user's that stand behind the subject."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.errors import AssetError
from pipeline.pixels import Float32, linear_from_srgb

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_MOST_PX = 2048


@dataclass(frozen=True)
class Photo:
    """A photo of the catalogue."""

    name: str
    path: Path
    sha256: str
    licence: str


def read_photo(path: Path) -> Float32:
    """(h, w, 3) linear Rec. 709 of a photo in sRGB, 8 or 16 bit; its turn in EXIF is heeded.

    Its shorter side is `_MOST_PX` at most. Raises AssetError if it is missing, no such image, or
    smaller than 16 px.
    """
    image = _decoded(path)
    shorter = min(image.shape[:2])
    if shorter > _MOST_PX:
        size = tuple(round(side * _MOST_PX / shorter) for side in image.shape[1::-1])
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    encoded = image[..., ::-1].astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
    return linear_from_srgb(encoded)


def check_photo(path: Path) -> None:
    """Raises AssetError unless `read_photo` can read the file."""
    _decoded(path)


def _decoded(path: Path) -> np.ndarray:
    data = np.fromfile(path, np.uint8) if path.is_file() else np.empty(0, np.uint8)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH) if data.size else None
    except cv2.error:
        image = None
    if image is None or not np.issubdtype(image.dtype, np.unsignedinteger):
        raise AssetError(f"{path}: not a readable photo ({', '.join(SUFFIXES)} is expected)")
    if min(image.shape[:2]) < 16:
        raise AssetError(f"{path}: {image.shape[1]} x {image.shape[0]} px; 16 at least is expected")
    return image
