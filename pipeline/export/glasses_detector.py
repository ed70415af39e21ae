"""The trees that the package glasses-detector trains on, or the zip that its script unpacks.

    DEST/segmentation/{frames,full,lenses,legs,shadows,smart}/eyeglass/train/{images,masks}/ID.jpg
    DEST/detection/worn/eyeglass/train/{images,annotations}/ID.{jpg,txt}
    DEST/classification/shadows/eyeglass/train/{shadows,no_shadows}/ID.jpg

or DEST/glasses-segmentation-synthetic.zip with train/ID-{all,seg,shseg,sunglasses}.png. Its loader
tells samples by ID alone, whatever data they lie in, so an ID holds a hash of the sample.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.catalog.finishes import CLEAR_LENS_TRANSMITTANCE, LENSES, is_dark
from pipeline.export import croissant
from pipeline.export.forms import Form, Item, Options, Sink, encode_jpeg
from pipeline.export.lyu import lens_openings_only, shadow_by_luma
from pipeline.export.samples import Sample
from pipeline.export.staging import Staging
from pipeline.pixels import REC709_LUMINANCE, Float32, Mask, UInt8, bounding_box
from pipeline.store import encode_png

NAME = "glasses-detector"
#: Folder of our data among others', in every tree.
DATA = "eyeglass"
TASKS = {
    "frames": "mask_frame",
    "full": "mask_full",
    "lenses": "mask_lenses",
    "legs": "mask_legs",
    "shadows": "mask_shadow",
}
LENS_MASKS = ("mask_lens_left", "mask_lens_right")
ZIP = "glasses-segmentation-synthetic"
_SIZE = 256
_QUALITY = 95
#: An eighth of the sum of the standard table's 64 steps bounds a pixel's error (ITU-T T.81, A.3.3
#: and K.1). At this quality that is 46, so that masks cut at 127 are exact.
_MASK_QUALITY = 95
#: Luminance below which a pixel says nothing about a lens before it.
_DARK = 0.01


def form(options: Options) -> Form:
    """The trees, or the zip if that is asked for."""
    return Archive(options) if options.zip else Trees(options)


class Trees(Form):
    """JPEG trees for segmentation, detection and classification of shadows."""

    name = NAME
    takes = frozenset({"jpeg"})
    expects = _SIZE

    def keys(self) -> tuple[str, ...]:
        return ("all", "glass", "shadow", *TASKS.values(), *LENS_MASKS)

    def item(self, sample: Sample) -> Item:
        name = identity(sample, "tree")
        quality = self.options.jpeg or _QUALITY
        picture = encode_jpeg(sample.pixels("all"), quality)
        masks = {task: sample.mask(key) for task, key in TASKS.items()}
        masks["smart"] = smart(sample)
        files = {}
        for task, mask in masks.items():
            folder = f"segmentation/{task}/{DATA}/{sample.split}"
            files[f"{folder}/images/{name}.jpg"] = picture
            files[f"{folder}/masks/{name}.jpg"] = encode_jpeg(np.uint8(255) * mask, _MASK_QUALITY)
        box = bounding_box(masks["full"])
        if box is not None:
            folder = f"detection/worn/{DATA}/{sample.split}"
            files[f"{folder}/images/{name}.jpg"] = picture
            corners = f"{box.left} {box.top} {box.right} {box.bottom}"
            files[f"{folder}/annotations/{name}.txt"] = corners.encode()
        folder = f"classification/shadows/{DATA}/{sample.split}"
        if masks["shadows"].any():
            files[f"{folder}/shadows/{name}-all.jpg"] = picture
        without = encode_jpeg(sample.pixels("glass"), quality)
        files[f"{folder}/no_shadows/{name}-glass.jpg"] = without
        images = sum(path.endswith(".jpg") for path in files)
        counts = {"images": images, "unseen": int(box is None)}
        return Item(sample.id, sample.split, files, counts=counts)

    def notes(self, stage: Staging) -> list[str]:
        unseen = stage.tally["unseen"]
        return [f"{unseen} samples show nothing of the glasses: not in detection"] * bool(unseen)

    def layout(self) -> str:
        tasks = ",".join((*TASKS, "smart"))
        return (
            "The native trees of the package glasses-detector:\n\n"
            f"- `segmentation/{{{tasks}}}/{DATA}/{{split}}/{{images,masks}}`: "
            "masks are cut at > 127; `smart` is `full` without what is seen through clear lenses\n"
            f"- `detection/worn/{DATA}/{{split}}/{{images,annotations}}`: `x1 y1 x2 y2` in px\n"
            f"- `classification/shadows/{DATA}/{{split}}/{{shadows,no_shadows}}`: `all` where the "
            "glasses cast a visible shadow, and `glass`"
        )

    def croissant(self, stage: Staging) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        places = {
            f"{task}-{kind}": f"segmentation/{task}/{DATA}/*/{kind}/*.jpg"
            for task in (*TASKS, "smart")
            for kind in ("images", "masks")
        }
        places |= {
            label: f"classification/shadows/{DATA}/*/{label}/*.jpg"
            for label in ("shadows", "no_shadows")
        }
        places["worn-images"] = f"detection/worn/{DATA}/*/images/*.jpg"
        boxes = croissant.file_set(
            "worn-boxes", f"detection/worn/{DATA}/*/annotations/*.txt", "text/plain"
        )
        sets = [croissant.file_set(name, glob, "image/jpeg") for name, glob in places.items()]
        return [*sets, boxes], [croissant.images(found) for found in sets]


class Archive(Form):
    """The zip, which holds frames and shadows only."""

    name = NAME
    takes = frozenset({"zip"})
    expects = _SIZE

    def keys(self) -> tuple[str, ...]:
        return ("all", "glass", "sunglasses", "mask_frame", "mask_lenses")

    def item(self, sample: Sample) -> Item:
        images = {
            "all": sample.png("all"),
            "seg": encode_png(
                lens_openings_only(sample.pixels("mask_frame"), sample.pixels("mask_lenses"))
            ),
            "shseg": encode_png(shadow_by_luma(sample.pixels("all"), sample.pixels("glass"))),
            "sunglasses": sample.png("sunglasses"),
        }
        stem = f"{ZIP}/{sample.split}/{identity(sample, 'zip')}"
        files = {f"{stem}-{kind}.png": data for kind, data in images.items()}
        return Item(sample.id, sample.split, files, counts={"images": len(files)})

    def sink(self, stage: Staging) -> Sink:
        return _ZipSink(stage)

    def layout(self) -> str:
        return (
            f"`{ZIP}.zip`, as the package glasses-detector unpacks it: "
            f"`{ZIP}/{{split}}/{{id}}-{{all,seg,shseg,sunglasses}}.png`"
        )

    def croissant(self, stage: Staging) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        kinds = ("all", "seg", "shseg", "sunglasses")
        file = croissant.file_object(stage.folder, f"{ZIP}.zip", "application/zip")
        sets = [
            croissant.file_set(kind, f"{ZIP}/*/*-{kind}.png", "image/png", [file]) for kind in kinds
        ]
        return [file, *sets], [croissant.images(found) for found in sets]


class _ZipSink:
    """One archive, always the same bytes. An interrupted one is begun again."""

    _TABLE = "entries"

    def __init__(self, stage: Staging) -> None:
        self._stage, self._count = stage, 0
        self._file = (stage.folder / f"{ZIP}.zip").open("w+b")
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_STORED)

    def settle(self, item: Item) -> bool:
        return False

    def add(self, item: Item) -> None:
        for name, data in item.files.items():
            self._zip.writestr(_entry(name), data)
            # What the directory at the end needs is kept in a file: as objects it would take
            # some gigabytes for a million samples.
            done = self._zip.filelist.pop()
            self._zip.NameToInfo.clear()
            told = f"{done.CRC} {done.file_size} {done.header_offset} {name}"
            self._stage.add_line(self._TABLE, told)
            self._count += 1

    def abandon(self) -> None:
        # Or it would try to write its directory when it is collected.
        self._zip.fp = None
        # What is still to be written may have no room.
        with contextlib.suppress(OSError):
            self._file.close()

    def close(self) -> None:
        entries = _Entries(self._count, self._stage.lines(self._TABLE))
        self._zip.filelist = entries  # type: ignore[assignment]
        self._zip.close()
        self._file.close()


@dataclass(frozen=True)
class _Entries:
    """Entries of a zip, as many as there are, made as they are asked for."""

    count: int
    lines: Iterator[str]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[zipfile.ZipInfo]:
        for line in self.lines:
            crc, size, offset, name = line.split(" ", 3)
            entry = _entry(name)
            entry.CRC, entry.header_offset = int(crc), int(offset)
            entry.file_size = entry.compress_size = int(size)
            yield entry


def _entry(name: str) -> zipfile.ZipInfo:
    """With the earliest date that a zip can hold, so that no clock is in it."""
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    return entry


def identity(sample: Sample, form: str) -> str:
    """An ID that no other sample of any dataset of ours has, nor the same one in another form."""
    told = [form, sample.pixels("all").shape[0], sample.record["spec"]]
    text = json.dumps(told, sort_keys=True).encode()
    return f"{DATA}-{sample.id}-{hashlib.sha256(text).hexdigest()[:12]}"


def smart(sample: Sample) -> Mask:
    """(h, w): the eyewear, but for what is seen through clear lenses."""
    frame, eyewear = sample.mask("mask_frame"), sample.mask("mask_full")
    for key in LENS_MASKS:
        lens = sample.mask(key) & ~frame
        if not _hides(sample, lens):
            eyewear = eyewear & ~lens
    return eyewear


def _hides(sample: Sample, lens: Mask) -> bool:
    """Whether a lens hides what is behind it, as `mask_frame` has it.

    Of a mesh, whose lenses are of no finish of ours, the pictures tell: how much of the light of
    `shadow` there is in `all`, at the middling pixel of the lens.
    """
    finish = LENSES.get(str(sample.spec.glasses.choice.get("lenses")))
    if finish is not None:
        return is_dark(finish)
    behind, seen = (_luminance(sample.pixels(layer)[lens]) for layer in ("shadow", "all"))
    lit = behind > _DARK
    if not lit.any():
        return False
    return bool(np.median(seen[lit] / behind[lit]) < CLEAR_LENS_TRANSMITTANCE)


def _luminance(srgb: UInt8) -> Float32:
    """(n,) linear Rec. 709 luminance of (n, 3) sRGB (IEC 61966-2-1)."""
    x = srgb.astype(np.float32) / np.float32(255)
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    return (linear @ np.array(REC709_LUMINANCE)).astype(np.float32)
