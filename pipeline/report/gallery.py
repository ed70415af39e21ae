"""The samples that a report shows: which ones, and their images in few bytes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.contact import COLUMNS, painted_masks
from pipeline.imagefile import decoded
from pipeline.report.figures import Figures
from pipeline.spec import IMAGE_KEYS, SampleSpec

#: Samples shown, and the most bytes of all their images together; base64 adds a third.
MOST_SHOWN = 200
_MOST_BYTES = 19_000_000
_SIDE_PX = 320
#: Tried one after another until an image is small enough.
_QUALITIES = (85, 75, 60, 40, 20)
#: Optional images that can be looked at like layers.
_EXTRAS = ("sunglasses", "no_reflection", "lens_transmittance")
#: What chosen samples are spread over, and figures of which they are spread over the tenths.
_TRAITS = ("glasses", "light", "expression", "wear", "tone", "age", "split", "frame", "lenses")
_NUMBERS = ("yaw", "pitch", "exposure", "shadow", "power")


@dataclass(frozen=True)
class Shown:
    """What is needed to encode a sample's images. most_bytes: of each of them."""

    root: Path
    record: dict[str, Any]
    layers: tuple[str, ...]
    most_bytes: int


def choose(figures: Figures, most: int = MOST_SHOWN) -> list[int]:
    """Positions of samples that together show as much as they can, ascending.

    One after another, that sample is taken whose traits have been shown least. The same figures
    give the same choice.
    """
    columns = [np.array(figures.names[t], np.int64) for t in _TRAITS if t in figures.names]
    for name in _NUMBERS:
        values = np.array(figures.numbers.get(name, [np.nan] * figures.count), float)
        if np.isfinite(values).any():
            tenths = np.nanpercentile(values, np.arange(10, 100, 10))
            columns.append(np.where(np.isnan(values), -1, np.searchsorted(tenths, values)))
    if figures.count <= most:
        return list(range(figures.count))
    shown = [np.zeros(column.max() + 2) for column in columns]
    left = np.ones(figures.count, bool)
    for _ in range(most):
        wanted = sum(
            1.0 / (1.0 + seen[column]) for seen, column in zip(shown, columns, strict=True)
        )
        best = int(np.argmax(np.where(left, wanted, -1.0)))
        left[best] = False
        for seen, column in zip(shown, columns, strict=True):
            seen[column[best]] += 1
    return [int(i) for i in np.flatnonzero(~left)]


def layers_of(specs: Sequence[SampleSpec]) -> tuple[str, ...]:
    """What can be shown of all these samples."""
    common = [key for key in _EXTRAS if all(key in spec.render.layers for spec in specs)]
    return (*COLUMNS, *common)


def bytes_each(samples: int, layers: int) -> int:
    """What an image may take so that a page stays small."""
    return _MOST_BYTES // max(samples * layers, 1)


def encode(shown: Shown) -> dict[str, str]:
    """A sample's images as base64 of WebP, by layer. Raises ValueError naming a broken file."""
    size = shown.record["spec"]["render"]["size"]
    wanted = {*IMAGE_KEYS, *shown.layers} & set(shown.record["files"])
    images = {key: _read(shown, key, size) for key in wanted}
    images["masks"] = painted_masks(images)
    return {
        layer: base64.b64encode(_small(_visible(images[layer]), shown.most_bytes)).decode()
        for layer in shown.layers
    }


def _read(shown: Shown, key: str, size: int) -> NDArray:
    path = shown.root / shown.record["files"][key]
    try:
        return decoded(path.read_bytes(), key, size)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _visible(image: NDArray) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 BGR of an image as stored, at most `_SIDE_PX` wide."""
    bytes_only = (image >> 8).astype(np.uint8) if image.dtype == np.uint16 else image
    to_bgr = cv2.COLOR_GRAY2BGR if image.ndim == 2 else cv2.COLOR_RGB2BGR
    return _at_most(cv2.cvtColor(bytes_only, to_bgr), _SIDE_PX)


def _at_most(image: NDArray, side: int) -> NDArray:
    if image.shape[0] <= side:
        return image
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


def _small(image: NDArray[np.uint8], most_bytes: int) -> bytes:
    """WebP of at most so many bytes: of less quality, and then smaller, until it is."""
    while True:
        for quality in _QUALITIES:
            data = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
            if len(data) <= most_bytes or max(image.shape) <= 16:
                return bytes(data)
        image = _at_most(image, image.shape[0] // 2)
