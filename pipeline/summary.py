"""What a run says of itself: a line a sample or a bar, and at the end the sheet and the shares."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from pipeline import store
from pipeline.contact import MAX_SAMPLES, contact_sheet
from pipeline.jobs import Outcome
from pipeline.journal import read_failures
from pipeline.run import Totals
from pipeline.wholefile import write_whole


class Progress:
    """A bar on a terminal, a line a sample elsewhere.

    verified, worst: samples that were compared with full traces, and the largest figures.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._shown = sys.stderr.isatty()
        self._bar = tqdm(total=count, unit="sample", disable=not self._shown, dynamic_ncols=True)
        self.verified = 0
        self.worst: dict[str, float] | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def report(self, outcome: Outcome, totals: Totals) -> None:
        if outcome.verified:
            self.verified += 1
            worst = self.worst or outcome.verified
            self.worst = {key: max(worst[key], outcome.verified[key]) for key in worst}
            tqdm.write(f"sample {outcome.job['index']}: {verification(outcome.verified)}")
        now = totals.done + totals.failed
        if not self._bar.n:
            # What an earlier run made says nothing about this one's speed.
            self._bar.initial = self._bar.n = now - 1
        self._bar.update(now - self._bar.n)
        index, record = outcome.job["index"], outcome.record
        if record is None:
            tqdm.write(f"sample {index} failed: {outcome.reason}", file=sys.stderr)
        elif not self._shown:
            print(
                f"{record['id']}  {record['subject']}  {record['expression']}  "
                f"{record['glasses']}  ({totals.done} done of {self._count})",
                flush=True,
            )


def verification(figures: dict[str, float]) -> str:
    """Figures of `pipeline.blender.verify` in words."""
    return (
        f"{figures['unequal_px']:.0f} px unequal where equal is the rule, by at most "
        f"{figures['unequal_by']:.2f} of 255; left out of a block at "
        f"most {figures['omitted']:.2f} of 255 ({figures['omitted_abs']:.2f} without sign); "
        f"`all` traced in {figures['border']:.1%}"
    )


def compared(progress: Progress, done: int) -> str:
    """The worst of what was compared with full traces, and how many of `done` were not."""
    found = f"worst of {progress.verified} samples: "
    found += verification(progress.worst) if progress.worst else "none was compared"
    earlier = done - progress.verified
    return found + (f"; not compared: {earlier} of an earlier run" if earlier else "")


def shares(root: Path) -> str:
    """Planned against delivered shares of what a rejected attempt may change, and of shadows.

    What was planned is the first attempt of each sample.
    """
    planned: dict[str, Counter[str]] = {"glasses": Counter(), "nose": Counter(), "wear": Counter()}
    delivered: dict[str, Counter[str]] = {group: Counter() for group in planned}
    shadows = Counter[str](), Counter[str]()
    rejected = 0

    def count(into: dict[str, Counter[str]], glasses: str, nose: float, wear: str) -> None:
        into["glasses"][glasses] += 1
        into["nose"][str(round(nose))] += 1
        into["wear"][wear] += 1

    for record in store.iter_index(root):
        rejected += len(record["rejected"])
        first = [*record["rejected"], record][0]
        count(planned, first["glasses"], first["nose"], first.get("wear", "worn"))
        count(delivered, record["glasses"], record["nose"], record.get("wear", "worn"))
        if asked := record["spec"].get("light", {}).get("shadow"):
            shadows[0][asked] += 1
            shadows[1][record["shadow"]["kind"]] += 1
    for _, failure in read_failures(root):
        spec = failure["spec"]
        own = {
            "glasses": spec["glasses"]["name"],
            "nose": spec["nose"],
            "wear": spec["wear"]["mode"],
        }
        first = [*failure["rejected"], own][0]
        count(planned, first["glasses"], first["nose"], first["wear"])
        if asked := spec.get("light", {}).get("shadow"):
            shadows[0][asked] += 1
    if shadows[0]:
        planned["shadow"], delivered["shadow"] = shadows
    lines = [f"{'':<28}{'planned':>9}{'delivered':>11}"]
    for group, before in planned.items():
        after = delivered[group]
        for name in sorted(before | after):
            lines.append(
                f"{group + ' ' + name:<28}{before[name] / max(1, before.total()):>9.1%}"
                f"{after[name] / max(1, after.total()):>11.1%}"
            )
    lines.append(f"{rejected} attempts could not be worn and were drawn again")
    return "\n".join(lines)


def finish_dataset(root: Path) -> str:
    """Writes the contact sheet; returns the table of planned and delivered shares."""
    first = list(itertools.islice(store.iter_index(root), MAX_SAMPLES))
    sheet = store.encode_png(contact_sheet(root, first))
    write_whole({root / "contact.png": sheet})
    return shares(root)
