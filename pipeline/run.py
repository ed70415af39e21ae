"""Runs workers: local child processes that render samples, and what the parent keeps of them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline import store
from pipeline.catalog.catalog import Catalog, open_catalog
from pipeline.errors import EyeglassError
from pipeline.recipe import Recipe


@dataclass(frozen=True)
class AssetFolders:
    """The user's folders in place of a kind of the catalogue, or None."""

    heads: Path | None = None
    glasses: Path | None = None
    hdri: Path | None = None
    backgrounds: Path | None = None

    def open(self) -> Catalog:
        """What there is to draw from with these folders. Raises AssetError in one line."""
        return open_catalog(**asdict(self))

    def as_text(self) -> dict[str, str | None]:
        """Absolute paths by kind: a dataset is continued and rendered again from anywhere."""
        return {kind: path and str(path.resolve()) for kind, path in asdict(self).items()}


@dataclass(frozen=True)
class RunSettings:
    """What all workers of a run are told.

    verify: whether each sample's layers are also traced in full and compared.
    """

    recipe: Recipe
    assets: AssetFolders
    seed: int
    out: Path
    threads: int
    device: str
    verify: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a job: a record, or the reason why there is none.

    verified: figures of `pipeline.blender.verify`, if they were asked for.
    """

    job: dict[str, Any]
    record: dict[str, Any] | None
    error: str = ""
    rejected: tuple[dict[str, Any], ...] = ()
    verified: dict[str, float] | None = None


class WorkerProcess:
    """One child process. Jobs are answered in order; a child that dies gives an error."""

    def __init__(self, settings: RunSettings, log: Path) -> None:
        read_end, write_end = os.pipe()
        self._log = log
        self._settings = settings
        log.parent.mkdir(parents=True, exist_ok=True)
        # Blender leaves its own temporary folder behind when it is killed.
        self._scratch = tempfile.TemporaryDirectory(prefix="eyeglass-", ignore_cleanup_errors=True)
        log.write_bytes(b"")
        # Appended to, because the child empties it before each job.
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.worker", str(write_end)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[write_end],
                env={**os.environ, "TMPDIR": self._scratch.name},
                text=True,
                encoding="utf-8",
                # -P keeps a folder named pipeline where the user stands from being imported.
                # Ctrl-C is the parent's to act on.
                start_new_session=True,
            )
        os.close(write_end)
        self._answers = os.fdopen(read_end, encoding="utf-8")

    def start(self) -> None:
        """Hands over the settings. Raises EyeglassError if the child cannot meet them."""
        settings = self._settings
        self._send(
            {
                "recipe": settings.recipe.model_dump(mode="json"),
                "assets": settings.assets.as_text(),
                "seed": settings.seed,
                "out": str(settings.out.resolve()),
                "threads": settings.threads,
                "device": settings.device,
                "verify": settings.verify,
            }
        )
        answer = self._answer()
        if answer is None:
            raise EyeglassError(f"a worker could not start: {self._last_words()}")
        if "error" in answer:
            raise EyeglassError(answer["error"])

    def run(self, job: dict[str, Any]) -> Outcome:
        """Sends a job and waits for its answer. Raises EyeglassError for the user's mistakes."""
        self._send(job)
        answer = self._answer()
        if answer is None:
            return Outcome(job, None, self._cause_of_death())
        if answer.get("user"):
            raise EyeglassError(answer["error"])
        if "rejected" in answer:
            last = answer["rejected"][-1]
            reason = (
                f"no pair could be worn in {len(answer['rejected'])} attempts: {last['reason']}"
            )
            return Outcome(job, None, reason, tuple(answer["rejected"]))
        return Outcome(
            job, answer.get("record"), answer.get("error", ""), verified=answer.get("verified")
        )

    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self, kill: bool = False) -> None:
        """Ends the child: after its last answer, or at once."""
        if kill:
            self._process.kill()
        if self._process.stdin and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait()
        self._scratch.cleanup()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        # A broken pipe is a dead child: its missing answer tells.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def _answer(self) -> dict[str, Any] | None:
        line = self._answers.readline()
        return json.loads(line) if line else None

    def _cause_of_death(self) -> str:
        status = self._process.wait()
        if status < 0:
            return f"its worker was ended by {signal.Signals(-status).name}"
        return f"its worker ended with status {status}: {self._last_words()}"

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        said = [line.strip() for line in lines if line.strip() and "WARNING" not in line]
        return said[-1] if said else "it left no message"


