"""The native dataset: paths, atomic writes, the index.

    DIR/dataset.yaml                     what was asked, and the versions that made it
    DIR/index.jsonl                      one record a finished sample, sorted by id when a run ends
    DIR/samples/000/000012/all.png ...   the images of a sample, see `pipeline.spec.IMAGE_KEYS`
    DIR/samples/000/000012/record.json   its record once more, so that nothing hangs on the index
    DIR/failed.jsonl                     samples left out, with error and spec; see `journal`
    DIR/contact.png                      up to 16 samples at a glance
    DIR/log/                             times, messages of workers; no part of the data
    DIR/faulty/000012/                   a sample that `eyeglass check --fix` moved aside

A sample's folder is written in DIR/log/scratch and renamed, so it is there whole or not at all.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from pipeline.errors import DatasetError
from pipeline.spec import IMAGE_KEYS, SampleSpec, sample_id, split_of
from pipeline.yamlfile import read_yaml

INDEX = "index.jsonl"
DESCRIPTION = "dataset.yaml"
FAILED = "failed.jsonl"
LOGS = "log"
#: Where samples are written before they are whole, and workers keep their temporary files.
SCRATCH = f"{LOGS}/scratch"
RECORD = "record.json"
#: Where samples are moved to that must be made again; no part of the data.
FAULTY = "faulty"
MAX_RECORD_BYTES = 1_000_000
#: A description lists the hashes of the user's assets, which can be many thousands.
MAX_DESCRIPTION_BYTES = 100_000_000


def sample_folder(index: int) -> str:
    """Folder of a sample, relative to the dataset; a thousand samples share a parent."""
    return f"samples/{index // 1000:03d}/{sample_id(index)}"


def make_record(
    spec: SampleSpec,
    fit: Mapping[str, Any],
    labels: Mapping[str, Any],
    rejected: list[dict[str, Any]],
) -> dict[str, Any]:
    """The line of index.jsonl of a finished sample.

    fit: figures in mm and degrees. labels: of `pipeline.labels`. rejected: attempts before this
    one, with their reasons.
    """
    return {
        **stated(spec),
        "fit": dict(fit),
        "labels": dict(labels),
        "rejected": rejected,
        "spec": spec.model_dump(mode="json"),
    }


def stated(spec: SampleSpec) -> dict[str, Any]:
    """What a record states that follows from its spec."""
    folder = sample_folder(spec.index)
    return {
        "id": spec.id,
        "split": split_of(spec.head.subject),
        "subject": spec.head.subject,
        "expression": spec.head.expression,
        "glasses": spec.glasses.name,
        "nose": spec.nose,
        "wear": spec.wear.mode,
        "hdri": spec.light.hdri,
        "hdri_rotation_deg": spec.light.rotation_deg,
        "files": {key: f"{folder}/{key}.png" for key in spec.render.image_keys},
    }


def write_sample(
    root: Path,
    record: dict[str, Any],
    images: Mapping[str, NDArray],
    scratch: Path | None = None,
) -> None:
    """Stores a sample under `root`, replacing what a broken run may have left.

    scratch: a folder of the same file system to write it in first; where it goes, if None.
    """
    scratch = scratch or (root / sample_folder(record["spec"]["index"])).parent
    place_sample(root, record, lambda folder: write_images(folder, images), scratch)


def place_sample(
    root: Path,
    record: dict[str, Any],
    fill: Callable[[Path], None],
    scratch: Path,
) -> None:
    """Stores a sample as `write_sample` does, its images being what `fill` puts into a folder."""
    final = root / sample_folder(record["spec"]["index"])
    temporary = scratch / f"{final.name}.{secrets.token_hex(4)}.tmp"
    temporary.mkdir(parents=True)
    try:
        fill(temporary)
        (temporary / RECORD).write_text(as_line(record), encoding="utf-8")
        final.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def sync_sample(root: Path, index: int) -> None:
    """Returns when a sample that is in its place would outlast a power cut."""
    folder = root / sample_folder(index)
    for path in (*folder.iterdir(), folder, folder.parent, folder.parent.parent):
        sync(path)


def sync(path: Path) -> None:
    """Returns when a file's content, or a folder's names, would outlast a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_images(folder: Path, images: Mapping[str, NDArray]) -> None:
    """`key.png` for each image: uint8 or uint16, (h, w, 3) RGB or (h, w)."""
    for key, image in images.items():
        (folder / f"{key}.png").write_bytes(encode_png(image))


