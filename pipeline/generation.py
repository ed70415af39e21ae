"""What the commands `generate` and `render` do, from a request to files and a summary."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from pipeline import __version__, store
from pipeline.catalog.catalog import Catalog, UserHeads
from pipeline.contact import MAX_SAMPLES, contact_sheet
from pipeline.errors import DatasetError, RecipeError
from pipeline.plan import check_names, design, draw
from pipeline.recipe import Choice, Recipe, load_recipe, parse_recipe
from pipeline.run import AssetFolders, Outcome, RunSettings, generate, run_jobs
from pipeline.spec import SCHEMA_VERSION, SampleSpec, parse_spec
from pipeline.yamlfile import one_line, read_json

#: Exit status of a run that went through but left samples out.
SOME_FAILED = 3
#: Exit status of a run whose layers, traced in full, are not what was stored.
NOT_EQUAL = 4
#: What may be left out of a block of pixels, of 255.
OMITTED_BYTES = 1.0


@dataclass(frozen=True)
class Request:
    """What `eyeglass generate` was asked for; None in `render` leaves the recipe's value."""

    count: int
    out: Path
    scene: str
    seed: int
    render: dict[str, Any]
    assets: AssetFolders
    workers: int
    threads: int
    device: str
    verify: bool = False


def generate_dataset(request: Request) -> int:
    """Makes or continues a dataset; returns the exit status, 0, SOME_FAILED or NOT_EQUAL.

    Raises EyeglassError before anything is written if a part of the request cannot be met.
    """
    recipe = _with_overrides(load_recipe(request.scene), request.render)
    catalog = request.assets.open()
    recipe = for_folders(recipe, request.assets, catalog)
    check_names(recipe, catalog, request.scene)
    settings = RunSettings(
        recipe,
        request.assets,
        request.seed,
        request.out,
        request.threads,
        request.device,
        request.verify,
    )
    description = describe(request, recipe, catalog)
    with _Progress(request.count) as progress:
        records, failures = generate(settings, description, request.workers, progress.report)
    ordered = [records[index] for index in sorted(records)]
    sheet = contact_sheet(request.out, ordered[:MAX_SAMPLES])
    (request.out / "contact.png").write_bytes(store.encode_png(sheet))
    click.echo(_shares(recipe, catalog, request, ordered))
    click.echo(f"{len(ordered)} of {request.count} samples in {request.out}")
    click.echo(f"contact sheet: {request.out / 'contact.png'}")
    if failures:
        click.echo(f"{len(failures)} failed, see {request.out / store.FAILED}", err=True)
    if progress.verified:
        worst = {key: max(v[key] for v in progress.verified) for key in progress.verified[0]}
        click.echo(f"worst of {len(progress.verified)} samples: {_verification(worst)}")
        if worst["unequal_px"] or worst["omitted"] > OMITTED_BYTES:
            return NOT_EQUAL
    return SOME_FAILED if failures else 0


def whole_count(scene: str, assets: AssetFolders) -> int:
    """How many samples the design of a scene has. Raises RecipeError for a scene without one."""
    recipe = load_recipe(scene)
    if not recipe.design:
        raise RecipeError(f"{scene}: has no design that says how many samples; give --count")
    catalog = assets.open()
    recipe = for_folders(recipe, assets, catalog)
    check_names(recipe, catalog, scene)
    return design(recipe, catalog, seed=0).size


