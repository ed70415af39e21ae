"""The native dataset: paths, atomic writes, the index.

    DIR/dataset.yaml                     what was asked, and the versions that made it
    DIR/index.jsonl                      one record a finished sample, sorted by id when a run ends
    DIR/samples/000/000012/all.png ...   the images of a sample, see `pipeline.spec.IMAGE_KEYS`
    DIR/samples/000/000012/record.json   its record once more, so that nothing hangs on the index
    DIR/contact.png                      up to 16 samples at a glance
    DIR/log/                             times, messages of workers; no part of the data
    DIR/faulty/000012/                   a sample that `eyeglass check --fix` moved aside

A sample's folder is written under a temporary name and renamed, so it is there whole or not at
all.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from pipeline.errors import DatasetError
from pipeline.spec import IMAGE_KEYS, SampleSpec, sample_id, split_of
from pipeline.yamlfile import one_line, read_json, read_yaml

INDEX = "index.jsonl"
DESCRIPTION = "dataset.yaml"
FAILED = "failed.jsonl"
LOG = "log/run.jsonl"
RECORD = "record.json"
#: Where samples are moved to that must be made again; no part of the data.
FAULTY = "faulty"
_MAX_RECORD_BYTES = 1_000_000
#: A description lists the hashes of the user's assets, which can be many thousands.
_MAX_DESCRIPTION_BYTES = 100_000_000
#: What a run that died before its description was written can have left.
_OURS_AT_FIRST = {"log", f".{DESCRIPTION}.tmp"}


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


def write_sample(root: Path, record: dict[str, Any], images: Mapping[str, NDArray]) -> None:
    """Stores a sample under `root`, replacing what a broken run may have left."""
    final = root / sample_folder(record["spec"]["index"])
    temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        write_images(temporary, images)
        (temporary / RECORD).write_text(_line(record), encoding="utf-8")
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


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


def check_run(root: Path, description: dict[str, Any]) -> None:
    """Raises DatasetError if `root` cannot become, or go on as, a dataset of this description.

    It must not be a file or unwritable, nor hold anything else; a dataset that is there may
    differ in its count only, which can grow. Changes nothing.
    """
    _check_folder(root)
    there = root / DESCRIPTION
    if there.exists():
        _check_same(there, read_yaml(there, DatasetError, _MAX_DESCRIPTION_BYTES), description)
    elif root.is_dir() and set(os.listdir(root)) - _OURS_AT_FIRST:
        raise DatasetError(f"{root}: holds other data; give an empty or new folder")


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Keeps other runs out of `root`, which is made if need be, until the end or its own death.

    Raises DatasetError if another run is at work there, or the folder cannot be written.
    """
    try:
        (root / "log").mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / "log" / "lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise DatasetError(f"{root}: another run is writing here") from None
    except OSError as error:
        raise DatasetError(f"{root}: cannot be written: {one_line(error)}") from None
    try:
        yield
    finally:
        lock.release()


def open_run(root: Path, description: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Makes `root` a dataset of this description, or goes on with the same one.

    To be called while `writing`. Returns the records of samples that are finished, by index.
    Raises DatasetError as `check_run` does.
    """
    check_run(root, description)
    _write_atomically(root / DESCRIPTION, [dump_yaml(description)])
    remove_leftovers(root)
    records = {i: record for i, record in _finished(root) if i < description["count"]}
    write_index(root, records)
    return records


def remove_leftovers(root: Path) -> None:
    """Removes what workers that were killed had begun to write."""
    for leftover in root.glob("samples/*/.*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)


def log(root: Path, index: int, error: str) -> None:
    """Adds a line with the time of day to the run's log."""
    event = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "index": index}
    with (root / LOG).open("a", encoding="utf-8") as file:
        file.write(_line({**event, "error": error} if error else event))


def append_record(root: Path, record: dict[str, Any]) -> None:
    """Adds a line to the index."""
    with (root / INDEX).open("a", encoding="utf-8") as file:
        file.write(_line(record))


def write_index(root: Path, records: Mapping[int, dict[str, Any]]) -> None:
    """Replaces the index by the given records, sorted."""
    replace_index(root, (records[i] for i in sorted(records)))


def replace_index(root: Path, records: Iterable[dict[str, Any]]) -> None:
    """Replaces the index by the given records, which come in order."""
    _write_atomically(root / INDEX, map(_line, records))


def set_aside(root: Path, index: int) -> None:
    """Moves a sample's folder, if it is there, to `FAULTY`, under a name that is free there.

    To be called while `writing`; the index still names the sample.
    """
    folder, aside = root / sample_folder(index), root / FAULTY
    if folder.exists():
        aside.mkdir(exist_ok=True)
        names = itertools.chain([folder.name], (f"{folder.name}.{n}" for n in itertools.count(2)))
        folder.rename(aside / next(name for name in names if not (aside / name).exists()))


def write_failed(root: Path, failures: list[dict[str, Any]]) -> None:
    """Replaces `failed.jsonl`, or removes it when there is nothing to tell."""
    if failures:
        _write_atomically(root / FAILED, map(_line, failures))
    else:
        (root / FAILED).unlink(missing_ok=True)


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
    description = read_yaml(root / DESCRIPTION, DatasetError, _MAX_DESCRIPTION_BYTES)
    if not isinstance(description, dict) or not isinstance(description.get("assets"), dict):
        raise DatasetError(f"{root / DESCRIPTION}: not a dataset's description")
    return description


def dump_yaml(data: Any) -> str:
    """YAML in the order given."""
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)


def _finished(root: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Samples whose record and images are all there; others are made again."""
    for path in sorted(root.glob(f"samples/*/*/{RECORD}")):
        try:
            record = _checked_record(read_json(path, DatasetError, _MAX_RECORD_BYTES))
            whole = path.parent.samefile(root / sample_folder(record["spec"]["index"]))
            if whole and all((root / file).stat().st_size for file in record["files"].values()):
                yield record["spec"]["index"], record
        except (DatasetError, OSError, ValueError, KeyError, TypeError, AttributeError):
            continue


def _check_folder(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise DatasetError(f"{root}: is a file; a folder is expected")
    parent = next(p for p in (root, *root.absolute().parents) if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise DatasetError(f"{root}: cannot be written: {parent} is not a writable folder")


def _check_same(path: Path, there: Any, wanted: dict[str, Any]) -> None:
    if not isinstance(there, dict) or "schema_version" not in there:
        raise DatasetError(f"{path}: not a dataset's description; give an empty or new folder")
    was, now = _flat(there), _flat(wanted)
    differing = [k for k in dict.fromkeys([*was, *now]) if was.get(k) != now.get(k)]
    other = next((key for key in differing if key != "count"), None)
    if other is not None:
        raise DatasetError(
            f"{path.parent}: holds another run: {other} was {was.get(other)!r}, "
            f"now {now.get(other)!r}; give an empty or new folder"
        )
    count = was.get("count")
    if differing and not (isinstance(count, int) and count < now["count"]):
        raise DatasetError(
            f"{path.parent}: holds a run of {count} samples; a run can grow, not shrink"
        )


def _flat(data: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(data, dict) or not data:
        return {path: data}
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flat(value, f"{path}.{key}" if path else str(key))
    return flat


def _write_atomically(path: Path, parts: Iterable[str]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.writelines(parts)
    temporary.replace(path)


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
