"""The parts of eyewear as instances of classes, for detectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline.errors import DatasetError
from pipeline.export.samples import Sample
from pipeline.pixels import Mask

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


def pictures(layers: Sequence[str] | None, form: str) -> tuple[str, ...]:
    """The pictures to label, `all` if none are asked for. Raises DatasetError for others."""
    for layer in layers or ():
        if layer not in SHOWN:
            raise DatasetError(
                f"{form} holds pictures with their instances: {', '.join(SHOWN)}; not '{layer}'"
            )
    return tuple(dict.fromkeys(layers or ("all",)))


def keys(layers: Sequence[str]) -> tuple[str, ...]:
    """The images that are needed to label pictures."""
    return (*layers, *CLASSES.values())


def instances(sample: Sample, layer: str) -> Iterator[tuple[int, Mask]]:
    """Number, from 0, and (h, w) mask of each class that a picture shows."""
    for number, (name, key) in enumerate(CLASSES.items()):
        if name in SHOWN[layer]:
            mask = sample.mask(key)
            if mask.any():
                yield number, mask
