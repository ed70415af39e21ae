"""Hugging Face: Parquet with a column of images for each layer.

DEST/data/train-00000.parquet    id, split, meta (the record as JSON), all, glass, ...
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from pipeline.export import croissant
from pipeline.export.forms import Item, Sink
from pipeline.export.samples import Sample
from pipeline.export.shards import ShardedForm, ShardSink, meta, shard_files
from pipeline.export.staging import Staging

#: Readers hold a whole group of rows; the hub's viewer takes 100 rows of images.
_GROUP_ROWS, _GROUP_BYTES = 100, 32 * 10**6
_TEXTS = ("id", "split", "meta")
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class HuggingFace(ShardedForm):
    """A row a sample."""

    name = "hf"
    shard_mb = 500

    def item(self, sample: Sample) -> Item:
        files = self.images(sample)
        counts = {"images": len(files)}
        return Item(sample.id, sample.split, files, counts=counts, meta=meta(sample))

    def sink(self, stage: Staging) -> Sink:
        return _ParquetSink(stage, self.most)

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
        sets = croissant.file_set("samples", "data/*.parquet", mime)
        texts = {name: croissant.Column("sc:Text", {"column": name}) for name in _TEXTS}
        images = {
            key: croissant.Column("sc:ImageObject", {"column": key}, {"jsonPath": "bytes"})
            for key in self._keys
        }
        records = croissant.records("samples", sets, texts | images)
        return [*shard_files(stage, mime), sets], [records]


class _ParquetSink(ShardSink):
    """Written a group of rows at a time."""

    name = "data/{split}-{number:05d}.parquet"

    def __init__(self, stage: Staging, most: int) -> None:
        super().__init__(stage, most)
        self._rows: list[Item] = []
        self._waiting = 0

    def size(self, item: Item) -> int:
        return len(item.meta) + sum(len(data) for data in item.files.values())

    def open_shard(self, path: Path, first: Item) -> None:
        self._schema = _schema([name.rpartition(".")[0] for name in first.files])
        # PNG and JPEG do not get smaller.
        packed = {name: "zstd" if name in _TEXTS else "none" for name in self._schema.names}
        self._writer = parquet.ParquetWriter(
            path, self._schema, compression=packed, use_dictionary=["split"]
        )

    def put(self, item: Item) -> None:
        self._rows.append(item)
        self._waiting += self.size(item)
        if len(self._rows) >= _GROUP_ROWS or self._waiting >= _GROUP_BYTES:
            self._flush()

    def close_shard(self) -> None:
        self._flush()
        self._writer.close()

    def drop_shard(self) -> None:
        # Or it would try once more when it is collected.
        self._writer.is_open = False

    def _flush(self) -> None:
        if not self._rows:
            return
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


def _schema(layers: list[str]) -> pa.Schema:
    """With the features that `datasets` looks for in a file's metadata."""
    features = {name: {"dtype": "string", "_type": "Value"} for name in _TEXTS}
    features |= {layer: {"_type": "Image"} for layer in layers}
    told = {"huggingface": json.dumps({"info": {"features": features}})}
    fields = [(name, pa.string()) for name in _TEXTS] + [(layer, _IMAGE) for layer in layers]
    return pa.schema(fields, metadata=told)
