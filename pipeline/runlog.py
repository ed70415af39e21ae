"""The log of a run as JSON lines in DIR/log/run.jsonl, and what it tells of a run at work.

Each line has `time` (UTC) and `event`:

    start         pid, host, workers; of, done, failed
    worker        worker, pid: a worker is ready
    sample        index, seconds, worker, memory_mb; of, done, failed; error, if it was left out
    retry         job, worker, error: a job is begun again
    hang          worker, seconds without progress
    replaced      worker, why
    start failed  worker, error
    disk          free_mb, needed_mb
    end           error, or null; of, done, failed

Where of, done and failed stand, they count samples of the whole run.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline import journal
from pipeline.errors import DatasetError
from pipeline.store import LOGS

LOG = f"{LOGS}/run.jsonl"
#: The end of the log that a status is read from: some thousand samples.
_TAIL_BYTES = 1 << 18


class RunLog:
    """Adds lines to the log."""

    def __init__(self, root: Path) -> None:
        self._file = (root / LOG).open("ab", buffering=0)

    def note(self, event: str, **facts: Any) -> None:
        """Adds a line with the time of day."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": time, "event": event, **facts}, ensure_ascii=False)
        self._file.write(line.encode() + b"\n")

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class Status:
    """A run as its log tells it.

    state: 'running', 'ended', 'died' (the log has no end and its process is gone), or 'silent'
    (it ran on another machine, whose processes cannot be seen).
    rate_per_h: samples an hour over the last of them, if there are two. memory_mb: by worker.
    last: time of the last line. error: why the run ended, if not because it was finished.
    """

    state: str
    of: int
    done: int
    failed: int
    rate_per_h: float | None
    memory_mb: dict[int, float]
    last: datetime
    where: str
    error: str | None

    @property
    def left(self) -> timedelta | None:
        """Time left at this rate, while it runs."""
        if self.state == "ended" or not self.rate_per_h:
            return None
        return timedelta(hours=max(0, self.of - self.done - self.failed) / self.rate_per_h)

    def as_text(self) -> str:
        """A line for each thing there is to say."""
        where = f", {self.where}" if self.where and self.state != "ended" else ""
        told = {"silent": "on another machine, which cannot be asked"}.get(self.state, self.state)
        lines = [
            f"state      {told}{where}; last heard of at {self.last:%Y-%m-%d %H:%M:%S} UTC",
            f"done       {self.done} of {self.of}",
            f"failed     {self.failed}",
        ]
        if self.rate_per_h:
            lines.append(f"rate       {self.rate_per_h:.0f} samples an hour")
        if self.left is not None:
            lines.append(f"time left  {shown_time(self.left)}")
        if self.memory_mb:
            each = ", ".join(f"{mb:.0f}" for _, mb in sorted(self.memory_mb.items()))
            lines.append(f"memory     {sum(self.memory_mb.values()):.0f} MB ({each})")
        if self.error:
            lines.append(f"ended by   {self.error}")
        return "\n".join(lines)


def shown_time(time: timedelta) -> str:
    """A span of time for people, in the two units that matter."""
    if time.total_seconds() < 120:
        return f"{time.total_seconds():.0f} s"
    minutes = int(time.total_seconds() / 60 + 0.5)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // (24 * 60)} d {minutes // 60 % 24} h"


def read_status(root: Path) -> Status:
    """What the log in `root` tells. Raises DatasetError if there is none."""
    events = list(_tail(root / LOG))
    counted = [event for event in events if "done" in event]
    if not counted:
        raise DatasetError(f"{root}: no run has begun here; {LOG} is expected in it")
    begun = max((i for i, e in enumerate(events) if e["event"] == "start"), default=0)
    samples = [event for event in events[begun:] if event["event"] == "sample"]
    ended = [event for event in events[begun:] if event["event"] == "end"]
    now = counted[-1]
    who = journal.writer(root)
    return Status(
        state="ended" if ended else _state(who),
        of=now["of"],
        done=now["done"],
        failed=now["failed"],
        rate_per_h=_rate(samples),
        memory_mb={} if ended else {e["worker"]: e["memory_mb"] for e in samples},
        last=_time(events[-1]),
        where=f"process {who['pid']} on {who['host']}" if who else "",
        error=ended[-1].get("error") if ended else None,
    )


def _rate(samples: list[dict[str, Any]]) -> float | None:
    if len(samples) < 2:
        return None
    seconds = (_time(samples[-1]) - _time(samples[0])).total_seconds()
    return 3600 * (len(samples) - 1) / seconds if seconds > 0 else None


def _state(who: dict[str, Any] | None) -> str:
    if who is None:
        return "died"
    if who["host"] != socket.gethostname():
        return "silent"
    try:
        os.kill(int(who["pid"]), 0)
    except ProcessLookupError:
        return "died"
    except PermissionError:
        pass
    return "running"


def _time(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["time"])


def _tail(path: Path) -> Iterator[dict[str, Any]]:
    """The last whole lines of a log."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        for line in file:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and {"time", "event"} <= event.keys():
                yield event
