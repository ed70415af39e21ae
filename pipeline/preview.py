"""What `eyeglass preview` draws: nine samples of a scene in seconds, and what was rejected."""

from __future__ import annotations

import contextlib
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.errors import EyeglassError
from pipeline.generation import MOST_WORKERS, for_folders
from pipeline.jobs import AssetFolders, Outcome, RunSettings, cores
from pipeline.pixels import UInt8
from pipeline.plan import check_names
from pipeline.recipe import Recipe, load_recipe
from pipeline.schedule import run_jobs
from pipeline.store import encode_png, read_image
from pipeline.wholefile import check_target, write_whole

THUMBNAILS = 9
_A_ROW = 3
SIZE_PX, SPP = 224, 8
#: Of the captions: font and its scale, pixels a line, and lines at most.
_FONT, _SCALE, _LINE_PX, _LINES = cv2.FONT_HERSHEY_SIMPLEX, 0.34, 14, 9
_PAPER, _INK, _NONE = 255, 40, 215


@dataclass(frozen=True)
class Request:
    """What `eyeglass preview` was asked for; changes as of `load_recipe`."""

    scene: str
    changes: tuple[str, ...]
    seed: int
    out: Path
    assets: AssetFolders
    device: str


def preview(request: Request) -> str:
    """Writes the sheet, a PNG; returns its captions as text.

    Raises EyeglassError, before anything is rendered, for a recipe, asset or file that will not do.
    """
    check_target(request.out)
    if request.out.suffix.lower() != ".png":
        raise EyeglassError(f"{request.out}: a name that ends in .png is expected")
    recipe = load_recipe(request.scene, request.changes)
    folders = request.assets
    catalog = folders.open()
    recipe = _small(for_folders(recipe, folders, catalog))
    check_names(recipe, catalog, request.scene)
    with tempfile.TemporaryDirectory(prefix="eyeglass-") as work:
        settings = RunSettings(recipe, folders, request.seed, Path(work), 1, request.device)
        jobs = [
            {"index": index, "preview": str(Path(work) / f"{index}.png")}
            for index in range(THUMBNAILS)
        ]
        workers = min(cores(), MOST_WORKERS, THUMBNAILS)
        running = run_jobs(settings, [[job] for job in jobs], workers)
        with contextlib.closing(running):
            outcomes = {outcome.job["index"]: outcome for outcome in running}
        cells = [_cell(outcomes[index]) for index in range(THUMBNAILS)]
    write_whole({request.out: encode_png(_sheet(cells))})
    return "\n\n".join("\n".join(lines) for _, lines in cells)


def _small(recipe: Recipe) -> Recipe:
    """The recipe with pictures of few pixels and samples, denoised, and no other layers."""
    small = {"size": SIZE_PX, "spp": SPP, "denoise": True, "layers": []}
    return recipe.model_copy(update={"render": recipe.render.model_copy(update=small)})


def _cell(outcome: Outcome) -> tuple[UInt8, list[str]]:
    """Picture and caption of a sample, or an empty one and why."""
    if outcome.record is None:
        if not outcome.rejected:
            raise EyeglassError(f"sample {outcome.job['index']}: {outcome.reason}")
        lines = [f"sample {outcome.job['index']}: nothing could be worn", *_why(outcome.rejected)]
        return np.full((SIZE_PX, SIZE_PX, 3), _NONE, np.uint8), lines
    picture = read_image(Path(outcome.job["preview"]))
    return picture, caption(outcome.record, picture)


def caption(record: dict[str, Any], picture: UInt8) -> list[str]:
    """Lines about a sample: who, what, from where, light, how it fits, what was rejected."""
    spec, fit = record["spec"], record["fit"]
    camera = spec["camera"]
    lens = f", f/{camera['f_number']:.1f}" if camera["f_number"] else ""
    shown = {
        "front": "penetration_front_mm", "pads": "pad_gap_left_mm", "lens to eye":
        "vertex_distance_mm", "tilt": "pantoscopic_tilt_deg",
    }  # fmt: skip
    figures = ", ".join(
        f"{name} {fit[key]:.1f}" for name, key in shown.items() if fit.get(key) is not None
    )
    # Apart, as a black background is no fault.
    burnt, black = (picture == 255).any(axis=2).mean(), (picture == 0).all(axis=2).mean()
    return [
        f"{record['id']}  {record['subject']}  {record['expression']}",
        f"{record['glasses']}, {record['wear']}, nose {record['nose']:.1f}",
        f"{camera['focal_mm']:.0f} mm{lens} at {camera['distance_mm']:.0f} mm, yaw "
        f"{camera['yaw_deg']:z.0f} pitch {camera['pitch_deg']:z.0f} "
        f"roll {camera['roll_deg']:z.0f}",
        f"{record['hdri']}: mean {picture.mean() / 255:.2f}, burnt {burnt:.0%}, black {black:.0%}",
        figures,
        *_why(record["rejected"]),
    ]


def _why(rejected: Sequence[dict[str, Any]]) -> list[str]:
    """Each reason once, with how often it came."""
    reasons = [f"{attempt['glasses']}: {attempt['reason']}" for attempt in rejected]
    counted = {reason: reasons.count(reason) for reason in reasons}
    return [f"rejected {reason}" + f" (x{n})" * (n > 1) for reason, n in counted.items()]


def _sheet(cells: Sequence[tuple[UInt8, list[str]]]) -> UInt8:
    rows = []
    for first in range(0, len(cells), _A_ROW):
        row = [
            np.concatenate([picture, _printed(lines)]) for picture, lines in cells[first:][:_A_ROW]
        ]
        rows.append(np.concatenate(row, axis=1))
    return np.concatenate(rows)


def _printed(lines: Sequence[str]) -> UInt8:
    """(h, SIZE_PX, 3): lines on paper, broken where they are too long, cut where too many."""
    broken = [part for line in lines for part in _broken(line)]
    if len(broken) > _LINES:
        broken = [*broken[: _LINES - 1], "..."]
    paper = np.full((_LINES * _LINE_PX + 6, SIZE_PX, 3), _PAPER, np.uint8)
    for number, text in enumerate(broken):
        at = (4, 12 + number * _LINE_PX)
        ink = (_INK, _INK, _INK)
        cv2.putText(paper, text, at, _FONT, _SCALE, ink, 1, cv2.LINE_AA)
    return paper


def _broken(line: str) -> list[str]:
    """A caption's line in parts that fit the column; versions of OpenCV differ in their fonts."""

    def fits(text: str) -> bool:
        return int(cv2.getTextSize(text, _FONT, _SCALE, 1)[0][0]) <= SIZE_PX - 8

    wide = len(line)
    while wide > 1 and not all(fits(part) for part in textwrap.wrap(line, wide)):
        wide -= 1
    return textwrap.wrap(line, wide) if wide else []
