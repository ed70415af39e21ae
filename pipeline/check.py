"""`eyeglass check`: whether a dataset is whole and keeps what the README promises."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click
import numpy as np
from tqdm import tqdm

from pipeline import store
from pipeline.errors import DatasetError
from pipeline.examine import Examined, Fault, examine
from pipeline.journal import writing
from pipeline.parallel import in_order
from pipeline.spec import sample_id
from pipeline.yamlfile import one_line

#: Exit status where a fault was found, mended or not.
FAULTS_FOUND = 1
#: So many values of a trait are listed one by one in the summary.
_LISTED = 6


@dataclass
class _Tally:
    """What is kept of the samples that were looked at."""

    traits: dict[str, Counter[str]] = field(default_factory=dict)
    figures: dict[str, list[float]] = field(default_factory=dict)
    first_with: dict[bytes, int] = field(default_factory=dict)

    def add(self, found: Examined) -> None:
        for trait, value in found.traits.items():
            self.traits.setdefault(trait, Counter())[value] += 1
        for name, figure in found.figures.items():
            self.figures.setdefault(name, []).append(figure)


def check_dataset(root: Path, fix: bool, processes: int) -> int:
    """Names every fault of a dataset on standard output; returns 0, or 1 if there is one.

    fix: moves samples with a fault to `store.FAULTY`, so that `generate` makes them again, and
    mends the index. processes: that look at samples at the same time. Raises DatasetError if `root`
    is no dataset, or with `fix` cannot be written or is being written by another run.
    """
    store.read_description(root)
    if fix and not os.access(root, os.W_OK | os.X_OK):
        raise DatasetError(f"{root}: cannot be written, which --fix needs")
    with writing(root) if fix else contextlib.nullcontext():
        lines, unlisted, faults = _find(root)
        tally = _Tally()
        for found in _examined(root, lines, unlisted, processes):
            faults += found.faults
            tally.add(found)
            _say(found.faults)
            duplicate = _duplicate(tally, found)
            faults += duplicate
            _say(duplicate)
        click.echo(_summary(root, tally, len(lines), len(unlisted), faults))
        if fix and (faults or unlisted):
            click.echo(_mend(root, {*lines, *unlisted}, faults))
    return FAULTS_FOUND if faults else 0


def _find(root: Path) -> tuple[dict[int, int], list[int], list[Fault]]:
    """Where the line of each sample begins in the index, samples without one, and faulty lines."""
    folders = sorted(_folders(root))
    lines: dict[int, int] = {}
    faults = []
    for number, (start, record) in enumerate(store.iter_lines(root), 1):
        if record is None:
            faults.append(Fault("-", store.INDEX, f"line {number} is not a record", True))
        elif lines.setdefault(record["spec"]["index"], start) != start:
            faults.append(Fault(record["id"], store.INDEX, f"line {number} is there twice", True))
    _say(faults)
    return lines, [index for index in folders if index not in lines], faults


def _folders(root: Path) -> Iterator[int]:
    """Numbers of the samples that have a folder."""
    for path in (root / "samples").glob("*/*"):
        if path.name.isdecimal() and path == root / store.sample_folder(int(path.name)):
            yield int(path.name)


def _examined(
    root: Path, lines: dict[int, int], unlisted: list[int], processes: int
) -> Iterator[Examined]:
    jobs = [(index, lines.get(index)) for index in sorted([*lines, *unlisted])]
    results = in_order(partial(examine, root), jobs, processes, examine.__module__)
    shown = sys.stderr.isatty()
    yield from tqdm(results, total=len(jobs), unit="sample", disable=not shown, dynamic_ncols=True)


def _duplicate(tally: _Tally, found: Examined) -> list[Fault]:
    """Faults of a sample whose `all` is that of an earlier one, and of that one."""
    if not found.digest:
        return []
    first = tally.first_with.setdefault(found.digest, found.index)
    if first == found.index:
        return []
    return [
        Fault(
            sample_id(one),
            f"{store.sample_folder(one)}/all.png",
            f"holds the same pixels as that of {sample_id(other)}",
        )
        for one, other in ((first, found.index), (found.index, first))
    ]


def _mend(root: Path, there: set[int], faults: Iterable[Fault]) -> str:
    """Moves faulty samples aside and writes the index of the others; says what was done."""
    faulty = {int(fault.id) for fault in faults if not fault.in_index}
    try:
        # In this order: a run that finds the folder takes the sample for finished.
        for index in sorted(faulty):
            store.set_aside(root, index)
        kept = (root / store.sample_folder(i) / store.RECORD for i in sorted(there - faulty))
        records = (store.parse_record(path.read_bytes()) for path in kept)
        store.replace_index(root, (record for record in records if record is not None))
    except OSError as error:
        raise DatasetError(f"{root}: cannot be written: {one_line(error)}") from None
    if not faulty:
        return "index.jsonl mended"
    return (
        f"{len(faulty)} samples moved to {root / store.FAULTY}; "
        "the command that made the dataset makes them again"
    )


def _say(faults: Iterable[Fault]) -> None:
    for fault in faults:
        tqdm.write(str(fault), file=sys.stdout)


def _summary(root: Path, tally: _Tally, listed: int, unlisted: int, faults: list[Fault]) -> str:
    planned = store.read_description(root).get("count")
    lines = [
        f"{listed} of {planned} samples",
        *(f"{name:<28}{_shares(counts)}" for name, counts in tally.traits.items()),
        *(f"{name:<28}{_spread(values)}" for name, values in tally.figures.items()),
    ]
    if unlisted:
        lines.append(f"not in {store.INDEX} yet, though finished: {unlisted}; `generate` adds them")
    samples = len({fault.id for fault in faults})
    lines.append(f"{len(faults)} faults in {samples} samples" if faults else "no faults")
    return "\n".join(lines)


def _shares(counts: Counter[str]) -> str:
    """How often each value appears, or of many values the least and the most."""
    total = counts.total()
    if len(counts) <= _LISTED:
        return ", ".join(f"{name} {n / total:.1%}" for name, n in counts.most_common())
    least, most = min(counts.values()) / total, max(counts.values()) / total
    return f"{len(counts)} kinds, each {least:.1%} to {most:.1%}"


def _spread(values: list[float]) -> str:
    low, middle, high = np.percentile(values, (5, 50, 95))
    return f"{middle:.1f} (median); {low:.1f} to {high:.1f} (5% to 95%)"
