"""Work on many samples at the same time, in order, with few of them in memory."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

from pipeline.errors import EyeglassError

Job = TypeVar("Job")
Result = TypeVar("Result")

#: Jobs handed over at a time, and such handfuls under way or waiting for each process.
_HANDFUL = 8
_AHEAD = 3


def in_order(
    work: Callable[[Job], Result], jobs: Iterable[Job], processes: int, preload: str
) -> Iterator[Result]:
    """`work` of each job in turn, done by so many processes; all must be picklable.

    Processes, because decoding leaves Python's lock to others, but what surrounds it does not: on
    two cores threads are as fast, on many they are not (`make bench-check`). preload: the module of
    `work`, which is imported once. Raises EyeglassError if a process is killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    todo = iter(jobs)
    handfuls = iter(lambda: list(itertools.islice(todo, _HANDFUL)), [])
    with ProcessPoolExecutor(processes, context, _begin) as pool:
        ahead: deque[Future[list[Result]]] = deque()
        try:
            for handful in handfuls:
                ahead.append(pool.submit(_each, work, handful))
                if len(ahead) >= _AHEAD * processes:
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()
        except BrokenProcessPool:
            raise EyeglassError("a process that read samples was ended; is memory short?") from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _each(work: Callable[[Job], Result], jobs: list[Job]) -> list[Result]:
    return [work(job) for job in jobs]


def _begin() -> None:
    # Ctrl-C is the parent's to act on; the cores are all taken; and what libpng prints about a
    # broken file is said in one line by whoever reads it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
