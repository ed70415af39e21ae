"""Parametric eyewear: designs read from YAML, drawn within their ranges, and built as meshes.

Numbers are those an optician writes down. Lens width and height are the sides of the box round
a lens and the bridge is the shortest distance between the two boxes (boxing system, ISO 8624);
the temple length runs from the hinge pin along the temple to its tip, the length to bend from
the pin to where the temple rests on the ear. Retail frames for adults run from about 44 to 60 mm
lens width, 14 to 24 mm bridge and 135 to 150 mm temple ("52-18-145"), face form 3 to 10 degrees
(sports frames 15 to 25), pantoscopic tilt 4 to 12 degrees and base curve 2 to 8 dioptres. Of the
lens heights, readers have from 22 mm and oversize sunglasses up to 56.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pipeline.catalog import fittings, frames, halfrims
from pipeline.catalog.finishes import FRAMES, LENSES, PADS, TIP, frame_material
from pipeline.catalog.optics import lens_form
from pipeline.catalog.outline import (
    TOOL_MM_D,
    Front,
    closed_spline,
    outline_from_curve,
    rounded_polygon,
    superellipse,
)
from pipeline.catalog.sweep import Body, join
from pipeline.errors import AssetError
from pipeline.geometry import Anchors, Eyewear, FloatArray, Hinge, Material, Surface
from pipeline.model import Frozen, Name, first_fault
from pipeline.yamlfile import read_yaml

Choice = Mapping[str, float | str]

#: What a frame can be, whatever a file asks for: mm, degrees, dioptres.
LIMITS: Mapping[str, tuple[float, float]] = {
    "lens_width_mm": (38, 66),
    "lens_height_mm": (22, 60),
    "bridge_mm": (12, 28),
    "temple_length_mm": (120, 160),
    "length_to_bend_mm": (80, 115),
    "rim_width_mm": (0.8, 9),
    "rim_depth_mm": (1.2, 8),
    "wrap_deg": (0, 26),
    "pantoscopic_tilt_deg": (0, 18),
    "temple_bend_deg": (15, 65),
    "temple_height_mm": (1.5, 22),
    "temple_thickness_mm": (0.8, 6),
    "tip_height_mm": (3, 10),
    "base_curve_d": (0.5, 8.5),
    "lens_thickness_mm": (1, 4),
    "brow_mm": (0, 6),
    "bridge_height_mm": (-8, 18),
    "bridge_thickness_mm": (1, 12),
    "bridge_arch_mm": (0, 8),
    "endpiece_mm": (1.5, 12),
    "endpiece_height_mm": (-5, 24),
    "endpiece_rise_deg": (0, 45),
    "pad_distance_mm": (12, 24),
    "pad_drop_mm": (0, 16),
    "pad_depth_mm": (2, 16),
    "pad_frontal_deg": (5, 45),
    "pad_splay_deg": (5, 50),
    "power_d": (-8, 5),
    "pattern_mm": (0, 1000),
    "smudges": (0, 1),
}


def _as_range(value: Any) -> Any:
    """A number as [number, number]."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (value, value)
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return tuple(value)
    raise ValueError("a number or a range [low, high] expected")


Range = Annotated[
    tuple[
        Annotated[float, Field(strict=True, allow_inf_nan=False)],
        Annotated[float, Field(strict=True, allow_inf_nan=False)],
    ],
    BeforeValidator(_as_range),
]
Point = tuple[float, float]


class LensShape(Frozen):
    """Outline of the left lens seen from the front, x towards the ear; scaled to the lens box.

    Either the exponent of a superellipse (2 is a circle or ellipse, 4 nearly a rectangle), or
    control points of a smooth closed curve, or the corners of a polygon, rounded over a share of
    its sides.
    """

    # YAML has lists where these have tuples.
    model_config = ConfigDict(strict=False)

    superellipse: float | None = Field(default=None, ge=1.6, le=12)
    points: tuple[Point, ...] | None = Field(default=None, min_length=5, max_length=64)
    corners: tuple[Point, ...] | None = Field(default=None, min_length=3, max_length=64)
    rounding: float = Field(default=0.25, ge=0.05, le=0.5)

    @model_validator(mode="after")
    def _one_of_these(self) -> LensShape:
        given = [v is not None for v in (self.superellipse, self.points, self.corners)]
        if sum(given) != 1:
            raise ValueError("give one of 'superellipse', 'points' and 'corners'")
        return self

    def curve(self) -> FloatArray:
        """(m, 2) closed, counter-clockwise, of any size."""
        if self.superellipse is not None:
            return superellipse(self.superellipse)
        if self.corners is not None:
            return rounded_polygon(self.corners, self.rounding)
        return closed_spline(self.points or ())


