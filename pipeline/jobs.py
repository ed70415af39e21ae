"""What a run is told, and what becomes of its jobs: plain values between its parts."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.catalog.catalog import Catalog, open_catalog
from pipeline.recipe import Recipe

#: -P keeps a folder named pipeline where the user stands from being imported.
WORKER = (sys.executable, "-P", "-m", "pipeline.worker")


#: Kinds of assets that a folder of the user's can replace.
KINDS = ("heads", "glasses", "hdri", "backgrounds")


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
class Supervision:
    """When a worker is given up, and when it is replaced.

    tries: times a job is begun before its sample is left out, and times in a row that workers may
    fail to start before the run ends.
    A worker hangs when it has shown no progress for `hang_factor` times the median time of the last
    jobs, but at least `hang_least_s`; `unknown_s` is allowed before there is a median, and
    `first_s` more for the first job of each worker, which loads what later ones find there.
    start_s: for the start itself, in which all of the user's meshes are read once.
    A worker is replaced after `jobs`, or when it takes twice the memory of its first job and more
    than `memory_mb`.
    """

    tries: int = 3
    hang_factor: float = 10.0
    hang_least_s: float = 60.0
    unknown_s: float = 1800.0
    first_s: float = 600.0
    start_s: float = 1800.0
    jobs: int = 1000
    memory_mb: float = 1500.0


@dataclass(frozen=True)
class RunSettings:
    """What all workers of a run are told.

    verify: whether each sample's layers are also traced in full and compared.
    gpus: worker n computes on GPU n modulo `gpus`; 0 for all that there are.
    command: starts a worker; the number of a file descriptor for its answers is added.
    """

    recipe: Recipe
    assets: AssetFolders
    seed: int
    out: Path
    threads: int
    device: str
    verify: bool = False
    gpus: int = 0
    command: tuple[str, ...] = WORKER
    supervision: Supervision = Supervision()

    def for_worker(self, number: int, scratch: Path) -> dict[str, Any]:
        """The first line that worker `number` reads; see `pipeline.worker`."""
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "assets": self.assets.as_text(),
            "seed": self.seed,
            "out": str(self.out.resolve()),
            "scratch": str(scratch.resolve()),
            "threads": self.threads,
            "device": self.device,
            "gpu": number % self.gpus if self.gpus else None,
            "verify": self.verify,
        }


@dataclass(frozen=True)
class Outcome:
    """What became of a job: a record, or the reason why there is none.

    spec: of the attempt that a failed job was at, if it got so far.
    verified: figures of `pipeline.blender.verify`, if they were asked for.
    seconds: from the job's last beginning to its end. worker, memory_mb: whose, and what it then
    took.
    """

    job: dict[str, Any]
    record: dict[str, Any] | None
    error: str = ""
    rejected: tuple[dict[str, Any], ...] = ()
    spec: dict[str, Any] | None = None
    verified: dict[str, float] | None = None
    seconds: float = 0.0
    worker: int = 0
    memory_mb: float = 0.0

    @property
    def reason(self) -> str:
        """The last line of the error: what is said of it outside the log."""
        return self.error.strip().splitlines()[-1] if self.error.strip() else ""


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
