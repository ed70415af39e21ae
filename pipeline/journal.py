"""What a run keeps in its folder while it works: the lock, the growing index, what failed.

    DIR/index.jsonl    a line is added as each sample is finished; sorted when the run ends
    DIR/failed.jsonl   likewise: samples that were left out, with the error, the attempts that
                       could not be worn, and the spec at which the job failed
    DIR/log/lock       held while a run is at work; the system drops it when the run dies
    DIR/log/writer.json  who holds it

A run may be killed at any point of this. What it leaves is mended when the next one begins: a torn
line is dropped, a sample that is there without a line gets one, a line without its sample goes.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipeline import store
from pipeline.errors import DatasetError
from pipeline.store import DESCRIPTION, FAILED, INDEX, LOGS, RECORD, SCRATCH
from pipeline.yamlfile import one_line, read_yaml

WRITER = f"{LOGS}/writer.json"
#: The last chunk of a PNG, with its length and checksum (ISO/IEC 15948, 11.2.5).
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
#: What a run that died before its description was written can have left.
_OURS_AT_FIRST = {LOGS, f".{DESCRIPTION}.tmp"}


class JsonLines:
    """A file of JSON lines with a sample each, that grows and is sorted at the end.

    places: where the line of each sample begins, if there are any; some 100 bytes a line.
    """

    def __init__(self, path: Path, places: dict[int, int] | None = None) -> None:
        self._path = path
        self._places = places or {}
        self._file = path.open("ab", buffering=0)
        self._end = path.stat().st_size

    def __contains__(self, index: object) -> bool:
        return index in self._places

    def __len__(self) -> int:
        return len(self._places)

    def append(self, index: int, data: dict[str, Any]) -> None:
        """Adds the line of a sample, whole or not at all. Raises OSError on a full disk."""
        line = store.as_line(data).encode()
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        except OSError as error:
            os.ftruncate(self._file.fileno(), self._end)
            raise OSError(error.errno, error.strerror, str(self._path)) from None
        self._places[index] = self._end
        self._end += len(line)

    def read(self, index: int) -> dict[str, Any]:
        """The line of a sample."""
        with self._path.open("rb") as file:
            file.seek(self._places[index])
            data: dict[str, Any] = json.loads(file.readline())
        return data

    def sort(self) -> None:
        """Brings the lines in the order of their samples; none is lost if this breaks off."""
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        try:
            with self._path.open("rb") as old, temporary.open("wb") as new:
                for index in sorted(self._places):
                    old.seek(self._places[index])
                    new.write(old.readline())
            store.sync(temporary)
            temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)

    def close(self) -> None:
        self._file.close()


def check_run(root: Path, description: dict[str, Any]) -> None:
    """Raises DatasetError if `root` cannot become, or go on as, a dataset of this description.

    It must not be a file or unwritable, nor hold anything else; a dataset that is there may
    differ in its count only, which can grow. Changes nothing.
    """
    _check_folder(root)
    there = root / DESCRIPTION
    if there.exists():
        was = read_yaml(there, DatasetError, store.MAX_DESCRIPTION_BYTES)
        _check_same(there, was, description)
    elif root.is_dir() and set(os.listdir(root)) - _OURS_AT_FIRST:
        raise DatasetError(f"{root}: holds other data; give an empty or new folder")


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Keeps other runs out of `root`, which is made if need be, until the end or its own death.

    Raises DatasetError if another run is at work there, or the folder cannot be written.
    """
    try:
        (root / LOGS).mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / LOGS / "lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise DatasetError(f"{root}: another run is writing here{_who(root)}") from None
    except OSError as error:
        raise DatasetError(f"{root}: cannot be written: {one_line(error)}") from None
    try:
        us = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        (root / WRITER).write_text(json.dumps(us), encoding="utf-8")
        yield
    finally:
        (root / WRITER).unlink(missing_ok=True)
        lock.release()