class Design(Frozen):
    """A design of eyewear: every number a (low, high) range, scalars with low equal to high.

    rim: which half of the lens a half rim runs along. metal: finish of the rims and bridge of a
    browline, whose `frame` is the acetate of brow bars and temples.
    """

    # YAML has lists where these have tuples.
    model_config = ConfigDict(strict=False)

    name: Name
    title: str
    licence: str
    construction: Literal["acetate", "metal", "rimless", "half_rim", "browline"]
    lens_shape: LensShape
    bridge: Literal["saddle", "keyhole", "arch", "double"]
    pads: Literal["moulded", "arms"]
    rim: Literal["above", "below"] | None = None
    metal: str | None = None
    frame: tuple[str, ...] = Field(min_length=1)
    lenses: tuple[str, ...] = Field(min_length=1)
    lens_width_mm: Range
    lens_height_mm: Range
    bridge_mm: Range
    temple_length_mm: Range
    length_to_bend_mm: Range
    rim_width_mm: Range = (1.6, 1.6)
    rim_depth_mm: Range = (2.2, 2.2)
    wrap_deg: Range
    pantoscopic_tilt_deg: Range
    temple_bend_deg: Range
    temple_height_mm: Range
    temple_thickness_mm: Range
    tip_height_mm: Range = (6.5, 6.5)
    base_curve_d: Range
    lens_thickness_mm: Range
    brow_mm: Range = (0.0, 0.0)
    bridge_height_mm: Range
    bridge_thickness_mm: Range
    bridge_arch_mm: Range = (1.5, 1.5)
    endpiece_mm: Range
    endpiece_height_mm: Range
    endpiece_rise_deg: Range = (0.0, 0.0)
    pad_distance_mm: Range
    pad_drop_mm: Range
    pad_depth_mm: Range
    pad_frontal_deg: Range = (25.0, 25.0)
    pad_splay_deg: Range = (30.0, 30.0)
    power_d: Range = (-6.0, 3.0)
    pattern_mm: Range = (0.0, 1000.0)
    smudges: Range = (0.0, 0.6)

    @model_validator(mode="after")
    def _possible(self) -> Design:
        for key, (least, most) in LIMITS.items():
            low, high = getattr(self, key)
            if not least <= low <= high <= most:
                raise ValueError(
                    f"{key}: [low, high] within {least:g} and {most:g} expected, "
                    f"got {low:g} to {high:g}"
                )
        _known("frame", self.frame, FRAMES)
        _known("lenses", self.lenses, LENSES)
        fits = {"acetate": {"saddle", "keyhole"}, "metal": {"arch", "double"}}
        bridges = fits.get(self.construction, {"arch"})
        if self.bridge not in bridges:
            known = " or ".join(sorted(bridges))
            raise ValueError(f"bridge: a {self.construction} frame has {known}")
        if (self.pads == "moulded") != (self.construction == "acetate"):
            raise ValueError("pads: 'moulded' for acetate, 'arms' for all other frames")
        for key, only in (("rim", "half_rim"), ("metal", "browline")):
            if (getattr(self, key) is None) == (self.construction == only):
                raise ValueError(f"{key}: for a {only} frame, and for no other")
        if self.metal is not None:
            _known("metal", (self.metal,), FRAMES)
        if self.temple_length_mm[0] < self.length_to_bend_mm[1] + 25:
            raise ValueError("temple_length_mm: at least 25 mm more than length_to_bend_mm")
        return self

    @property
    def holes(self) -> int:
        """Openings that the front closes all round; see `Eyewear`."""
        if self.construction in ("rimless", "half_rim"):
            return 0
        return 3 if self.bridge == "double" else 2

    def draw(self, rng: np.random.Generator) -> dict[str, float | str]:
        """One pair: every number of `LIMITS`, uniform in its range, and 'frame' and 'lenses'.

        Takes one number from `rng` for each, ranged or not, so that narrowing one range moves
        nothing else.
        """
        choice: dict[str, float | str] = {}
        for key, share in zip(LIMITS, rng.random(len(LIMITS)).tolist(), strict=True):
            low, high = getattr(self, key)
            choice[key] = float(low + (high - low) * share)
        for key, names in (("frame", self.frame), ("lenses", self.lenses)):
            choice[key] = names[int(rng.random() * len(names))]
        return choice

    def typical(self) -> dict[str, float | str]:
        """The pair in the middle of every range, in the first finish."""
        choice: dict[str, float | str] = {k: float(sum(getattr(self, k)) / 2) for k in LIMITS}
        return {**choice, "frame": self.frame[0], "lenses": self.lenses[0]}


    def looks(self) -> list[dict[str, float | str]]:
        """Typical pairs that together show every finish of frame and lenses."""
        lenses = list(dict.fromkeys(self.lenses))
        count = max(len(self.frame), len(lenses))
        return [
            {
                **self.typical(),
                "frame": self.frame[i % len(self.frame)],
                "lenses": lenses[i % len(lenses)],
                "power_d": 0.0 if self.power_d[0] <= 0 <= self.power_d[1] else self.power_d[0],
                "smudges": 0.0,
            }
            for i in range(count)
        ]