def describe(request: Request, recipe: Recipe, catalog: Catalog) -> dict[str, Any]:
    """`dataset.yaml`: what was asked and what it is made with; nothing of this machine's hour."""
    heads = catalog.heads
    return {
        "schema_version": SCHEMA_VERSION,
        "count": request.count,
        "seed": request.seed,
        "scene": request.scene,
        "recipe": recipe.model_dump(mode="json"),
        "assets": request.assets.as_text(),
        "versions": {
            "eyeglass-pipeline": __version__,
            "python": ".".join(map(str, sys.version_info[:2])),
            **{name: version(name) for name in _LIBRARIES},
        },
        "sha256": {
            "heads": dict(heads.hashes) if isinstance(heads, UserHeads) else heads.sha256,
            "glasses": {name: entry.sha256 for name, entry in catalog.glasses.items()},
            "lights": {name: entry.sha256 for name, entry in catalog.lights.items()},
            "photos": {name: entry.sha256 for name, entry in catalog.photos.items()},
        },
    }


_LIBRARIES = ("bpy", "numpy", "scipy", "trimesh", "embreex", "opencv-python-headless", "OpenEXR")


def spec_from_file(path: Path) -> SampleSpec:
    """A spec, or the record that holds one, from a JSON file. Raises RecipeError."""
    data = read_json(path, RecipeError, 1_000_000)
    if isinstance(data, dict) and "spec" in data:
        data = data["spec"]
    return parse_spec(data, str(path))


def spec_from_dataset(
    dataset: Path, sample: str, assets: AssetFolders
) -> tuple[SampleSpec, AssetFolders]:
    """A sample's spec, and the asset folders its dataset was made with unless others are given.

    Raises DatasetError if there is no such sample.
    """
    records = {record["id"]: record for record in store.read_index(dataset)}
    if sample not in records:
        raise DatasetError(
            f"{dataset}: no sample '{sample}'; ids run from {min(records, default='(none)')} "
            f"to {max(records, default='(none)')}"
        )
    made_with = store.read_description(dataset).get("assets") or {}
    chosen = {
        kind: getattr(assets, kind) or (Path(made_with[kind]) if made_with.get(kind) else None)
        for kind in asdict(assets)
    }
    spec = parse_spec(records[sample]["spec"], f"{dataset}: sample {sample}")
    return spec, AssetFolders(**chosen)


def render_spec(
    spec: SampleSpec,
    assets: AssetFolders,
    dest: Path,
    blend: Path | None,
    threads: int,
    device: str,
) -> dict[str, Any]:
    """Renders one spec into the new or empty folder `dest`; returns the sample's record.

    Raises EyeglassError if an asset is absent or has changed, or `dest` cannot be used.
    """
    catalog = assets.open()
    catalog.head(spec.head), catalog.eyewear(spec.glasses), catalog.around(spec)
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise DatasetError(f"{dest}: is there already; give a new or empty folder")
    if blend is not None:
        _check_blend(blend)
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{dest.name}.", suffix=".tmp", dir=dest.parent))
    except OSError as error:
        raise DatasetError(f"{dest}: cannot be written: {one_line(error)}") from None
    try:
        settings = RunSettings(parse_recipe({}, "recipe"), assets, 0, work, threads, device)
        images = work / "images"
        images.mkdir()
        job = {
            "spec": spec.model_dump(mode="json"),
            "dest": str(images.resolve()),
            "blend": blend and str((work / "scene.blend").resolve()),
        }
        with contextlib.closing(run_jobs(settings, [[job]], 1)) as outcomes:
            outcome = next(outcomes)
        if outcome.record is None:
            reason = outcome.error.strip().splitlines()[-1]
            raise DatasetError(f"{dest}: the sample could not be rendered: {reason}")
        images.replace(dest)
        if blend is not None:
            shutil.move(work / "scene.blend", blend)
        return outcome.record
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _check_blend(blend: Path) -> None:
    if blend.suffix != ".blend":
        raise DatasetError(f"{blend}: a name that ends in .blend is expected")
    if blend.exists():
        raise DatasetError(f"{blend}: is there already; give a new name")
    if not blend.parent.is_dir() or not os.access(blend.parent, os.W_OK):
        raise DatasetError(f"{blend}: {blend.parent} is not a folder that can be written")


