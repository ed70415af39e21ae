"""What shadow the glasses throw on a face, measured in a picture: none, faint, soft or hard.

A recipe asks for shadows in shares, and lights are set up to give them; but glasses, hair and skin
have their say, so what came out is measured and stands in the index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.camera import face_centre, view_of
from pipeline.geometry import FloatArray, Head
from pipeline.pixels import Float32, Mask, UInt8
from pipeline.spec import CameraSpec

#: Shares of the face in shadow below which there is none, and from which it is seen at a glance.
NO_SHADOW, SHADOW = 0.0005, 0.005
#: A shadow is hard if its edge rises from 10% to 90% within this share of the face's width ...
HARD_WIDTH = 0.02
#: ... along so much of its border.
HARD_BORDER = 0.2
#: The face reaches so far up and down from its middle, and starts this far before the ears (mm).
_UP_MM, _DOWN_MM, _EAR_MM = 95.0, 85.0, 15.0
#: A matte that takes more than this is shadow as far as edges go; its core is the darkest tenth.
_DARK, _CORE = 0.12, 0.9
#: Edges are looked for so far across the border, in these steps.
_REACH_PX, _STEP_PX = 12.0, 0.2
#: What a step from dark to light measures, by pixels' squares and by what is read between them.
_PIXEL_PX = 1.14
#: OpenCV remaps to fewer than 2 ** 15 rows.
_REMAP_ROWS = 30_000
#: A rise of the matte by less is no edge; a dip by less, on the way, is noise.
_LEAST_DEPTH, _NOISE = 0.08, 0.01


@dataclass(frozen=True, eq=False)
class Face:
    """Where the face is in a picture: (h, w) of the hull of its skin, and its width in px."""

    mask: Mask
    width_px: float


@dataclass(frozen=True)
class Shadow:
    """The glasses' shadow on a face: its share of the face, and of its border what is hard."""

    share: float
    hard: float

    @property
    def kind(self) -> str:
        """'none', 'faint', 'soft' or 'hard'."""
        if self.share < NO_SHADOW:
            return "none"
        if self.share < SHADOW:
            return "faint"
        return "hard" if self.hard >= HARD_BORDER else "soft"

    def as_record(self) -> dict[str, Any]:
        return {"kind": self.kind, "share": round(self.share, 5), "hard": round(self.hard, 3)}


def face_of(camera: CameraSpec, head: Head, size: int) -> Face:
    """The face of a head in a picture of `size` px; empty where it cannot be seen."""
    centre, anchors = face_centre(head.anchors), head.anchors
    skin = np.concatenate([s.vertices for n, s in head.surfaces.items() if n.startswith("skin")])
    offset = skin - centre
    ears = min(anchors.temple_left[2], anchors.temple_right[2])
    points = skin[
        (skin[:, 2] > ears + _EAR_MM)
        & (offset[:, 1] > -_DOWN_MM)
        & (offset[:, 1] < _UP_MM)
        & (np.abs(offset[:, 0]) < _UP_MM)
    ]
    mask = np.zeros((size, size), np.uint8)
    view = view_of(camera, head)
    if len(points) < 3 or not view.in_front(points).all():
        return Face(mask.astype(bool), 1.0)
    pixels = view.project(points, size).astype(np.float32)
    hull = cv2.convexHull(pixels)
    cv2.fillConvexPoly(mask, np.rint(hull - 0.5).astype(np.int32), 1)
    return Face(mask.astype(bool), float(np.ptp(pixels[:, 0])))


def shadow_on(face: Face, mask_shadow: UInt8, matte: NDArray[np.uint16]) -> Shadow:
    """The shadow on a face, from labels of a sample as stored, each (h, w).

    Its share is that of `mask_shadow`. Its border is where the matte takes half of what it takes in
    the shadow's core, also behind the glasses: a faint shade around, by the sky, is no border.
    """
    total = int(face.mask.sum())
    if not total:
        return Shadow(0.0, 0.0)
    left = matte.astype(np.float32) / np.float32(65535)
    taken = np.where(face.mask, 1 - left, 0)
    hard = 0.0
    if taken.max() > _DARK:
        depth = np.quantile(taken[taken > _DARK], _CORE)
        dark = (taken > depth / 2).astype(np.uint8)
        border = (dark > 0) & (cv2.erode(dark, np.ones((3, 3), np.uint8)) == 0)
        if border.any():
            hard = float((edge_widths(left, border) < HARD_WIDTH * face.width_px).mean())
    return Shadow(float(((mask_shadow > 0) & face.mask).sum() / total), hard)


def edge_widths(left: Float32, border: Mask) -> FloatArray:
    """(n,) px over which the share of light left (h, w) rises from 10% to 90% of an edge.

    At each of the pixels `border` (h, w), along the steepest rise, which goes on as far as there is
    no dip; inf where it is below `_LEAST_DEPTH`. What pixels themselves blur is taken off, as
    squares add up, so that the same shadow is as hard in a small picture as in a large one.
    """
    smooth = cv2.GaussianBlur(left, (0, 0), 0.8)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    rows, columns = np.nonzero(border)
    way = np.stack([across[rows, columns], down[rows, columns]], axis=1)
    way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9)
    steps = np.arange(-_REACH_PX, _REACH_PX + _STEP_PX / 2, _STEP_PX, dtype=np.float32)
    x = columns[:, None] + steps * way[:, :1]
    y = rows[:, None] + steps * way[:, 1:]
    widths: list[float] = []
    for first in range(0, len(rows), _REMAP_ROWS):
        some = slice(first, first + _REMAP_ROWS)
        profile = cv2.remap(
            left, x[some].astype(np.float32), y[some].astype(np.float32), cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        widths += [_rise(line) * _STEP_PX for line in profile.tolist()]
    return np.sqrt(np.maximum(np.array(widths) ** 2 - _PIXEL_PX**2, 0.0))


def _rise(line: list[float]) -> float:
    """Steps between 10% and 90% of the rise around the middle of a line; inf if there is none."""
    first = last = len(line) // 2
    low = high = line[first]
    while last + 1 < len(line) and line[last + 1] > high - _NOISE:
        last += 1
        high = max(high, line[last])
        low = min(low, line[last])
    while first > 0 and line[first - 1] < low + _NOISE:
        first -= 1
        high = max(high, line[first])
        low = min(low, line[first])
    if high - low < _LEAST_DEPTH:
        return float("inf")
    rising = line[line.index(low, first) : last + 1]
    ten, ninety = (low + share * (high - low) for share in (0.1, 0.9))
    return _crossing(rising, ninety) - _crossing(rising, ten)


def _crossing(rising: list[float], level: float) -> float:
    """Where, in steps, a line first reaches a level."""
    after = next(step for step, left in enumerate(rising) if left >= level)
    if after == 0:
        return 0.0
    before = rising[after - 1]
    return after - 1 + (level - before) / max(rising[after] - before, 1e-9)
