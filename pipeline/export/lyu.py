"""The flat folder of Lyu et al., "Portrait Eyeglasses and Shadow Removal by Leveraging 3D Synthetic
Data" (CVPR 2022), for tools written for that dataset.

    DEST/img-[Glass]-[Subject]-[Expression]-[Node]-[HDR]-[Rotation]-[Kind].png
    DEST/names.csv      which sample each name stands for

With --splits the images lie in DEST/train, DEST/val and DEST/test. Kinds: all, glass, shadow, face
(8-bit RGB), seg and shseg (8-bit grey, 0 or 255). Readers sort each kind by name and pair by
position, so a sample has all six kinds or none.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.catalog.catalog import PERSON_NAME
from pipeline.catalog.data import data_path
from pipeline.errors import DatasetError
from pipeline.export import croissant
from pipeline.export.forms import Form, Item
from pipeline.export.samples import Sample, Selection
from pipeline.export.staging import Staging
from pipeline.pixels import UInt8
from pipeline.spec import LAYERS
from pipeline.store import encode_png

KINDS = (*LAYERS, "seg", "shseg")
#: Width and height that the paper's tools expect, in pixels.
PAPER_SIZE = 256
#: A closed opening counts as a hole above this share of the picture.
HOLE_SHARE = 0.0005

_EXPRESSION = re.compile(r"\d+_[a-z_]+")
_MOST_GLASSES = 1000
_NAMES = "names.csv"
_COLUMNS = ("name", "id", "split", "glasses", "subject", "nose", "hdri")


class Lyu(Form):
    """Six PNG a sample, all in one folder, or in one for each split."""

    name = "lyu"
    takes = frozenset({"splits"})
    expects = PAPER_SIZE

    def keys(self) -> tuple[str, ...]:
        return (*LAYERS, "mask_frame", "mask_lenses")

    def begin(self, selection: Selection, description: Mapping[str, Any]) -> None:
        hashes = description.get("sha256", {})
        where = selection.dataset
        self._glasses = _numbers_of_glasses(selection.glasses, hashes.get("glasses", ()), where)
        self._subjects = _numbers_of_subjects(selection.subjects, hashes.get("heads", ()))

    def item(self, sample: Sample) -> Item:
        stem = self._stem(sample)
        files = {f"{stem}-{layer}.png": sample.png(layer) for layer in LAYERS}
        seg = lens_openings_only(sample.pixels("mask_frame"), sample.pixels("mask_lenses"))
        files[f"{stem}-seg.png"] = encode_png(seg)
        shseg = shadow_by_luma(sample.pixels("all"), sample.pixels("glass"))
        files[f"{stem}-shseg.png"] = encode_png(shseg)
        if self.options.splits:
            files = {f"{sample.split}/{name}": data for name, data in files.items()}
        spec = sample.spec
        row = (
            stem, spec.id, sample.split, spec.glasses.name, spec.head.subject, spec.nose,
            spec.light.hdri,
        )  # fmt: skip
        counts = {"images": len(files), "not two holes": int(count_holes(seg) != 2)}
        return Item(spec.id, sample.split, files, [(_NAMES, _as_csv(row))], counts)

    def finish(self, stage: Staging) -> None:
        with (stage.folder / _NAMES).open("w", encoding="utf-8", newline="") as file:
            file.write(_as_csv(_COLUMNS) + "\n")
            file.writelines(line + "\n" for line in stage.lines(_NAMES))

    def notes(self, stage: Staging) -> list[str]:
        other = stage.tally["not two holes"]
        if not other:
            return []
        return [
            f"{other} of {stage.done} seg lack exactly two holes above {HOLE_SHARE:.2%} of the "
            "picture (no closed rim, turned away, or crossed by a temple); some readers leave "
            "those out"
        ]

    def layout(self) -> str:
        folder = "{train,val,test}/" if self.options.splits else ""
        return (
            f"`{folder}img-[Glass]-[Subject]-[Expression]-[Node]-[HDR]-[Rotation]-[Kind].png`, as "
            "Lyu et al. (CVPR 2022) name their files.\n\n"
            "- `all`: glasses and shadow; `glass`: glasses; `shadow`: shadow; `face`: neither\n"
            "- `seg`: the frame, lens openings open; openings that are no lens opening are filled\n"
            "- `shseg`: where `all` and `glass`, as they lie here, differ by more than 12.75 in "
            "0.3|dR| + 0.59|dG| + 0.11|dB|\n"
            f"- `{_NAMES}`: the sample, split, glasses, subject, nose position and light of a name"
        )

    def croissant(self, stage: Staging) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        folder = "*/" if self.options.splits else ""
        names = croissant.file_object(stage.folder, _NAMES, "text/csv")
        kinds = [
            croissant.file_set(kind, f"{folder}img-*-{kind}.png", "image/png") for kind in KINDS
        ]
        columns = {name: croissant.Column("sc:Text", {"column": name}) for name in _COLUMNS}
        table = croissant.records("samples", names, columns)
        return [names, *kinds], [table, *(croissant.images(files) for files in kinds)]

    def _stem(self, sample: Sample) -> str:
        spec = sample.spec
        if not _EXPRESSION.fullmatch(spec.head.expression):
            raise DatasetError(
                f"sample {spec.id}: the paper's names hold expressions like '2_mouth_open', "
                f"not '{spec.head.expression}'"
            )
        # Names of lights that differ only in other characters stay apart by the sample's number.
        light = re.sub(r"[^A-Za-z0-9_]", "_", spec.light.hdri)
        return (
            f"img-Glass{self._glasses[spec.glasses.name]:03d}-{self._subjects[spec.head.subject]}-"
            f"{spec.head.expression}-{math.floor(spec.nose + 0.5)}-{light}_s{spec.id}-"
            f"{spec.light.rotation_deg:03d}"
        )


def lens_openings_only(frame: UInt8, lenses: UInt8) -> UInt8:
    """A frame mask whose closed openings are all lens openings; (h, w) uint8 of 0 and 255.

    Filled are openings that a lens covers by less than half (between the bars of a double bridge,
    between a pad's arm and the rim), and those of at most `HOLE_SHARE` of the picture, which
    readers would count as holes too.
    """
    labels, areas = _openings(frame)
    covered = np.bincount(labels.ravel(), weights=(lenses > 127).ravel(), minlength=len(areas))
    filled = (areas > 0) & ((areas <= HOLE_SHARE * frame.size) | (covered < 0.5 * areas))
    return np.where(filled[labels] | (frame > 127), 255, 0).astype(np.uint8)


def count_holes(mask: UInt8) -> int:
    """Closed openings of an (h, w) mask that are larger than `HOLE_SHARE` of it."""
    return int((_openings(mask)[1] > HOLE_SHARE * mask.size).sum())


def shadow_by_luma(with_shadow: UInt8, without: UInt8) -> UInt8:
    """The paper's shadow mask, (h, w) uint8 of 0 and 255, of (h, w, 3) uint8 RGB `all` and `glass`.

    255 where 0.3|dR| + 0.59|dG| + 0.11|dB| exceeds 12.75; in hundredths, so that it is exact.
    """
    change = np.abs(with_shadow.astype(np.int32) - without.astype(np.int32))
    return np.where(change @ np.array([30, 59, 11]) > 1275, 255, 0).astype(np.uint8)


def _openings(mask: UInt8) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """(h, w) labels of what is not mask, and the area of each label that the mask closes in.

    The mask is joined across corners, as cv2.findContours takes it. Labels of the mask and of
    what reaches the picture's edge have area 0.
    """
    outside = np.pad((mask <= 127).astype(np.uint8), 1, constant_values=1)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
    areas = stats[:, cv2.CC_STAT_AREA].astype(np.int64)
    areas[[0, labels[0, 0]]] = 0
    return labels[1:-1, 1:-1], areas


def _numbers_of_glasses(
    used: Mapping[str, int], catalogue: Mapping[str, str] | Sequence[str], dataset: Any
) -> dict[str, int]:
    """Places in the catalogue that the dataset was made with, or, if not known, by name."""
    built_in = [path.stem for path in sorted(data_path("assets/eyewear").glob("*.yaml"))]
    known = next((names for names in (built_in, [*catalogue]) if used.keys() <= set(names)), None)
    numbers = {name: number for number, name in enumerate(known or sorted(used))}
    if max(numbers[name] for name in used) >= _MOST_GLASSES:
        raise DatasetError(
            f"{dataset}: {len(numbers)} pairs of glasses, but the paper's names number "
            f"{_MOST_GLASSES} at most"
        )
    return numbers


def _numbers_of_subjects(
    used: Mapping[str, int], heads: Mapping[str, str] | str | Sequence[str]
) -> dict[str, int]:
    """A person's own number; places among the user's heads, or, if not known, by name."""
    persons = {name: PERSON_NAME.fullmatch(name) for name in used}
    numbers = {name: int(match[1]) for name, match in persons.items() if match}
    if len(set(numbers.values())) == len(used):
        return numbers
    known = [*heads] if isinstance(heads, Mapping) and used.keys() <= heads.keys() else sorted(used)
    return {name: number for number, name in enumerate(known)}


def _as_csv(row: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(row)
    return text.getvalue()
