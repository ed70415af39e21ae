"""What the commands `generate` and `merge` do, from a request to files and a summary."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from pipeline import __version__, store
from pipeline.catalog.catalog import Catalog, UserHeads
from pipeline.distributions import Choice
from pipeline.errors import RecipeError
from pipeline.jobs import AssetFolders, RunSettings, Supervision, cores
from pipeline.journal import check_run
from pipeline.plan import check_names, design, draw
from pipeline.planfile import Plan, check_plan, read_head
from pipeline.recipe import Recipe, load_recipe, parse_recipe
from pipeline.run import Engine, Work, generate
from pipeline.schedule import run_jobs
from pipeline.shards import WHOLE, Shard, merge
from pipeline.spec import SCHEMA_VERSION, sample_id
from pipeline.summary import Progress, compared, finish_dataset
from pipeline.supervise import count_gpus

#: Workers of one thread make as many samples as one of many (`make bench`), but each needs 1 GB.
MOST_WORKERS = 8
#: Exit status of a run that went through but left samples out.
SOME_FAILED = 3
#: Exit status of a run whose layers, traced in full, are not what was stored.
NOT_EQUAL = 4


@dataclass(frozen=True)
class Request:
    """What `eyeglass generate` was asked for; None in `render` leaves the recipe's value.

    plan: a file that says what to make; count, scene, seed and render are not asked then.
    count: None for the whole of a scene with a design.
    workers, threads: None for what suits the machine. address: of the Ray cluster to run on, 'auto'
    for the one that this machine belongs to or else one of its own; None runs without Ray.
    """

    out: Path
    count: int | None
    scene: str
    seed: int
    render: dict[str, Any]
    plan: Path | None
    assets: AssetFolders
    workers: int | None
    threads: int | None
    device: str
    verify: bool = False
    shard: Shard = WHOLE
    address: str | None = None


@dataclass(frozen=True)
class Series:
    """What a series of samples is drawn from, and the plan that fixes them, if there is one."""

    count: int
    seed: int
    scene: str
    recipe: Recipe
    assets: AssetFolders
    catalog: Catalog
    plan: Plan | None = None

    def draw(self, index: int) -> dict[str, Any]:
        """Attempt 0 of a sample's spec."""
        return draw(self.recipe, self.catalog, self.seed, index).model_dump(mode="json")


def drawn_series(
    count: int | None, seed: int, scene: str, render: dict[str, Any], assets: AssetFolders
) -> Series:
    """A series of a scene; of a scene with a design the whole, if `count` is None.

    Raises EyeglassError if a part of it cannot be met.
    """
    recipe = _with_overrides(load_recipe(scene), render)
    catalog = assets.open()
    recipe = for_folders(recipe, assets, catalog)
    check_names(recipe, catalog, scene)
    if count is None:
        if not recipe.design:
            raise RecipeError(f"{scene}: has no design that says how many samples; give --count")
        count = design(recipe, catalog, seed=0).size
    return Series(count, seed, scene, recipe, assets, catalog)


def planned_series(path: Path, assets: AssetFolders) -> Series:
    """The series of a plan; asset folders given here take the place of the plan's.

    Raises EyeglassError if the plan is broken, or names assets that are absent or have changed.
    """
    head = read_head(path)
    made_with = {kind: Path(folder) for kind, folder in head.assets.items() if folder}
    folders = AssetFolders(
        **{kind: folder or made_with.get(kind) for kind, folder in asdict(assets).items()}
    )
    catalog = folders.open()
    recipe = parse_recipe(head.recipe, f"{path}: line 1: recipe")
    check_names(recipe, catalog, str(path))
    plan = check_plan(path, head, catalog)
    return Series(plan.count, head.seed, head.scene, recipe, folders, catalog, plan)


