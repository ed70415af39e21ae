"""YOLO segmentation: pictures, and a text file of polygons for each.

DEST/data.yaml
DEST/images/train/000012-all.png
DEST/labels/train/000012-all.txt    class x1 y1 x2 y2 ..., shares of width and height
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.export import croissant, instances
from pipeline.export.forms import MIMES, Item, file_of, suffix_of
from pipeline.export.masks import Contour, polygons
from pipeline.export.samples import Sample
from pipeline.export.staging import Staging
from pipeline.pixels import Mask
from pipeline.store import dump_yaml

#: Where in its pixel a corner lies: to the same pixel whether a reader rounds or cuts off.
_IN_PIXEL = 0.25
#: Of a mask, what may be left out: specks that would each count as an instance.
_SPECKS = 0.01
#: A polygon needs three corners, all in the pixel if it is a single one.
_TRIANGLE = np.array([[-0.1, -0.1], [0.1, -0.1], [0.0, 0.1]])


class Yolo(instances.InstanceForm):
    """A line for each connected part of a class; holes are cut open by slits of no width."""

    name = "yolo"
    pictures_in = "images"

    def item(self, sample: Sample) -> Item:
        files: dict[str, bytes] = {}
        for layer in self._layers:
            suffix, data = file_of(sample, layer, self.options.jpeg)
            stem = f"{sample.split}/{sample.id}-{layer}"
            files[f"images/{stem}.{suffix}"] = data
            lines = [
                f"{number} {polygon}\n"
                for number, mask in instances.instances(sample, layer)
                for polygon in polygons_as_text(mask)
            ]
            files[f"labels/{stem}.txt"] = "".join(lines).encode()
        return Item(sample.id, sample.split, files, counts={"images": len(self._layers)})

    def finish(self, stage: Staging) -> None:
        # Without `path`, which readers look for below a folder of their own, it is this folder.
        told: dict[str, Any] = {split: f"images/{split}" for split in self.written(stage)}
        told["names"] = dict(enumerate(instances.CLASSES))
        (stage.folder / "data.yaml").write_text(dump_yaml(told), encoding="utf-8")

    def notes(self, stage: Staging) -> list[str]:
        lacking = [split for split in ("train", "val") if split not in self.written(stage)]
        return [
            f"warning: no samples in {' and '.join(lacking)}; trainers of this form want both"
        ] * bool(lacking)

    def layout(self) -> str:
        classes = ", ".join(f"{number} {name}" for number, name in enumerate(instances.CLASSES))
        return (
            "`images/{split}/{id}-{layer}.png` with `labels/{split}/{id}-{layer}.txt`: a line for "
            f"each connected part, `class x1 y1 x2 y2 ...`; classes: {classes}. A hole is joined "
            "to the outside by a slit without width. Filled with their outlines at this size, the "
            "polygons give the masks back; specks of up to 1% of a mask are left out."
        )

    def croissant(self, stage: Staging) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        suffix = suffix_of("all", self.options.jpeg)
        told = croissant.file_object(stage.folder, "data.yaml", "application/yaml")
        splits = self.written(stage)
        images = [
            croissant.file_set(split, f"images/{split}/*.{suffix}", MIMES[suffix])
            for split in splits
        ]
        labels = [
            croissant.file_set(f"{split}-labels", f"labels/{split}/*.txt", "text/plain")
            for split in splits
        ]
        return [told, *images, *labels], [croissant.images(found) for found in images]


def polygons_as_text(mask: Mask) -> Iterator[str]:
    """`x1 y1 x2 y2 ...` of each part of an (h, w) mask, as shares of width and height."""
    height, width = mask.shape
    for part in _without_specks(polygons(mask), int(mask.sum())):
        corners = part + _IN_PIXEL
        if len(part) < 3:
            corners = np.concatenate([corners, corners[:1] + _TRIANGLE])
        shares = corners / (width, height)
        yield " ".join(f"{value:.6f}" for value in shares.ravel())


def _without_specks(parts: list[Contour], area: int) -> list[Contour]:
    """The parts but for the smallest, single pixels and lines, as far as a mask can spare them."""
    parts = sorted(parts, key=len)
    spare = _SPECKS * area
    first = 0
    while first < len(parts) and len(parts[first]) <= 2 and spare >= _line_px(parts[first]):
        spare -= _line_px(parts[first])
        first += 1
    return parts[first:]


def _line_px(part: Contour) -> int:
    """Pixels of a part of one or two corners."""
    return int(np.abs(part[-1] - part[0]).max()) + 1