def run_jobs(
    settings: RunSettings, groups: Iterable[list[dict[str, Any]]], workers: int
) -> Generator[Outcome]:
    """Outcomes of jobs as they finish, from `workers` child processes.

    The jobs of a group go to the same child one after another, since they have much in common.
    Closing the iterator, or an exception in whoever reads it, ends the children. Raises
    EyeglassError for what is the user's to mend.
    """
    todo = iter(groups)
    lock = threading.Lock()
    done: queue.Queue[Outcome | BaseException | None] = queue.Queue()
    children: list[WorkerProcess] = []
    stop = threading.Event()

    def next_group() -> list[dict[str, Any]] | None:
        with lock:
            return None if stop.is_set() else next(todo, None)

    def serve(number: int) -> None:
        log = settings.out / "log" / f"worker-{number}.txt"
        child: WorkerProcess | None = None
        try:
            while (group := next_group()) is not None:
                for job in group:
                    if stop.is_set():
                        break
                    if child is None or not child.alive():
                        child = WorkerProcess(settings, log)
                        children.append(child)
                        child.start()
                    done.put(child.run(job))
        except BaseException as error:
            done.put(error)
        finally:
            done.put(None)

    threads = [threading.Thread(target=serve, args=(n,), daemon=True) for n in range(workers)]
    for thread in threads:
        thread.start()
    running = workers
    try:
        while running:
            outcome = done.get()
            if outcome is None:
                running -= 1
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                yield outcome
    finally:
        finished = not running
        stop.set()
        for child in children:
            child.close(kill=not finished)
        for thread in threads:
            thread.join()


def check_device(settings: RunSettings) -> None:
    """Raises EyeglassError if the device asked for is not there; only a child can tell."""
    if settings.device not in ("auto", "cpu"):
        with tempfile.TemporaryDirectory(prefix="eyeglass-") as folder:
            child = WorkerProcess(settings, Path(folder) / "log.txt")
            try:
                child.start()
            finally:
                child.close()


def generate(
    settings: RunSettings,
    description: dict[str, Any],
    workers: int,
    report: Callable[[Outcome], None],
) -> tuple[dict[int, dict[str, Any]], list[Outcome]]:
    """Renders what is missing of a dataset and brings its index in order.

    description: of `pipeline.store.open_run`, whose `count` says how many samples there are.
    report: told of each outcome. Returns the records by index, and the failures.
    """
    store.check_run(settings.out, description)
    check_device(settings)
    with store.writing(settings.out):
        records = store.open_run(settings.out, description)
        failures = []
        missing = (i for i in range(description["count"]) if i not in records)
        portraits = itertools.groupby(missing, lambda i: i // settings.recipe.pairs_per_portrait)
        groups = ([{"index": i} for i in indices] for _, indices in portraits)
        outcomes = run_jobs(settings, groups, min(workers, description["count"] - len(records)))
        try:
            with contextlib.closing(outcomes):
                for outcome in outcomes:
                    if outcome.record is None:
                        failures.append(outcome)
                    else:
                        records[outcome.job["index"]] = outcome.record
                        store.append_record(settings.out, outcome.record)
                    store.log(settings.out, outcome.job["index"], outcome.error)
                    report(outcome)
        finally:
            store.remove_leftovers(settings.out)
        store.write_index(settings.out, records)
        store.write_failed(settings.out, [_failure(outcome) for outcome in failures])
    return records, failures


def _failure(outcome: Outcome) -> dict[str, Any]:
    """A line of failed.jsonl; the log has the whole traceback, with paths of this machine."""
    return {
        "index": outcome.job["index"],
        "error": outcome.error.strip().splitlines()[-1],
        "rejected": list(outcome.rejected),
    }
