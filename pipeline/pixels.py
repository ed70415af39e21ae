"""Pictures as arrays: masks, the boxes around them, and the way from light to bytes.

All arrays are (h, w) or (h, w, 3), first row on top. Linear means linear Rec. 709 radiance.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]

#: Rec. 709 (ITU-R BT.709-6) luminance of linear RGB.
REC709_LUMINANCE = (0.2126, 0.7152, 0.0722)
#: A pixel is tied to the eyewear if its samples differ anywhere within this many pixels.
INFLUENCE_RADIUS_PX = 2


@dataclass(frozen=True)
class Box:
    """Columns left..right-1 and rows top..bottom-1 of a picture, first row on top."""

    left: int
    top: int
    right: int
    bottom: int

    def slices(self) -> tuple[slice, slice]:
        """Rows and columns in the picture."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def widened(self, margin: int, size: int) -> Box:
        """Wider by `margin` on all sides, within a picture of `size`."""
        return Box(
            max(self.left - margin, 0),
            max(self.top - margin, 0),
            min(self.right + margin, size),
            min(self.bottom + margin, size),
        )


def bounding_box(mask: Mask) -> Box | None:
    """The smallest box around the true pixels, or None if there are none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def boxes_around(mask: Mask, worth_px: float) -> list[Box]:
    """Disjoint boxes that hold all true pixels; split where that saves `worth_px` of area."""
    box = bounding_box(mask)
    if box is None:
        return []
    inside = mask[box.slices()]
    row, rows_saved = _best_cut(inside)
    column, columns_saved = _best_cut(inside.T)
    if max(rows_saved, columns_saved) <= worth_px:
        return [box]
    halves = (mask.copy(), mask.copy())
    if rows_saved >= columns_saved:
        halves[0][box.top + row :] = halves[1][: box.top + row] = False
    else:
        halves[0][:, box.left + column :] = halves[1][:, : box.left + column] = False
    return [found for half in halves for found in boxes_around(half, worth_px)]


def _best_cut(mask: Mask) -> tuple[int, int]:
    """Where a cut between rows leaves two bounding boxes of least area, and the area saved."""
    height, width = mask.shape
    occupied = mask.any(axis=1)
    first = np.where(occupied, mask.argmax(axis=1), width)
    last = np.where(occupied, width - mask[:, ::-1].argmax(axis=1), 0)

    def area(first: NDArray, last: NDArray, occupied: Mask) -> NDArray[np.int64]:
        """Areas of the boxes around the first 1, 2, ... rows."""
        wide = np.maximum.accumulate(last) - np.minimum.accumulate(first)
        used = np.maximum.accumulate(np.where(occupied, np.arange(height) + 1, 0))
        start = int(occupied.argmax())
        return np.maximum(wide, 0) * np.maximum(used - start, 0)

    above = area(first, last, occupied)[:-1]
    below = area(first[::-1], last[::-1], occupied[::-1])[::-1][1:]
    if not above.size:
        return 0, 0
    cut = int((above + below).argmin())
    return cut + 1, int(height * width - above[cut] - below[cut])


def dilated(mask: Mask, radius_px: int) -> Mask:
    """True within `radius_px` of a true pixel, in rows and columns."""
    side = 2 * radius_px + 1
    return cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)).astype(bool)


def differing(a: Float32, b: Float32) -> Mask:
    """(h, w) bool: where two noise-locked renderings differ, or a pixel nearby does.

    Renderings with the same random numbers are equal to the last bit where no path met the
    eyewear; a lone equal pixel among differing ones only had luck with its samples.
    """
    return dilated(np.any(a != b, axis=2), INFLUENCE_RADIUS_PX)


def srgb_from_linear(linear: Float32) -> Float32:
    """sRGB-encoded values (IEC 61966-2-1) in 0..1 of linear ones, clipped to 0..1."""
    x = np.clip(linear, 0.0, 1.0)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.power(x, 1 / 2.4) - 0.055).astype(
        np.float32
    )


def linear_from_srgb(encoded: Float32) -> Float32:
    """Linear values in 0..1 of sRGB-encoded ones (IEC 61966-2-1) in 0..1."""
    return np.where(
        encoded <= 0.04045, encoded / 12.92, np.power((encoded + 0.055) / 1.055, 2.4)
    ).astype(np.float32)


def to_uint8(values: Float32) -> UInt8:
    """0..1 to 0..255, rounded to nearest, without dithering."""
    return (values * 255.0 + 0.5).astype(np.uint8)


def to_uint16(values: Float32) -> NDArray[np.uint16]:
    """0..1 to 0..65535, rounded to nearest."""
    return (values * 65535.0 + 0.5).astype(np.uint16)
