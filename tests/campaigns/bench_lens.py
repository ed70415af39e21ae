"""make bench-lens: tracing through curved, refracting lenses against flat ones, as a ratio."""

from __future__ import annotations

import os
import sys
import time
from statistics import median

from campaigns import with_blender

from pipeline.blender import layers, scene
from pipeline.blender.device import Machine
from pipeline.catalog.catalog import open_catalog
from pipeline.fit import fit, posed_parts
from pipeline.plan import draw
from pipeline.recipe import load_recipe

SIZE, SPP, SAMPLES, REPEATS = 256, 32, 4, 3
POWER_D, MOST = -6.0, 1.25


def seconds(spec, catalog, machine: Machine) -> float:
    """Of tracing `all` in its border, once everything is in place."""
    head, eyewear = catalog.head(spec.head), catalog.eyewear(spec.glasses)
    portrait = scene.build_portrait(spec, head, catalog.around(spec), machine)
    face = layers.render_face(portrait)
    built = scene.wear(portrait, posed_parts(eyewear, fit(head, eyewear, spec.nose)))
    border = layers.render(built, face).border
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        layers.trace_layer(built, "all", border)
        times.append((time.perf_counter() - start) / border.sum())
    return min(times)


def main() -> int:
    catalog, recipe = open_catalog(), load_recipe("portrait")
    recipe = recipe.model_copy(
        update={"render": recipe.render.model_copy(update={"size": SIZE, "spp": SPP})}
    )
    machine = Machine(len(os.sched_getaffinity(0)), "CPU")
    ratios = []
    for index in range(SAMPLES):
        spec = draw(recipe, catalog, 0, index)
        times = []
        for power, base in ((0.0, 0.5), (POWER_D, spec.glasses.choice["base_curve_d"])):
            choice = {**spec.glasses.choice, "power_d": power, "base_curve_d": base}
            glasses = spec.glasses.model_copy(update={"choice": choice})
            times.append(seconds(spec.model_copy(update={"glasses": glasses}), catalog, machine))
        ratios.append(times[1] / times[0])
        print(f"sample {index}, {spec.glasses.name}: {ratios[-1]:.2f}", file=sys.stderr, flush=True)
    print(f"a pixel of `all` with lenses of {POWER_D:g} D against flat ones, {SIZE} px, {SPP} spp: "
          f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})", flush=True)  # fmt: skip
    return 0 if median(ratios) <= MOST else 1


if __name__ == "__main__":
    with_blender.run(main)
