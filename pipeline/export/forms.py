"""What the forms of an export share: what is asked, what a sample becomes, where it goes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import cv2
from numpy.typing import NDArray

from pipeline.export.samples import Sample, Selection
from pipeline.export.staging import Staging
from pipeline.sensor import PICTURES

MIMES = {"png": "image/png", "jpg": "image/jpeg"}


@dataclass(frozen=True)
class Options:
    """What an export was asked for beside its form; None leaves the form's own value.

    layers: images of a sample to hold. split: of which samples. limit: how many at most. jpeg:
    quality of pictures, 1 to 100; PNG if None. size: width in px; as stored if None. sensor:
    pictures as the camera of each spec took them, not clean. splits: a folder for each split.
    zip: one archive. shard_mb: largest shard.
    """

    layers: tuple[str, ...] | None = None
    split: str | None = None
    limit: int | None = None
    jpeg: int | None = None
    size: int | None = None
    sensor: bool = False
    splits: bool = False
    zip: bool = False
    shard_mb: int | None = None


@dataclass(frozen=True)
class Item:
    """What a sample becomes.

    files: content by path in DEST, or by name in a shard. lines: each with the table that it
    belongs to. counts: for the summary. meta: the record as JSON, for forms that hold it.
    """

    id: str
    split: str
    files: Mapping[str, bytes]
    lines: Sequence[tuple[str, str]] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    meta: str = ""


class Sink(Protocol):
    """Where items go, one after another."""

    def settle(self, item: Item) -> bool:
        """Whether all items so far are whole on the disk, now that `item` is the next one."""

    def add(self, item: Item) -> None:
        """Takes an item."""

    def close(self) -> None:
        """Finishes what is open, after the last item."""

    def abandon(self) -> None:
        """Lets go of what is open, after an error; nobody will read it."""


class Form(ABC):
    """A form of files: what it needs of a sample, what it makes of one, and what it says."""

    name: ClassVar[str]
    #: Options that mean something here, beside those that choose samples and their size.
    takes: ClassVar[frozenset[str]] = frozenset()
    #: Width in px that readers expect, if they do.
    expects: ClassVar[int | None] = None
    #: Whether samples of a split must follow each other.
    by_split: ClassVar[bool] = False

    def __init__(self, options: Options) -> None:
        self.options = options

    @abstractmethod
    def keys(self) -> tuple[str, ...] | None:
        """Images that each sample must have; None: those that the first one has.

        Raises DatasetError for layers that have no place in this form.
        """

    def begin(  # noqa: B027, most forms take everything
        self, selection: Selection, description: Mapping[str, Any]
    ) -> None:
        """Looks at what will be exported, and at its `dataset.yaml` ({} if there is none).

        Raises DatasetError if it has no place in this form.
        """

    @abstractmethod
    def item(self, sample: Sample) -> Item:
        """What a sample becomes. Called in several threads."""

    def sink(self, stage: Staging) -> Sink:
        """Where items go."""
        return FolderSink(stage.folder)

    def finish(self, stage: Staging) -> None:  # noqa: B027, most forms have nothing left to do
        """Writes what stands for all samples together."""

    def notes(self, stage: Staging) -> list[str]:
        """What the summary must say about this export."""
        return []

    @abstractmethod
    def layout(self) -> str:
        """What lies where, in Markdown, for the dataset card."""

    def data_files(self, split: str) -> str | None:
        """Glob of a split's files for `datasets`; None if it reads no such form."""
        return None

    @abstractmethod
    def croissant(self, stage: Staging) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Distribution and record sets of the Croissant metadata."""


class FolderSink:
    """Files in folders."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: set[Path] = set()

    def settle(self, item: Item) -> bool:
        return True

    def add(self, item: Item) -> None:
        for name, data in item.files.items():
            path = self._folder / name
            if path.parent not in self._made:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._made.add(path.parent)
            path.write_bytes(data)

    def close(self) -> None:
        """Every file is closed already."""

    def abandon(self) -> None:
        """Every file is closed already."""


def encode_jpeg(image: NDArray, quality: int) -> bytes:
    """JPEG of uint8, (h, w, 3) RGB or grey (h, w)."""
    pixels = image[..., ::-1] if image.ndim == 3 else image
    ok, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise RuntimeError("OpenCV could not encode a JPEG")
    return data.tobytes()


def suffix_of(key: str, jpeg: int | None) -> str:
    """Suffix of the file of an image: JPEG is for pictures, if a quality is given."""
    return "jpg" if jpeg is not None and key in PICTURES else "png"


def file_of(sample: Sample, key: str, jpeg: int | None) -> tuple[str, bytes]:
    """Suffix and content of an image; see `suffix_of`."""
    suffix = suffix_of(key, jpeg)
    if jpeg is not None and suffix == "jpg":
        return suffix, encode_jpeg(sample.pixels(key), jpeg)
    return suffix, sample.png(key)
