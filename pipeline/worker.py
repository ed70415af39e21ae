"""The child process that renders: the only one that loads Blender.

It reads one JSON line a job from standard input and answers each with one JSON line on the file
descriptor named by its first argument. Blender writes to standard output whenever it likes, so
that is no place for answers.

First line: the settings (recipe, assets, seed, out, threads, device, verify). Then jobs:
{"index": i}                                 draw, fit, render and store sample i
{"spec": {...}, "dest": DIR, "blend": FILE}  render one spec into DIR
Answers: {"ready": true} to the settings; then {"record": {...}}, with "verified": {...} if that
was asked for, {"rejected": [...]} when no attempt can be worn, or {"error": text, "user": true if
it is the user's to mend}.
"""

from __future__ import annotations

import gc
import json
import math
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pipeline.blender import device, layers, lenses, scene
from pipeline.blender.layers import FaceLayer
from pipeline.blender.scene import BuiltScene, Portrait
from pipeline.blender.verify import verify_layers
from pipeline.catalog.catalog import Catalog, open_catalog
from pipeline.denoise import Denoiser
from pipeline.errors import EyeglassError
from pipeline.finish import finish
from pipeline.fit import Fit, fit, posed_parts
from pipeline.geometry import Eyewear, Head, Surface, resized
from pipeline.plan import MAX_ATTEMPTS, draw
from pipeline.recipe import Recipe, parse_recipe
from pipeline.refraction import kitti_flow, refraction_flow
from pipeline.rendering import Rendering
from pipeline.shadowkind import face_of, shadow_on
from pipeline.skin import SkinSurface
from pipeline.spec import HeadSpec, SampleSpec, parse_spec
from pipeline.store import make_record, write_images, write_sample


@dataclass(frozen=True, eq=False)
class Sitter:
    """A head with what the fit looks up in its skin; attempts and samples share it."""

    spec: HeadSpec
    head: Head
    skin: SkinSurface


@dataclass(frozen=True, eq=False)
class Sitting:
    """A portrait in Blender with its `face`; samples share it."""

    portrait: Portrait
    face: FaceLayer


class Worker:
    """Settings and catalogue of one child process; `built` is the scene of its last sample."""

    def __init__(self, settings: dict[str, Any]) -> None:
        paths = {kind: path and Path(path) for kind, path in settings["assets"].items()}
        self.catalog: Catalog = open_catalog(**paths)
        self.recipe: Recipe = parse_recipe(settings["recipe"], "recipe")
        self.seed: int = settings["seed"]
        self.out = Path(settings["out"])
        self.machine = device.select(settings["device"], settings["threads"])
        self.verify: bool = settings["verify"]
        self.denoiser = Denoiser(settings["threads"])
        self._seated: Sitter | None = None
        self._sitting: Sitting | None = None
        self.built: BuiltScene | None = None
        # What is alive by now stays, and need not be looked at again by each collection.
        gc.freeze()

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """The answer to a job; see the module's docstring for both."""
        try:
            return self._answer(job)
        finally:
            # Meshes lie in cycles of few objects but many megabytes, which Python would let grow.
            gc.collect()

    def _answer(self, job: dict[str, Any]) -> dict[str, Any]:
        if "index" in job:
            return self._make_sample(job["index"])
        spec = parse_spec(job["spec"], "spec")
        worn, eyewear = self._fit(spec)
        images, _ = self._images(spec, posed_parts(eyewear, worn))
        record = make_record(spec, self._fit_record(worn, eyewear), [])
        record["shadow"] = self._shadow(spec, images)
        write_images(Path(job["dest"]), images)
        if job["blend"]:
            assert self.built is not None
            layers.show(self.built, "all")
            scene.save_blend(self.built, Path(job["blend"]))
        return {"record": record}

    def _make_sample(self, index: int) -> dict[str, Any]:
        rejected: list[dict[str, Any]] = []
        for attempt in range(MAX_ATTEMPTS):
            spec = draw(self.recipe, self.catalog, self.seed, index, attempt)
            worn, eyewear = self._fit(spec)
            if worn.accepted:
                record = make_record(spec, self._fit_record(worn, eyewear), rejected)
                images, rendering = self._images(spec, posed_parts(eyewear, worn))
                record["shadow"] = self._shadow(spec, images)
                write_sample(self.out, record, images)
                verified = None
                if self.verify and self.built is not None:
                    verified = verify_layers(self.built, rendering)
                return {"record": record, "verified": verified}
            rejected.append(
                {
                    "attempt": attempt,
                    "glasses": spec.glasses.name,
                    "nose": spec.nose,
                    "wear": spec.wear.mode,
                    "reason": worn.reason,
                }
            )
        return {"rejected": rejected}

    def _fit(self, spec: SampleSpec) -> tuple[Fit, Eyewear]:
        sitter, limits = self._sitter(spec), self.recipe.limits.of(spec.wear.mode)
        eyewear = resized(self.catalog.eyewear(spec.glasses), spec.wear.scale)
        worn = fit(sitter.head, eyewear, spec.nose, limits, wear=spec.wear, skin=sitter.skin)
        return worn, eyewear

    def _fit_record(self, worn: Fit, eyewear: Eyewear) -> dict[str, Any]:
        """A fit as it is recorded, to 0.1 micrometre: figures by name, null where there is none.

        `unit` says in what unit each mesh was read, 'scaled' where none fitted.
        """
        assert self._seated is not None
        figures = {
            name: round(float(value), 4) + 0.0 if math.isfinite(value) else None
            for name, value in sorted(worn.figures.items())
        }
        return {**figures, "unit": {"head": self._seated.head.unit, "glasses": eyewear.unit}}

    def _shadow(self, spec: SampleSpec, images: Mapping[str, NDArray]) -> dict[str, Any]:
        """What shadow the glasses throw, as it is recorded."""
        face = face_of(spec.camera, self._sitter(spec).head, spec.render.size)
        return shadow_on(face, images["mask_shadow"], images["shadow_matte"]).as_record()

    def _sitter(self, spec: SampleSpec) -> Sitter:
        """The head of a spec, kept until another is asked for."""
        if self._seated is None or self._seated.spec != spec.head:
            head = self.catalog.head(spec.head)
            self._seated = Sitter(spec.head, head, SkinSurface(head))
        return self._seated

    def _render(self, spec: SampleSpec, parts: Mapping[str, Surface]) -> Rendering:
        """The layers of a sample as traced; its scene is `built` then."""
        sitting = self._sitting
        if sitting is None or sitting.portrait.spec.portrait != spec.portrait:
            # A portrait that broke off half-way is none.
            self._sitting = self.built = None
            around = self.catalog.around(spec)
            portrait = scene.build_portrait(spec, self._sitter(spec).head, around, self.machine)
            sitting = self._sitting = Sitting(portrait, layers.render_face(portrait))
        self.built = scene.wear(sitting.portrait, parts)
        rendering = layers.render(self.built, sitting.face)
        return lenses.render_extras(self.built, sitting.face, rendering, spec)

    def _images(
        self, spec: SampleSpec, parts: Mapping[str, Surface]
    ) -> tuple[dict[str, NDArray], Rendering]:
        """All images of a sample by key, and what they were made from."""
        rendering = self._render(spec, parts)
        images = finish(spec, rendering, self.denoiser)
        if "refraction_flow" in spec.render.layers:
            coverage, head = rendering.coverage, self._sitter(spec).head
            behind = coverage.lens_left + coverage.lens_right > 0
            images["refraction_flow"] = kitti_flow(
                *refraction_flow(spec.camera, head, parts, behind)
            )
        return images, rendering


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
