"""Files that appear whole, or not at all; several together, or none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import EyeglassError
from pipeline.yamlfile import one_line


def write_whole(files: Mapping[Path, bytes]) -> None:
    """Writes all the files, making their folders, or leaves everything as it was.

    Raises EyeglassError, naming the file, where one cannot be written.
    """
    ready: dict[Path, str] = {}
    try:
        for path, data in files.items():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                handle, ready[path] = tempfile.mkstemp(
                    prefix=f".{path.name}.", suffix=".tmp", dir=path.parent
                )
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                os.chmod(ready[path], 0o644)
            except OSError as error:
                raise EyeglassError(f"{path}: cannot be written: {one_line(error)}") from None
        for path in files:
            try:
                os.replace(ready[path], path)
            except OSError as error:
                raise EyeglassError(f"{path}: cannot be written: {one_line(error)}") from None
            del ready[path]
    finally:
        for temporary in ready.values():
            os.unlink(temporary)


@contextmanager
def writing_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write piece by piece; it appears at the end, or not at all if there is an error.

    Raises EyeglassError, naming the file, if it cannot be written.
    """
    ready = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, ready = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(ready, 0o644)
        os.replace(ready, path)
        ready = ""
    except OSError as error:
        raise EyeglassError(f"{path}: cannot be written: {one_line(error)}") from None
    finally:
        if ready:
            os.unlink(ready)


def check_target(path: Path) -> None:
    """Raises EyeglassError if `path` is nothing that could be written; touches nothing."""
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise EyeglassError(f"{path}: a file in a folder that can be written is expected")
