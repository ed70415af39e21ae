"""The child process that renders: the only place that imports bpy.

It reads one JSON line a job from standard input and answers each with one JSON line on the file
descriptor named by its first argument. Blender writes to standard output whenever it likes, so
that is no place for answers.

First line: the settings (recipe, assets, seed, out, threads, device). Then jobs:
{"index": i}                                 draw, fit, render and store sample i
{"spec": {...}, "dest": DIR, "blend": FILE}  render one spec into DIR
{"probe": true}                              nothing: the settings can be met
Answers: {"record": {...}}, {"rejected": [...]} when no attempt can be worn, or
{"error": text, "user": true if it is the user's to mend}.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from pipeline.blender import device, layers, scene
from pipeline.catalog.catalog import Catalog, open_catalog
from pipeline.errors import EyeglassError
from pipeline.finish import finish
from pipeline.fit import Fit, fit, posed_parts
from pipeline.geometry import Head
from pipeline.plan import MAX_ATTEMPTS, draw
from pipeline.recipe import Recipe, parse_recipe
from pipeline.spec import SampleSpec, parse_spec
from pipeline.store import make_record, write_images, write_sample


class Worker:
    """Settings and catalogue of one child process."""

    def __init__(self, settings: dict[str, Any]) -> None:
        paths = {kind: path and Path(path) for kind, path in settings["assets"].items()}
        self.catalog: Catalog = open_catalog(**paths)
        self.recipe: Recipe = parse_recipe(settings["recipe"], "recipe")
        self.seed: int = settings["seed"]
        self.out = Path(settings["out"])
        self.machine = device.select(settings["device"], settings["threads"])

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        if "probe" in job:
            return {}
        if "index" in job:
            return self._make_sample(job["index"])
        spec = parse_spec(job["spec"], "spec")
        head = self.catalog.head(spec.head)
        worn = self._fit(spec, head)
        write_images(Path(job["dest"]), self._render(spec, head, worn, job["blend"]))
        return {"record": make_record(spec, fit_record(worn), [])}

    def _make_sample(self, index: int) -> dict[str, Any]:
        rejected: list[dict[str, Any]] = []
        for attempt in range(MAX_ATTEMPTS):
            spec = draw(self.recipe, self.catalog, self.seed, index, attempt)
            head = self.catalog.head(spec.head)
            worn = self._fit(spec, head)
            if worn.accepted:
                record = make_record(spec, fit_record(worn), rejected)
                write_sample(self.out, record, self._render(spec, head, worn))
                return {"record": record}
            rejected.append(
                {
                    "attempt": attempt,
                    "glasses": spec.glasses.name,
                    "nose": spec.nose,
                    "reason": worn.reason,
                }
            )
        return {"rejected": rejected}

    def _fit(self, spec: SampleSpec, head: Head) -> Fit:
        return fit(head, self.catalog.eyewear(spec.glasses), spec.nose, self.recipe.limits)

    def _render(
        self, spec: SampleSpec, head: Head, worn: Fit, blend: str | None = None
    ) -> dict[str, Any]:
        parts = posed_parts(self.catalog.eyewear(spec.glasses), worn)
        light = self.catalog.light(spec.light)
        built = scene.build(spec, head, parts, light.path, self.machine)
        images = finish(spec, layers.render(built))
        if blend:
            scene.save_blend(Path(blend))
        return images


def fit_record(worn: Fit) -> dict[str, float]:
    """Figures of a fit as they are recorded: micrometres are finer than anything they mean."""
    return {name: round(float(value), 4) + 0.0 for name, value in sorted(worn.figures.items())}


def main() -> None:
    """Serves jobs until standard input ends."""
    answers = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8")
    worker: Worker | None = None
    for line in sys.stdin:
        _forget_log()
        try:
            message = json.loads(line)
            if worker is None:
                worker = Worker(message)
                continue
            answer = worker.run(message)
        except EyeglassError as error:
            answer = {"error": str(error), "user": True}
        except Exception:
            answer = {"error": traceback.format_exc(), "user": False}
        print(json.dumps(answer), file=answers, flush=True)
    # Blender's module may crash while the interpreter tears it down.
    os._exit(0)


def _forget_log() -> None:
    """Keeps what Blender printed about the last job only; a log of weeks would fill the disk."""
    sys.stdout.flush()
    try:
        os.ftruncate(1, 0)
    except OSError:
        return  # not a file: somebody is looking on


if __name__ == "__main__":
    main()
