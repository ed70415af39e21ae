"""make verify-shadow: labels of shadows at the default spp against references of many samples."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from campaigns import with_blender

from pipeline.blender import layers, scene
from pipeline.blender.device import Machine
from pipeline.blender.scene import BuiltScene
from pipeline.catalog.catalog import Catalog, open_catalog
from pipeline.denoise import Denoiser
from pipeline.finish import finish
from pipeline.fit import fit, posed_parts
from pipeline.geometry import resized
from pipeline.pixels import REC709_LUMINANCE, Mask, differing, dilated, srgb_from_linear
from pipeline.plan import MAX_ATTEMPTS, draw
from pipeline.recipe import Recipe, load_recipe
from pipeline.rendering import Rendering
from pipeline.shadows import LYU_LUMA, LYU_THRESHOLD, MATTE_FLOOR
from pipeline.spec import LAYERS, SampleSpec

SIZE, SCENES = 128, 6
REFERENCE_SPP, SEEDS = 1024, (11, 12)
LEAST_SHADOW = 0.01
#: Pixels whose reference lies this near to the threshold are left out of the first figure.
DOUBTFUL = 4.0
IOU, MATTE_IN_SHADOW, MATTE = 0.95, 0.02, 0.005
MACHINE = Machine(2, "CPU")


@dataclass(frozen=True)
class Judged:
    """A scene's labels and its references, one a seed; all (h, w).

    mask, matte: as stored. changes, mattes: Lyu's difference, of 255, and the matte of each
    reference. change, reference_matte: of their mean. eyewear: where no shadow is marked.
    """

    mask: Mask
    matte: np.ndarray
    changes: tuple[np.ndarray, ...]
    mattes: tuple[np.ndarray, ...]
    change: np.ndarray
    reference_matte: np.ndarray
    eyewear: Mask


def worn_samples(recipe: Recipe, catalog: Catalog):
    """(spec, rendering, scene) of the samples of seed 0, in order."""
    for index in range(1000):
        for attempt in range(MAX_ATTEMPTS):
            spec = draw(recipe, catalog, 0, index, attempt)
            head = catalog.head(spec.head)
            eyewear = resized(catalog.eyewear(spec.glasses), spec.wear.scale)
            worn = fit(head, eyewear, spec.nose, wear=spec.wear)
            if worn.accepted:
                portrait = scene.build_portrait(
                    spec, head, catalog.around(spec), MACHINE
                )
                face = layers.render_face(portrait)
                built = scene.wear(portrait, posed_parts(eyewear, worn))
                yield spec, layers.render(built, face), built
                break


def references(built: BuiltScene, spec: SampleSpec, where: Mask, spp: int) -> list[dict]:
    """Layers of many samples, as exposed, one set a seed; 0 outside `where`."""
    cycles = built.portrait.scene.cycles
    gain = np.float32(spec.light.gain)
    found = []
    for seed in SEEDS:
        cycles.samples, cycles.seed = spp, seed
        found.append(
            {
                name: layers.trace_layer(built, name, where)["Combined"][..., :3] * gain
                for name in LAYERS
            }
        )
    cycles.samples, cycles.seed = spec.render.spp, spec.render.seed
    return found


def change(pictures: dict) -> np.ndarray:
    """Lyu's difference of `all` against `glass`, of 255; negative where `all` is brighter."""
    lit, dark = srgb_from_linear(pictures["glass"]), srgb_from_linear(pictures["all"])
    return (lit - dark) @ np.array(LYU_LUMA, np.float32) * 255.0


def matte(pictures: dict, where: Mask) -> np.ndarray:
    weights = np.array(REC709_LUMINANCE, np.float32)
    dark, lit = pictures["shadow"] @ weights, pictures["face"] @ weights
    ratio = np.minimum(dark / np.maximum(lit, MATTE_FLOOR), 1.0)
    return np.where(where & (lit >= MATTE_FLOOR), ratio, 1.0)


