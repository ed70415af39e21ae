"""WebDataset: tar shards that are read in a stream.

DEST/train-000000.tar    000012.all.png 000012.mask_frame.png ... 000012.json
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from pipeline.export import croissant
from pipeline.export.forms import MIMES, Form, Item, Sink, file_of, suffix_of
from pipeline.export.samples import Sample, Selection
from pipeline.export.staging import Staging

_SHARDS = "shards"
#: "Up to about 1 GB" is what readers advise.
_SHARD_MB = 1000
_BLOCK = tarfile.BLOCKSIZE


class WebDataset(Form):
    """All images of a sample under its id, and what is known about it as JSON."""

    name = "webdataset"
    takes = frozenset({"layers", "jpeg", "shard_mb"})
    by_split = True

    def keys(self) -> tuple[str, ...] | None:
        return self.options.layers

    def begin(self, selection: Selection, description: Mapping[str, Any]) -> None:
        self._keys = selection.keys

    def item(self, sample: Sample) -> Item:
        files = {}
        for key in sample.images:
            suffix, data = file_of(sample, key, self.options.jpeg)
            files[f"{sample.id}.{key}.{suffix}"] = data
        files[f"{sample.id}.json"] = described(sample)
        return Item(sample.id, sample.split, files, counts={"images": len(files) - 1})

    def sink(self, stage: Staging) -> Sink:
        return _TarSink(stage, 10**6 * (self.options.shard_mb or _SHARD_MB))

    def layout(self) -> str:
        return (
            "`{split}-{000000}.tar`: shards for WebDataset. A sample is `{id}.{layer}.png` for "
            "each layer and `{id}.json`. Its `meta` is all that is known about the sample, as JSON "
            "once more: keys differ between samples, and readers that make columns refuse that."
        )

    def data_files(self, split: str) -> str:
        return f"{split}-*.tar"

    def croissant(self, stage: Staging) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        shards = [line.split(" ") for line in stage.lines(_SHARDS)]
        files = [
            croissant.hashed_file(name, "application/x-tar", sha256) for name, sha256 in shards
        ]
        suffixes = {key: suffix_of(key, self.options.jpeg) for key in self._keys}
        sets = [
            croissant.file_set(key, f"*.{key}.{suffix}", MIMES[suffix], files)
            for key, suffix in suffixes.items()
        ]
        return [*files, *sets], [croissant.images(found) for found in sets]


class _TarSink:
    """Shards one after another, always the same bytes."""

    def __init__(self, stage: Staging, most: int) -> None:
        self._stage, self._most = stage, most
        self._tar: tarfile.TarFile | None = None
        self._path, self._split, self._size = Path(), "", 0

    def settle(self, item: Item) -> bool:
        full = self._size + _tar_size(item) + 2 * _BLOCK > self._most
        if self._tar is not None and (full or item.split != self._split):
            self.close()
        return self._tar is None

    def add(self, item: Item) -> None:
        tar = self._tar or self._open(item.split)
        for name, data in item.files.items():
            entry = tarfile.TarInfo(name)  # of 1970, of user 0
            entry.size, entry.mode = len(data), 0o644
            tar.addfile(entry, BytesIO(data))
        tar.members.clear()  # type: ignore[attr-defined]
        self._size += _tar_size(item)

    def close(self) -> None:
        if self._tar is None:
            return
        self._tar.close()
        self._file.close()
        self._tar = None
        with self._path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self._stage.add_line(_SHARDS, f"{self._path.name} {sha256}")
        self._stage.tally[f"shards {self._split}"] += 1

    def abandon(self) -> None:
        if self._tar is not None:
            self._file.close()

    def _open(self, split: str) -> tarfile.TarFile:
        number = self._stage.tally[f"shards {split}"]
        self._path = self._stage.folder / f"{split}-{number:06d}.tar"
        self._split, self._size = split, 0
        self._file = self._path.open("wb")
        self._tar = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)
        return self._tar


def _tar_size(item: Item) -> int:
    """Bytes that a sample takes in a tar: a head of a block a file, contents in whole blocks."""
    return sum(_BLOCK * (1 + -(-len(data) // _BLOCK)) for data in item.files.values())


def described(sample: Sample) -> bytes:
    """What is known about a sample, as JSON: plain values, and all of it as `meta`."""
    record = sample.record
    plain = ("id", "split", "subject", "expression", "glasses", "nose", "hdri")
    told = {key: record[key] for key in plain}
    return json.dumps({**told, "meta": meta(sample)}, ensure_ascii=False).encode()


def meta(sample: Sample) -> str:
    """The record as JSON, without the paths of its files, which are elsewhere now."""
    told = {key: value for key, value in sample.record.items() if key != "files"}
    return json.dumps(told, ensure_ascii=False, allow_nan=False)
