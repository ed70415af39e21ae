"""make verify-fit MESHES=DIR: somebody's heads with ours and their glasses, theirs on our heads."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from campaigns.verify_fit import ACCEPTED_SHARE, Pairs, Tally, designs, wear
from PIL import Image

from pipeline.annotate.command import annotate
from pipeline.catalog.anchors import read_sidecar, sidecar_path
from pipeline.catalog.data import MESH_SUFFIXES
from pipeline.catalog.head import bare_head, person
from pipeline.catalog.mesh import load_eyewear, load_head
from pipeline.errors import EyeglassError
from pipeline.fit import fit
from pipeline.fitting import draw_worn
from pipeline.geometry import Eyewear, Head
from pipeline.wearing import EyewearShape

PICTURES = Path("build/verify-fit")
PERSONS = 4
_PICTURE_NOSE = 1.0


def verify(folder: Path) -> int:
    heads: dict[str, Head] = {}
    glasses: dict[str, Eyewear] = {}
    unlabelled = 0
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "meshes"
        shutil.copytree(folder, copy, copy_function=shutil.copyfile)
        meshes = sorted(p for p in copy.rglob("*") if p.suffix.lower() in MESH_SUFFIXES)
        for mesh in meshes:
            name = "-".join(mesh.relative_to(copy).with_suffix("").parts)
            try:
                found = _labelled(mesh)
            except EyeglassError as error:
                print(f"{name}: {error}")
                found = None
            if isinstance(found, Head):
                heads[name] = found
            elif isinstance(found, Eyewear):
                glasses[name] = found
            else:
                unlabelled += 1
    print(f"{len(heads)} heads, {len(glasses)} glasses, {unlabelled} not labelled")
    theirs = {name: (eyewear, EyewearShape(eyewear)) for name, eyewear in glasses.items()}
    total = Tally()
    for name, head in heads.items():
        _count(name, head, {**designs(), **theirs}, total)
        _picture(name, head, glasses | {"rectangle": designs()["rectangle"][0]})
    for number in range(PERSONS if theirs else 0):
        head = bare_head(person(number), "1_neutral")
        _count(f"person-{number:06d}", head, theirs, total)
        if number == 0:
            _picture("person-000000", head, glasses)
    total.report()
    print(f"pictures: {PICTURES}")
    passed = total.share >= ACCEPTED_SHARE and not (unlabelled or total.faults or total.rising)
    print(f"verify-fit: {'passed' if passed else 'FAILED'}")
    return 0 if passed else 1


def _labelled(mesh: Path) -> Head | Eyewear | None:
    if not sidecar_path(mesh).exists() and annotate(mesh, auto=True) != 0:
        return None
    kind = read_sidecar(sidecar_path(mesh)).kind
    return load_head(mesh) if kind == "head" else load_eyewear(mesh)


def _count(name: str, head: Head, pairs: Pairs, total: Tally) -> None:
    tally = wear(name, head, pairs)
    reasons = ", ".join(f"{reason} {count}" for reason, count in tally.reasons.most_common())
    print(f"{name}: accepted {tally.accepted} of {tally.fits}" + (f" ({reasons})" * bool(reasons)))
    total.add(tally)


def _picture(name: str, head: Head, glasses: dict[str, Eyewear]) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    for pair, eyewear in glasses.items():
        placed = fit(head, eyewear, _PICTURE_NOSE)
        verdict = "accepted" if placed.accepted else "rejected"
        image = Image.fromarray(draw_worn(head, eyewear, placed))
        image.save(PICTURES / f"{name}+{pair}-{verdict}.png")
