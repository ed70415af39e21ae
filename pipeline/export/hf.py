"""Hugging Face: Parquet with a column of images for each layer.

DEST/data/train-00000.parquet    id, split, meta (the record as JSON), all, glass, ...
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from pipeline.export import croissant
from pipeline.export.forms import Form, Item, Sink, file_of
from pipeline.export.samples import Sample, Selection
from pipeline.export.staging import Staging
from pipeline.export.webdataset import meta

_SHARDS = "shards"
_SHARD_MB = 500
#: Readers hold a whole group of rows; the hub's viewer takes 100 rows of images.
_GROUP_ROWS, _GROUP_BYTES = 100, 32 * 10**6
_TEXTS = ("id", "split", "meta")
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class HuggingFace(Form):
    """A row a sample."""

    name = "hf"
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
            files[f"{key}.{suffix}"] = data
        counts = {"images": len(files)}
        return Item(sample.id, sample.split, files, counts=counts, meta=meta(sample))

    def sink(self, stage: Staging) -> Sink:
        return _ParquetSink(stage, 10**6 * (self.options.shard_mb or _SHARD_MB))

    def layout(self) -> str:
        return (
            "`data/{split}-{00000}.parquet`: a row a sample, a column of images for each layer, "
            "and `id`, `split` and `meta`, all that is known about it as JSON.\n\n"
            '```python\nimport datasets\n\nsamples = datasets.load_dataset("DEST")\n```'
        )

    def data_files(self, split: str) -> str:
        return f"data/{split}-*.parquet"

    def croissant(self, stage: Staging) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        mime = "application/x-parquet"
        shards = [line.split(" ") for line in stage.lines(_SHARDS)]
        files = [croissant.hashed_file(name, mime, sha256) for name, sha256 in shards]
        sets = croissant.file_set("samples", "data/*.parquet", mime)
        texts = {name: croissant.Column("sc:Text", {"column": name}) for name in _TEXTS}
        images = {
            key: croissant.Column("sc:ImageObject", {"column": key}, {"jsonPath": "bytes"})
            for key in self._keys
        }
        return [*files, sets], [croissant.records("samples", sets, texts | images)]


class _ParquetSink:
    """Shards one after another, written a group of rows at a time."""

    def __init__(self, stage: Staging, most: int) -> None:
        self._stage, self._most = stage, most
        (stage.folder / "data").mkdir(exist_ok=True)
        self._writer: parquet.ParquetWriter | None = None
        self._path, self._split, self._size = Path(), "", 0
        self._rows: list[Item] = []
        self._waiting = 0

    def settle(self, item: Item) -> bool:
        full = self._size + _size(item) > self._most
        if self._writer is not None and (full or item.split != self._split):
            self.close()
        return self._writer is None

    def add(self, item: Item) -> None:
        if self._writer is None:
            self._open(item)
        self._rows.append(item)
        self._size += _size(item)
        self._waiting += _size(item)
        if len(self._rows) >= _GROUP_ROWS or self._waiting >= _GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        if self._writer is None:
            return
        self._flush()
        self._writer.close()
        self._writer = None
        with self._path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self._stage.add_line(_SHARDS, f"data/{self._path.name} {sha256}")
        self._stage.tally[f"shards {self._split}"] += 1

    def abandon(self) -> None:
        if self._writer is not None:
            # Or it would try once more when it is collected.
            self._writer.is_open = False

    def _open(self, item: Item) -> None:
        number = self._stage.tally[f"shards {item.split}"]
        self._path = self._stage.folder / f"data/{item.split}-{number:05d}.parquet"
        self._split, self._size = item.split, 0
        self._schema = _schema([name.rpartition(".")[0] for name in item.files])
        # PNG and JPEG do not get smaller.
        packed = {name: "zstd" if name in _TEXTS else "none" for name in self._schema.names}
        self._writer = parquet.ParquetWriter(
            self._path, self._schema, compression=packed, use_dictionary=["split"]
        )

    def _flush(self) -> None:
        if not self._rows:
            return
        assert self._writer is not None
        columns: dict[str, list[Any]] = {
            "id": [item.id for item in self._rows],
            "split": [item.split for item in self._rows],
            "meta": [item.meta for item in self._rows],
        }
        for item in self._rows:
            for name, data in item.files.items():
                value = {"bytes": data, "path": f"{item.id}.{name}"}
                columns.setdefault(name.rpartition(".")[0], []).append(value)
        self._writer.write_table(pa.table(columns, schema=self._schema))
        self._rows, self._waiting = [], 0


def _size(item: Item) -> int:
    return len(item.meta) + sum(len(data) for data in item.files.values())


def _schema(layers: list[str]) -> pa.Schema:
    """With the features that `datasets` looks for in a file's metadata."""
    features = {name: {"dtype": "string", "_type": "Value"} for name in _TEXTS}
    features |= {layer: {"_type": "Image"} for layer in layers}
    told = {"huggingface": json.dumps({"info": {"features": features}})}
    fields = [(name, pa.string()) for name in _TEXTS] + [(layer, _IMAGE) for layer in layers]
    return pa.schema(fields, metadata=told)
