"""Room on the disk: how much a run will take, and when to stop before there is none."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from pipeline.errors import DatasetError
from pipeline.spec import IMAGE_KEYS, LAYERS

#: What is left free at least: for the log, the sorted index, and what else the machine needs.
RESERVE_BYTES = 200 * 2**20
#: Bytes a pixel of a PNG, as measured over samples of the default scene at 128 to 512 px, upper
#: ends: noisy RGB compresses little, masks very well.
_RGB_BYTES, _GREY_BYTES = 2.2, 0.25
_RECORD_BYTES = 8_000
#: A disk that is full, over its quota, or suddenly read-only.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


def estimated_bytes(size: int, layers: int) -> int:
    """What a sample of `size` px takes on the disk, with `layers` images more than the usual."""
    grey = len(IMAGE_KEYS) - len(LAYERS)
    return int(size * size * (_RGB_BYTES * (len(LAYERS) + layers) + _GREY_BYTES * grey)) + (
        _RECORD_BYTES
    )


def folder_bytes(folder: Path) -> int:
    """What the files of a folder take on the disk, in whole blocks."""
    return sum(entry.stat().st_blocks * 512 for entry in os.scandir(folder))


def free_bytes(root: Path) -> int:
    """Room for files in `root`, or in the nearest folder above that is there."""
    there = next(p for p in (root, *root.absolute().parents) if p.exists())
    return shutil.disk_usage(there).free


def check_room(root: Path, samples: int, each: int) -> None:
    """Raises DatasetError if `samples` of `each` bytes do not fit."""
    free, needed = free_bytes(root), samples * each + RESERVE_BYTES
    if free < needed:
        fit = max(0, (free - RESERVE_BYTES) // each)
        raise DatasetError(
            f"{root}: {samples} samples need about {shown(needed)}, {shown(free)} are free; make "
            f"room first, {fit} would fit"
        )


def check_reserve(root: Path) -> None:
    """Raises DatasetError when the disk is all but full."""
    free = free_bytes(root)
    if free < RESERVE_BYTES:
        raise full(root, f"{shown(free)} are free")


def full(root: Path | str, why: str) -> DatasetError:
    """What a run says that has run out of room."""
    return DatasetError(
        f"{root}: the disk is full: {why}; what is finished is kept, make room and the same "
        "command continues"
    )


def shown(size: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit in ("B", "kB") else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