def writer(root: Path) -> dict[str, Any] | None:
    """`pid`, `host` and `since` of the run that is at work in `root`, or was when it died."""
    try:
        told = json.loads((root / WRITER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and {"pid", "host", "since"} <= told.keys() else None


def open_run(
    root: Path, description: dict[str, Any], ours: Callable[[int], bool]
) -> tuple[JsonLines, JsonLines]:
    """Makes `root` a dataset of this description, or goes on with the same one.

    To be called while `writing`. ours: whether a sample belongs to the run. Returns the index,
    with the samples that are finished, and the list of failures, empty: what failed is tried
    again. Raises DatasetError as `check_run` does.
    """
    check_run(root, description)
    text = store.dump_yaml(description)
    there = root / DESCRIPTION
    if not there.exists() or there.read_text(encoding="utf-8") != text:
        store.write_atomically(there, [text])
    remove_leftovers(root)
    (root / FAILED).unlink(missing_ok=True)
    return JsonLines(root / INDEX, _mend(root, ours)), JsonLines(root / FAILED)


def close_run(root: Path, index: JsonLines, failures: JsonLines) -> None:
    """Brings both files in order; there is no list of failures where there are none."""
    index.sort()
    failures.sort()
    if not len(failures):
        (root / FAILED).unlink()


def read_finished(root: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbers and records of the samples that are whole, as the index lists them."""
    if (root / INDEX).is_file():
        for i, _, record in _lines(root / INDEX):
            if _whole(root, record):
                yield i, record


def read_failures(root: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbers and lines of the samples that were left out."""
    if (root / FAILED).is_file():
        with (root / FAILED).open("rb") as file:
            for line in file:
                try:
                    failure = json.loads(line)
                    yield int(failure["index"]), failure
                except (ValueError, KeyError, TypeError, RecursionError):
                    continue


def recorded(root: Path, index: int) -> dict[str, Any] | None:
    """The record in a sample's folder, if the sample is whole."""
    try:
        with (root / store.sample_folder(index) / RECORD).open("rb") as file:
            record = store.parse_record(file.read(store.MAX_RECORD_BYTES))
        if record is None or record["spec"]["index"] != index or not _whole(root, record):
            return None
        # Without a line in the index it may not have been on the disk when the power went.
        whole = all(_ends(root / file) for file in record["files"].values())
        return record if whole else None
    except OSError:
        return None


def remove_leftovers(root: Path) -> None:
    """Removes what runs and workers that were killed had begun to write."""
    shutil.rmtree(root / SCRATCH, ignore_errors=True)
    for leftover in root.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def _mend(root: Path, ours: Callable[[int], bool]) -> dict[int, int]:
    """Brings the index in line with the samples that are there, and returns its places.

    Others are made again.
    """
    path, temporary = root / INDEX, root / f".{INDEX}.tmp"
    path.touch()
    places: dict[int, int | None] = {}
    for i, start, record in _lines(path):
        if ours(i) and _whole(root, record):
            places[i] = start
    for i in _folders(root):
        if i not in places and ours(i) and recorded(root, i) is not None:
            places[i] = None
    mended = {}
    with path.open("rb") as old, temporary.open("wb") as new:
        for i in sorted(places):
            place, mended[i] = places[i], new.tell()
            if place is None:
                new.write(store.as_line(recorded(root, i) or {}).encode())
            else:
                old.seek(place)
                new.write(old.readline())
    store.sync(temporary)
    temporary.replace(path)
    return mended


def _lines(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Sample, place in the file and record of each line that is a whole record."""
    place = 0
    with path.open("rb") as file:
        while line := file.readline(store.MAX_RECORD_BYTES):
            record = store.parse_record(line)
            if record is not None and line.endswith(b"\n"):
                yield record["spec"]["index"], place, record
            place += len(line)


def _folders(root: Path) -> Iterator[int]:
    """Numbers of the samples that have a folder."""
    for parent in sorted(root.glob("samples/*")):
        if parent.is_dir():
            for folder in os.scandir(parent):
                if folder.name.isdigit():
                    yield int(folder.name)


def _ends(image: Path) -> bool:
    """Whether a PNG has its end."""
    with image.open("rb") as file:
        file.seek(max(0, image.stat().st_size - len(_PNG_END)))
        return file.read() == _PNG_END


def _whole(root: Path, record: dict[str, Any]) -> bool:
    """Whether a sample's files are all there; its record as long as its line."""
    folder = root / store.sample_folder(record["spec"]["index"])
    try:
        length = len(store.as_line(record).encode())
        return (folder / RECORD).stat().st_size == length and all(
            (root / file).stat().st_size for file in record["files"].values()
        )
    except OSError:
        return False


def _who(root: Path) -> str:
    told = writer(root)
    return f": process {told['pid']} on {told['host']}, since {told['since']}" if told else ""


def _check_folder(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise DatasetError(f"{root}: is a file; a folder is expected")
    parent = next(p for p in (root, *root.absolute().parents) if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise DatasetError(f"{root}: cannot be written: {parent} is not a writable folder")


def differences(
    was: dict[str, Any], now: dict[str, Any]
) -> list[tuple[str, Any, Any]]:
    """Path and both values of whatever differs between two descriptions."""
    left, right = _flat(was), _flat(now)
    return [
        (key, left.get(key), right.get(key))
        for key in dict.fromkeys([*left, *right])
        if left.get(key) != right.get(key)
    ]


def _check_same(path: Path, there: Any, wanted: dict[str, Any]) -> None:
    if not isinstance(there, dict) or "schema_version" not in there:
        raise DatasetError(f"{path}: not a dataset's description; give an empty or new folder")
    differing = differences(there, wanted)
    others = [found for found in differing if found[0] != "count"]
    if others:
        key, was, now = others[0]
        more = f" (and {', '.join(other[0] for other in others[1:4])})" if others[1:] else ""
        raise DatasetError(
            f"{path.parent}: holds another run: {key} was {was!r}, now {now!r}{more}; give an "
            "empty or new folder"
        )
    count = there.get("count")
    if differing and not (isinstance(count, int) and count < wanted["count"]):
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
