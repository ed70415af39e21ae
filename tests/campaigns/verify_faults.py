"""make verify-faults: runs that are killed, hung, torn and starved, against one left in peace.

Runs of 300 samples with the fake worker are disturbed at random from within (workers that crash,
hang, raise, die half-way through a sample or between a sample and its answer; an index torn in the
middle of a line; full disks; a parent killed by a worker's hand) and from without (the parent, a
worker or all of them killed, the parent interrupted), and begun again until they end. Then a run of
the real renderer is, from without. What is left must be the undisturbed run, byte for byte.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fakeworker import FAULTS

HERE = Path(__file__).parent.parent
SAMPLES, LEAST_FAULTS = 300, 200
#: Of a run: faults of samples, some of which meet the same sample, and of the parent.
_INSIDE, _TORN, _FULL = 24, 2, 2
_ENDED_S = 5.0


@dataclass
class Tally:
    """What was done to runs, and what went wrong with them."""

    faults: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    starts: int = 0


def data_files(root: Path) -> dict[str, bytes]:
    """Every file of a dataset but its log."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[0] != "log"
    }


def processes(root: Path) -> dict[int, str]:
    """State of each process whose temporary folder is in `root`: all workers of its runs."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={root.resolve()}/".encode() in (folder / "environ").read_bytes():
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                found[int(folder.name)] = state
        except OSError:
            continue
    return found


def zombies_of(parent: int) -> set[int]:
    """Children of a process that are dead and that it has not asked for."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, ppid = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state == "Z" and int(ppid) == parent:
            found.add(int(path.parent.name))
    return found


