"""The child process that renders: the only one that loads Blender.

It speaks the language of `pipeline.serving`. Jobs:
{"index": i}                                 draw, fit, render and store sample i
{"index": i, "spec": {...}}                  the same; this spec stands in for the first draw
{"spec": {...}, "dest": DIR, "blend": FILE}  render one spec into DIR
{"index": i, "preview": FILE}                draw, fit, render `all` of sample i into FILE
Answers: {"record": {...}}, with "verified": {...} if that was asked for, or {"rejected": [...]}
when no attempt can be worn. The record of a preview has no labels, and files that are not there. As
a sample begins and whenever it is drawn again, {"progress": {"spec": {...}}}.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blender import device, layers, lenses, scene, truth
from pipeline.blender.layers import FaceLayer
from pipeline.blender.scene import BuiltScene, Portrait
from pipeline.blender.verify import verify_layers
from pipeline.camera import view_of
from pipeline.catalog.catalog import Catalog, open_catalog
from pipeline.denoise import Denoiser
from pipeline.finish import finish
from pipeline.fit import Fit, fit, posed_parts
from pipeline.geometry import Eyewear, Head, Surface, resized
from pipeline.labels import HeadInSight, sample_labels
from pipeline.pixels import UInt8, srgb_from_linear, to_uint8
from pipeline.plan import MAX_ATTEMPTS, draw
from pipeline.recipe import Recipe, parse_recipe
from pipeline.refraction import kitti_flow, refraction_flow
from pipeline.rendering import Rendering
from pipeline.serving import Tell, serve
from pipeline.shadowkind import face_of, shadow_on
from pipeline.skin import SkinSurface
from pipeline.spec import HeadSpec, SampleSpec, parse_spec
from pipeline.store import encode_png, make_record, write_images, write_sample


@dataclass(frozen=True, eq=False)
class Sitter:
    """A head with what the fit looks up in its skin; attempts and samples share it."""

    spec: HeadSpec
    head: Head
    skin: SkinSurface
    in_sight: HeadInSight


@dataclass(frozen=True, eq=False)
class Sitting:
    """A portrait in Blender with its `face` and, if asked for, its classes; samples share it."""

    portrait: Portrait
    face: FaceLayer
    parsing: UInt8 | None


class Worker:
    """Settings and catalogue of one child process; `built` is the scene of its last sample.

    tell: is given what is to be said while a job goes on.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        tell: Tell = lambda answer: None,
    ) -> None:
        self._tell = tell
        paths = {kind: path and Path(path) for kind, path in settings["assets"].items()}
        self.catalog: Catalog = open_catalog(**paths)
        self.recipe: Recipe = parse_recipe(settings["recipe"], "recipe")
        self.seed: int = settings["seed"]
        self.out = Path(settings["out"])
        self.scratch = Path(settings["scratch"])
        self.machine = device.select(settings["device"], settings["threads"], settings["gpu"])
        device.refuse_scripts()
        self.verify: bool = settings["verify"]
        self.denoiser = Denoiser(settings["threads"])
        self._seated: Sitter | None = None
        self._sitting: Sitting | None = None
        self.built: BuiltScene | None = None
        # What is alive by now stays, and need not be looked at again by each collection.
        gc.freeze()

    def ready(self) -> dict[str, Any]:
        """What is told of a worker that can begin."""
        return {"gpus": self.machine.gpus}

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """The answer to a job; see the module's docstring for both."""
        try:
            return self._answer(job)
        finally:
            # Meshes lie in cycles of few objects but many megabytes, which Python would let grow.
            gc.collect()

    def _answer(self, job: dict[str, Any]) -> dict[str, Any]:
        if "preview" in job:
            return self._preview(job["index"], Path(job["preview"]))
        if "index" in job:
            planned = job.get("spec") and parse_spec(job["spec"], "spec")
            return self._make_sample(job["index"], planned)
        spec = parse_spec(job["spec"], "spec")
        worn, eyewear = self._fit(spec)
        parts = posed_parts(eyewear, worn)
        images, _ = self._images(spec, parts)
        write_images(Path(job["dest"]), images)
        if job["blend"]:
            assert self.built is not None
            layers.show(self.built, "all")
            scene.save_blend(self.built, Path(job["blend"]))
        record = make_record(
            spec, self._fit_record(worn, eyewear), self._labels(spec, parts, images), []
        )
        record["shadow"] = self._shadow(spec, images)
        return {"record": record}

    def _make_sample(self, index: int, planned: SampleSpec | None) -> dict[str, Any]:
        spec, worn, eyewear, rejected = self._first_worn(index, planned)
        if not worn.accepted:
            return {"rejected": rejected}
        parts = posed_parts(eyewear, worn)
        images, rendering = self._images(spec, parts)
        labels = self._labels(spec, parts, images)
        record = make_record(spec, self._fit_record(worn, eyewear), labels, rejected)
        record["shadow"] = self._shadow(spec, images)
        write_sample(self.out, record, images, self.scratch)
        verified = None
        if self.verify and self.built is not None:
            verified = verify_layers(self.built, rendering)
        return {"record": record, "verified": verified}

    def _preview(self, index: int, file: Path) -> dict[str, Any]:
        spec, worn, eyewear, rejected = self._first_worn(index, None)
        if not worn.accepted:
            return {"rejected": rejected}
        self._sitting = None
        portrait = scene.build_portrait(
            spec, self._sitter(spec).head, self.catalog.around(spec), self.machine
        )
        passes = layers.trace_layer(scene.wear(portrait, posed_parts(eyewear, worn)), "all")
        color = layers.color_of(passes)
        if spec.render.denoise:
            color = self.denoiser.denoise(color, layers.guides_of(passes))
        exposed = srgb_from_linear(color * np.float32(spec.light.gain))
        file.write_bytes(encode_png(to_uint8(exposed)))
        return {"record": make_record(spec, self._fit_record(worn, eyewear), {}, rejected)}

    def _first_worn(
        self, index: int, planned: SampleSpec | None
    ) -> tuple[SampleSpec, Fit, Eyewear, list[dict[str, Any]]]:
        """The first attempt that can be worn, or the last one; and those rejected, with reasons."""
        rejected: list[dict[str, Any]] = []
        for attempt in range(MAX_ATTEMPTS):
            spec = self._draw(index, attempt, planned)
            self._tell({"progress": {"spec": spec.model_dump(mode="json")}})
            worn, eyewear = self._fit(spec)
            if worn.accepted:
                break
            rejected.append(
                {
                    "attempt": attempt,
                    "glasses": spec.glasses.name,
                    "nose": spec.nose,
                    "wear": spec.wear.mode,
                    "reason": worn.reason,
                }
            )
        return spec, worn, eyewear, rejected

    def _draw(self, index: int, attempt: int, planned: SampleSpec | None) -> SampleSpec:
        """The spec of an attempt; of a planned one all stays but what a rejection changes."""
        if planned is not None and attempt == 0:
            return planned
        drawn = draw(self.recipe, self.catalog, self.seed, index, attempt)
        if planned is None:
            return drawn
        changes = {name: getattr(drawn, name) for name in ("attempt", "glasses", "nose", "wear")}
        return planned.model_copy(update=changes)

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

    def _labels(
        self, spec: SampleSpec, parts: Mapping[str, Surface], images: Mapping[str, NDArray]
    ) -> dict[str, Any]:
        """What a picture is labelled with beside images; see `pipeline.labels`."""
        sitter = self._sitter(spec)
        view = view_of(spec.camera, sitter.head)
        return sample_labels(view, sitter.in_sight, parts, images["mask_full"])

    def _shadow(self, spec: SampleSpec, images: Mapping[str, NDArray]) -> dict[str, Any]:
        """What shadow the glasses throw, as it is recorded."""
        face = face_of(spec.camera, self._sitter(spec).head, spec.render.size)
        return shadow_on(face, images["mask_shadow"], images["shadow_matte"]).as_record()

    def _sitter(self, spec: SampleSpec) -> Sitter:
        """The head of a spec, kept until another is asked for."""
        if self._seated is None or self._seated.spec != spec.head:
            head = self.catalog.head(spec.head)
            self._seated = Sitter(spec.head, head, SkinSurface(head), HeadInSight(head))
        return self._seated

    def _render(self, spec: SampleSpec, parts: Mapping[str, Surface]) -> Rendering:
        """The layers of a sample as traced; its scene is `built` then."""
        sitting = self._sitting
        if sitting is None or sitting.portrait.spec.portrait != spec.portrait:
            # A portrait that broke off half-way is none.
            self._sitting = self.built = None
            head = self._sitter(spec).head
            around = self.catalog.around(spec)
            portrait = scene.build_portrait(spec, head, around, self.machine)
            parsed = {"parsing_all", "parsing_face"} & set(spec.render.layers)
            classes = truth.parsing_face(portrait, head) if parsed else None
            sitting = Sitting(portrait, layers.render_face(portrait), classes)
            self._sitting = sitting
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
            view = view_of(spec.camera, head)
            images["refraction_flow"] = kitti_flow(*refraction_flow(view, head, parts, behind))
        return images | self._truth(spec, rendering), rendering

    def _truth(self, spec: SampleSpec, rendering: Rendering) -> dict[str, NDArray]:
        """The optional labels of whole pictures that a sample asks for."""
        assert self.built is not None
        assert self._sitting is not None
        wanted, found = set(spec.render.layers), dict[str, NDArray]()
        if self._sitting.parsing is not None:
            found["parsing_face"] = self._sitting.parsing
        if "parsing_all" in wanted:
            found["parsing_all"] = truth.parsing_all(
                self.built, found["parsing_face"], rendering.coverage
            )
        if wanted & {"depth", "normal"}:
            found |= truth.depth_and_normal(self.built)
        return {key: image for key, image in found.items() if key in wanted}


if __name__ == "__main__":
    serve(Worker)
