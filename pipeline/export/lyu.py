"""The flat folder of Lyu et al., "Portrait Eyeglasses and Shadow Removal by Leveraging 3D Synthetic
Data" (CVPR 2022), for tools written for that dataset.

    DEST/img-[Glass]-[Subject]-[Expression]-[Node]-[HDR]-[Rotation]-[Kind].png
    DEST/names.csv      which sample each name stands for

Kinds: all, glass, shadow, face (8-bit RGB), seg and shseg (8-bit grey, 0 or 255). Readers sort
each kind by name and pair by position, so a sample has all six kinds or none.
"""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from pipeline.catalog.catalog import PERSON_NAME
from pipeline.catalog.data import data_path
from pipeline.errors import DatasetError
from pipeline.spec import LAYERS, SampleSpec, parse_spec
from pipeline.store import INDEX, encode_png, read_index
from pipeline.yamlfile import one_line

KINDS = (*LAYERS, "seg", "shseg")
#: Width and height that the paper's tools expect, in pixels.
PAPER_SIZE = 256
#: A closed opening counts as a hole above this share of the picture.
HOLE_SHARE = 0.0005

_EXPRESSION = re.compile(r"\d+_[a-z_]+")
_MOST_GLASSES = 1000
_NAMES = "names.csv"
UInt8 = NDArray[np.uint8]


@dataclass(frozen=True)
class _Numbers:
    """Numbers of glasses and of subjects, by name: the paper's names hold no others."""

    glasses: Mapping[str, int]
    subjects: Mapping[str, int]


def export(dataset: Path, dest: Path) -> str:
    """Writes a native dataset as the folder `dest`, which must be new or empty.

    Returns a summary for people. Raises DatasetError, with nothing left behind, if `dataset` is
    none, holds no samples, or has an image that is missing or broken; if a name has no place in
    the paper's scheme; if `dest` holds something or cannot be written.
    """
    records = read_index(dataset)
    if not records:
        raise DatasetError(f"{dataset}: holds no finished samples")
    index = dataset / INDEX
    specs = [parse_spec(r["spec"], f"{index}: line {i}") for i, r in enumerate(records, 1)]
    stems = _stems(specs, dataset)
    _check_dest(dest)
    if dest.resolve().is_relative_to(dataset.resolve()):
        raise DatasetError(f"{dest}: lies inside the dataset; give a folder elsewhere")
    # Made in the nearest folder that exists, so that a failure leaves no empty parents either.
    above = next(folder for folder in dest.absolute().parents if folder.exists())
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{dest.name}.", suffix=".tmp", dir=above))
        try:
            folder = work / "set"
            folder.mkdir()
            holes = _write_all(dataset, records, specs, stems, folder)
            _write_names(folder / _NAMES, specs, stems)
            dest.parent.mkdir(parents=True, exist_ok=True)
            folder.replace(dest)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise DatasetError(f"{dest}: cannot be written: {one_line(error)}") from None
    return _summary(dest, specs, holes)


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


def _stems(specs: Sequence[SampleSpec], dataset: Path) -> list[str]:
    """Names without kind, one a sample, all different. Raises DatasetError."""
    numbers = _numbers(specs, dataset)
    stems = [_stem(spec, numbers, dataset) for spec in specs]
    twice = [stem for stem, count in Counter(stems).items() if count > 1]
    if twice:
        sample = specs[stems.index(twice[0])].id
        raise DatasetError(f"{dataset / INDEX}: sample {sample} stands there twice")
    return stems


def _stem(spec: SampleSpec, numbers: _Numbers, dataset: Path) -> str:
    if not _EXPRESSION.fullmatch(spec.head.expression):
        raise DatasetError(
            f"{dataset}: sample {spec.id}: the paper's names hold expressions like "
            f"'2_mouth_open', not '{spec.head.expression}'"
        )
    # Names of lights that differ only in other characters stay apart by the sample's number.
    light = re.sub(r"[^A-Za-z0-9_]", "_", spec.light.hdri)
    return (
        f"img-Glass{numbers.glasses[spec.glasses.name]:03d}-{numbers.subjects[spec.head.subject]}-"
        f"{spec.head.expression}-{math.floor(spec.nose + 0.5)}-{light}_s{spec.id}-"
        f"{spec.light.rotation_deg:03d}"
    )


