"""Runs jobs on a Ray cluster: tasks that start the same child process as a local run does."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import signal
import socket
import tempfile
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pipeline import journal, store
from pipeline.errors import EyeglassError
from pipeline.jobs import Outcome, RunSettings
from pipeline.schedule import Job, Note, run_jobs
from pipeline.yamlfile import one_line

#: Jobs of a task: so many that the start of its child is a small part, so few that little is lost
#: with a node.
_MOST_JOBS = 32
#: Tasks for each that can run at a time: the next is there when one ends, the last end together.
_QUEUED, _ROUNDS = 2, 4
#: Times that a task is begun again whose node or process was lost.
_RETRIES = 10
#: A file of the run with a mark in it: a node that can read it shares the folder.
_MARK = f"{store.LOGS}/cluster-mark"
_CANCEL_S, _CONNECT_S = 5.0, 5.0


@dataclass(frozen=True)
class Chunk:
    """What a task is given. number: of its worker, not used by another at the same time."""

    settings: RunSettings
    number: int
    groups: tuple[tuple[Job, ...], ...]
    mark: str


@dataclass(frozen=True)
class Delivery:
    """What a task returns: outcomes, what was noted, and by sample the files that `out` lacks."""

    outcomes: list[Outcome]
    notes: list[tuple[str, dict[str, Any]]]
    files: dict[int, dict[str, bytes]]


@dataclass(frozen=True)
class RayEngine:
    """Runs jobs as `pipeline.schedule.run_jobs` does, as tasks of a Ray cluster.

    address: of the cluster, as `ray.init` takes it; 'auto' for the one that this machine belongs
    to, or else one of this machine alone. samples: about how many there will be. Nodes that share
    the dataset's folder write into it, the others send their samples to this process.
    """

    address: str
    samples: int

    def __call__(
        self, settings: RunSettings, groups: Iterable[list[Job]], workers: int, note: Note
    ) -> Generator[Outcome]:
        with _connected(self.address) as ray:
            needs = {"num_cpus": settings.threads, "num_gpus": int(settings.device != "cpu")}
            task = ray.remote(**needs, max_retries=_RETRIES)(run_chunk)
            # A folder of the user's is a path on this machine; paths are those of all.
            settings = replace(settings, out=settings.out.resolve())
            mark = _marked(settings.out)
            running: dict[Any, Chunk] = {}
            free = list(range(workers))
            todo = iter(groups)
            try:
                while True:
                    places = min(workers, _QUEUED * max(1, _capacity(ray, settings)))
                    jobs = self.samples // max(1, _ROUNDS * places)
                    while len(running) < places:
                        chunk = _next_chunk(settings, todo, free, mark, min(_MOST_JOBS, jobs))
                        if chunk is None:
                            break
                        running[task.remote(chunk)] = chunk
                    if not running:
                        return
                    done, _ = ray.wait(list(running), timeout=10)
                    for ref in done:
                        delivery = _fetched(ray, ref)
                        free.append(running.pop(ref).number)
                        yield from _unpacked(delivery, settings.out, note)
            finally:
                (settings.out / _MARK).unlink(missing_ok=True)
                for ref in running:
                    ray.cancel(ref, force=True)
                if running:
                    ray.wait(list(running), num_returns=len(running), timeout=_CANCEL_S)


def run_chunk(chunk: Chunk) -> Delivery:
    """The task: runs the jobs of a chunk in a child process of the node that it came to."""
    shared = _reads(chunk.settings.out / _MARK) == chunk.mark
    with contextlib.ExitStack() as stack:
        out = chunk.settings.out
        if not shared:
            out = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="eyeglass-")))
        settings = replace(chunk.settings, out=out)
        notes: list[tuple[str, dict[str, Any]]] = []
        # A node that was lost may have finished some.
        made = {
            job["index"]: Outcome(job, record)
            for job in itertools.chain(*chunk.groups)
            if (record := journal.recorded(out, job["index"])) is not None
        }
        left = [[job for job in group if job["index"] not in made] for group in chunk.groups]
        outcomes = [*made.values()]
        outcomes += run_jobs(
            settings, (group for group in left if group), 1,
            lambda event, **facts: notes.append((event, facts)), chunk.number,
        )  # fmt: skip
        files = {} if shared else {o.job["index"]: _files(out, o) for o in outcomes if o.record}
        return Delivery(outcomes, notes, files)


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray, connected to a cluster until the end. Raises EyeglassError if that cannot be."""
    try:
        import ray
    except ImportError:
        raise EyeglassError("Ray is not installed: pip install 'eyeglass-pipeline[ray]'") from None
    _check_reachable(address)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    try:
        ray.init(address=address, **quiet)
    except ConnectionError as error:
        if address != "auto":
            raise EyeglassError(f"no Ray cluster at {address}: {one_line(error)}") from None
        ray.init(include_dashboard=False, **quiet)
    finally:
        # Ray takes SIGTERM for itself.
        for number, handler in handlers.items():
            signal.signal(number, handler)
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises EyeglassError if nobody answers at HOST:PORT, for which Ray would wait minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except ValueError:
        raise EyeglassError(f"HOST:PORT of a Ray cluster is expected, got '{address}'") from None
    except OSError as error:
        raise EyeglassError(f"no Ray cluster at {address}: {one_line(error)}") from None


def _capacity(ray: Any, settings: RunSettings) -> int:
    """Tasks that the cluster as it is now can run at a time."""
    have = ray.cluster_resources()
    places = have.get("CPU", 0) / settings.threads
    return int(places if settings.device == "cpu" else min(places, have.get("GPU", 0)))


def _next_chunk(
    settings: RunSettings, todo: Iterator[list[Job]], free: list[int], mark: str, jobs: int
) -> Chunk | None:
    """Groups until they have `jobs` jobs, at least one; None if there is none."""
    groups: list[tuple[Job, ...]] = []
    while not groups or sum(map(len, groups)) < jobs:
        group = next(todo, None)
        if group is None:
            break
        groups.append(tuple(group))
    return Chunk(settings, free.pop(0), tuple(groups), mark) if groups else None


def _fetched(ray: Any, ref: Any) -> Delivery:
    """What a task returned. Raises EyeglassError for what it raised, or if it was lost for good."""
    try:
        delivery: Delivery = ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, EyeglassError | OSError):
            raise EyeglassError(str(cause)) from None
        raise
    except ray.exceptions.RayError as error:
        words = str(error).strip().splitlines()[0]
        raise EyeglassError(f"the Ray cluster lost a task too often: {words}") from None
    return delivery


def _unpacked(delivery: Delivery, out: Path, note: Note) -> Iterator[Outcome]:
    """The outcomes of a task, their files in place."""
    for event, facts in delivery.notes:
        note(event, **facts)
    for outcome in delivery.outcomes:
        files = delivery.files.get(outcome.job["index"])
        if files is not None and outcome.record is not None:
            store.place_sample(out, outcome.record, partial(_write, files), out / store.SCRATCH)
        yield outcome


def _files(out: Path, outcome: Outcome) -> dict[str, bytes]:
    folder = out / store.sample_folder(outcome.job["index"])
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != store.RECORD}


def _write(files: dict[str, bytes], folder: Path) -> None:
    for name, data in files.items():
        (folder / name).write_bytes(data)


def _marked(out: Path) -> str:
    mark = secrets.token_hex(16)
    (out / _MARK).write_text(mark, encoding="utf-8")
    return mark


def _reads(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
