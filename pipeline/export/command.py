"""What `eyeglass export` does: choose samples, write them in a form, say what came of it."""

from __future__ import annotations

import importlib
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, fields
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from pipeline import __version__
from pipeline.errors import DatasetError
from pipeline.export import card, croissant
from pipeline.export.forms import Form, Item, Options
from pipeline.export.samples import Selection, load, select
from pipeline.export.staging import Staging, check_dest, staging
from pipeline.imagefile import check_keys
from pipeline.store import DESCRIPTION, dump_yaml, read_description

#: Module and what makes the form there, by name. Each needs libraries that others do without.
FORMS: Mapping[str, tuple[str, str]] = {
    "lyu": ("lyu", "Lyu"),
    "glasses-detector": ("glasses_detector", "form"),
    "coco": ("coco", "Coco"),
    "yolo": ("yolo", "Yolo"),
    "webdataset": ("webdataset", "WebDataset"),
    "hf": ("hf", "HuggingFace"),
}
#: How the command line spells options that not every form takes.
_SPELLED = {"layers": "--layers", "jpeg": "--jpeg", "splits": "--splits", "zip": "--zip",
            "shard_mb": "--shard-size"}  # fmt: skip


def export(
    dataset: Path, dest: Path, name: str, options: Options | None = None, threads: int = 1
) -> str:
    """Writes a native dataset in a form of `FORMS` as the folder `dest`, new or empty.

    Returns a summary for people. What was interrupted goes on when it is started again. Raises
    EyeglassError, with nothing left behind, if `dataset` is none, or has an image that is missing
    or broken; if an option or a layer has no place in the form; if `dest` holds something or
    cannot be written.
    """
    form = _form(name, options or Options())
    options = form.options
    selection = select(dataset, form.keys(), options.split, options.limit, form.by_split)
    description = read_description(dataset) if (dataset / DESCRIPTION).exists() else {}
    form.begin(selection, description)
    check_dest(dataset, dest)
    what = {"form": name, "version": __version__, "index": selection.digest, **asdict(options)}
    with staging(dest, what) as stage:
        _write_samples(form, selection, stage, threads)
        form.finish(stage)
        notes = [*form.notes(stage), *_size_warnings(form, selection)]
        _write_about(form, selection, description, notes, stage)
    return "\n".join(
        [f"{len(selection)} samples, {stage.tally['images']} images in {dest}", *notes]
    )


def _form(name: str, options: Options) -> Form:
    if name not in FORMS:
        raise DatasetError(f"unknown form '{name}'; known: {', '.join(FORMS)}")
    check_keys(options.layers or ())
    module, maker = FORMS[name]
    form: Form = getattr(importlib.import_module(f"pipeline.export.{module}"), maker)(options)
    unset = Options()
    for field in fields(Options):
        given = getattr(options, field.name) != getattr(unset, field.name)
        if given and field.name in _SPELLED and field.name not in form.takes:
            raise DatasetError(f"{_SPELLED[field.name]} means nothing to {name}{_taken(form)}")
    return form


def _taken(form: Form) -> str:
    taken = ", ".join(flag for option, flag in _SPELLED.items() if option in form.takes)
    return f", which takes {taken}" if taken else ""


def _write_samples(form: Form, selection: Selection, stage: Staging, threads: int) -> None:
    first = stage.done
    if first == len(selection):
        return
    work = partial(_item, form, selection)
    sink = form.sink(stage)
    try:
        with (
            closing(_in_order(work, selection.records(first), threads)) as items,
            _progress(first, len(selection)) as progress,
        ):
            for done, item in enumerate(items, first):
                if sink.settle(item):
                    stage.commit(done)
                sink.add(item)
                for table, line in item.lines:
                    stage.add_line(table, line)
                stage.tally.update(item.counts)
                progress.update()
        sink.close()
    except BaseException:
        sink.abandon()
        raise
    stage.commit(len(selection))


def _progress(first: int, count: int) -> tqdm[NoReturn]:
    """A bar on a terminal."""
    shown = sys.stderr.isatty()
    return tqdm(initial=first, total=count, unit="sample", disable=not shown, dynamic_ncols=True)


def _in_order(
    work: Callable[[dict[str, Any]], Item], records: Iterator[dict[str, Any]], threads: int
) -> Generator[Item]:
    """`work` of each record in turn, done by so many threads.

    Threads, because most of it is decoding and encoding, which leave Python's lock to others, and
    because what comes out is large.
    """
    with ThreadPoolExecutor(threads) as pool:
        try:
            ahead = deque(pool.submit(work, record) for record in islice(records, 2 * threads))
            while ahead:
                yield ahead.popleft().result()
                ahead.extend(pool.submit(work, record) for record in islice(records, 1))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _item(form: Form, selection: Selection, record: Mapping[str, Any]) -> Item:
    options = form.options
    sample = load(selection.dataset, record, selection.keys, options.size, options.sensor)
    return form.item(sample)


def _size_warnings(form: Form, selection: Selection) -> list[str]:
    sizes = {form.options.size} if form.options.size else set(selection.sizes)
    if form.expects is None or sizes == {form.expects}:
        return []
    return [
        f"warning: images are {', '.join(map(str, sorted(sizes)))} px wide; readers of this form "
        f"expect {form.expects}, which --size {form.expects} gives"
    ]


def _write_about(
    form: Form,
    selection: Selection,
    description: Mapping[str, Any],
    notes: list[str],
    stage: Staging,
) -> None:
    """The dataset card, the recipe and the Croissant metadata."""
    text = card.card(form, selection, description, notes, __version__)
    (stage.folder / card.FILE).write_text(text, encoding="utf-8")
    if "recipe" in description:
        recipe = dump_yaml(description["recipe"])
        (stage.folder / card.RECIPE).write_text(recipe, encoding="utf-8")
    told = {
        "name": f"eyeglass-{form.name}",
        "description": card.about(selection, description),
        "version": "1.0.0",
    }
    if card.is_free(description):
        told["license"] = card.LICENCE_URL
    croissant.write(stage.folder, told, *form.croissant(stage))
