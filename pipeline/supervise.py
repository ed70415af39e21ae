"""One worker's life: start, messages both ways, memory, death."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import EyeglassError
from pipeline.jobs import RunSettings
from pipeline.store import LOGS, SCRATCH

#: A child that was killed is gone at once, unless the system holds it in a call.
_KILLED_S, _ENDED_S = 5.0, 3.0
_WORDS_BYTES = 1 << 16


def count_gpus(settings: RunSettings) -> int:
    """How many GPUs the device asked for has here; 0 means the CPU. Starts a child to ask.

    Raises EyeglassError if the device is not there.
    """
    if settings.device == "cpu":
        return 0
    with tempfile.TemporaryDirectory(prefix="eyeglass-") as folder:
        child = WorkerProcess(replace(settings, out=Path(folder)), 0)
        try:
            answers: list[dict[str, Any]] = []
            ended = False
            while not answers and not ended:
                if not select.select([child], [], [], settings.supervision.start_s)[0]:
                    raise EyeglassError("a worker could not start: it hung")
                answers, ended = child.read()
            if not answers:
                raise EyeglassError(f"a worker could not start: {child.last_words()}")
            if "error" in answers[0]:
                raise EyeglassError(answers[0]["error"].strip().splitlines()[-1])
            return int(answers[0]["gpus"])
        finally:
            child.close()


class WorkerProcess:
    """A child process that speaks the language of `pipeline.worker`.

    It lives in a session of its own, so that Ctrl-C reaches the parent only, and its temporary
    files lie in a folder that goes with it.
    """

    def __init__(self, settings: RunSettings, number: int) -> None:
        logs, scratch = settings.out / LOGS, settings.out / SCRATCH
        scratch.mkdir(parents=True, exist_ok=True)
        self.scratch = Path(tempfile.mkdtemp(prefix=f"worker-{number}-", dir=scratch))
        self._log = logs / f"worker-{number}.txt"
        self._log.write_bytes(b"")
        self._rest = b""
        read_end, write_end = os.pipe()
        try:
            # Appended to, because the child empties it before each job.
            with self._log.open("ab") as output:
                self._process = subprocess.Popen(
                    [*settings.command, str(write_end)],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    pass_fds=[write_end],
                    env={**os.environ, "TMPDIR": str(self.scratch.resolve())},
                    start_new_session=True,
                )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        os.set_blocking(read_end, False)
        self._answers = read_end
        self.pid = self._process.pid
        self.send(settings.for_worker(number, self.scratch))

    def fileno(self) -> int:
        """What becomes readable when there is an answer, or when the child is dead."""
        return self._answers

    def send(self, message: dict[str, Any]) -> None:
        """Sends settings or a job. That the child is dead shows in its answers."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """The answers that have come by now, and whether no more will come."""
        ended = False
        while True:
            try:
                data = os.read(self._answers, 1 << 16)
            except BlockingIOError:
                break
            if not data:
                ended = True
                break
            self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        return [json.loads(line) for line in lines], ended

    def memory_mb(self) -> float:
        """What the child has in RAM; 0 if it is gone, or the system does not tell."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            return 0.0
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def kill(self) -> None:
        """Ends the child and all that it started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._tidy(_KILLED_S)

    def close(self) -> None:
        """Ends a child that has nothing to do."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDED_S)
        self.kill()

    def cause_of_death(self) -> str:
        """Why the child is no more, in words; ends it if it only stopped answering."""
        try:
            status = self._process.wait(_ENDED_S)
        except subprocess.TimeoutExpired:
            return "its worker stopped answering"
        if status < 0:
            names = {number.value: number.name for number in signal.Signals}
            return f"its worker was ended by {names.get(-status, f'signal {-status}')}"
        return f"its worker ended with status {status}: {self.last_words()}"

    def last_words(self) -> str:
        """The last line that the child printed."""
        with self._log.open("rb") as file:
            file.seek(max(0, self._log.stat().st_size - _WORDS_BYTES))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
        said = [line.strip() for line in lines if line.strip() and "WARNING" not in line]
        return said[-1] if said else "it left no message"

    def _tidy(self, patience_s: float) -> None:
        # One that hangs in the system's hands is not waited for; it ends when it gets out.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        if self._answers >= 0:
            os.close(self._answers)
            self._answers = -1
        # Blender leaves its own temporary folder behind when it is killed.
        shutil.rmtree(self.scratch, ignore_errors=True)
