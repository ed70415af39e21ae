"""The worker's end of the line: jobs come in, answers go out, nothing outlives the parent.

JSON lines come on standard input: first the settings, as `RunSettings.for_worker` writes them,
then jobs. Answers are JSON lines on the file descriptor named by the first argument, since Blender
writes to standard output whenever it likes: {"ready": true, ...} to the settings, then to each job
one that is not {"progress": ...}, of which any number may come before. {"error": text, "user":
bool} says that there is none; "user" that it is the user's to mend, so that the run cannot go on.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from pipeline import disk
from pipeline.errors import EyeglassError

Tell = Callable[[dict[str, Any]], None]


class Served(Protocol):
    """Answers jobs."""

    def ready(self) -> dict[str, Any]: ...

    def run(self, job: dict[str, Any]) -> dict[str, Any]: ...


def serve(make: Callable[[dict[str, Any], Tell], Served]) -> NoReturn:
    """Serves jobs until standard input ends, or the parent does, then ends this process at once."""
    answers = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8")

    def tell(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    lines = _watched_input()
    settings = json.loads(lines.get())
    served: Served | None = None
    while True:
        try:
            if served is None:
                served = make(settings, tell)
                answer = {"ready": True, **served.ready()}
            else:
                answer = served.run(json.loads(lines.get()))
        except EyeglassError as error:
            answer = {"error": str(error), "user": True}
        except OSError as error:
            answer = {"error": traceback.format_exc(), "user": False}
            if error.errno in disk.FULL:
                answer = {"error": str(disk.full(settings["out"], str(error))), "user": True}
        except Exception:
            answer = {"error": traceback.format_exc(), "user": False}
        tell(answer)
        _forget_log()


def _watched_input() -> queue.SimpleQueue[str]:
    """The lines of standard input as they come; when there are no more, this process ends.

    A thread reads them, because the main one is in Cycles' hands for long. Should no thread get a
    turn, the system ends the process whose parent was killed.
    """
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        # Not by way of the interpreter's end, at which Blender's module may crash.
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    if os.getppid() != parent:
        os._exit(0)
    return lines


#: From <sys/prctl.h> of Linux.
_PR_SET_PDEATHSIG = 1


def _forget_log() -> None:
    """Keeps what Blender printed about the last job only; a log of weeks would fill the disk."""
    sys.stdout.flush()
    try:
        os.ftruncate(1, 0)
    except OSError:
        return  # not a file: somebody is looking on
