"""make verify-light: shadows, exposure and cost of `portrait`, by what came out.

Shadows are judged over skin pixels as `pipeline.shadowkind` does, exposure on the layer `face`
inside the hull of the face. Cost is CPU time of samples, each made twice in one process: by the
scene, and by the same scene in plain HDR worlds, seen through a pinhole from the same place.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from campaigns import with_blender

from pipeline import store
from pipeline.catalog.catalog import Catalog, open_catalog
from pipeline.generation import Request, generate_dataset
from pipeline.jobs import AssetFolders, RunSettings
from pipeline.pixels import REC709_LUMINANCE
from pipeline.recipe import Background, Light, Recipe, load_recipe
from pipeline.shadowkind import face_of
from pipeline.spec import parse_spec
from pipeline.store import SCRATCH

COUNT, SIZE, COST_SAMPLES = 200, 128, 12
#: Shares of samples with a visible shadow, a hard one, and none.
VISIBLE, HARD, NONE = 0.60, 0.15, 0.10
#: A face whose mean is below this, of 255, is black; one with more of it clipped is burnt.
BLACK, BURNT = 12.0, 0.10
#: Such faces, of all.
FEW = 0.02
#: What a sample may cost, of the same through a pinhole in a plain world.
COST = 1.10


@dataclass(frozen=True)
class Seen:
    """One sample: the shadow asked for and measured, mean luma of the face, share of it clipped."""

    asked: str
    found: str
    mean: float
    clipped: float


def exposure(face: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Mean luma, of 255, and the share with a clipped channel, of pixels (h, w, 3) in a mask."""
    pixels = face[mask].astype(float)
    if not len(pixels):
        return 128.0, 0.0
    return float((pixels @ REC709_LUMINANCE).mean()), float((pixels.max(axis=1) >= 254).mean())


def look(folder: Path, catalog: Catalog) -> list[Seen]:
    """What the samples of a dataset show."""
    found = []
    for record in store.read_index(folder):
        spec = parse_spec(record["spec"], record["id"])
        mask = face_of(spec.camera, catalog.head(spec.head), spec.render.size).mask
        mean, clipped = exposure(store.read_image(folder / record["files"]["face"]), mask)
        found.append(Seen(spec.light.shadow or "", record["shadow"]["kind"], mean, clipped))
    return found


def figures(seen: list[Seen]) -> dict[str, float]:
    """The campaign's figures over all samples."""
    kinds = Counter(sample.found for sample in seen)
    means = np.array([sample.mean for sample in seen])
    clipped = np.array([sample.clipped for sample in seen])
    return {
        "with a visible shadow": (kinds["soft"] + kinds["hard"]) / len(seen),
        "with a hard shadow": kinds["hard"] / len(seen),
        "with none": kinds["none"] / len(seen),
        "black faces": float((means < BLACK).mean()),
        "burnt faces": float((clipped > BURNT).mean()),
        "mean luma of faces, of 255": float(means.mean()),
        "luma of the darkest twentieth": float(np.quantile(means, 0.05)),
        "luma of the brightest twentieth": float(np.quantile(means, 0.95)),
        "clipped share of faces": float(clipped.mean()),
    }


def passed(found: dict[str, float]) -> bool:
    return (
        found["with a visible shadow"] >= VISIBLE
        and found["with a hard shadow"] >= HARD
        and found["with none"] >= NONE
        and max(found["black faces"], found["burnt faces"]) <= FEW
    )


def by_what_was_asked(seen: list[Seen]) -> str:
    """A table: what was measured, of each shadow asked for."""
    kinds = ("none", "faint", "soft", "hard")
    lines = [f"{'asked':<10}" + "".join(f"{kind:>8}" for kind in kinds)]
    for asked in sorted({sample.asked for sample in seen}):
        counts = Counter(sample.found for sample in seen if sample.asked == asked)
        lines.append(f"{asked or '-':<10}" + "".join(f"{counts[kind]:>8}" for kind in kinds))
    return "\n".join(lines)


def cost(recipe: Recipe, samples: int) -> float:
    """CPU time of samples of a scene, of the same made plainly, in one process."""
    from pipeline.worker import Worker

    camera = recipe.camera.model_copy(update={"focused": 0.0})
    plain = recipe.model_copy(
        update={"light": Light(), "background": Background(), "camera": camera}
    )
    seconds = {"scene": 0.0, "plain": 0.0}
    with tempfile.TemporaryDirectory(prefix="eyeglass-") as folder:
        workers = {
            name: Worker(
                RunSettings(of, AssetFolders(), 0, Path(folder) / name, 1, "cpu").for_worker(
                    0, Path(folder) / name / SCRATCH
                )
            )
            for name, of in (("scene", recipe), ("plain", plain))
        }
        for index in range(-1, samples):
            for name, worker in workers.items():
                # Whoever comes first pays for what is loaded once.
                start = time.process_time()
                # Each worker builds the portrait anew, since the other has cleared the scene.
                worker._sitting = None
                worker.run({"index": index if index >= 0 else 10**6})
                if index >= 0:
                    seconds[name] += time.process_time() - start
    return seconds["scene"] / seconds["plain"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--scene", default="portrait")
    parser.add_argument("--spp", type=int)
    parser.add_argument("--out", type=Path, default=Path("build/verify-light"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cost", type=int, default=COST_SAMPLES, help="samples to time")
    given = parser.parse_args()
    request = Request(
        count=given.count, out=given.out.resolve(), scene=given.scene, seed=0,
        render={"size": SIZE, "spp": given.spp}, plan=None, assets=AssetFolders(),
        workers=given.workers, threads=1, device="cpu",
    )  # fmt: skip
    generate_dataset(request)
    seen = look(given.out, open_catalog())
    found = figures(seen)
    print(f"{len(seen)} samples of {given.scene}, {SIZE} px")
    print(by_what_was_asked(seen))
    for name, value in found.items():
        print(f"  {name:<40}{value:.3f}")
    ok = passed(found)
    if given.cost:
        recipe = load_recipe(given.scene)
        render = recipe.render.model_copy(update={"size": 2 * SIZE})
        ratio = cost(recipe.model_copy(update={"render": render}), given.cost)
        print(f"  {'CPU time of a sample, of one made plainly':<46}{ratio:.3f}")
        ok = ok and ratio <= COST
    print(f"verify-light: {'passed' if ok else 'FAILED'}", flush=True)
    return 0 if ok else 1


if __name__ == "__main__":
    with_blender.run(main)