def encode_png(image: NDArray) -> bytes:
    """PNG without alpha of uint8 or uint16, (h, w, 3) RGB or grey (h, w)."""
    ok, data = cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)
    if not ok:
        raise RuntimeError("OpenCV could not encode a PNG")
    return data.tobytes()


def read_image(path: Path) -> NDArray:
    """The image as it was stored (RGB order). Raises DatasetError if it cannot be read."""
    data = np.fromfile(path, np.uint8) if path.is_file() else np.empty(0, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if image is None:
        raise DatasetError(f"{path}: missing, or not a readable PNG")
    return image[..., ::-1] if image.ndim == 3 else image


def write_index(root: Path, records: Mapping[int, dict[str, Any]]) -> None:
    """Replaces the index by the given records, sorted."""
    replace_index(root, (records[i] for i in sorted(records)))


def replace_index(root: Path, records: Iterable[dict[str, Any]]) -> None:
    """Replaces the index by the given records, which come in order."""
    write_atomically(root / INDEX, map(as_line, records))


def set_aside(root: Path, index: int) -> None:
    """Moves a sample's folder, if it is there, to `FAULTY`, under a name that is free there.

    To be called while `writing`; the index still names the sample.
    """
    folder, aside = root / sample_folder(index), root / FAULTY
    if folder.exists():
        aside.mkdir(exist_ok=True)
        names = itertools.chain([folder.name], (f"{folder.name}.{n}" for n in itertools.count(2)))
        folder.rename(aside / next(name for name in names if not (aside / name).exists()))




def read_index(root: Path) -> list[dict[str, Any]]:
    """Records of a dataset in order. Raises DatasetError if `root` is none."""
    return list(iter_index(root))


def iter_index(root: Path) -> Iterator[dict[str, Any]]:
    """Records of a dataset in order, one at a time. Raises DatasetError if `root` is none."""
    for number, (_, record) in enumerate(iter_lines(root), 1):
        if record is None:
            raise DatasetError(f"{root / INDEX}: line {number} is not a record")
        yield record


def iter_lines(root: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Of each line of the index: the byte that it begins at, and its record, or None for none.

    Raises DatasetError if `root` is no dataset.
    """
    path = root / INDEX
    if not path.is_file():
        raise DatasetError(f"{root}: not a dataset; {INDEX} is expected in it")
    start = 0
    with path.open("rb") as file:
        for line in file:
            yield start, parse_record(line)
            start += len(line)


def parse_record(line: bytes) -> dict[str, Any] | None:
    """The record that a line of the index, or a `record.json`, holds; None if it holds none."""
    try:
        return _checked_record(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _checked_record(record: Any) -> dict[str, Any]:
    """The record, if its id, files and spec are what the rest of the program relies on."""
    if record["id"] != sample_id(int(record["spec"]["index"])):
        raise ValueError("the id is not that of the spec")
    if not all(isinstance(path, str) for path in record["files"].values()):
        raise TypeError("files are not paths")
    if not isinstance(record["spec"]["render"]["size"], int):
        raise TypeError("the size is no number")
    if not isinstance(record["rejected"], list) or not set(IMAGE_KEYS) <= set(record["files"]):
        raise ValueError("not a whole record")
    return record


def read_description(root: Path) -> dict[str, Any]:
    """What `dataset.yaml` says. Raises DatasetError if `root` is no dataset."""
    if not (root / DESCRIPTION).is_file():
        raise DatasetError(f"{root}: not a dataset; {DESCRIPTION} is expected in it")
    description = read_yaml(root / DESCRIPTION, DatasetError, MAX_DESCRIPTION_BYTES)
    if not isinstance(description, dict) or not isinstance(description.get("assets"), dict):
        raise DatasetError(f"{root / DESCRIPTION}: not a dataset's description")
    return description


def dump_yaml(data: Any) -> str:
    """YAML in the order given."""
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)


def write_atomically(path: Path, parts: Iterable[str]) -> None:
    """Replaces a file by `parts` in a row; it is the old or the new one, whatever happens."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines(parts)
        sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def as_line(record: Mapping[str, Any]) -> str:
    """A line of index.jsonl and its like."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
