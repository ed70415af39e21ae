"""`eyeglass report`: a dataset on one page."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pipeline import store
from pipeline.errors import DatasetError
from pipeline.imagefile import decoded
from pipeline.parallel import in_order
from pipeline.report import gallery
from pipeline.report.figures import Figures
from pipeline.report.page import page
from pipeline.spec import SampleSpec, parse_spec
from pipeline.wholefile import check_target, write_whole

#: The page's name in the dataset, where no other is given.
REPORT = "report.html"


@dataclass(frozen=True)
class _Masks:
    """A sample whose masks are to be measured."""

    eyewear: str
    shadow: str
    size: int


def write_report(root: Path, out: Path | None, processes: int) -> str:
    """Writes the page about a dataset to `out`, or into the dataset; returns a line about it.

    Raises DatasetError if `root` is none, is empty or holds a broken image, or `out` cannot be
    written; nothing is left behind then.
    """
    out = out or root / REPORT
    description = store.read_description(root)
    check_target(out)
    figures = _figures(root, processes)
    if not figures.count:
        raise DatasetError(f"{root}: holds no finished samples")
    chosen = set(gallery.choose(figures))
    shown = [known for i, known in enumerate(_specs(root)) if i in chosen]
    records = [record for record, _ in shown]
    layers = gallery.layers_of([spec for _, spec in shown])
    each = gallery.bytes_each(len(records), len(layers))
    jobs = [gallery.Shown(root, record, layers, each) for record in records]
    images = list(_worked(gallery.encode, jobs, len(jobs), processes, "picture"))
    text = page(root.name, description, figures, layers, list(zip(records, images, strict=True)))
    write_whole({out: text.encode()})
    return f"{figures.count} samples, {len(records)} of them shown: {out}"


def measure(root: Path, masks: _Masks) -> tuple[float, float]:
    """Shares of the picture, 0 to 1, of a sample's eyewear and shadow."""
    shares = []
    for file, key in ((masks.eyewear, "mask_full"), (masks.shadow, "mask_shadow")):
        try:
            image = decoded((root / file).read_bytes(), key, masks.size)
        except (OSError, ValueError) as error:
            raise ValueError(f"{root / file}: {error}") from None
        shares.append(float((image > 127).mean()))
    return shares[0], shares[1]


def _figures(root: Path, processes: int) -> Figures:
    """All samples, counted, with few of them in memory."""
    figures = Figures()
    total = sum(1 for _ in store.iter_index(root))
    known, read = itertools.tee(_specs(root))
    jobs = (
        _Masks(record["files"]["mask_full"], record["files"]["mask_shadow"], spec.render.size)
        for record, spec in read
    )
    shares = _worked(partial(measure, root), jobs, total, processes, "sample")
    for (record, spec), both in zip(known, shares, strict=True):
        figures.add(record, spec, both)
    return figures


def _specs(root: Path) -> Iterator[tuple[dict[str, Any], SampleSpec]]:
    for record in store.iter_index(root):
        yield record, parse_spec(record["spec"], f"{root}: sample {record['id']}")


def _worked(work: Any, jobs: Iterable[Any], total: int, processes: int, unit: str) -> Iterator[Any]:
    """Results in order, with a bar on a terminal. Raises DatasetError for a broken file."""
    results = in_order(work, jobs, processes, __name__)
    bar = tqdm(results, total=total, unit=unit, disable=not sys.stderr.isatty(), dynamic_ncols=True)
    try:
        yield from bar
    except ValueError as error:
        raise DatasetError(f"{error}; `eyeglass check` names all faults") from None
