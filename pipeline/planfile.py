"""Plans: the specs of a dataset in a file, to be looked at, changed and rendered.

A JSON line with what the specs were drawn from ({"plan": {schema_version, seed, scene, recipe,
assets}}), then attempt 0 of each sample's spec, in the order of their numbers from 0 on. All but
seed, index and attempt may be changed by hand, so long as assets are named with their hashes. Where
a pair cannot be worn, glasses, nose and wear are drawn again from the recipe; the rest stays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from pipeline.catalog.catalog import Catalog
from pipeline.errors import AssetError, RecipeError
from pipeline.model import Frozen, first_fault
from pipeline.spec import SCHEMA_VERSION, SampleSpec, parse_spec
from pipeline.wholefile import writing_whole
from pipeline.yamlfile import one_line

_MAX_LINE_BYTES = 1_000_000


class PlanHead(Frozen):
    """What the specs of a plan were drawn from."""

    schema_version: Literal[1] = SCHEMA_VERSION
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    scene: str
    recipe: dict[str, Any]
    assets: dict[str, str | None]


@dataclass(frozen=True)
class Plan:
    """A plan whose every line has been checked. sha256: of the whole file."""

    path: Path
    count: int
    sha256: str

    def jobs(self, indices: Iterator[int]) -> Iterator[dict[str, Any]]:
        """The jobs of samples whose numbers rise; a line is in memory at a time."""
        with self.path.open("rb") as file:
            file.readline()
            place = 0
            for index in indices:
                while place <= index:
                    line = file.readline()
                    place += 1
                yield {"index": index, "spec": json.loads(line)}


def write_plan(path: Path, head: PlanHead, specs: Iterable[SampleSpec]) -> None:
    """Writes a plan, whole or not at all. Raises EyeglassError if it cannot be written."""
    with writing_whole(path) as file:
        file.write(json.dumps({"plan": head.model_dump(mode="json")}).encode() + b"\n")
        for spec in specs:
            file.write(spec.model_dump_json().encode() + b"\n")


def read_head(path: Path) -> PlanHead:
    """The first line of a plan. Raises RecipeError if `path` is none."""
    try:
        with path.open("rb") as file:
            line = file.readline(_MAX_LINE_BYTES)
        data = json.loads(line)
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {one_line(error)}") from None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or not isinstance(data.get("plan"), dict):
        raise RecipeError(f"{path}: not a plan; `eyeglass plan` writes them")
    try:
        return PlanHead.model_validate(data["plan"])
    except ValidationError as error:
        raise RecipeError(f"{path}: line 1: {first_fault(error, PlanHead)}") from None


def check_plan(path: Path, head: PlanHead, catalog: Catalog) -> Plan:
    """Reads a plan through, a line at a time.

    Raises RecipeError or AssetError with the line where a spec is broken, out of its place, of
    another seed, or names an asset that is absent or has changed.
    """
    digest = hashlib.sha256()
    count = 0
    with path.open("rb") as file:
        digest.update(file.readline(_MAX_LINE_BYTES))
        while line := file.readline(_MAX_LINE_BYTES):
            digest.update(line)
            where = f"{path}: line {count + 2}"
            spec = _spec(line, where)
            for key, got, wanted in (
                ("index", spec.index, count),
                ("attempt", spec.attempt, 0),
                ("seed", spec.seed, head.seed),
            ):
                if got != wanted:
                    raise RecipeError(f"{where}: $.{key}: {wanted} is expected here, not {got}")
            try:
                catalog.check(spec)
            except AssetError as error:
                raise AssetError(f"{where}: {error}") from None
            count += 1
    if not count:
        raise RecipeError(f"{path}: a plan without specs")
    return Plan(path, count, digest.hexdigest())


def _spec(line: bytes, where: str) -> SampleSpec:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{where}: not valid JSON: {one_line(error)}") from None
    return parse_spec(data, where)
