"""WebDataset: tar shards that are read in a stream.

DEST/train-000000.tar    000012.all.png 000012.mask_frame.png ... 000012.json
"""

from __future__ import annotations

import json
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

from pipeline.export import croissant
from pipeline.export.forms import MIMES, Item, Sink, suffix_of
from pipeline.export.samples import Sample
from pipeline.export.shards import ShardedForm, ShardSink, meta, shard_files
from pipeline.export.staging import Staging

_BLOCK = tarfile.BLOCKSIZE


class WebDataset(ShardedForm):
    """All images of a sample under its id, and what is known about it as JSON."""

    name = "webdataset"
    #: "Up to about 1 GB" is what readers advise.
    shard_mb = 1000

    def item(self, sample: Sample) -> Item:
        files = {f"{sample.id}.{name}": data for name, data in self.images(sample).items()}
        counts = {"images": len(files)}
        files[f"{sample.id}.json"] = described(sample)
        return Item(sample.id, sample.split, files, counts=counts)

    def sink(self, stage: Staging) -> Sink:
        return _TarSink(stage, self.most)

    def layout(self) -> str:
        return (
            "`{split}-{000000}.tar`: shards for WebDataset. A sample is `{id}.{layer}.png` for "
            "each layer and `{id}.json`. Its `meta` is all that is known about the sample, as JSON "
            "once more: keys differ between samples, and readers that make columns refuse that."
        )

    def data_files(self, split: str) -> str:
        return f"{split}-*.tar"

    def croissant(self, stage: Staging) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        files = shard_files(stage, "application/x-tar")
        suffixes = {key: suffix_of(key, self.options.jpeg) for key in self._keys}
        sets = [
            croissant.file_set(key, f"*.{key}.{suffix}", MIMES[suffix], files)
            for key, suffix in suffixes.items()
        ]
        return [*files, *sets], [croissant.images(found) for found in sets]


class _TarSink(ShardSink):
    """Always the same bytes."""

    name = "{split}-{number:06d}.tar"
    #: Two blocks of zeros end a tar.
    empty = 2 * _BLOCK

    def size(self, item: Item) -> int:
        """A head of a block a file, contents in whole blocks."""
        return sum(_BLOCK * (1 + -(-len(data) // _BLOCK)) for data in item.files.values())

    def open_shard(self, path: Path, first: Item) -> None:
        self._file = path.open("wb")
        self._tar = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)

    def put(self, item: Item) -> None:
        for name, data in item.files.items():
            entry = tarfile.TarInfo(name)  # of 1970, of user 0
            entry.size, entry.mode = len(data), 0o644
            self._tar.addfile(entry, BytesIO(data))
        self._tar.members.clear()  # type: ignore[attr-defined]

    def close_shard(self) -> None:
        self._tar.close()
        self._file.close()

    def drop_shard(self) -> None:
        self._file.close()


def described(sample: Sample) -> bytes:
    """What is known about a sample, as JSON: plain values, and all of it as `meta`."""
    record = sample.record
    plain = ("id", "split", "subject", "expression", "glasses", "nose", "hdri")
    told = {key: record[key] for key in plain}
    return json.dumps({**told, "meta": meta(sample)}, ensure_ascii=False).encode()
