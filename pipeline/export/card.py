"""The dataset card: what is in an export, of which versions and licences, how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.catalog.catalog import BLENDER_LICENCE, OWN_LICENCE, USER_LICENCE
from pipeline.export.forms import Form, Options
from pipeline.export.samples import Selection
from pipeline.store import dump_yaml

FILE = "README.md"
RECIPE = "recipe.yaml"
LICENCE_URL = "https://creativecommons.org/publicdomain/zero/1.0/"
_MOST_NAMES = 60
#: Of https://huggingface.co/docs/hub/datasets-cards: the least number of samples of each.
_SIZES = {"n<1K": 0, "1K<n<10K": 10**3, "10K<n<100K": 10**4, "100K<n<1M": 10**5, "1M<n<10M": 10**6}

LIMITS = (
    "Everybody is computed: parametric heads, procedural skin, hair and clothes. Nobody real is "
    "shown, and no statistic of a real population is met but those that the recipe asks for.",
    "Masks are coverage cut at one half; `mask_shadow` holds what is darker by more than 12.75 of "
    "255, so faint shadows are in the pictures but not in the masks.",
    "Splits keep people apart. The same glasses and lights are in all of them.",
)


def card(
    form: Form,
    selection: Selection,
    description: Mapping[str, Any],
    notes: Sequence[str],
    version: str,
) -> str:
    """README.md of an export. description: `dataset.yaml`, {} if there is none."""
    parts = [
        _head(form, selection, description),
        f"# {title(selection)}\n\n{about(selection, description)}",
        f"## Files\n\n{form.layout()}\n\n`{RECIPE}` is what was drawn from.",
        f"## Samples\n\n{_samples(form.options, selection)}",
        f"## Made with\n\n{_versions(description, version)}",
        f"## Licences\n\n{_licences(selection, description)}",
        "## Known limits\n\n" + "\n".join(f"- {line}" for line in (*LIMITS, *notes)),
        f"## Make it again\n\n```sh\n{command(form, selection, description)}\n```\n\n"
        "The same versions, on a CPU, give the same pictures.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def title(selection: Selection) -> str:
    """A name for people."""
    return f"Portraits with and without glasses, {len(selection)} synthetic samples"


def about(selection: Selection, description: Mapping[str, Any]) -> str:
    """What the samples are, in a sentence or two."""
    said = (description.get("recipe") or {}).get("description", "")
    text = (
        "Rendered portraits of one face with and without glasses, with and without their shadow, "
        "and exact masks, by the Eyeglass pipeline."
    )
    return f"{text} The recipe: {said}" if said else text


def is_free(description: Mapping[str, Any]) -> bool:
    """Whether every asset came with the program, and so is CC0."""
    return "assets" in description and not any(description["assets"].values())


def command(form: Form, selection: Selection, description: Mapping[str, Any]) -> str:
    """The line that makes this export again, in its folder."""
    assets = description.get("assets") or {}
    folders = [f"--{kind} YOUR_{kind.upper()}" for kind, folder in assets.items() if folder]
    made = [
        f"eyeglass generate --scene {RECIPE}",
        f"--count {description.get('count', 'COUNT')} --seed {description.get('seed', 'SEED')}",
        *folders,
        "--out set",
    ]
    return f"{' '.join(made)} &&\n{_export_command(form)}"


def _export_command(form: Form) -> str:
    options = form.options
    words = ["eyeglass", "export", "set", "--format", form.name]
    for flag, value in (
        ("--layers", ",".join(options.layers or ())),
        ("--split", options.split),
        ("--limit", options.limit),
        ("--jpeg", options.jpeg),
        ("--size", options.size),
        ("--shard-size", options.shard_mb),
    ):
        words += [flag, str(value)] if value else []
    words += ["--sensor"] * options.sensor + ["--splits"] * options.splits
    words += ["--zip"] * options.zip + ["--out", "again"]
    return shlex.join(words)


def _head(form: Form, selection: Selection, description: Mapping[str, Any]) -> str:
    """YAML that the Hugging Face hub and `datasets` read."""
    size = max((n, name) for name, n in _SIZES.items() if n <= len(selection))[1]
    head: dict[str, Any] = {
        "pretty_name": title(selection),
        "license": "cc0-1.0" if is_free(description) else "other",
        "task_categories": ["image-segmentation", "image-to-image"],
        "tags": ["synthetic", "eyeglasses", "faces", "shadows"],
        "size_categories": [size],
    }
    files = [{"split": split, "path": form.data_files(split)} for split in selection.splits]
    if any(entry["path"] for entry in files):
        head["configs"] = [{"config_name": "default", "data_files": files}]
    return f"---\n{dump_yaml(head)}---"


def _samples(options: Options, selection: Selection) -> str:
    rows = [
        f"| {split} | {count} | {selection.subjects_of[split]} |"
        for split, count in selection.splits.items()
    ]
    sizes = ", ".join(f"{size}" for size in selection.sizes)
    told = f"Rendered {sizes} px wide" + (f", here {options.size}" if options.size else "")
    told += "; pictures as a camera took them" if options.sensor else "; pictures are clean"
    if options.jpeg:
        told += f", JPEG of quality {options.jpeg}"
    return "\n".join(["| split | samples | subjects |", "|---|---|---|", *rows, "", told + "."])


def _versions(description: Mapping[str, Any], version: str) -> str:
    versions = description.get("versions") or {}
    rows = [f"| {name} | {number} |" for name, number in versions.items()]
    rows.append(f"| eyeglass-pipeline, of this export | {version} |")
    return "\n".join(["| package | version |", "|---|---|", *rows])


def _licences(selection: Selection, description: Mapping[str, Any]) -> str:
    own = description.get("assets") or {}
    known = "assets" in description
    rows = ["| assets | used | licence |", "|---|---|---|"]
    for kind, folder, names, licence in (
        ("heads", "heads", selection.subjects, f"{OWN_LICENCE} (MakeHuman's base mesh and shapes)"),
        ("glasses", "glasses", selection.glasses, OWN_LICENCE),
        ("lights", "hdri", selection.lights, BLENDER_LICENCE),
    ):
        if not known:
            licence = "not known: the dataset has no dataset.yaml"
        elif own.get(folder):
            licence = USER_LICENCE
        rows.append(f"| {kind} | {_listed(names)} | {licence} |")
    if is_free(description):
        rows += ["", f"So the pictures carry no rights of others: [CC0 1.0]({LICENCE_URL})."]
    return "\n".join(rows)


def _listed(names: Mapping[str, int]) -> str:
    """Names, or how many there are where they would fill pages."""
    if len(names) > _MOST_NAMES:
        return f"{len(names)}, from {min(names)} to {max(names)}"
    return ", ".join(sorted(names))
