"""COCO: pictures, and instances with compressed run lengths; landmarks of the face as keypoints.

DEST/train/000012-all.png
DEST/annotations/instances_train.json
DEST/annotations/person_keypoints_train.json    where the samples have landmarks
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.export import croissant, instances, landmarks
from pipeline.export.forms import MIMES, Item, file_of, suffix_of
from pipeline.export.masks import run_lengths
from pipeline.export.samples import Sample
from pipeline.export.staging import Staging
from pipeline.pixels import Mask, bounding_box

_CATEGORIES = [
    {"id": number, "name": name, "supercategory": "eyewear"}
    for number, name in enumerate(instances.CLASSES, 1)
]


class Coco(instances.InstanceForm):
    """A picture, or several, of each sample; ids begin with 1 in every file of annotations."""

    name = "coco"

    def item(self, sample: Sample) -> Item:
        files: dict[str, bytes] = {}
        lines = []
        for layer in self._layers:
            suffix, data = file_of(sample, layer, self.options.jpeg)
            name = f"{sample.id}-{layer}.{suffix}"
            files[f"{sample.split}/{name}"] = data
            found = _entry(sample, layer, name)
            lines.append((sample.split, json.dumps(found, separators=(",", ":"))))
        counts = {"images": len(files), "faces": int(landmarks.of(sample) is not None)}
        return Item(sample.id, sample.split, files, lines, counts)

    def finish(self, stage: Staging) -> None:
        folder = stage.folder / "annotations"
        folder.mkdir(exist_ok=True)
        for split in self.written(stage):
            _write(folder / f"instances_{split}.json", stage, split, _CATEGORIES, "annotations")
            if stage.tally["faces"]:
                _write(
                    folder / f"person_keypoints_{split}.json",
                    stage, split, [landmarks.CATEGORY], "faces",
                )  # fmt: skip

    def layout(self) -> str:
        return (
            "`{split}/{id}-{layer}.png` with `annotations/instances_{split}.json`: "
            + ", ".join(f"{c['id']} {c['name']}" for c in _CATEGORIES)
            + ". Each is one instance, as compressed run lengths with `iscrowd: 0`; ids begin with "
            "1. `sample` of an image is the id in the dataset. `person_keypoints_{split}.json` is "
            "there where samples have landmarks of the face."
        )

    def croissant(self, stage: Staging) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        found = sorted((stage.folder / "annotations").iterdir())
        files = [
            croissant.file_object(stage.folder, f"annotations/{path.name}", "application/json")
            for path in found
        ]
        suffix = suffix_of("all", self.options.jpeg)
        splits = self.written(stage)
        sets = [croissant.file_set(s, f"{s}/*.{suffix}", MIMES[suffix]) for s in splits]
        return [*files, *sets], [croissant.images(found) for found in sets]


def _entry(sample: Sample, layer: str, name: str) -> dict[str, Any]:
    """A picture with what is in it, without numbers that depend on other samples."""
    height, width = sample.pixels(layer).shape[:2]
    face = landmarks.annotation(sample, width)
    return {
        "image": {
            "file_name": name, "width": width, "height": height, "sample": sample.id,
        },
        "annotations": [
            {"category_id": number + 1, **_annotation(mask)}
            for number, mask in instances.instances(sample, layer)
        ],
        "faces": [face] if face else [],
    }  # fmt: skip


def _annotation(mask: Mask) -> dict[str, Any]:
    box = bounding_box(mask)
    assert box is not None
    return {
        "bbox": [box.left, box.top, box.right - box.left, box.bottom - box.top],
        "area": int(mask.sum()),
        "segmentation": run_lengths(mask),
        "iscrowd": 0,
    }


def _write(path: Path, stage: Staging, split: str, categories: list[Any], what: str) -> None:
    """Writes a file of annotations, an entry at a time: `what` of each picture."""

    def entries() -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in enumerate(stage.lines(split), 1):
            yield number, json.loads(line)

    head = {"info": {"description": "Synthetic eyeglasses"}, "licenses": []}
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps({**head, "categories": categories})[:-1])
        file.write(',\n"images": [')
        _write_list(file, ({"id": number, **entry["image"]} for number, entry in entries()))
        file.write('],\n"annotations": [')
        found = ((number, one) for number, entry in entries() for one in entry[what])
        _write_list(
            file,
            ({"id": i, "image_id": number, **one} for i, (number, one) in enumerate(found, 1)),
        )
        file.write("]}\n")


def _write_list(file: Any, entries: Iterable[Mapping[str, Any]]) -> None:
    separator = "\n"
    for entry in entries:
        file.write(separator + json.dumps(entry, separators=(",", ":")))
        separator = ",\n"
