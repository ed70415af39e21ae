"""What the command `fit` does: how one pair of glasses sits on one head, and a GLB to look at."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image

from pipeline.annotate.picture import draw
from pipeline.catalog.catalog import NEUTRAL, PERSON_NAME, Catalog, open_catalog
from pipeline.catalog.data import MESH_SUFFIXES
from pipeline.distributions import bounds
from pipeline.errors import AssetError, EyeglassError
from pipeline.fit import Fit, fit, posed_parts
from pipeline.geometry import LENS_PARTS, RGB, Eyewear, Head, Material, Surface, resized
from pipeline.limits import WearLimits
from pipeline.plan import draw_wear
from pipeline.recipe import WearBy
from pipeline.spec import WearMode, WearSpec
from pipeline.store import encode_png
from pipeline.wholefile import write_whole

_METRES_PER_MM = 0.001
#: Where neither the mesh nor the person says, linear Rec. 709: middling skin, and what else a
#: parametric head has.
_SKIN: RGB = (0.45, 0.27, 0.19)
_PLAIN: Mapping[str, RGB] = {
    "eye_left": (0.8, 0.78, 0.75),
    "eye_right": (0.8, 0.78, 0.75),
    "eye_rims": (0.46, 0.25, 0.22),
    "lashes": (0.02, 0.015, 0.01),
    "teeth": (0.75, 0.7, 0.6),
    "tongue": (0.45, 0.16, 0.15),
}
#: Opacity of a lens: glTF viewers without transmission draw a clear one as a wall.
_LENS_OPACITY = 0.3
_PICTURE_PX = 1200
_DECIMALS = 4
#: A rotation's entries are multiplied by 100 mm and more.
_POSE_DECIMALS = 9


@dataclass(frozen=True)
class FitOutcome:
    """How a pair of glasses sits on a head.

    head, glasses: as they were asked for. figures: mm and degrees, see `pipeline.fit.Fit`, not
    finite where something is missing. limits: mm and degrees, see `pipeline.limits.FitLimits`.
    world_from_glasses: 4 rows of 4, rigid, mm. reason: '' if accepted. unit: of the files of
    'head' and 'glasses', 'scaled' where none fitted. parts: of glasses from a mesh, how surely
    each part was told, 0..1. wear: how they are worn, see `pipeline.spec.WearSpec`.
    """

    head: str
    glasses: str
    nose: float
    expression: str
    accepted: bool
    reason: str
    figures: Mapping[str, float]
    limits: Mapping[str, float]
    world_from_glasses: Sequence[Sequence[float]]
    unit: Mapping[str, str]
    parts: Mapping[str, float] = field(default_factory=dict)
    wear: Mapping[str, str | float] = field(default_factory=lambda: {"mode": "worn"})

    def as_json(self) -> str:
        """An indented object; figures have 4 decimals, null where they are not finite."""
        data: dict[str, Any] = {
            "accepted": self.accepted,
            "reason": self.reason,
            "head": self.head,
            "glasses": self.glasses,
            "nose": self.nose,
            "wear": dict(self.wear),
            "expression": self.expression,
            "figures": {name: _rounded(v, _DECIMALS) for name, v in sorted(self.figures.items())},
            "limits": {name: _rounded(value, _DECIMALS) for name, value in self.limits.items()},
            "unit": dict(self.unit),
            "parts": {name: _rounded(sure, _DECIMALS) for name, sure in self.parts.items()},
            "world_from_glasses": [
                [_rounded(value, _POSE_DECIMALS) for value in row]
                for row in self.world_from_glasses
            ],
        }
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)

    def as_text(self) -> str:
        """A short aligned table, left and right side by side."""
        rows: dict[str, dict[str, float]] = {}
        for name, value in sorted(self.figures.items()):
            side = next((s for s in ("left", "right") if f"_{s}_" in f"_{name}_"), "")
            title = _title(name.replace(f"_{side}", "") if side else name)
            rows.setdefault(title, {})[side] = value
        width = max(map(len, rows), default=0) + 2
        lines = [
            f"{'head':<{width}}{self.head}, {self.expression}",
            f"{'glasses':<{width}}{self.glasses}, nose position {self.nose:g}",
            f"{'wear':<{width}}{', '.join(f'{k} {v}' for k, v in self.wear.items())}",
            f"{'fit':<{width}}" + ("accepted" if self.accepted else f"rejected: {self.reason}"),
            "",
            f"{'':<{width}}{'left':>9}{'right':>9}{'both':>9}",
        ]
        for title, found in rows.items():
            cells = "".join(_cell(found.get(side)) for side in ("left", "right", ""))
            lines.append(f"{title:<{width}}{cells}".rstrip())
        return "\n".join(lines)


def typical_wear(mode: WearMode) -> WearSpec:
    """A way of wearing glasses, by the middle of what is drawn where a recipe says nothing."""
    middles = {k: sum(bounds(v)) / 2 for k, v in WearBy()}
    return draw_wear(WearBy(**middles), mode, np.random.default_rng(0))


def fit_pair(
    head: str,
    glasses: str,
    nose: float,
    expression: str,
    out: Path | None = None,
    picture: Path | None = None,
    wear: WearMode = "worn",
) -> FitOutcome:
    """Fits `glasses` on `head` at nose position `nose` in [0, 3], worn as `typical_wear` says.

    head: a built-in person ('person-000003') or a mesh file with its anchors. glasses: a design of
    the catalogue, worn at the middle of its ranges, or a mesh file. expression: of persons;
    meshes have '1_neutral' only. out: a .glb to write, accepted or not; see `as_glb`. picture: a
    .png to write, as `out`; see `draw_worn`.

    Raises AssetError for a name that is unknown, with the nearest ones, and for a mesh that is
    missing or unusable; EyeglassError for `nose` out of range or a file that cannot be written.
    """
    if not 0 <= nose <= 3:
        raise EyeglassError(f"nose position: a number from 0 to 3 is expected, got {nose:g}")
    for file, suffix in ((out, ".glb"), (picture, ".png")):
        if file is not None:
            _check_out(file, suffix, head, glasses)
    catalog = open_catalog()
    way, limits = typical_wear(wear), WearLimits().of(wear)
    wearer = _head(catalog, head, expression)
    eyewear = resized(_eyewear(catalog, glasses), way.scale)
    placed = fit(wearer, eyewear, nose, limits, wear=way)
    files = {}
    if out is not None:
        files[out] = as_glb(wearer, eyewear, placed)
    if picture is not None:
        files[picture] = encode_png(draw_worn(wearer, eyewear, placed))
    write_whole(files)
    return FitOutcome(
        head=head,
        glasses=glasses,
        nose=nose,
        expression=expression,
        accepted=placed.accepted,
        reason=placed.reason,
        figures={name: float(value) for name, value in placed.figures.items()},
        limits=limits.model_dump(),
        world_from_glasses=placed.world_from_glasses.tolist(),
        unit={"head": wearer.unit, "glasses": eyewear.unit},
        parts=eyewear.part_confidence,
        wear={"mode": wear, **way.model_dump(exclude_defaults=True)},
    )


def as_glb(head: Head, eyewear: Eyewear, placed: Fit) -> bytes:
    """The head and the glasses it wears as one GLB, in metres, y up, the face along +z.

    Nodes are named `head_SURFACE` and `glasses_PART`.
    """
    scene = trimesh.Scene()
    for name, surface in head.surfaces.items():
        _add(scene, f"head_{name}", surface, surface.material or _plain(head, name, surface))
    for name, part in posed_parts(eyewear, placed).items():
        _add(scene, f"glasses_{name}", part, part.material or Material(), name in LENS_PARTS)
    return bytes(scene.export(file_type="glb"))


def draw_worn(head: Head, eyewear: Eyewear, placed: Fit) -> NDArray[np.uint8]:
    """The head with the glasses from four sides, (h, 1200, 3) uint8 sRGB, without Blender."""
    surfaces = [
        (surface, (surface.material or _plain(head, name, surface)).base_color, 1.0)
        for name, surface in head.surfaces.items()
    ]
    for name, part in posed_parts(eyewear, placed).items():
        material = part.material or Material()
        clear = name in LENS_PARTS and material.transmission >= 0.5
        surfaces.append((part, material.base_color, _LENS_OPACITY if clear else 1.0))
    return draw(surfaces, {}, _PICTURE_PX, about=head.anchors.as_array())


def _check_out(out: Path, suffix: str, head: str, glasses: str) -> None:
    if out.suffix.lower() != suffix:
        raise EyeglassError(f"{out}: a name that ends in {suffix} is expected")
    if out.is_dir():
        raise EyeglassError(f"{out}: is a folder; a file that ends in {suffix} is expected")
    if out.resolve() in (Path(head).resolve(), Path(glasses).resolve()):
        raise EyeglassError(f"{out}: is a mesh to be fitted; give another name")


def _head(catalog: Catalog, name: str, expression: str) -> Head:
    if PERSON_NAME.fullmatch(name):
        return catalog.heads.load(name, expression)
    if not _is_file(name):
        raise AssetError(
            f"no head '{name}': give a mesh file ({', '.join(MESH_SUFFIXES)}) or a built-in "
            "person, such as 'person-000003'"
        )
    from pipeline.catalog.mesh import load_head

    found = load_head(Path(name))
    if expression != NEUTRAL:
        raise AssetError(f"{name}: a mesh has no expression but {NEUTRAL}, not '{expression}'")
    return found


def _eyewear(catalog: Catalog, name: str) -> Eyewear:
    entry = catalog.glasses.get(name)
    if entry is not None:
        return entry.build(entry.typical())
    if not _is_file(name):
        close = difflib.get_close_matches(name, catalog.glasses, n=3, cutoff=0.4)
        near = " or ".join(f"'{design}'" for design in close)
        hint = f"did you mean {near}?" if close else f"known: {', '.join(catalog.glasses)}"
        raise AssetError(f"no glasses '{name}': give a mesh file or a design; {hint}")
    from pipeline.catalog.mesh import load_eyewear

    return load_eyewear(Path(name))


def _is_file(name: str) -> bool:
    path = Path(name)
    return path.suffix.lower() in MESH_SUFFIXES or len(path.parts) > 1 or path.is_file()


def _plain(head: Head, name: str, surface: Surface) -> Material:
    """A material for what the renderer knows by name and for coloured vertices: their mean."""
    if "color" in surface.attributes:
        mean = np.mean(surface.attributes["color"], axis=0)
        return Material((float(mean[0]), float(mean[1]), float(mean[2])))
    skin = head.appearance.skin if head.appearance else _SKIN
    return Material(_PLAIN.get(name, skin))


def _add(
    scene: trimesh.Scene, name: str, surface: Surface, material: Material, lens: bool = False
) -> None:
    image = None
    if material.texture is not None and surface.uv is not None:
        image = Image.fromarray(np.ascontiguousarray(material.texture))
    clear = lens and material.transmission >= 0.5
    pbr = trimesh.visual.material.PBRMaterial(
        name=name,
        baseColorFactor=[*material.base_color, _LENS_OPACITY if clear else 1.0],
        baseColorTexture=image,
        metallicFactor=material.metallic,
        roughnessFactor=material.roughness,
        alphaMode="BLEND" if clear else "OPAQUE",
        doubleSided=True,
    )
    mesh = trimesh.Trimesh(
        surface.vertices * _METRES_PER_MM,
        surface.triangles(),
        visual=trimesh.visual.TextureVisuals(uv=surface.uv, material=pbr),
        process=False,
    )
    scene.add_geometry(mesh, node_name=name, geom_name=name)


def _rounded(value: float, decimals: int) -> float | None:
    return round(float(value), decimals) + 0.0 if math.isfinite(value) else None


def _title(figure: str) -> str:
    words, _, unit = figure.rpartition("_")
    return f"{words.replace('_', ' ')}, {'degrees' if unit == 'deg' else unit}"


def _cell(value: float | None) -> str:
    if value is None:
        return f"{'':>9}"
    return f"{round(value, 2) + 0.0:>9.2f}" if math.isfinite(value) else f"{'none':>9}"
