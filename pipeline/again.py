"""What the command `render` does: one sample again, from its spec."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from pipeline import store
from pipeline.errors import DatasetError, RecipeError
from pipeline.jobs import KINDS, AssetFolders, RunSettings
from pipeline.recipe import parse_recipe
from pipeline.schedule import run_jobs
from pipeline.spec import SampleSpec, parse_spec
from pipeline.yamlfile import one_line, read_json


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
        for kind in KINDS
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
            raise DatasetError(f"{dest}: the sample could not be rendered: {outcome.reason}")
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
