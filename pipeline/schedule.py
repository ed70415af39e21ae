"""Hands jobs to workers on this machine, and replaces workers that die, hang or grow."""

from __future__ import annotations

import selectors
import statistics
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from pipeline.errors import EyeglassError
from pipeline.jobs import Outcome, RunSettings
from pipeline.supervise import WorkerProcess

Job = dict[str, Any]
#: Told what happens to workers: the kind of event, and facts about it.
Note = Callable[..., None]
#: So many of the last jobs make the median.
_REMEMBERED = 101


def run_jobs(
    settings: RunSettings,
    groups: Iterable[list[Job]],
    workers: int,
    note: Note = lambda event, **facts: None,
    first: int = 0,
) -> Generator[Outcome]:
    """One outcome for each job, as they finish, from child processes.

    They are numbered from `first` on, and there are `workers` of them.

    The jobs of a group go to the same child one after another, since they have much in common. A
    job whose child dies or hangs, or which raises an exception, is begun again in a new child, up
    to `Supervision.tries` times. Closing the iterator, or an exception in whoever reads it, ends
    the children. Raises EyeglassError for what is the user's to mend: the run cannot go on then.
    """
    crew = _Crew(settings, iter(groups), note)
    done = False
    try:
        yield from crew.work(range(first, first + workers))
        done = True
    finally:
        crew.end(kill=not done)


