"""The parts of eyewear as instances of classes, for detectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from pipeline.errors import DatasetError
from pipeline.export.forms import Form
from pipeline.export.samples import Sample
from pipeline.export.staging import Staging
from pipeline.pixels import Mask
from pipeline.spec import SPLITS

#: Classes in the order of their numbers, with the mask of each.
CLASSES: Mapping[str, str] = {
    "frame": "mask_frame",
    "left lens": "mask_lens_left",
    "right lens": "mask_lens_right",
    "temples": "mask_legs",
    "shadow": "mask_shadow",
}
_EYEWEAR = tuple(name for name in CLASSES if name != "shadow")
#: Classes that a picture shows and whose masks hold for it. Where `shadow` lies behind what `all`
#: shows of the glasses is in no mask, and dark lenses hide temples: those pictures are left out.
SHOWN: Mapping[str, Sequence[str]] = {
    "all": tuple(CLASSES),
    "no_reflection": tuple(CLASSES),
    "glass": _EYEWEAR,
    "face": (),
}


class InstanceForm(Form):
    """Pictures, `all` if no others are asked for, with what is in them."""

    takes = frozenset({"layers", "jpeg"})
    #: Below the export's folder: holds a folder of pictures for each split.
    pictures_in: ClassVar[str] = ""

    def keys(self) -> tuple[str, ...]:
        for layer in self.options.layers or ():
            if layer not in SHOWN:
                raise DatasetError(
                    f"{self.name} holds pictures with their instances: {', '.join(SHOWN)}; "
                    f"not '{layer}'"
                )
        self._layers = tuple(dict.fromkeys(self.options.layers or ("all",)))
        return (*self._layers, *CLASSES.values())

    def written(self, stage: Staging) -> list[str]:
        """The splits that have pictures."""
        return [split for split in SPLITS if (stage.folder / self.pictures_in / split).is_dir()]


def instances(sample: Sample, layer: str) -> Iterator[tuple[int, Mask]]:
    """Number, from 0, and (h, w) mask of each class that a picture shows."""
    for number, (name, key) in enumerate(CLASSES.items()):
        if name in SHOWN[layer]:
            mask = sample.mask(key)
            if mask.any():
                yield number, mask
