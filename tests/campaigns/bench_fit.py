"""make bench-fit: fits a second on one core, and the first fit of a large scan."""

from __future__ import annotations

import os
import sys
import time

# Before numpy starts its threads: the figure is for one core.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import numpy as np
import trimesh
from campaigns.verify_fit import NOSES, designs

from pipeline.catalog.head import bare_head, person
from pipeline.fit import fit
from pipeline.geometry import Head, Surface
from pipeline.skin import SkinSurface
from pipeline.wearing import EyewearShape

HEADS = 6
ROUNDS = 3
FITS_A_SECOND = 20.0
SCAN_FACES = 100_000
SCAN_SECONDS = 2.0


def warm_rates() -> list[float]:
    """Fits a second over heads, designs and nose positions, once for each round."""
    heads = [bare_head(person(number), "1_neutral") for number in range(HEADS)]
    worn = [(head, SkinSurface(head)) for head in heads]
    rates = []
    for turn in range(ROUNDS + 1):
        start = time.perf_counter()
        for head, skin in worn:
            for eyewear, shape in designs().values():
                for nose in NOSES:
                    fit(head, eyewear, nose, skin=skin, shape=shape)
        rates.append(HEADS * len(designs()) * len(NOSES) / (time.perf_counter() - start))
        if turn == 0:
            rates.clear()
    return rates


def scan(faces: int) -> Head:
    """A person's skin, subdivided to at least so many triangles."""
    head = bare_head(person(1), "1_neutral")
    skin = head.surfaces["skin"]
    mesh = trimesh.Trimesh(skin.vertices, skin.triangles(), process=False)
    while len(mesh.faces) < faces:
        mesh = mesh.subdivide()
    return Head("scan", {"skin": Surface(np.array(mesh.vertices), mesh.faces)}, head.anchors)


def first_fit_seconds(head: Head) -> float:
    eyewear = designs()["rectangle"][0]
    start = time.perf_counter()
    fit(head, eyewear, 1.0, skin=SkinSurface(head), shape=EyewearShape(eyewear))
    return time.perf_counter() - start


def main() -> int:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rates = warm_rates()
    print(
        f"fits a second on one core, {ROUNDS} rounds of {HEADS} heads: "
        f"median {np.median(rates):.1f}, least {min(rates):.1f}, most {max(rates):.1f}"
    )
    head = scan(SCAN_FACES)
    seconds = float(np.median([first_fit_seconds(head) for _ in range(ROUNDS)]))
    faces = len(head.surfaces["skin"].faces)
    print(f"first fit of a scan of {faces} faces: median {seconds:.2f} s")
    passed = np.median(rates) >= FITS_A_SECOND and seconds < SCAN_SECONDS
    print(f"bench-fit: {'passed' if passed else 'FAILED'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
