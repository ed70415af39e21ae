"""One sample of a dataset, looked at as a stranger would: its record, its files, their pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pipeline import store
from pipeline.catalog.catalog import PERSON_NAME
from pipeline.catalog.person import groups_of
from pipeline.errors import RecipeError
from pipeline.imagefile import check_file, decoded
from pipeline.invariants import broken_rules
from pipeline.spec import SampleSpec, parse_spec, sample_id, split_of
from pipeline.yamlfile import one_line


@dataclass(frozen=True)
class Fault:
    """What is wrong in which file, relative to the dataset, of the sample `id`.

    in_index: only a line of the index is wrong, which the sample's own record can mend.
    """

    id: str
    file: str
    what: str
    in_index: bool = False

    def __str__(self) -> str:
        return f"{self.id}  {self.file}  {self.what}"


@dataclass(frozen=True)
class Examined:
    """What came of looking at a sample.

    Where its record or an image cannot be read, the rest is empty. digest: of the pixels of `all`.
    traits: by name, what samples are counted by. figures: by name with its unit.
    """

    index: int
    faults: tuple[Fault, ...]
    digest: bytes = b""
    traits: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)


def examine(root: Path, job: tuple[int, int | None]) -> Examined:
    """Looks at a sample: its number, and the byte of the index that its line begins at, if any.

    Nothing of the sample need be there.
    """
    index, line_at = job
    name, folder = sample_id(index), store.sample_folder(index)
    if not (root / folder).is_dir():
        return Examined(index, (Fault(name, folder, "is missing"),))
    try:
        record, spec = _read_record(root / folder / store.RECORD, index)
    except (OSError, ValueError) as error:
        return Examined(index, (Fault(name, f"{folder}/{store.RECORD}", one_line(error)),))
    faults = [Fault(name, f"{folder}/{store.RECORD}", what) for what in _misstated(record, spec)]
    if line_at is not None:
        faults += _line_faults(root, line_at, name, record)
    images: dict[str, NDArray] = {}
    for key, file in store.stated(spec)["files"].items():
        try:
            data = (root / file).read_bytes()
            check_file(data, key, spec.render.size)
            images[key] = decoded(data, key, spec.render.size)
        except (OSError, ValueError) as error:
            faults.append(Fault(name, file, one_line(error)))
    if len(images) < len(spec.render.image_keys):
        return Examined(index, tuple(faults))
    for key, what in broken_rules(images, spec.render.denoise):
        faults.append(Fault(name, f"{folder}/{key}.png", what))
    return Examined(
        index,
        tuple(faults),
        hashlib.sha256(images["all"].data).digest(),
        _traits(spec),
        {
            "yaw, degrees": spec.camera.yaw_deg,
            "eyewear, % of the picture": 100 * float((images["mask_full"] > 127).mean()),
            "shadow, % of the picture": 100 * float((images["mask_shadow"] > 127).mean()),
        },
    )


def _read_record(path: Path, index: int) -> tuple[dict[str, Any], SampleSpec]:
    """The record of a sample and its spec. Raises ValueError if it is not that sample's."""
    record = store.parse_record(path.read_bytes())
    if record is None or record["spec"]["index"] != index:
        raise ValueError("is not the record of this sample")
    try:
        return record, parse_spec(record["spec"], "spec")
    except RecipeError as error:
        raise ValueError(str(error)) from None


def _misstated(record: dict[str, Any], spec: SampleSpec) -> Iterator[str]:
    """What a record says that does not follow from its spec; its split is that of its subject."""
    for key, value in store.stated(spec).items():
        if record.get(key) != value:
            shown = "files" if key == "files" else f"{key} {record.get(key)!r}"
            yield f"says {shown}, which does not follow from its spec"
    if not isinstance(record.get("fit"), dict):
        yield "has no fit"


def _line_faults(root: Path, line_at: int, name: str, record: dict[str, Any]) -> Iterator[Fault]:
    with (root / store.INDEX).open("rb") as file:
        file.seek(line_at)
        line = store.parse_record(file.readline())
    if line is None:
        yield Fault(name, store.INDEX, "has changed meanwhile", in_index=True)
    elif line != record:
        keys = dict.fromkeys([*line, *record])
        differing = ", ".join(key for key in keys if line.get(key) != record.get(key))
        yield Fault(name, store.INDEX, f"differs from {store.RECORD} in {differing}", in_index=True)


def _traits(spec: SampleSpec) -> dict[str, str]:
    """What samples are counted by; age, tone and sex of built-in persons only."""
    size, keys = spec.render.size, spec.render.image_keys
    traits = {
        "images": f"{len(keys)} of {size} x {size} px",
        "split": split_of(spec.head.subject),
        "glasses": spec.glasses.name,
        "wear": spec.wear.mode,
        "light": spec.light.hdri,
        "expression": spec.head.expression,
    }
    person = PERSON_NAME.fullmatch(spec.head.subject)
    if person is not None:
        traits |= dict(zip(("age", "tone", "sex"), groups_of(int(person[1])), strict=True))
    return traits