def heeds(pid: int) -> bool:
    """Whether a process has come so far that it catches SIGTERM."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def ask_for_faults(rng: random.Random, folder: Path, samples: int, tally: Tally) -> None:
    """Files that `fakeworker` and `fakerun` look for."""
    kinds = [*FAULTS, "kill-parent", "full"]
    for number in rng.choices(range(samples), k=_INSIDE * samples // SAMPLES + 4):
        kind = rng.choice(kinds)
        with (folder / str(number)).open("a") as file:
            file.write(f"{kind}\n")
        tally.faults[kind] += 1
    for kind, times in (("tear", _TORN), ("full", _FULL)):
        for number in rng.sample(range(samples), times):
            (folder / f"append-{number}").write_text(kind)
            tally.faults[f"{kind} index"] += 1


def disturb(rng: random.Random, run: subprocess.Popen[bytes], root: Path, tally: Tally) -> None:
    """Kills or interrupts a run, or a part of it."""
    workers = list(processes(root))
    kind = rng.choice(["parent killed", "worker killed", "all killed", "interrupted", "ended"])
    victims = [run.pid]
    if kind == "worker killed":
        victims = workers[:1]
    elif kind == "all killed":
        victims = [run.pid, *workers]
    number = {"interrupted": signal.SIGINT, "ended": signal.SIGTERM}.get(kind, signal.SIGKILL)
    if number != signal.SIGKILL and not heeds(run.pid):
        return
    for pid in victims:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
        tally.faults[kind] += pid == victims[0]


def until_it_ends(
    rng: random.Random, command: Sequence[str], root: Path, tally: Tally, disturbances: int,
    pause_s: float, environment: dict[str, str],
) -> None:  # fmt: skip
    """Begins a run again and again, disturbing it, until it ends well."""
    while True:
        tally.starts += 1
        run = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, cwd=HERE,
        )  # fmt: skip
        zombies: set[int] = set()
        while disturbances:
            try:
                run.wait(rng.uniform(0.2, 1) * pause_s)
                break
            except subprocess.TimeoutExpired:
                if not_asked_for := zombies & zombies_of(run.pid):
                    tally.wrong.append(f"zombies: {not_asked_for}")
                zombies = zombies_of(run.pid)
                before = tally.faults.total()
                disturb(rng, run, root, tally)
                disturbances -= tally.faults.total() - before
        _, said = run.communicate()
        _look_after(run, said.decode(), root, tally)
        if run.returncode == 0 or tally.wrong:
            return


def _look_after(run: subprocess.Popen[bytes], said: str, root: Path, tally: Tally) -> None:
    """What may not be once a run has ended, however it did."""
    end = time.monotonic() + _ENDED_S
    while (left := {p: s for p, s in processes(root).items() if s != "Z"}) and (
        time.monotonic() < end
    ):
        time.sleep(0.02)
    if left:
        tally.wrong.append(f"workers outlive their run: {left}")
    if run.returncode not in (0, 2, 3, 130, -signal.SIGKILL):
        tally.wrong.append(f"ended with {run.returncode}: {said}")
    if "Traceback" in said:
        tally.wrong.append(said)
    if run.returncode != -signal.SIGKILL:
        strays = [str(path) for path in (*root.rglob("*.tmp"), *root.glob("log/scratch"))]
        if strays:
            tally.wrong.append(f"left behind after {run.returncode}: {strays}")


def fake_campaign(folder: Path, seed: int, samples: int, disturbances: int, tally: Tally) -> None:
    """One run of fakes against one left in peace."""
    rng = random.Random(seed)
    faults = folder / f"faults-{seed}"
    faults.mkdir()
    command = [sys.executable, "fakerun.py", "", str(samples), "--pairs", str(1 + seed % 3),
               "--jobs", "40"]  # fmt: skip
    environment = {"PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)]), "FAKE_S": "0.004"}
    peace, war = folder / f"peace-{seed}", folder / f"war-{seed}"
    command[2] = str(peace)
    subprocess.run(
        command, env={**os.environ, **environment}, cwd=HERE, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    ask_for_faults(rng, faults, samples, tally)
    command[2] = str(war)
    until_it_ends(
        rng, command, war, tally, disturbances, 1.5, environment | {"FAULTS": str(faults)}
    )
    # A sample that was finished as its worker was killed is not begun again.
    spared = Counter(kind for path in faults.iterdir() for kind in path.read_text().split())
    tally.faults -= spared
    if data_files(peace) != data_files(war):
        tally.wrong.append(f"run {seed} is not what the undisturbed one is")


def real_campaign(folder: Path, samples: int, disturbances: int, tally: Tally) -> None:
    """The same with the real renderer, disturbed from without."""
    command = [sys.executable, "-m", "pipeline.cli", "generate", "--scene", "smoke", "--count",
               str(samples), "--out"]  # fmt: skip
    environment = {"PYTHONPATH": str(HERE.parent)}
    peace, war = folder / "peace", folder / "war"
    subprocess.run(
        [*command, str(peace)], env={**os.environ, **environment}, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    until_it_ends(
        random.Random(0), [*command, str(war)], war, tally, disturbances, 30.0, environment
    )
    if data_files(peace) != data_files(war):
        tally.wrong.append("the real run is not what the undisturbed one is")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=LEAST_FAULTS)
    parser.add_argument("--real", type=int, default=12, help="samples with the real renderer")
    options = parser.parse_args()
    fast = Path("/dev/shm")
    tally, seed = Tally(), 0
    with tempfile.TemporaryDirectory(dir=fast if fast.is_dir() else None) as folder:
        while tally.faults.total() < options.faults and not tally.wrong:
            fake_campaign(Path(folder), seed, SAMPLES, 8, tally)
            seed += 1
            print(f"run {seed}: {tally.faults.total()} faults, {tally.starts} starts", flush=True)
        if options.real and not tally.wrong:
            before = tally.faults.total()
            real_campaign(Path(folder), options.real, 8, tally)
            print(f"real: {options.real} samples, {tally.faults.total() - before} faults")
    print(", ".join(f"{kind} {times}" for kind, times in sorted(tally.faults.items())))
    for wrong in tally.wrong:
        print(f"WRONG: {wrong}")
    print(f"verify-faults: {'FAILED' if tally.wrong else 'passed'}")
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