class _Post:
    """A place for a worker: its child, if there is one, and the job it is at."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.child: WorkerProcess | None = None
        self.ready = False
        self.group: deque[Job] = deque()
        self.job: Job | None = None
        self.tries = 0
        self.spec: dict[str, Any] | None = None
        self.begun = 0.0
        self.deadline = 0.0
        self.jobs = 0
        self.first_mb = 0.0


class _Crew:
    """All workers of a run. One thread: it waits for whichever of them has something to say."""

    def __init__(self, settings: RunSettings, groups: Iterator[list[Job]], note: Note) -> None:
        self._settings = settings
        self._rules = settings.supervision
        self._groups = groups
        self._note = note
        self._posts: list[_Post] = []
        self._selector = selectors.DefaultSelector()
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)
        self._failed_starts = 0

    def work(self, numbers: Iterable[int]) -> Generator[Outcome]:
        self._posts = [_Post(number) for number in numbers]
        for post in self._posts:
            self._next(post)
        while busy := [post for post in self._posts if post.job is not None]:
            patience = min(post.deadline for post in busy) - time.monotonic()
            for key, _ in self._selector.select(max(0.0, patience)):
                yield from self._hear(key.data)
            now = time.monotonic()
            for post in busy:
                if post.job is not None and now >= post.deadline:
                    yield from self._give_up(post)

    def end(self, kill: bool) -> None:
        """Ends all children: at once, or those that have nothing to do."""
        for post in self._posts:
            self._dismiss(post, kill)
        self._selector.close()

    def _next(self, post: _Post) -> None:
        """Takes the next job, if any is left, and begins it."""
        if not post.group:
            post.group.extend(next(self._groups, ()))
        if post.group:
            post.job, post.tries, post.spec = post.group.popleft(), 0, None
            self._begin(post)
        else:
            post.job = None
            self._dismiss(post, kill=False)

    def _begin(self, post: _Post) -> None:
        """Sends the job of a post to its child, which is started first if there is none."""
        post.begun = time.monotonic()
        if post.child is None:
            post.child = WorkerProcess(self._settings, post.number)
            post.ready, post.jobs, post.first_mb = False, 0, 0.0
            self._selector.register(post.child, selectors.EVENT_READ, post)
            post.deadline = post.begun + self._rules.start_s
        elif post.job is not None:
            post.tries += 1
            post.child.send(post.job)
            post.deadline = post.begun + self._limit_s(post)

    def _limit_s(self, post: _Post) -> float:
        """Seconds without progress after which a worker is taken to hang."""
        rules = self._rules
        limit = rules.unknown_s
        if self._seconds:
            limit = max(rules.hang_least_s, rules.hang_factor * statistics.median(self._seconds))
        return limit + (0.0 if post.jobs else rules.first_s)

    def _hear(self, post: _Post) -> Generator[Outcome]:
        child = post.child
        if child is None:
            return
        answers, ended = child.read()
        for answer in answers:
            if not post.ready:
                self._started(post, answer)
            elif "progress" in answer:
                post.spec = answer["progress"]["spec"]
                post.deadline = time.monotonic() + self._limit_s(post)
            else:
                yield from self._answered(post, answer)
        if ended and post.child is child:
            yield from self._died(post)

    def _started(self, post: _Post, answer: dict[str, Any]) -> None:
        if "error" in answer:
            raise EyeglassError(answer["error"].strip().splitlines()[-1])
        assert post.child is not None
        self._note("worker", worker=post.number, pid=post.child.pid)
        post.ready = True
        self._failed_starts = 0
        self._begin(post)

    def _answered(self, post: _Post, answer: dict[str, Any]) -> Generator[Outcome]:
        if answer.get("user"):
            raise EyeglassError(answer["error"])
        if "error" in answer:
            yield from self._failed(post, answer["error"])
            return
        assert post.child is not None
        seconds, memory = time.monotonic() - post.begun, post.child.memory_mb()
        self._seconds.append(seconds)
        post.jobs += 1
        post.first_mb = post.first_mb or memory
        outcome = self._outcome(post, answer, seconds, memory)
        self._replace_if_worn(post, memory)
        self._next(post)
        yield outcome

    def _outcome(
        self, post: _Post, answer: dict[str, Any], seconds: float, memory: float
    ) -> Outcome:
        assert post.job is not None
        rejected = tuple(answer.get("rejected", ()))
        reason = ""
        if rejected:
            last = rejected[-1]["reason"]
            reason = f"no pair could be worn in {len(rejected)} attempts: {last}"
        return Outcome(
            post.job, answer.get("record"), reason, rejected, post.spec,
            answer.get("verified"), seconds, post.number, memory,
        )  # fmt: skip

    def _replace_if_worn(self, post: _Post, memory: float) -> None:
        why = ""
        if post.jobs >= self._rules.jobs:
            why = f"{post.jobs} jobs"
        elif memory > max(self._rules.memory_mb, 2 * post.first_mb):
            why = f"{memory:.0f} MB"
        if why:
            self._note("replaced", worker=post.number, why=why)
            self._dismiss(post, kill=False)

    def _died(self, post: _Post) -> Generator[Outcome]:
        assert post.child is not None
        cause = post.child.cause_of_death()
        if post.ready:
            yield from self._failed(post, cause)
        else:
            words = post.child.last_words()
            self._start_failed(post, f"a worker could not start: {words}")

    def _give_up(self, post: _Post) -> Generator[Outcome]:
        if not post.ready:
            self._start_failed(post, "a worker could not start: it hung")
            return
        self._note("hang", worker=post.number, seconds=round(time.monotonic() - post.begun, 1))
        yield from self._failed(post, "its worker hung")

    def _start_failed(self, post: _Post, error: str) -> None:
        self._failed_starts += 1
        self._note("start failed", worker=post.number, error=error)
        self._dismiss(post, kill=True)
        if self._failed_starts >= self._rules.tries:
            raise EyeglassError(error)
        self._begin(post)

    def _failed(self, post: _Post, error: str) -> Generator[Outcome]:
        """Begins a job again in a new child, or lets it be."""
        assert post.job is not None
        memory = post.child.memory_mb() if post.child else 0.0
        self._dismiss(post, kill=True)
        if post.tries < self._rules.tries:
            self._note("retry", worker=post.number, job=post.job.get("index"), error=error)
            self._begin(post)
            return
        seconds = time.monotonic() - post.begun
        outcome = Outcome(
            post.job, None, error, spec=post.spec, seconds=seconds, worker=post.number,
            memory_mb=memory,
        )  # fmt: skip
        self._next(post)
        yield outcome

    def _dismiss(self, post: _Post, kill: bool) -> None:
        child, post.child = post.child, None
        if child is not None:
            self._selector.unregister(child)
            if kill:
                child.kill()
            else:
                child.close()
