"""The folder that an export is written in before it gets its name, and how far it has come.

    .DEST.export/set/          becomes DEST when it is whole
    .DEST.export/tables/       lines that are put together at the end
    .DEST.export/what.json     the export that this is; another one starts over
    .DEST.export/progress.json how far it has come
    .DEST.export/lock

It lies in the nearest folder above DEST that exists. An export that was interrupted leaves it, and
the same export goes on from there; one that fails removes it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from pipeline.errors import DatasetError
from pipeline.yamlfile import one_line


class Staging:
    """An export that is being written.

    folder: what becomes DEST. done: samples that are safely in it. tally: counts that the summary
    needs, by name.
    """

    def __init__(self, root: Path, what: Mapping[str, Any]) -> None:
        self.folder, self._tables = root / "set", root / "tables"
        self._progress = root / "progress.json"
        self.done, self.tally = 0, Counter[str]()
        self._sizes: dict[str, int] = {}
        self._open: dict[str, BinaryIO] = {}
        said, text = root / "what.json", json.dumps(what, sort_keys=True)
        if said.is_file() and said.read_text() == text:
            self._take_up()
        else:
            self._progress.unlink(missing_ok=True)
            for left in (self.folder, self._tables):
                shutil.rmtree(left, ignore_errors=True)
                left.mkdir()
            said.write_text(text)
        for table in self._tables.iterdir():
            os.truncate(table, self._sizes.get(table.name, 0))

    def _take_up(self) -> None:
        if self._progress.is_file():
            done, tally, sizes = json.loads(self._progress.read_text())
            self.done, self.tally, self._sizes = done, Counter(tally), sizes

    def add_line(self, table: str, line: str) -> None:
        """Adds a line, itself without line breaks, to a table."""
        if table not in self._open:
            self._open[table] = (self._tables / table).open("ab")
        self._open[table].write(line.encode() + b"\n")

    def lines(self, table: str) -> Iterator[str]:
        """Lines of a table, in the order in which they were added."""
        if table in self._open:
            self._open[table].flush()
        if (self._tables / table).is_file():
            with (self._tables / table).open(encoding="utf-8", newline="\n") as file:
                for line in file:
                    yield line.removesuffix("\n")

    def commit(self, done: int) -> None:
        """From here on the first `done` samples, all lines and all counts are safe."""
        self.done = done
        for table, file in self._open.items():
            file.flush()
            self._sizes[table] = file.tell()
        temporary = self._progress.with_suffix(".tmp")
        temporary.write_text(json.dumps([done, self.tally, self._sizes]))
        temporary.replace(self._progress)

    def close(self) -> None:
        """Closes all tables."""
        for file in self._open.values():
            file.close()


def check_dest(dataset: Path, dest: Path) -> None:
    """Raises DatasetError if `dest` is neither new nor an empty folder, or lies in `dataset`."""
    try:
        if dest.is_dir():
            if any(dest.iterdir()):
                raise DatasetError(f"{dest}: holds other data; give an empty or new folder")
        elif dest.exists() or dest.is_symlink():
            raise DatasetError(f"{dest}: is a file; a new folder is expected")
    except OSError as error:
        raise DatasetError(f"{dest}: cannot be read: {one_line(error)}") from None
    if dest.resolve().is_relative_to(dataset.resolve()):
        raise DatasetError(f"{dest}: lies inside the dataset; give a folder elsewhere")


@contextmanager
def staging(dest: Path, what: Mapping[str, Any]) -> Iterator[Staging]:
    """A folder that becomes `dest` when the block ends well.

    what: JSON that tells this export from others. Raises DatasetError if `dest` cannot be
    written, or another process is exporting there.
    """
    try:
        # In the nearest folder that exists, so that a failure leaves no empty parents either.
        above = next(folder for folder in dest.absolute().parents if folder.exists())
        root = above / f".{dest.name}.export"
        root.mkdir(exist_ok=True)
        with _alone(root, dest):
            try:
                stage = Staging(root, what)
                try:
                    yield stage
                finally:
                    stage.close()
                dest.parent.mkdir(parents=True, exist_ok=True)
                stage.folder.replace(dest)
            except KeyboardInterrupt:
                raise
            except BaseException:
                shutil.rmtree(root, ignore_errors=True)
                raise
            shutil.rmtree(root, ignore_errors=True)
    except OSError as error:
        raise DatasetError(f"{dest}: cannot be written: {one_line(error)}") from None


@contextmanager
def _alone(root: Path, dest: Path) -> Iterator[None]:
    lock = FileLock(root / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise DatasetError(f"{dest}: another export is writing there") from None
    try:
        yield
    finally:
        lock.release()
