"""Which samples of a dataset an export holds, and their images as the reader wants them."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DatasetError
from pipeline.imagefile import check_file, decoded
from pipeline.sensor import PICTURES, apply_sensor
from pipeline.spec import MASKS, SPLITS, SampleSpec, SensorSpec, parse_spec, sample_id
from pipeline.store import INDEX, encode_png, iter_lines, parse_record
from pipeline.yamlfile import one_line

#: Images whose pixels may be averaged: pictures, and shares of something.
_AVERAGED = frozenset((*PICTURES, "alpha_full", "shadow_matte", "lens_transmittance"))


@dataclass(frozen=True, eq=False)
class Selection:
    """The samples of an export in its order: by split, then by number.

    starts: (n,) byte of the index at which each one's line begins. digest: sha256 of the index.
    keys: images that each of them has and the export needs. splits, subjects, glasses, lights,
    sizes: samples by name; sizes are widths in px as stored. subjects_of: subjects by split.
    """

    dataset: Path
    keys: tuple[str, ...]
    starts: NDArray[np.int64]
    digest: str
    splits: Mapping[str, int]
    subjects: Mapping[str, int]
    glasses: Mapping[str, int]
    lights: Mapping[str, int]
    sizes: Mapping[int, int]
    subjects_of: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.starts)

    def records(self, first: int) -> Iterator[dict[str, Any]]:
        """Records from a position on. Raises DatasetError if the index has changed meanwhile."""
        with (self.dataset / INDEX).open("rb") as file:
            for start in self.starts[first:]:
                file.seek(int(start))
                record = parse_record(file.readline())
                if record is None:
                    raise DatasetError(f"{self.dataset / INDEX}: has changed; export again")
                yield record


@dataclass(frozen=True, eq=False)
class Image:
    """One image of a sample. png: the file, as long as the pixels are those that it holds."""

    key: str
    size: int
    png: bytes
    changed: NDArray | None = None

    @cached_property
    def pixels(self) -> NDArray:
        """(size, size) or (size, size, 3) RGB, uint8 or uint16, as stored."""
        if self.changed is not None:
            return self.changed
        return decoded(self.png, self.key, self.size)


@dataclass(frozen=True, eq=False)
class Sample:
    """A sample as an export writes it: its record, its spec and the images asked for."""

    record: Mapping[str, Any]
    spec: SampleSpec
    images: Mapping[str, Image]

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def split(self) -> str:
        split: str = self.record["split"]
        return split

    def pixels(self, key: str) -> NDArray:
        """An image as an array."""
        return self.images[key].pixels

    def mask(self, key: str) -> NDArray[np.bool_]:
        """(h, w) bool of a mask."""
        return self.pixels(key) > 127

    def png(self, key: str) -> bytes:
        """An image as a PNG, byte for byte as stored where nothing was changed."""
        image = self.images[key]
        return image.png or encode_png(image.pixels)


def select(
    dataset: Path,
    keys: Sequence[str] | None,
    split: str | None = None,
    limit: int | None = None,
    by_split: bool = False,
) -> Selection:
    """The samples of a split, or all, that have the images `keys`; the first `limit` of them.

    keys: None asks that each has those that the first one has. They come by number; by_split: by
    split first. Seven numbers a sample are held,
    and each name once. Raises DatasetError if `dataset` is none, holds no such samples, one of
    them twice or one without an image; RecipeError if a spec is broken.
    """
    names: tuple[dict[str, int], ...] = ({}, {}, {})
    rows = array("q")
    for line, (start, record) in enumerate(iter_lines(dataset), 1):
        if record is None or record.get("split") not in SPLITS:
            raise DatasetError(f"{dataset / INDEX}: line {line} is not a record")
        spec = parse_spec(record["spec"], f"{dataset / INDEX}: line {line}")
        if split not in (None, record["split"]):
            continue
        keys = tuple(record["files"]) if keys is None else keys
        _check_keys(dataset, record, keys)
        said = (spec.head.subject, spec.glasses.name, spec.light.hdri)
        pairs = zip(names, said, strict=True)
        codes = [known.setdefault(name, len(known)) for known, name in pairs]
        rows.extend((spec.index, start, SPLITS.index(record["split"]), spec.render.size, *codes))
    if not rows:
        of = f" in the split '{split}'" if split else ""
        raise DatasetError(f"{dataset}: holds no finished samples{of}")
    table = np.array(rows, np.int64).reshape(-1, 7)
    table = table[np.argsort(table[:, 0], kind="stable")]
    twice = np.flatnonzero(np.diff(table[:, 0]) == 0)
    if twice.size:
        sample = sample_id(int(table[twice[0], 0]))
        raise DatasetError(f"{dataset / INDEX}: sample {sample} stands there twice")
    table = table[:limit]
    if by_split:
        table = table[np.argsort(table[:, 2], kind="stable")]
    assert keys is not None
    return _selection(dataset, table, names, tuple(keys))


def _check_keys(dataset: Path, record: Mapping[str, Any], keys: Sequence[str]) -> None:
    lacking = next((key for key in keys if key not in record["files"]), None)
    if lacking is not None:
        raise DatasetError(
            f"{dataset}: sample {record['id']} has no layer '{lacking}'; "
            f"it has {', '.join(record['files'])}"
        )


def _selection(
    dataset: Path,
    table: NDArray[np.int64],
    names: Sequence[Mapping[str, int]],
    keys: tuple[str, ...],
) -> Selection:
    """table: number, start, split, size and codes of subject, glasses and light."""
    subjects, glasses, lights = (
        _counted(table[:, 4 + i], list(known)) for i, known in enumerate(names)
    )
    pairs = np.unique(table[:, [2, 4]], axis=0)
    with (dataset / INDEX).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Selection(
        dataset=dataset,
        keys=keys,
        starts=table[:, 1].copy(),
        digest=digest,
        splits=_counted(table[:, 2], SPLITS),
        subjects=subjects,
        glasses=glasses,
        lights=lights,
        sizes={int(size): n for size, n in sorted(Counter(table[:, 3].tolist()).items())},
        subjects_of=_counted(pairs[:, 0], SPLITS),
    )


def _counted(codes: NDArray[np.int64], names: Sequence[str]) -> dict[str, int]:
    counts = np.bincount(codes, minlength=len(names)).tolist()
    return {name: count for name, count in zip(names, counts, strict=True) if count}


def load(
    dataset: Path,
    record: Mapping[str, Any],
    keys: Sequence[str],
    size: int | None = None,
    sensor: bool = False,
) -> Sample:
    """A sample with the images `keys`.

    size: their width in px, and of the picture that labels of the record are about; as stored if
    None. sensor: pictures as the camera of the spec took them. Raises DatasetError if a file is not
    whole and as promised: they are handed on byte for byte, so their checksums are looked at too.
    """
    spec = parse_spec(record["spec"], f"{dataset / INDEX}: sample {record['id']}")
    images = {key: _stored(dataset / record["files"][key], key, spec.render.size) for key in keys}
    if sensor:
        if spec.sensor is None:
            raise DatasetError(f"{dataset}: the spec of sample {spec.id} has no sensor")
        images |= _taken(images, spec.sensor)
    if size is not None and size != spec.render.size:
        images = {key: _resized(image, size) for key, image in images.items()}
        labels = _scaled_labels(record.get("labels") or {}, size / spec.render.size)
        record = {**record, "labels": labels}
    return Sample(record, spec, images)


def _stored(path: Path, key: str, size: int) -> Image:
    try:
        data = path.read_bytes()
        check_file(data, key, size)
        image = Image(key, size, data)
        _ = image.pixels  # now, while the file's name is known
    except OSError as error:
        raise DatasetError(f"{path}: {one_line(error)}") from None
    except ValueError as error:
        raise DatasetError(f"{path}: {error}") from None
    return image


def _taken(images: Mapping[str, Image], sensor: SensorSpec) -> dict[str, Image]:
    """The pictures among images, as a camera took them."""
    clean = {key: image.pixels for key, image in images.items() if key in PICTURES}
    return {
        key: Image(key, images[key].size, b"", pixels)
        for key, pixels in apply_sensor(clean, sensor).items()
    }


def _resized(image: Image, size: int) -> Image:
    """Pictures and shares are averaged, masks are coverage cut at one half, labels are picked."""
    pixels = image.pixels
    smooth = cv2.INTER_AREA if size < image.size else cv2.INTER_LINEAR
    if image.key in _AVERAGED:
        pixels = cv2.resize(pixels, (size, size), interpolation=smooth)
    elif image.key in MASKS:
        share = cv2.resize(
            np.float32(pixels > 127),
            (size, size),
            interpolation=smooth,  # type: ignore[call-overload]
        )
        pixels = np.where(share >= 0.5, 255, 0).astype(np.uint8)
    else:
        pixels = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
    if image.key == "refraction_flow":
        pixels = _scaled_flow(pixels, size / image.size)
    return Image(image.key, size, b"", pixels)


def _scaled_flow(image: NDArray[np.uint16], scale: float) -> NDArray[np.uint16]:
    """Shifts of a picture that is `scale` times as wide."""
    # Takes long to import, and few datasets have this layer.
    from pipeline.refraction import flow_from_kitti, kitti_flow

    flow, valid = flow_from_kitti(image)
    return kitti_flow(flow * scale, valid)


def _scaled_labels(labels: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """The labels of a record, see `pipeline.labels`, of a picture `scale` times as wide."""

    def scaled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: scaled(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [scaled(inner) for inner in value]
        return None if value is None else round(scale * value, 3)

    found = {
        key: scaled(value) if key.endswith("_px") or key == "glasses_box" else value
        for key, value in labels.items()
    }
    if "camera_matrix" in labels:
        *rows, last = labels["camera_matrix"]
        found["camera_matrix"] = [*scaled(rows), last]
    return found
