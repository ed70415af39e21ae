"""The contact sheet: samples at a glance, one a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.spec import LAYERS
from pipeline.store import read_image

MAX_SAMPLES = 16
_CELL_PX = 192
_GAP_PX = 4
_TITLE_PX = 22
#: Colours of the painted masks (RGB), in the order in which they are painted over each other.
MASK_COLORS = {
    "mask_shadow": (150, 60, 200),
    "mask_lens_left": (60, 150, 240),
    "mask_lens_right": (90, 210, 160),
    "mask_frame": (235, 110, 40),
    "mask_legs": (250, 200, 40),
}
COLUMNS = (*LAYERS, "masks", "shadow_matte")


def contact_sheet(root: Path, records: Sequence[dict[str, Any]]) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB: a row for each of the first samples, columns as in `COLUMNS`."""
    rows = [_row(root, record) for record in records[:MAX_SAMPLES]]
    width = len(COLUMNS) * (_CELL_PX + _GAP_PX) + _GAP_PX
    title = np.full((_TITLE_PX, width, 3), 255, np.uint8)
    for column, name in enumerate(COLUMNS):
        left = _GAP_PX + column * (_CELL_PX + _GAP_PX)
        cv2.putText(
            title,
            name,
            (left + 2, 16),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.45,
            (40, 40, 40),
            1,
            cv2.LINE_AA,
        )
    return np.concatenate([title, *rows]) if rows else title


def painted_masks(images: dict[str, NDArray]) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB: the masks in colour over a grey `face`."""
    grey = images["face"].mean(axis=2, keepdims=True).astype(np.uint8) // 2 + 90
    picture = np.repeat(grey, 3, axis=2)
    for key, color in MASK_COLORS.items():
        picture[images[key] > 127] = color
    return picture


def _row(root: Path, record: dict[str, Any]) -> NDArray[np.uint8]:
    images = {key: read_image(root / path) for key, path in record["files"].items()}
    images["masks"] = painted_masks(images)
    matte = (images["shadow_matte"] >> 8).astype(np.uint8)
    images["shadow_matte"] = np.repeat(matte[..., None], 3, axis=2)
    gap = np.full((_CELL_PX, _GAP_PX, 3), 255, np.uint8)
    cells = [gap]
    for key in COLUMNS:
        cells += [cv2.resize(images[key], (_CELL_PX, _CELL_PX), interpolation=cv2.INTER_AREA), gap]
    row = np.concatenate(cells, axis=1)
    return np.concatenate([row, np.full((_GAP_PX, row.shape[1], 3), 255, np.uint8)])
