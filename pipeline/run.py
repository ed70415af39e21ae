"""Makes or continues a dataset: what is missing goes to an engine, what comes back is kept."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline import disk, journal
from pipeline.jobs import Outcome, RunSettings
from pipeline.journal import JsonLines
from pipeline.runlog import RunLog
from pipeline.schedule import Job, Note, run_jobs
from pipeline.shards import WHOLE, Shard
from pipeline.store import sample_folder, sync_sample

#: After so many samples, their size on the disk tells more than the estimate.
_WEIGHED = 16
#: So many samples may be on their way to the disk, and so many are brought there at a time.
_PENDING, _SYNCING = 64, 4
#: A disk that takes longer for one of them is not waited for when a run is interrupted.
_PATIENCE_S = 2.0


class Engine(Protocol):
    """Runs jobs as `pipeline.schedule.run_jobs` does."""

    def __call__(
        self, settings: RunSettings, groups: Iterable[list[Job]], workers: int, note: Note
    ) -> Generator[Outcome]: ...


@dataclass(frozen=True)
class Totals:
    """Samples of a dataset, or of its shard, that are there, and that were left out."""

    done: int
    failed: int


@dataclass(frozen=True)
class Work:
    """What a run is to do beside its settings.

    description: of `pipeline.journal.open_run`; its `count` says how many samples the whole has.
    spec_of: attempt 0 of a sample's spec, for failures that tell none.
    planned: specs in the place of attempt 0, for numbers in rising order; None to draw them.
    """

    description: dict[str, Any]
    spec_of: Callable[[int], dict[str, Any]]
    shard: Shard = WHOLE
    planned: Callable[[Iterator[int]], Iterator[Job]] | None = None


def generate(
    settings: RunSettings,
    work: Work,
    workers: int,
    report: Callable[[Outcome, Totals], None],
    engine: Engine = run_jobs,
) -> Totals:
    """Renders what is missing of a dataset and brings its index in order.

    report: told of each outcome. Raises EyeglassError where the user has something to mend; what
    is finished is kept then, as it is when the run is interrupted or dies.
    """
    journal.check_run(settings.out, work.description)
    with journal.writing(settings.out), contextlib.ExitStack() as stack:
        pairs, count = settings.recipe.pairs_per_portrait, work.description["count"]

        def ours(index: int) -> bool:
            return index < count and work.shard.holds(index, pairs)

        log = stack.enter_context(contextlib.closing(RunLog(settings.out)))
        stack.callback(journal.remove_leftovers, settings.out)
        index, failures = journal.open_run(settings.out, work.description, ours)
        stack.enter_context(contextlib.closing(index))
        stack.enter_context(contextlib.closing(failures))
        keeper = _Keeper(settings, work, log, index, failures, work.shard.size(count, pairs))
        stack.callback(keeper.close)
        missing = keeper.begin(workers)
        groups = _groups(work, (i for i in range(count) if ours(i) and i not in index), pairs)
        try:
            outcomes = engine(
                settings, keeper.watched(groups), max(1, min(workers, missing)), log.note
            )
            with contextlib.closing(outcomes):
                for outcome in outcomes:
                    keeper.keep(outcome)
                    report(outcome, keeper.totals())
            keeper.settle(left=0)
            journal.close_run(settings.out, index, failures)
        except OSError as error:
            if error.errno not in disk.FULL:
                raise
            fault = disk.full(settings.out, f"{error.filename}: {error.strerror}")
            keeper.end(str(fault))
            raise fault from None
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            keeper.end("an interruption" if stopped else str(error) or type(error).__name__)
            raise
        keeper.end(None)
    return keeper.totals()


def _groups(work: Work, missing: Iterator[int], pairs: int) -> Iterator[list[Job]]:
    """The jobs of each portrait, one after another."""
    jobs = work.planned(missing) if work.planned else ({"index": i} for i in missing)
    for _, group in itertools.groupby(jobs, lambda job: int(job["index"]) // pairs):
        yield list(group)


class _Keeper:
    """Keeps what comes back from an engine, with an eye on the disk."""

    def __init__(
        self, settings: RunSettings, work: Work, log: RunLog, index: JsonLines,
        failures: JsonLines, of: int,
    ) -> None:  # fmt: skip
        self._root = settings.out
        self._render = settings.recipe.render
        self._work = work
        self._log = log
        self._index = index
        self._failures = failures
        self._of = of
        self._weights: list[int] = []
        # A sample is in the index when it would outlast a power cut; nobody waits for that.
        self._syncing = ThreadPoolExecutor(_SYNCING)
        self._pending: deque[tuple[Future[None], int, dict[str, Any]]] = deque()

    def totals(self) -> Totals:
        return Totals(len(self._index) + len(self._pending), len(self._failures))

    def begin(self, workers: int) -> int:
        """Notes the start; returns how many samples are missing. Raises DatasetError if there is
        no room for them."""
        missing = self._of - len(self._index)
        self._log.note(
            "start", pid=os.getpid(), host=socket.gethostname(), workers=workers, **self._counts()
        )
        each = disk.estimated_bytes(self._render.size, len(self._render.layers))
        disk.check_room(self._root, missing, each)
        return missing

    def watched(self, groups: Iterable[list[Job]]) -> Iterator[list[Job]]:
        """The groups, while there is room. Raises DatasetError when there is not."""
        for group in groups:
            disk.check_reserve(self._root)
            yield group

    def keep(self, outcome: Outcome) -> None:
        """Adds an outcome to the index, or to the failures, and to the log."""
        number = int(outcome.job["index"])
        if outcome.record is not None:
            safe = self._syncing.submit(sync_sample, self._root, number)
            self._pending.append((safe, number, outcome.record))
            self.settle(left=_PENDING)
            self._weigh(number)
        else:
            spec = outcome.spec or outcome.job.get("spec") or self._work.spec_of(number)
            # The log has the whole traceback, with paths of this machine.
            self._failures.append(
                number,
                {
                    "index": number,
                    "error": outcome.reason,
                    "rejected": list(outcome.rejected),
                    "spec": spec,
                },
            )
        self._log.note(
            "sample", index=number, seconds=round(outcome.seconds, 3), worker=outcome.worker,
            memory_mb=round(outcome.memory_mb), **self._counts(),
            **({"error": outcome.error} if outcome.error else {}),
        )  # fmt: skip

    def settle(self, left: int, patience_s: float | None = None) -> None:
        """Adds to the index what is safe on the disk; waits until no more than `left` is not."""
        while self._pending and (len(self._pending) > left or self._pending[0][0].done()):
            safe, number, record = self._pending[0]
            safe.result(patience_s)
            self._index.append(number, record)
            self._pending.popleft()

    def close(self) -> None:
        """Settles what is pending, as far as that is quick; the next run finds the rest."""
        with contextlib.suppress(OSError, TimeoutError):
            self.settle(0, _PATIENCE_S)
        self._syncing.shutdown(wait=False, cancel_futures=True)

    def end(self, error: str | None) -> None:
        """Notes the end, if the disk still takes it."""
        with contextlib.suppress(OSError):
            self._log.note("end", error=error, **self._counts())

    def _counts(self) -> dict[str, int]:
        totals = self.totals()
        return {"of": self._of, "done": totals.done, "failed": totals.failed}

    def _weigh(self, number: int) -> None:
        """Once some samples are there, judges by their size whether the rest will fit."""
        if len(self._weights) >= _WEIGHED:
            return
        with contextlib.suppress(OSError):
            self._weights.append(disk.folder_bytes(self._root / sample_folder(number)))
        if len(self._weights) == _WEIGHED:
            each = sum(self._weights) // _WEIGHED
            totals = self.totals()
            disk.check_room(self._root, self._of - totals.done - totals.failed, each)

