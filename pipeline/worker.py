"""The child process that renders: the only one that loads Blender.

It reads one JSON line a job from standard input and answers each with one JSON line on the file
descriptor named by its first argument. Blender writes to standard output whenever it likes, so
that is no place for answers.

First line: the settings (recipe, assets, seed, out, threads, device). Then jobs:
{"index": i}                                 draw, fit, render and store sample i
{"spec": {...}, "dest": DIR, "blend": FILE}  render one spec into DIR
Answers: {"ready": true} to the settings; then {"record": {...}}, {"rejected": [...]} when no
attempt can be worn, or {"error": text, "user": true if it is the user's to mend}.
"""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.blender import device, layers, scene
from pipeline.blender.scene import BuiltScene
from pipeline.catalog.catalog import Catalog, open_catalog
from pipeline.errors import EyeglassError
from pipeline.finish import finish
from pipeline.fit import Fit, fit, posed_parts
from pipeline.geometry import Eyewear, Head, Surface
from pipeline.plan import MAX_ATTEMPTS, draw
from pipeline.recipe import Recipe, parse_recipe
from pipeline.skin import SkinSurface
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
        """The answer to a job; see the module's docstring for both."""
        if "index" in job:
            return self._make_sample(job["index"])
        spec = parse_spec(job["spec"], "spec")
        head, eyewear = self.catalog.head(spec.head), self.catalog.eyewear(spec.glasses)
        worn = fit(head, eyewear, spec.nose, self.recipe.limits.worn)
        built = self._build(spec, head, posed_parts(eyewear, worn))
        write_images(Path(job["dest"]), finish(spec, layers.render(built)))
        if job["blend"]:
            layers.show(built, "all")
            scene.save_blend(built, Path(job["blend"]))
        return {"record": make_record(spec, fit_record(worn, head, eyewear), [])}

    def _make_sample(self, index: int) -> dict[str, Any]:
        rejected: list[dict[str, Any]] = []
        skin: SkinSurface | None = None
        for attempt in range(MAX_ATTEMPTS):
            spec = draw(self.recipe, self.catalog, self.seed, index, attempt)
            head, eyewear = self.catalog.head(spec.head), self.catalog.eyewear(spec.glasses)
            # Attempts share the head, so what is looked up in its skin is built once.
            skin = skin or SkinSurface(head)
            worn = fit(head, eyewear, spec.nose, self.recipe.limits.worn, skin=skin)
            if worn.accepted:
                record = make_record(spec, fit_record(worn, head, eyewear), rejected)
                built = self._build(spec, head, posed_parts(eyewear, worn))
                write_sample(self.out, record, finish(spec, layers.render(built)))
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

    def _build(self, spec: SampleSpec, head: Head, parts: Mapping[str, Surface]) -> BuiltScene:
        light = self.catalog.light(spec.light)
        return scene.build(spec, head, parts, light.path, self.machine)


def fit_record(worn: Fit, head: Head, eyewear: Eyewear) -> dict[str, Any]:
    """A fit as it is recorded, to 0.1 micrometre: figures by name, null where there is none.

    `unit` says in what unit each mesh was read, 'scaled' where none fitted.
    """
    figures = {
        name: round(float(value), 4) + 0.0 if math.isfinite(value) else None
        for name, value in sorted(worn.figures.items())
    }
    return {**figures, "unit": {"head": head.unit, "glasses": eyewear.unit}}


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
                answer: dict[str, Any] = {"ready": True}
            else:
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
