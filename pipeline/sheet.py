"""What `eyeglass assets --sheet` and `--people` draw: pictures in a grid, a title with each."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.camera import gaze_at
from pipeline.catalog.catalog import PERSON_NAME, Catalog, Persons
from pipeline.catalog.person import person, traits
from pipeline.child import ask
from pipeline.errors import EyeglassError
from pipeline.pixels import UInt8
from pipeline.spec import CameraSpec, LightSpec, RenderSpec, SampleSpec
from pipeline.store import encode_png
from pipeline.wholefile import check_target, write_whole

_TITLE_PX = 18
_PAPER, _INK = 255, 40
_LOOK_PX = 240

PEOPLE = 64
_PEOPLE_A_ROW = 8
_PERSON_PX, _PERSON_SPP = 256, 32
#: What persons in turn are shown with. These cycles of 3, 5, 7 and 11 have no factor in common, nor
#: with the 8 of a row, so that no column has one light or one pose.
_LIGHTS = ("courtyard", "studio", "night")
_EXPRESSIONS = ("1_neutral", "3_smile", "1_neutral", "4_big_smile", "1_neutral")
_YAWS_DEG = (0.0, 18.0, -9.0, 6.0, -20.0, 12.0, -4.0)
_ROTATIONS_DEG = tuple(range(0, 352, 32))


def draw_looks(catalog: Catalog, glasses: Path | None, out: Path) -> int:
    """Writes all eyewear of a catalogue in its finishes, a design a row, as a PNG.

    glasses: the user's folder that the catalogue was opened with. Returns how many looks there
    are. Raises EyeglassError where the file cannot be written or rendering fails.
    """
    looks = [(name, look) for name, entry in catalog.glasses.items() for look in entry.looks()]
    request = {"glasses": glasses and str(glasses), "looks": looks, "width": _LOOK_PX}
    titles = [_look_title(name, look) for name, look in looks]
    names = list(catalog.glasses)
    rows = [names.index(name) for name, _ in looks]
    _draw_grid(request, titles, rows, "look", out)
    return len(looks)


def draw_people(catalog: Catalog, hdri: Path | None, out: Path) -> int:
    """Writes the first `PEOPLE` persons, in several lights, as a PNG; returns their number.

    hdri: the user's folder that the catalogue was opened with. Raises EyeglassError where the
    catalogue has other heads, the file cannot be written or rendering fails.
    """
    if not isinstance(catalog.heads, Persons):
        raise EyeglassError("--people shows the built-in persons; leave --heads out")
    specs = [person_spec(catalog, catalog.heads, number) for number in range(PEOPLE)]
    request = {
        "hdri": hdri and str(hdri),
        "people": [spec.model_dump(mode="json") for spec in specs],
    }
    titles = [_person_title(spec) for spec in specs]
    _draw_grid(request, titles, [n // _PEOPLE_A_ROW for n in range(PEOPLE)], "person", out)
    return PEOPLE


def person_spec(catalog: Catalog, heads: Persons, number: int) -> SampleSpec:
    """How a person is shown: as a portrait whose eyes are on the camera."""
    wanted = [name for name in _LIGHTS if name in catalog.lights] or list(catalog.lights)
    light = catalog.lights[wanted[number % len(wanted)]]
    rotation_deg = _ROTATIONS_DEG[number % len(_ROTATIONS_DEG)]
    camera = CameraSpec(
        focal_mm=85,
        distance_mm=740,
        yaw_deg=_YAWS_DEG[number % len(_YAWS_DEG)],
        pitch_deg=2,
        roll_deg=0,
    )
    return SampleSpec.model_validate(
        {
            "seed": 0,
            "index": number,
            "attempt": 0,
            "head": heads.spec(number, _EXPRESSIONS[number % len(_EXPRESSIONS)], gaze_at(camera)),
            "glasses": {"name": "none", "sha256": "0" * 64},
            "nose": 0.0,
            "camera": camera,
            "light": LightSpec(
                hdri=light.name,
                sha256=light.sha256,
                rotation_deg=rotation_deg,
                exposure_ev=light.exposure_ev(rotation_deg),
            ),
            "render": RenderSpec(size=_PERSON_PX, spp=_PERSON_SPP, denoise=True, seed=0),
        }
    )


def _look_title(name: str, look: dict[str, float | str]) -> str:
    return f"{name}: {look['frame']}, {look['lenses']}" if look else name


def _person_title(spec: SampleSpec) -> str:
    match = PERSON_NAME.fullmatch(spec.head.subject)
    assert match is not None
    who = person(int(match[1]))
    found = traits(who)
    return f"{who.index}: {found['sex']}, {who.age:.0f}, tone {found['tone']}, {spec.light.hdri}"


def _draw_grid(
    request: dict[str, Any], titles: Sequence[str], rows: Sequence[int], unit: str, out: Path
) -> None:
    """Pictures that a child renders for a request, with their titles, in their rows, as a PNG."""
    check_target(out)
    if out.suffix.lower() != ".png":
        raise EyeglassError(f"{out}: a sheet is a PNG; a name that ends in .png is expected")
    answers = ask("pipeline.blender.sheet", request | {"threads": len(os.sched_getaffinity(0))})
    cells: dict[int, list[UInt8]] = {}
    shown = tqdm(answers, total=len(titles), unit=unit, disable=not sys.stderr.isatty())
    for title, row, answer in zip(titles, rows, shown, strict=True):
        picture = np.frombuffer(base64.b64decode(answer["png"]), np.uint8)
        cell = cv2.imdecode(picture, cv2.IMREAD_COLOR)
        assert cell is not None
        cells.setdefault(row, []).append(_titled(cell[..., ::-1], title))
    write_whole({out: encode_png(_pasted(list(cells.values())))})


def _titled(cell: NDArray, title: str) -> UInt8:
    strip = np.full((_TITLE_PX, cell.shape[1], 3), _PAPER, np.uint8)
    ink = (_INK, _INK, _INK)
    cv2.putText(strip, title, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.34, ink, 1, cv2.LINE_AA)
    return np.concatenate([strip, cell])


def _pasted(rows: list[list[UInt8]]) -> UInt8:
    """Rows of cells of one size, the shorter ones filled up with paper."""
    most = max(len(row) for row in rows)
    blank = np.full_like(rows[0][0], _PAPER)
    return np.concatenate(
        [np.concatenate([*row, *[blank] * (most - len(row))], axis=1) for row in rows]
    )
