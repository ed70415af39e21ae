"""A dataset in Python: numbered samples as numpy arrays, for training with any library."""

from __future__ import annotations

import operator
import os
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DatasetError
from pipeline.imagefile import check_keys, decoded
from pipeline.sensor import apply_sensor
from pipeline.spec import IMAGE_KEYS, MASKS, SPLITS, SensorSpec, parse_spec
from pipeline.store import INDEX, iter_lines, parse_record
from pipeline.yamlfile import one_line


class EyeglassDataset:
    """Samples of the dataset `root`, in the order of its index, as torch's map-style datasets are.

    `data[i]` is a dict: `id`, and for each of `layers`

    - RGB layers: (h, w, 3) uint8, sRGB, 0 to 255;
    - masks: (h, w) uint8, 0 or 1;
    - `alpha_full`, `shadow_matte`: (h, w) float32, 0 to 1;
    - `lens_transmittance`: (h, w, 3) float32, 0 to 1;
    - `refraction_flow`: (h, w, 3) float32: px right, px down, and 1 where valid; 0 elsewhere;
    - `depth`: (h, w) float32, mm along the camera's axis; 0 where there is nothing;
    - `normal`: (h, w, 3) float32, unit vectors, x right, y up, z towards the camera; 0 likewise;
    - `parsing_all`, `parsing_face`: (h, w) uint8, classes of `pipeline.catalog.parsing`.

    `split`: 'train', 'val' or 'test'; all samples if left out. `sensor`: RGB layers as the camera
    of each sample's spec took them, not clean (see `pipeline.sensor`). Sixteen bytes a sample are
    held, in two arrays, so that worker processes can share or copy it; it holds no open file.
    Raises DatasetError if `root` is no dataset, or for a layer or split that it does not have.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        layers: Sequence[str] = IMAGE_KEYS,
        split: str | None = None,
        sensor: bool = False,
    ) -> None:
        self.root = Path(os.path.abspath(root))
        self.layers = _known(layers)
        if split is not None and split not in SPLITS:
            raise DatasetError(f"unknown split '{split}'; known: {', '.join(SPLITS)}")
        self.split = split
        self.sensor = sensor
        self._numbers, self._starts = self._find()

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, position: SupportsIndex) -> dict[str, Any]:
        record = self.record(position)
        size = record["spec"]["render"]["size"]
        images = {key: self._read(record["files"][key], key, size) for key in self.layers}
        if self.sensor:
            images = apply_sensor(images, self._sensor(record))
        return {"id": record["id"], **images}

    def record(self, position: SupportsIndex) -> dict[str, Any]:
        """The line of the index of a sample: subject, glasses, light, fit, spec and so on."""
        i = operator.index(position)
        if not -len(self) <= i < len(self):
            raise IndexError(f"sample {i} of {len(self)}")
        try:
            with (self.root / INDEX).open("rb") as file:
                file.seek(int(self._starts[i]))
                record = parse_record(file.readline())
        except OSError as error:
            raise DatasetError(f"{self.root / INDEX}: {one_line(error)}") from None
        if record is None or record["spec"]["index"] != self._numbers[i]:
            raise DatasetError(f"{self.root / INDEX}: has changed; open the dataset again")
        return record

    def _sensor(self, record: dict[str, Any]) -> SensorSpec:
        sensor = parse_spec(record["spec"], f"{self.root}: sample {record['id']}").sensor
        if sensor is None:
            raise DatasetError(f"{self.root}: the spec of sample {record['id']} has no sensor")
        return sensor

    def _find(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Number of each sample, and where its line begins in the index."""
        numbers, starts = array("q"), array("q")
        for line, (start, record) in enumerate(iter_lines(self.root), 1):
            if record is None:
                raise DatasetError(f"{self.root / INDEX}: line {line} is not a record")
            lacking = next((key for key in self.layers if key not in record["files"]), None)
            if lacking is not None:
                raise DatasetError(
                    f"{self.root}: sample {record['id']} has no '{lacking}'; "
                    f"it has {', '.join(record['files'])}"
                )
            if self.split in (None, record.get("split")):
                numbers.append(record["spec"]["index"])
                starts.append(start)
        return np.array(numbers, np.int64), np.array(starts, np.int64)

    def _read(self, name: str, key: str, size: int) -> NDArray:
        path = self.root / name
        try:
            return _as_numbers(decoded(path.read_bytes(), key, size), key)
        except OSError as error:
            raise DatasetError(f"{path}: {one_line(error)}") from None
        except ValueError as error:
            raise DatasetError(f"{path}: {error}") from None


def _as_numbers(image: NDArray, key: str) -> NDArray:
    """An image as stored, as `EyeglassDataset` promises it."""
    if key in MASKS:
        return (image > 127).astype(np.uint8)
    if key == "refraction_flow":
        # Takes long to import, and few have this layer.
        from pipeline.refraction import flow_from_kitti

        flow, valid = flow_from_kitti(image)
        return np.dstack([flow, valid]).astype(np.float32)
    if key == "depth":
        return image.astype(np.float32) / np.float32(10.0)
    if key == "normal":
        unit = image.astype(np.float32) / np.float32(32767.5) - np.float32(1.0)
        return np.where(image.any(axis=2, keepdims=True), unit, np.float32(0.0))
    if key == "alpha_full" or image.dtype == np.uint16:
        return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
    return image


def _known(layers: Sequence[str]) -> tuple[str, ...]:
    if isinstance(layers, str):
        raise DatasetError(f"layers: a list of names is expected, such as ['{layers}']")
    check_keys(layers)
    return tuple(layers)
