"""What `eyeglass assets --sheet` draws: every design in its finishes, one row a design."""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.catalog.catalog import Catalog
from pipeline.child import ask
from pipeline.errors import EyeglassError
from pipeline.store import encode_png
from pipeline.wholefile import check_target, write_whole

_CELL_PX = 240
_TITLE_PX = 18
_PAPER, _INK = 255, 40


def draw_sheet(catalog: Catalog, glasses: Path | None, out: Path) -> int:
    """Writes the sheet of all eyewear of a catalogue as a PNG; returns how many looks it has.

    glasses: the user's folder that the catalogue was opened with. Raises EyeglassError where the
    file cannot be written or rendering fails.
    """
    check_target(out)
    if out.suffix.lower() != ".png":
        raise EyeglassError(f"{out}: a sheet is a PNG; a name that ends in .png is expected")
    looks = [(name, look) for name, entry in catalog.glasses.items() for look in entry.looks()]
    request = {
        "glasses": glasses and str(glasses),
        "looks": looks,
        "width": _CELL_PX,
        "threads": len(os.sched_getaffinity(0)),
    }
    answers = ask("pipeline.blender.sheet", request)
    rows: dict[str, list[NDArray]] = {}
    shown = tqdm(answers, total=len(looks), unit="look", disable=not sys.stderr.isatty())
    for (name, look), answer in zip(looks, shown, strict=True):
        picture = np.frombuffer(base64.b64decode(answer["png"]), np.uint8)
        cell = cv2.imdecode(picture, cv2.IMREAD_COLOR)
        assert cell is not None
        rows.setdefault(name, []).append(_titled(cell[..., ::-1], _title(name, look)))
    write_whole({out: encode_png(_pasted(list(rows.values())))})
    return len(looks)


def _title(name: str, look: dict[str, float | str]) -> str:
    return f"{name}: {look['frame']}, {look['lenses']}" if look else name


def _titled(cell: NDArray, title: str) -> NDArray:
    strip = np.full((_TITLE_PX, cell.shape[1], 3), _PAPER, np.uint8)
    ink = (_INK, _INK, _INK)
    cv2.putText(strip, title, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.34, ink, 1, cv2.LINE_AA)
    return np.concatenate([strip, cell])


def _pasted(rows: list[list[NDArray]]) -> NDArray:
    """Rows of cells of one size, the shorter ones filled up with paper."""
    most = max(len(row) for row in rows)
    blank = np.full_like(rows[0][0], _PAPER)
    return np.concatenate(
        [np.concatenate([*row, *[blank] * (most - len(row))], axis=1) for row in rows]
    )