def generate_dataset(request: Request) -> int:
    """Makes or continues a dataset; returns the exit status, 0, SOME_FAILED or NOT_EQUAL.

    Raises EyeglassError before anything is written if a part of the request cannot be met.
    """
    if request.plan is not None:
        series = planned_series(request.plan, request.assets)
    else:
        series = drawn_series(
            request.count, request.seed, request.scene, request.render, request.assets
        )
    render = series.recipe.render
    wanted = RunSettings(
        series.recipe, series.assets, series.seed, request.out, request.threads or 1,
        request.device, request.verify,
        supervision=Supervision(unknown_s=_UNKNOWN_S + render.size**2 * render.spp * _PIXEL_S),
    )  # fmt: skip
    description = describe(series, request.shard)
    check_run(request.out, description)
    engine, settings, workers = _engine(request, wanted, series.count)
    work = Work(
        description, series.draw, request.shard, series.plan.jobs if series.plan else None
    )
    of = request.shard.size(series.count, series.recipe.pairs_per_portrait)
    with Progress(of) as progress:
        totals = generate(settings, work, workers, progress.report, engine)
    click.echo(finish_dataset(request.out))
    click.echo(f"{totals.done} of {of} samples in {request.out}")
    click.echo(f"contact sheet: {request.out / 'contact.png'}")
    if totals.failed:
        click.echo(f"{totals.failed} failed, see {request.out / store.FAILED}", err=True)
    if request.verify:
        click.echo(compared(progress, totals.done))
        if progress.worst is not None and progress.worst["broken"]:
            return NOT_EQUAL
    return SOME_FAILED if totals.failed else 0


#: Before a first sample is there, nothing tells how long one takes: half an hour, and 0.1 ms for
#: each sample of each pixel, fifty times what a slow core needs.
_UNKNOWN_S, _PIXEL_S = 1800.0, 1e-4


def _engine(
    request: Request, settings: RunSettings, count: int
) -> tuple[Engine, RunSettings, int]:
    """What runs the jobs, its settings and number of workers."""
    if request.address is not None:
        from pipeline.cluster import RayEngine

        settings = replace(settings, threads=request.threads or 1)
        return RayEngine(request.address, count), settings, request.workers or count
    gpus = count_gpus(settings)
    workers = request.workers or gpus or min(cores(), MOST_WORKERS, count)
    threads = request.threads or max(1, cores() // workers)
    return run_jobs, replace(settings, threads=threads, gpus=gpus), workers


def merge_datasets(folders: Sequence[Path], dest: Path) -> int:
    """Joins shards; returns the exit status, 0 or SOME_FAILED. Raises as `merge` does."""
    merged = merge(folders, dest)
    finish_dataset(dest)
    click.echo(f"{merged.done} of {merged.count} samples in {dest}")
    if merged.twice:
        click.echo(f"{merged.twice} were in more than one folder, and equal")
    if merged.failed:
        click.echo(f"{merged.failed} failed, see {dest / store.FAILED}", err=True)
    if merged.missing:
        ids = ", ".join(sample_id(i) for i in merged.absent)
        more = ", ..." if merged.missing > len(merged.absent) else ""
        click.echo(
            f"{merged.missing} are in none of the folders: {ids}{more}; `eyeglass generate` "
            f"without --shard and with --out {dest} makes them",
            err=True,
        )
    return SOME_FAILED if merged.failed or merged.missing else 0


def describe(series: Series, shard: Shard = WHOLE) -> dict[str, Any]:
    """`dataset.yaml`: what was asked and what it is made with; nothing of this machine's hour."""
    heads, catalog = series.catalog.heads, series.catalog
    return {
        "schema_version": SCHEMA_VERSION,
        "count": series.count,
        "seed": series.seed,
        "scene": series.scene,
        **({"shard": str(shard)} if shard != WHOLE else {}),
        **({"plan": series.plan.sha256} if series.plan else {}),
        "recipe": series.recipe.model_dump(mode="json"),
        "assets": series.assets.as_text(),
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


_LIBRARIES = (
    "bpy", "numpy", "scipy", "trimesh", "embreex", "opencv-python-headless", "OpenEXR", "pyoidn",
)  # fmt: skip


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