def _numbers(specs: Sequence[SampleSpec], dataset: Path) -> _Numbers:
    used = sorted({spec.glasses.name for spec in specs})
    built_in = [path.stem for path in sorted(data_path("assets/eyewear").glob("*.yaml"))]
    names = built_in if set(used) <= set(built_in) else used
    glasses = {name: number for number, name in enumerate(names)}
    if max(glasses[name] for name in used) >= _MOST_GLASSES:
        raise DatasetError(
            f"{dataset}: {len(names)} pairs of glasses, but the paper's names number "
            f"{_MOST_GLASSES} at most"
        )
    subjects = sorted({spec.head.subject for spec in specs})
    persons = [PERSON_NAME.fullmatch(subject) for subject in subjects]
    found = [int(match[1]) for match in persons if match]
    all_persons = len(set(found)) == len(subjects)
    return _Numbers(
        glasses, dict(zip(subjects, found if all_persons else range(len(subjects)), strict=True))
    )


def _check_dest(dest: Path) -> None:
    try:
        if dest.is_dir():
            if any(dest.iterdir()):
                raise DatasetError(f"{dest}: holds other data; give an empty or new folder")
        elif dest.exists() or dest.is_symlink():
            raise DatasetError(f"{dest}: is a file; a new folder is expected")
    except OSError as error:
        raise DatasetError(f"{dest}: cannot be read: {one_line(error)}") from None


def _write_all(
    dataset: Path,
    records: Sequence[dict[str, Any]],
    specs: Sequence[SampleSpec],
    stems: Sequence[str],
    folder: Path,
) -> list[int]:
    """Writes all images; returns the number of holes in each `seg`."""
    holes = []
    shown = tqdm(
        zip(records, specs, stems, strict=True),
        total=len(records),
        unit="sample",
        disable=not sys.stderr.isatty(),
        dynamic_ncols=True,
    )
    for record, spec, stem in shown:
        stored = {
            key: _read(dataset, record, spec, key) for key in (*LAYERS, "mask_frame", "mask_lenses")
        }
        images = {key: image for key, (_, image) in stored.items()}
        seg = lens_openings_only(images["mask_frame"], images["mask_lenses"])
        written = {layer: stored[layer][0] for layer in LAYERS}
        written["seg"] = encode_png(seg)
        written["shseg"] = encode_png(shadow_by_luma(images["all"], images["glass"]))
        for kind in KINDS:
            (folder / f"{stem}-{kind}.png").write_bytes(written[kind])
        holes.append(count_holes(seg))
    return holes


def _read(
    dataset: Path, record: Mapping[str, Any], spec: SampleSpec, key: str
) -> tuple[bytes, UInt8]:
    """A stored image as file and as array. Raises DatasetError if it is not whole and as promised.

    Files are handed on byte for byte, so their checksums are looked at too.
    """
    name = record["files"].get(key)
    if not isinstance(name, str):
        raise DatasetError(f"{dataset / INDEX}: sample {spec.id} names no file for '{key}'")
    path = dataset / name
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.verify()
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            mode, pixels = image.mode, np.asarray(image)
    except Exception as error:  # decoders raise whatever they like on broken files
        raise DatasetError(f"{path}: missing, or not a readable PNG: {one_line(error)}") from None
    size = spec.render.size
    expected = "RGB" if key in LAYERS else "L"
    if mode != expected or pixels.shape[:2] != (size, size):
        raise DatasetError(
            f"{path}: an 8-bit {expected} PNG of {size} x {size} px is expected, "
            f"not {mode} of {pixels.shape[1]} x {pixels.shape[0]} px"
        )
    return data, pixels


def _write_names(path: Path, specs: Sequence[SampleSpec], stems: Sequence[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("name", "id", "glasses", "subject", "nose", "hdri"))
        for spec, stem in zip(specs, stems, strict=True):
            row = (spec.id, spec.glasses.name, spec.head.subject, spec.nose, spec.light.hdri)
            table.writerow((stem, *row))


def _summary(dest: Path, specs: Sequence[SampleSpec], holes: Sequence[int]) -> str:
    count = len(specs)
    lines = [f"{count} samples, {count * len(KINDS)} images in {dest}"]
    other = sum(number != 2 for number in holes)
    if other:
        lines.append(
            f"{other} of {count} seg lack exactly two holes above {HOLE_SHARE:.2%} of the picture "
            "(no closed rim, turned away, or crossed by a temple); some readers leave those out"
        )
    sizes = sorted({spec.render.size for spec in specs} - {PAPER_SIZE})
    if sizes:
        lines.append(
            f"warning: images are {', '.join(map(str, sizes))} px wide; "
            f"the paper's tools expect {PAPER_SIZE}"
        )
    return "\n".join(lines)
