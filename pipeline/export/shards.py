"""Forms that hold all images of a sample, one sample after another, in files of a largest size."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pipeline.export import croissant
from pipeline.export.forms import Form, Item, file_of
from pipeline.export.samples import Sample, Selection
from pipeline.export.staging import Staging

_TABLE = "shards"


class ShardedForm(Form):
    """Every image under its key, split by split."""

    takes = frozenset({"layers", "jpeg", "shard_mb"})
    by_split = True
    #: Largest shard, in MB, unless another is asked for.
    shard_mb: ClassVar[int]

    @property
    def most(self) -> int:
        """Bytes of the largest shard."""
        return 10**6 * (self.options.shard_mb or self.shard_mb)

    def keys(self) -> tuple[str, ...] | None:
        return self.options.layers

    def begin(self, selection: Selection, description: Mapping[str, Any]) -> None:
        self._keys = selection.keys

    def images(self, sample: Sample) -> dict[str, bytes]:
        """Content of each image by key and suffix, such as `all.png`."""
        found = ((key, *file_of(sample, key, self.options.jpeg)) for key in sample.images)
        return {f"{key}.{suffix}": data for key, suffix, data in found}


class ShardSink(ABC):
    """Shards one after another; a new one begins where a split or the room in the last one ends."""

    #: Of a shard below the export's folder, of `split` and `number`.
    name: ClassVar[str]
    #: Bytes of a shard without samples.
    empty: ClassVar[int] = 0

    def __init__(self, stage: Staging, most: int) -> None:
        self._stage, self._most = stage, most
        self._path: Path | None = None
        self._split, self._size = "", 0

    @abstractmethod
    def size(self, item: Item) -> int:
        """Bytes that an item takes."""

    @abstractmethod
    def open_shard(self, path: Path, first: Item) -> None:
        """Begins a shard that will hold `first`."""

    @abstractmethod
    def put(self, item: Item) -> None:
        """Adds an item to the open shard."""

    @abstractmethod
    def close_shard(self) -> None:
        """Makes the open shard whole."""

    @abstractmethod
    def drop_shard(self) -> None:
        """Lets go of the open shard, which nobody will read."""

    def settle(self, item: Item) -> bool:
        full = self._size + self.size(item) > self._most
        if self._path is not None and (full or item.split != self._split):
            self.close()
        return self._path is None

    def add(self, item: Item) -> None:
        if self._path is None:
            number = self._stage.tally[f"shards {item.split}"]
            path = self._stage.folder / self.name.format(split=item.split, number=number)
            path.parent.mkdir(exist_ok=True)
            self.open_shard(path, item)
            self._path, self._split, self._size = path, item.split, self.empty
        self.put(item)
        self._size += self.size(item)

    def close(self) -> None:
        if self._path is None:
            return
        self.close_shard()
        with self._path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        name = self._path.relative_to(self._stage.folder).as_posix()
        self._stage.add_line(_TABLE, f"{name} {sha256}")
        self._stage.tally[f"shards {self._split}"] += 1
        self._path = None

    def abandon(self) -> None:
        if self._path is not None:
            self.drop_shard()


def shard_files(stage: Staging, mime: str) -> list[dict[str, Any]]:
    """The shards as files of the Croissant metadata."""
    shards = [line.split(" ") for line in stage.lines(_TABLE)]
    return [croissant.hashed_file(name, mime, sha256) for name, sha256 in shards]


def meta(sample: Sample) -> str:
    """The record as JSON, without the paths of its files, which are elsewhere now."""
    told = {key: value for key, value in sample.record.items() if key != "files"}
    return json.dumps(told, ensure_ascii=False, allow_nan=False)
