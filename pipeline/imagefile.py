"""The images of a sample as files: the form of each, and strict reading."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DatasetError, nearest
from pipeline.spec import LAYERS, MASKS

#: How a PNG begins (W3C PNG, 5.2), and what comes after its IHDR's name (11.2.1).
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_IHDR = struct.Struct(">16xIIBB")
_COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}


@dataclass(frozen=True)
class Form:
    """What a PNG holds: "grey" or "RGB", and its bits a channel."""

    colours: str
    bits: int

    def __str__(self) -> str:
        return f"{self.bits}-bit {self.colours}"

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        return np.uint16 if self.bits == 16 else np.uint8

    def shape(self, size: int) -> tuple[int, ...]:
        """Of the array of an image `size` px wide."""
        return (size, size, 3) if self.colours == "RGB" else (size, size)


#: The form of every image that a sample can have, by key.
FORMS: Mapping[str, Form] = {
    **dict.fromkeys((*LAYERS, "sunglasses", "no_reflection"), Form("RGB", 8)),
    **dict.fromkeys((*MASKS, "alpha_full", "parsing_all", "parsing_face"), Form("grey", 8)),
    **dict.fromkeys(("shadow_matte", "depth"), Form("grey", 16)),
    **dict.fromkeys(("lens_transmittance", "refraction_flow", "normal"), Form("RGB", 16)),
}


def check_keys(keys: Iterable[str]) -> None:
    """Raises DatasetError for a name that no image of a sample has."""
    for key in keys:
        if key not in FORMS:
            raise DatasetError(f"unknown layer '{key}'; {nearest(str(key), FORMS)}")


def decoded(data: bytes, key: str, size: int) -> NDArray:
    """The image `key` of a sample from its file: (size, size) or (size, size, 3), RGB.

    Raises ValueError, saying what is expected, if it is no PNG of that form or size.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if image is None:
        raise ValueError("not a readable PNG")
    form = FORMS[key]
    if image.dtype != form.dtype or image.shape != form.shape(size):
        wide, high = image.shape[1::-1]
        channels = 1 if image.ndim == 2 else image.shape[2]
        raise ValueError(
            f"{form} of {size} x {size} px is expected, "
            f"not {channels} x {image.dtype.itemsize * 8}-bit of {wide} x {high} px"
        )
    # Contiguous, because torch takes no arrays that run backwards.
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if image.ndim == 3 else image


def check_file(data: bytes, key: str, size: int) -> None:
    """Raises ValueError if a file is not the PNG that it should be, to the last byte.

    A decoder does not tell all: it turns a palette into colours and four bits into eight, and
    takes a damaged end for a matter of taste.
    """
    if not data:
        raise ValueError("empty")
    if not _is_intact(data):
        raise ValueError("damaged, or not a PNG")
    width, height, bits, colour_type = _IHDR.unpack_from(data)
    form, colours = FORMS[key], _COLOUR_TYPES.get(colour_type, "unknown")
    if (width, height, bits, colours) != (size, size, form.bits, form.colours):
        raise ValueError(
            f"{form} of {size} x {size} px is expected, "
            f"not {bits}-bit {colours} of {width} x {height} px"
        )


def _is_intact(data: bytes) -> bool:
    """Whether a file is a PNG's signature and chunks, each with its checksum, up to IEND (5.3)."""
    if len(data) < _IHDR.size or not data.startswith(_SIGNATURE):
        return False
    place, kind = len(_SIGNATURE), b""
    while place < len(data) and kind != b"IEND":
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        kind = data[place + 4 : place + 8]
        if zlib.crc32(data[place + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        place = end + 4
    return kind == b"IEND" and place == len(data)
