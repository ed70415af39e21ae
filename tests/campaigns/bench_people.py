"""make bench-people: samples of whole persons against the same ones bald and bare, as a ratio."""

from __future__ import annotations

import dataclasses
import os
import sys
import time

from campaigns import with_blender

from pipeline.blender import layers, scene
from pipeline.blender.device import Machine
from pipeline.catalog.catalog import Catalog, open_catalog
from pipeline.fit import fit, posed_parts
from pipeline.geometry import Head, resized
from pipeline.plan import draw
from pipeline.recipe import load_recipe
from pipeline.spec import SampleSpec

SIZE, SAMPLES, MOST = 256, 8, 1.6
BARE = ("skin", "eye_left", "eye_right", "lashes", "teeth", "tongue")


def bald(head: Head) -> Head:
    """The head without its hair, clothes and whatever else it wears."""
    surfaces = {name: surface for name, surface in head.surfaces.items() if name in BARE}
    return dataclasses.replace(head, hair={}, surfaces=surfaces)


def seconds(spec: SampleSpec, head: Head, catalog: Catalog, machine: Machine) -> float:
    """Processor time of a sample's scene and layers."""
    eyewear = resized(catalog.eyewear(spec.glasses), spec.wear.scale)
    # The fit sees neither hair nor clothes: it is the same work for both.
    worn = fit(head, eyewear, spec.nose, wear=spec.wear)
    start = time.process_time()
    portrait = scene.build_portrait(spec, head, catalog.around(spec), machine)
    face = layers.render_face(portrait)
    layers.render(scene.wear(portrait, posed_parts(eyewear, worn)), face)
    return time.process_time() - start


def main() -> int:
    catalog, recipe = open_catalog(), load_recipe("portrait")
    recipe = recipe.model_copy(update={"render": recipe.render.model_copy(update={"size": SIZE})})
    machine = Machine(len(os.sched_getaffinity(0)), "CPU")
    totals = {"bald": 0.0, "whole": 0.0}
    ratios = []
    # The first is rendered twice: Blender's own start is no part of a person.
    for turn, index in enumerate([0, *range(SAMPLES)]):
        spec = draw(recipe, catalog, 0, index)
        head = catalog.head(spec.head)
        times = {
            name: seconds(spec, shown, catalog, machine)
            for name, shown in (("bald", bald(head)), ("whole", head))
        }
        if turn:
            totals = {name: total + times[name] for name, total in totals.items()}
            ratios.append(times["whole"] / times["bald"])
            print(f"sample {index}, {spec.head.subject}: {ratios[-1]:.2f}", file=sys.stderr,
                  flush=True)  # fmt: skip
    ratio = totals["whole"] / totals["bald"]
    print(f"persons with hair and clothes against bald ones, {SIZE} px, {recipe.render.spp} spp, "
          f"{SAMPLES} samples: {ratio:.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
          flush=True)  # fmt: skip
    return 0 if ratio <= MOST else 1


if __name__ == "__main__":
    with_blender.run(main)
