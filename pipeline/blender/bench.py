"""What a sample costs, in renders: U is one plain full-frame render of its layer `all`.

Runs in a child process, since it loads Blender: `python -m pipeline.blender.bench` with a JSON
object of `Plan` on standard input; a JSON line a measured sample on the file descriptor named by
its argument. With `errors` in the plan, a line a sample and number of samples per pixel instead.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from pipeline import store
from pipeline.blender import labels, layers, shading, trace
from pipeline.denoise import Denoiser
from pipeline.jobs import AssetFolders, RunSettings
from pipeline.journal import JsonLines
from pipeline.pixels import Float32, srgb_from_linear
from pipeline.recipe import load_recipe
from pipeline.spec import LAYERS
from pipeline.worker import Worker

#: Samples per pixel of what errors are measured against.
REFERENCE_SPP = 1024


@dataclass(frozen=True)
class Plan:
    """Which samples of the scene's seed 0 are measured, and how.

    naive: how many of them are also rendered in the naive way. errors: samples per pixel whose
    error is measured instead of costs.
    """

    scene: str
    size: int
    spp: int
    denoise: bool
    pairs: int
    samples: int
    naive: int
    threads: int
    errors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Measured:
    """Seconds of one sample.

    sample: everything from its draw to its line of the index. rendering: within calls of the
    renderer. plain: U. naive: four full renders and one of labels, or None.
    """

    sample: float
    rendering: float
    plain: float
    naive: float | None


@dataclass(frozen=True)
class Error:
    """Root mean square error of `all` in bytes of 8-bit sRGB, as traced and denoised."""

    spp: int
    traced: float
    denoised: float


def measure(plan: Plan) -> Iterator[Measured]:
    """Renders the samples of a plan in turn, each followed by its own U."""
    with tempfile.TemporaryDirectory(prefix="eyeglass-") as folder:
        worker = _worker(plan, folder)
        index = JsonLines(Path(folder) / store.INDEX)
        # Whoever comes first pays for what is loaded once.
        worker.run({"index": 10**6})
        for number in range(plan.samples):
            with _stopwatch() as calls:
                start = time.perf_counter()
                index.append(number, _made(worker, number))
                sample = time.perf_counter() - start
            built = worker.built
            assert built is not None
            layers.show(built, "all")
            plain = _plain_render(built.portrait.scene, plan.denoise)
            naive = sum(_naive(built, plan.denoise)) if number < plan.naive else None
            yield Measured(sample, sum(calls), plain, naive)


def measure_errors(plan: Plan) -> Iterator[Error]:
    """Errors of the samples of a plan over samples per pixel, against `REFERENCE_SPP`."""
    with tempfile.TemporaryDirectory(prefix="eyeglass-") as folder:
        worker = _worker(plan, folder)
        denoiser = Denoiser(plan.threads)
        for index in range(plan.samples):
            _made(worker, index)
            built = worker.built
            assert built is not None
            gain = np.float32(built.portrait.spec.light.gain)
            cycles = built.portrait.scene.cycles

            def shown(linear: Float32, gain: np.float32 = gain) -> Float32:
                return srgb_from_linear(linear * gain) * np.float32(255)

            cycles.samples, cycles.seed = REFERENCE_SPP, built.portrait.spec.render.seed + 1
            reference = shown(layers.color_of(layers.trace_layer(built, "all")))
            cycles.seed = built.portrait.spec.render.seed
            for spp in plan.errors:
                cycles.samples = spp
                passes = layers.trace_layer(built, "all")
                noisy = layers.color_of(passes)
                clean = denoiser.denoise(noisy, layers.guides_of(passes))
                errors = [
                    float(np.sqrt(((shown(image) - reference) ** 2).mean()))
                    for image in (noisy, clean)
                ]
                yield Error(spp, errors[0], errors[1])


def _made(worker: Worker, index: int) -> dict[str, Any]:
    """Makes a sample; its record. Raises RuntimeError if no pair can be worn: rows would shift."""
    answer = worker.run({"index": index})
    if "record" not in answer:
        raise RuntimeError(f"sample {index} of the scene cannot be worn")
    return answer["record"]


def _worker(plan: Plan, folder: str) -> Worker:
    recipe = load_recipe(plan.scene)
    render = recipe.render.model_copy(
        # Errors are of denoised pictures too, which need guides.
        update={
            "size": plan.size,
            "spp": plan.spp,
            "denoise": plan.denoise or bool(plan.errors),
        }
    )
    recipe = recipe.model_copy(update={"render": render, "pairs_per_portrait": plan.pairs})
    settings = RunSettings(recipe, AssetFolders(), 0, Path(folder), plan.threads, "cpu")
    return Worker(settings.for_worker(0, Path(folder) / store.SCRATCH))


def _naive(built: Any, denoise: bool) -> Iterator[float]:
    """Seconds of each full render that the obvious program makes."""
    for layer in LAYERS:
        layers.show(built, layer)
        yield _plain_render(built.portrait.scene, denoise)
    colors = dict.fromkeys(built.eyewear.values(), shading.emission("label", (1.0, 1.0, 1.0)))
    with labels.flat(built.portrait, colors):
        built.portrait.scene.cycles.samples = built.portrait.spec.render.spp
        yield _plain_render(built.portrait.scene, denoise=False)


def _plain_render(scene: bpy.types.Scene, denoise: bool) -> float:
    """Seconds of a full-frame render to a PNG, as anybody would call it, with all data in place."""
    layer, cycles = scene.view_layers[0].cycles, scene.cycles
    trace.clear(scene)
    stored = layer.denoising_store_passes
    layer.denoising_store_passes, cycles.use_denoising = False, denoise
    size = scene.render.resolution_x
    corner = np.zeros((size, size), bool)
    corner[0, 0] = True
    trace.trace(scene, corner)
    with tempfile.TemporaryDirectory(prefix="eyeglass-") as folder:
        settings = scene.render.image_settings
        if hasattr(settings, "media_type"):
            settings.media_type = "IMAGE"
        settings.file_format, settings.color_mode = "PNG", "RGB"
        scene.render.filepath = str(Path(folder) / "plain.png")
        start = time.perf_counter()
        bpy.ops.render.render(write_still=True, scene=scene.name)
        seconds = time.perf_counter() - start
    layer.denoising_store_passes, cycles.use_denoising = stored, False
    return seconds


@contextmanager
def _stopwatch() -> Iterator[list[float]]:
    """Seconds of each call of the renderer meanwhile."""
    calls: list[float] = []
    begun: list[float] = []

    def begin(*_: object) -> None:
        begun[:] = [time.perf_counter()]

    def end(*_: object) -> None:
        calls.append(time.perf_counter() - begun[0])

    handlers = bpy.app.handlers
    handlers.render_init.append(begin)
    handlers.render_complete.append(end)
    try:
        yield calls
    finally:
        handlers.render_init.remove(begin)
        handlers.render_complete.remove(end)


def main() -> None:
    """Answers one plan."""
    plan = Plan(**json.load(sys.stdin))
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as answers:
        for found in measure_errors(plan) if plan.errors else measure(plan):
            print(json.dumps(asdict(found)), file=answers, flush=True)
    # Blender's module may crash while the interpreter tears it down.
    os._exit(0)


if __name__ == "__main__":
    main()