def _with_overrides(recipe: Recipe, render: dict[str, Any]) -> Recipe:
    given = {key: value for key, value in render.items() if value is not None}
    return recipe.model_copy(update={"render": recipe.render.model_copy(update=given)})


def for_folders(recipe: Recipe, assets: AssetFolders, catalog: Catalog) -> Recipe:
    """The recipe with 'all' in place of choices among built-in assets that a folder replaces.

    A choice that names one of the folder's own assets stays as it is.
    """
    changes: dict[str, Any] = {}
    if isinstance(catalog.heads, UserHeads):
        changes["expressions"] = "all"
        count = len(catalog.heads.files)
        changes["people"] = recipe.people.model_copy(update={"first": 0, "count": count})
    if assets.glasses and catalog.glasses.keys().isdisjoint(_names(recipe.glasses)):
        changes["glasses"] = "all"
    if assets.hdri and catalog.lights.keys().isdisjoint(_names(recipe.light.hdri)):
        changes["light"] = recipe.light.model_copy(update={"hdri": "all"})
    return recipe.model_copy(update=changes)


def _names(choice: Choice) -> list[str]:
    return [choice] if isinstance(choice, str) else list(choice)


class _Progress:
    """A bar on a terminal, a line a sample elsewhere."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._done = 0
        shown = sys.stderr.isatty()
        self._bar = tqdm(total=count, unit="sample", disable=not shown, dynamic_ncols=True)
        self._shown = shown
        self.verified: list[dict[str, float]] = []

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def report(self, outcome: Outcome) -> None:
        self._done += 1
        if outcome.verified:
            self.verified.append(outcome.verified)
            tqdm.write(f"sample {outcome.job['index']}: {_verification(outcome.verified)}")
        self._bar.update()
        index = outcome.job["index"]
        if outcome.record is None:
            tqdm.write(f"sample {index} failed: {outcome.error.splitlines()[-1]}", file=sys.stderr)
        elif not self._shown:
            record = outcome.record
            print(
                f"{record['id']}  {record['subject']}  {record['expression']}  "
                f"{record['glasses']}  ({self._done} done of {self._count})",
                flush=True,
            )


def _verification(figures: dict[str, float]) -> str:
    return (
        f"{figures['unequal_px']:.0f} px unequal where equal is the rule; left out of a block at "
        f"most {figures['omitted']:.2f} of 255 ({figures['omitted_abs']:.2f} without sign); "
        f"`all` traced in {figures['border']:.1%}"
    )


def _shares(
    recipe: Recipe, catalog: Catalog, request: Request, records: list[dict[str, Any]]
) -> str:
    """Planned against delivered shares of what a rejected attempt may change."""
    planned = [draw(recipe, catalog, request.seed, i) for i in range(request.count)]
    groups: dict[str, tuple[Counter[str], Counter[str]]] = {
        "glasses": (
            Counter(spec.glasses.name for spec in planned),
            Counter(record["glasses"] for record in records),
        ),
        "nose": (
            Counter(str(round(spec.nose)) for spec in planned),
            Counter(str(round(record["nose"])) for record in records),
        ),
        "wear": (
            Counter(spec.wear.mode for spec in planned),
            Counter(record.get("wear", "worn") for record in records),
        ),
    }
    if recipe.light.shadow is not None:
        groups["shadow"] = (
            Counter(spec.light.shadow or "" for spec in planned),
            Counter(record["shadow"]["kind"] for record in records),
        )
    lines = [f"{'':<28}{'planned':>9}{'delivered':>11}"]
    for group, (before, after) in groups.items():
        for name in sorted(before | after):
            lines.append(
                f"{group + ' ' + name:<28}{before[name] / max(1, before.total()):>9.1%}"
                f"{after[name] / max(1, after.total()):>11.1%}"
            )
    rejected = sum(len(record["rejected"]) for record in records)
    lines.append(f"{rejected} attempts could not be worn and were drawn again")
    return "\n".join(lines)
