"""Parts of a run for machines that know nothing of each other, and how they are joined."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline import journal, store
from pipeline.errors import DatasetError


@dataclass(frozen=True)
class Shard:
    """Every `of`-th portrait, from the `number`-th on (1 to `of`), with all its pairs.

    So a run that grows gives each shard its share of what is new, and shares stay even.
    """

    number: int
    of: int

    def holds(self, index: int, pairs: int) -> bool:
        """Whether a sample belongs to it, at `pairs` a portrait."""
        return index // pairs % self.of == self.number - 1

    def size(self, count: int, pairs: int) -> int:
        """How many of `count` samples belong to it."""
        whole, rest = divmod(count, pairs)
        portraits = len(range(self.number - 1, whole, self.of))
        return portraits * pairs + (rest if self.holds(count, pairs) else 0)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


#: The whole run as its only shard.
WHOLE = Shard(1, 1)
#: So many absent samples are named.
_NAMED = 10


@dataclass(frozen=True)
class Merged:
    """What came of a merge: samples that are there, left out (see failed.jsonl), found twice, and
    absent; `absent` holds the first of these.
    """

    count: int
    done: int
    failed: int
    twice: int
    absent: tuple[int, ...]

    @property
    def missing(self) -> int:
        return self.count - self.done - self.failed


def merge(folders: Sequence[Path], dest: Path) -> Merged:
    """Joins datasets of the same run, such as its shards, in `dest`.

    `dest` becomes the dataset that one machine would have made; where samples are absent, the
    run's command without --shard makes them there. Files are hard links where the file system
    allows. What is in `dest` already, as from a merge that broke off, stays. Raises DatasetError
    before anything is written if a folder is no dataset or two are not of the same run, and when
    a sample is in two folders and differs.
    """
    wanted = _common({folder: store.read_description(folder) for folder in folders})
    if dest.resolve() in {folder.resolve() for folder in folders}:
        raise DatasetError(f"{dest}: is one of the folders to merge; give another")
    journal.check_run(dest, wanted)
    count = wanted["count"]
    with journal.writing(dest), ExitStack() as stack:
        stack.callback(journal.remove_leftovers, dest)
        index, failures = journal.open_run(dest, wanted, lambda i: i < count)
        with closing(index), closing(failures):
            taken: set[int] = set()
            twice = sum(_take(folder, dest, count, index, taken) for folder in folders)
            for folder in folders:
                for i, failure in journal.read_failures(folder):
                    if i < count and i not in index and i not in failures:
                        failures.append(i, failure)
            journal.close_run(dest, index, failures)
        gone = (i for i in range(count) if i not in index and i not in failures)
        absent = tuple(itertools.islice(gone, _NAMED))
    return Merged(count, len(index), len(failures), twice, absent)


def _common(descriptions: dict[Path, dict[str, Any]]) -> dict[str, Any]:
    """The description of the whole. Raises DatasetError if a folder is not part of the same."""
    shorn = [
        (folder, {key: value for key, value in description.items() if key != "shard"})
        for folder, description in descriptions.items()
    ]
    first, wanted = shorn[0]
    for folder, description in shorn[1:]:
        for key, here, there in journal.differences(description, wanted):
            raise DatasetError(
                f"{folder}: not of the same run as {first}: {key} is {here!r}, there {there!r}"
            )
    return wanted


def _take(
    folder: Path, dest: Path, count: int, index: journal.JsonLines, taken: set[int]
) -> int:
    """Takes the samples of a folder over; returns how many another folder had already given."""
    twice = 0
    for i, record in journal.read_finished(folder):
        if i >= count:
            continue
        if i in index:
            twice += i in taken
            if index.read(i) != record:
                raise DatasetError(
                    f"{folder}: sample {record['id']} is not the one that is in {dest} already"
                )
        else:
            here = folder / store.sample_folder(i)
            names = [Path(file).name for file in record["files"].values()]
            link = partial(_link, here, names)
            store.place_sample(dest, record, link, dest / store.SCRATCH)
            store.sync_sample(dest, i)
            index.append(i, record)
        taken.add(i)
    return twice


def _link(old: Path, names: Sequence[str], new: Path) -> None:
    for name in names:
        try:
            os.link(old / name, new / name)
        except OSError:
            shutil.copyfile(old / name, new / name)