def judge(spec: SampleSpec, rendering: Rendering, built: BuiltScene, spp: int) -> Judged | None:
    """None if there is too little shadow."""
    images = finish(spec, rendering, Denoiser(MACHINE.threads))
    if (images["mask_shadow"] > 0).mean() < LEAST_SHADOW:
        return None
    traced = rendering.layers
    where = dilated(
        differing(traced["shadow"], traced["face"]) | differing(traced["all"], traced["glass"]), 2
    )
    runs = references(built, spec, where, spp)
    mean = {name: np.mean([run[name] for run in runs], axis=0) for name in LAYERS}
    coverage = rendering.coverage
    return Judged(
        mask=images["mask_shadow"] > 0,
        matte=images["shadow_matte"] / 65535.0,
        changes=tuple(change(run) for run in runs),
        mattes=tuple(matte(run, where) for run in runs),
        change=change(mean),
        reference_matte=matte(mean, where),
        eyewear=coverage.frame + coverage.dark_lens >= 0.5,
    )


def iou(pairs: list[tuple[Mask, Mask]]) -> float:
    """Intersection over union, pooled."""
    both = sum((a & b).sum() for a, b in pairs)
    return float(both / max(1, sum((a | b).sum() for a, b in pairs)))


def figures(judged: list[Judged]) -> dict[str, float]:
    """The campaign's figures over all scenes."""
    clear, whole, references_, inside, overall, apart = [], [], [], [], [], []
    for scene_ in judged:
        true = (scene_.change > LYU_THRESHOLD) & ~scene_.eyewear
        sure = np.abs(scene_.change - LYU_THRESHOLD) > DOUBTFUL
        clear.append((scene_.mask & sure, true & sure))
        whole.append((scene_.mask, true))
        first, second = ((c > LYU_THRESHOLD) & ~scene_.eyewear for c in scene_.changes)
        references_.append((first, second))
        error = np.abs(scene_.matte - scene_.reference_matte)
        shaded = scene_.reference_matte < 0.98
        inside.append(error[shaded])
        # Half of how far two references lie apart is what their mean errs by.
        apart.append(np.abs(np.subtract(*scene_.mattes))[shaded] / 2)
        overall.append(error.ravel())
    return {
        "IoU without doubtful pixels": iou(clear),
        "IoU over all pixels": iou(whole),
        "IoU of the references with each other": iou(references_),
        "matte, error where the reference is below 0.98": float(np.concatenate(inside).mean()),
        "matte, error overall": float(np.concatenate(overall).mean()),
        "matte, the reference's own error below 0.98": float(np.concatenate(apart).mean()),
    }


def campaign(recipe: Recipe, scenes: int, spp: int) -> dict[str, float]:
    judged: list[Judged] = []
    for spec, rendering, built in worn_samples(recipe, open_catalog()):
        found = judge(spec, rendering, built, spp)
        if found is not None:
            judged.append(found)
            print(f"sample {spec.index}, {spec.glasses.name}, {spec.light.kind}: "
                  f"{found.mask.mean():.1%} shadow", file=sys.stderr, flush=True)  # fmt: skip
        if len(judged) == scenes:
            break
    return figures(judged)


def main() -> int:
    recipe = load_recipe("portrait")
    recipe = recipe.model_copy(update={"render": recipe.render.model_copy(update={"size": SIZE})})
    found = campaign(recipe, SCENES, REFERENCE_SPP)
    print(f"{SCENES} scenes of {SIZE} px, {recipe.render.spp} spp, references 2 x {REFERENCE_SPP}")
    for name, value in found.items():
        print(f"  {name:<50}{value:.4f}")
    clear, _, _, inside, overall, _ = found.values()
    passed = clear >= IOU and inside <= MATTE_IN_SHADOW and overall <= MATTE
    print(f"verify-shadow: {'passed' if passed else 'FAILED'}", flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    with_blender.run(main)