def _known(key: str, names: tuple[str, ...], known: Mapping[str, Material]) -> None:
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else f"; one of {', '.join(known)}"
            raise ValueError(f"{key}: unknown finish '{name}'{hint}")


def load_design(path: Path | str) -> Design:
    """The design in a YAML file. Raises AssetError, one line with the file and the path in it."""
    path = Path(path)
    if not path.is_file():
        siblings = [p.name for p in path.parent.glob("*.yaml")]
        close = difflib.get_close_matches(path.name, siblings, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise AssetError(f"{path}: no such eyewear design{hint}")
    data = read_yaml(path, AssetError)
    if not isinstance(data, dict):
        raise AssetError(f"{path}: a design is a mapping of keys, not {type(data).__name__}")
    try:
        return Design.model_validate(data)
    except ValidationError as fault:
        raise AssetError(f"{path}: {_fault_line(fault)}") from None


def _fault_line(fault: ValidationError) -> str:
    faults = fault.errors(include_url=False)
    first = faults[0]
    # A misspelt key is also missing under its right name; its own line says more.
    if any(f["type"] == "extra_forbidden" for f in faults):
        return first_fault(fault, Design)
    if first["type"] == "value_error" and not first["loc"]:
        return "$." + str(first["ctx"]["error"])
    if first["type"] == "missing":
        return "$." + ".".join(str(part) for part in first["loc"]) + ": missing"
    return first_fault(fault, Design)


def build_eyewear(design: Design, choice: Choice) -> Eyewear:
    """The pair that `choice` describes: closed, outward-oriented triangle meshes, mm.

    The origin lies between the lenses on the boxing centre line; the front stands about in
    z = 0, pitched by the pantoscopic tilt, the open temples run level to -z. The bridge of an
    acetate frame belongs to its rims, as it is one piece with them.
    Raises AssetError where `choice` lacks a key of `Design.draw` or names an unknown finish.
    """
    plan = _plan(design, choice)
    finish, tint = _finish(choice, "frame", FRAMES), _finish(choice, "lenses", LENSES)
    material = metal = frame_material(finish)
    rimless = design.construction == "rimless"
    brows: list[Body] = []
    if design.construction == "acetate":
        front = frames.acetate_front(plan, design.bridge == "keyhole")
    elif rimless:
        front = frames.rimless_front(plan)
    elif design.construction == "half_rim":
        front = halfrims.half_rim_front(plan, design.rim == "above")
    elif design.construction == "browline":
        front, brows = halfrims.browline_front(plan)
        metal = frame_material(str(design.metal))
    else:
        front = frames.metal_front(plan, design.bridge == "double")
    pad, nose, away = fittings.nose_pad(plan, design.pads == "moulded")
    rims = list(front.rims)
    if design.pads == "arms":
        rims += frames.both(frames.pad_arm(plan, nose + 2.2 * away, away, rimless))
    where = (plan, front.hinge, front.temple_x, front.temple_start)
    if design.construction in ("acetate", "browline"):
        temple, ear = fittings.acetate_temple(*where)
        left, right = _pair(temple, material)
    else:
        bar, sleeve, ear = fittings.metal_temple(*where)
        left, right = (
            _tipped(b, s, finish) for b, s in zip(*map(frames.both, (bar, sleeve)), strict=True)
        )
    pad_material = material if design.pads == "moulded" else PADS
    parts = {"rims": _surface(join(rims), metal)}
    if front.bridge:
        parts["bridge"] = _surface(join(front.bridge), metal)
    if brows:
        parts["brows"] = _surface(join(brows), material)
    parts["pads"] = _surface(join(frames.both(pad)), pad_material)
    parts["temple_left"], parts["temple_right"] = left, right
    lens = fittings.lens(plan, bevelled=not rimless)
    glass = replace(LENSES[tint], ior=plan.lens.index, smudges=plan["smudges"])
    parts["lens_left"], parts["lens_right"] = _pair(lens, glass)
    parts = {name: _placed(part, plan["pattern_mm"]) for name, part in parts.items()}
    flip = np.array([-1.0, 1.0, 1.0])
    up = np.array([0.0, 1.0, 0.0])
    return Eyewear(
        name=design.name,
        parts=parts,
        anchors=Anchors(ear, ear * flip, nose, nose * flip),
        hinge_left=Hinge(front.hinge, up),
        hinge_right=Hinge(front.hinge * flip, up),
        holes=design.holes,
    )


def _check_choice(design: Design, choice: Choice) -> None:
    where = f"eyewear '{design.name}': choice"
    for key in choice:
        if key not in LIMITS and key not in ("frame", "lenses"):
            raise AssetError(f"{where}: unknown key '{key}'")
    for key, (low, high) in LIMITS.items():
        if key not in choice:
            raise AssetError(f"{where}: '{key}' is missing")
        value = choice[key]
        if isinstance(value, (bool, str)) or not low <= value <= high:
            raise AssetError(
                f"{where}: '{key}' must lie within {low:g} and {high:g}, got {value!r}"
            )


def _plan(design: Design, choice: Choice) -> frames.Plan:
    _check_choice(design, choice)
    n = {key: float(choice[key]) for key in LIMITS}
    curve = design.lens_shape.curve()
    outline = outline_from_curve(curve, n["lens_width_mm"], n["lens_height_mm"])
    front = Front(
        half_bridge=n["bridge_mm"] / 2,
        lens_width=n["lens_width_mm"],
        radius=TOOL_MM_D / n["base_curve_d"],
        wrap=float(np.deg2rad(n["wrap_deg"])),
        tilt=float(np.deg2rad(n["pantoscopic_tilt_deg"])),
        nasal_y=float(outline.nasal[1]),
    )
    form = lens_form(
        n["power_d"], n["base_curve_d"], n["lens_thickness_mm"], outline.points,
        front.half_bridge + front.lens_width / 2,
    )  # fmt: skip
    return frames.Plan(n, outline, front, form)


def _finish(choice: Choice, key: str, known: Mapping[str, Material]) -> str:
    name = str(choice.get(key))
    if name not in known:
        raise AssetError(f"eyewear choice: '{key}' must be one of {', '.join(known)}, not '{name}'")
    return name


def _placed(surface: Surface, offset_mm: float) -> Surface:
    """With what patterns hang on: `place`, (n, 3) mm, and `height`, (n,) from 0 to 1 at the top."""
    y = surface.vertices[:, 1]
    return replace(
        surface,
        attributes={
            "place": (surface.vertices + offset_mm).astype(np.float32),
            "height": ((y - y.min()) / np.ptp(y)).astype(np.float32),
        },
    )


def _surface(body: Body, material: Material) -> Surface:
    return Surface(body.vertices, body.faces, material=material)


def _pair(body: Body, material: Material) -> tuple[Surface, Surface]:
    left, right = (_surface(b, material) for b in frames.both(body))
    return left, right


def _tipped(bar: Body, sleeve: Body, finish: str) -> Surface:
    """A metal temple with its tip, told apart by the two halves of a texture."""
    body = join([bar, sleeve])
    u = np.repeat([0.25, 0.75], [len(bar.vertices), len(sleeve.vertices)])
    uv = np.stack([u, np.full(len(u), 0.5)], axis=1).astype(np.float32)
    return Surface(body.vertices, body.faces, uv=uv, material=frame_material(finish, TIP))
