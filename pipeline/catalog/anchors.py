"""The sidecar of a user's mesh: four anchor points, and the frame they span.

`NAME.anchors.yaml` beside `NAME.obj` (or .ply, .stl, .glb, .gltf) holds four 3-D points in the
coordinates of the file's scene, node transforms applied: temple_left, temple_right, nose_left,
nose_right. Left is the wearer's left. Nothing else is needed: they give axes, origin and unit.
It may also say of what `kind` the mesh is, how sure its writer was (`confidence`), and of glasses
which objects or materials are which `parts` and where their `lenses` come from.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.errors import AssetError
from pipeline.geometry import EYEWEAR_PARTS, Anchors, FloatArray
from pipeline.transforms import rotation_about
from pipeline.yamlfile import one_line, read_yaml

KEYS = ("temple_left", "temple_right", "nose_left", "nose_right")
KINDS = ("head", "glasses")
#: What `parts` may name: single parts, or both of a pair, which are told apart by their side.
PART_NAMES = (*EYEWEAR_PARTS, "temples", "lenses")
LENSES = ("keep", "synthesise")
_OF_GLASSES = ("parts", "lenses")
_ALL_KEYS = (*KEYS, "kind", "confidence", *_OF_GLASSES)
_MEANING = {
    "head": ("where the temples of glasses rest on the roots of the ears",
             "where the pads rest on the flanks of the nose, just below the height of the eyes"),
    "glasses": ("the undersides of the temples where they rest on the ears",
                "the points of the pads, or of the bridge, that touch the nose"),
}  # fmt: skip
UNITS_MM = {"um": 1e-3, "mm": 1.0, "cm": 10.0, "inch": 25.4, "dm": 100.0, "m": 1000.0}
#: The temple nodes of people and of glasses lie this far apart.
TEMPLES_MM = (100.0, 190.0)
SCALED_TEMPLES_MM = 145.0
#: The mean of the built-in persons; 5 and 15 bound nine in ten of them.
HEAD_PITCH_DEG = 10.0


@dataclass(frozen=True, eq=False)
class AnchorFrame:
    """Our frame, as four points in a file span it.

    mm_from_file: (4, 4) float64, a rotation, one scale and a translation. `unit`: a key of
    UNITS_MM, or 'scaled' where none fits. `anchors` in mm, in the new frame, whose origin is
    the middle of the temple nodes.
    """

    mm_from_file: FloatArray
    unit: str
    anchors: Anchors


@dataclass(frozen=True, eq=False)
class Sidecar:
    """What a sidecar says of its mesh.

    anchors: in the coordinates of the mesh file. kind: one of KINDS, or None where it is left
    open. confidence: 0..1, or None. parts: a name of PART_NAMES to names of objects or materials
    of the mesh. synthesise_lenses: make lenses anew from the openings of the rims.
    """

    anchors: Anchors
    kind: str | None
    confidence: float | None
    parts: Mapping[str, tuple[str, ...]]
    synthesise_lenses: bool


def sidecar_path(mesh: Path) -> Path:
    """Where the anchors of a mesh file are looked for."""
    return mesh.with_name(f"{mesh.stem}.anchors.yaml")


def read_sidecar(path: Path) -> Sidecar:
    """The sidecar of a mesh, its points in the coordinates of the mesh file.

    Raises AssetError, on one line with the path: missing file, YAML that does not parse, keys
    missing or unknown, values that are not three finite numbers, or not what a key takes.
    """
    if not path.is_file():
        raise AssetError(
            f"{path}: no such file; run `eyeglass annotate MESH --auto` to have it made, or write "
            f"the anchor points there, three numbers each: {', '.join(KEYS)}"
        )
    data = read_yaml(path, AssetError)
    if not isinstance(data, dict):
        got = "an empty file" if data is None else f"a {type(data).__name__}"
        raise AssetError(f"{path}: expected the keys {', '.join(KEYS)}, got {got}")
    for key in data:
        _one_of(path, "unknown key", key, _ALL_KEYS)
    missing = [key for key in KEYS if key not in data]
    if missing:
        raise AssetError(f"{path}: missing {', '.join(missing)} (three numbers each)")
    kind = data.get("kind")
    if "kind" in data:
        _one_of(path, "kind: unknown", kind, KINDS)
    for key in _OF_GLASSES:
        if kind == "head" and key in data:
            raise AssetError(f"{path}: {key} belongs to glasses, but kind is head")
    if "lenses" in data:
        _one_of(path, "lenses: unknown", data["lenses"], LENSES)
    return Sidecar(
        Anchors(**{key: _point(path, key, data[key]) for key in KEYS}),
        kind,
        _confidence(path, data["confidence"]) if "confidence" in data else None,
        _parts(path, data["parts"]) if "parts" in data else {},
        data.get("lenses") == "synthesise",
    )


def write_sidecar(
    path: Path, anchors: Anchors, kind: str, confidence: float | None = None
) -> None:
    """Writes the sidecar `path` of a mesh: whole, or not at all.

    anchors: in the coordinates of the mesh file; read again they are the same to the last bit.
    kind: one of KINDS. confidence: 0..1, or None where a person placed the points. What an
    earlier sidecar says of `parts` and `lenses` stays. Raises AssetError for an earlier file
    that cannot be read or contradicts `kind`, a point that is not finite, and a folder that
    cannot be written.
    """
    kept: dict[str, Any] = {}
    if path.is_file():
        earlier = read_yaml(path, AssetError)
        if isinstance(earlier, dict):
            kept = {key: earlier[key] for key in _OF_GLASSES if key in earlier}
    if kept and kind == "head":
        raise AssetError(f"{path}: has {', '.join(kept)} of glasses; remove it to label a head")
    on_temples, on_nose = _MEANING[kind]
    lines = [
        "# Anchor points, x y z in the coordinates of the mesh file. Left is the wearer's left.",
        f"# Temples: {on_temples}.",
        *(_line(path, key, getattr(anchors, key)) for key in KEYS[:2]),
        f"# Nose: {on_nose}.",
        *(_line(path, key, getattr(anchors, key)) for key in KEYS[2:]),
        f"kind: {kind}",
    ]
    if confidence is not None:
        lines.append("# How sure the automatic annotation was, 0 to 1.")
        lines.append(f"confidence: {confidence:.3f}")
    text = "\n".join(lines) + "\n"
    if kept:
        text += yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as fault:
        temporary.unlink(missing_ok=True)
        raise AssetError(f"{path}: cannot be written: {one_line(fault)}") from None


def _line(path: Path, key: str, point: FloatArray) -> str:
    if not np.isfinite(point).all():
        raise AssetError(f"{path}: {key} is not finite; the points are not written")
    return f"{key}: [{', '.join(_exact(float(number)) for number in point)}]"


def _exact(number: float) -> str:
    """The shortest text that reads as the same number; YAML 1.1 wants a point before an e."""
    text = repr(number)
    mantissa, e, exponent = text.partition("e")
    return text if not e or "." in mantissa else f"{mantissa}.0e{exponent}"


def _one_of(path: Path, what: str, value: object, known: Iterable[str]) -> None:
    known = list(known)
    if isinstance(value, str) and value in known:
        return
    near = difflib.get_close_matches(str(value)[:40], known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    raise AssetError(f"{path}: {what} '{str(value)[:40]}'; {hint}")


def _confidence(path: Path, value: object) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:  # type: ignore[operator]
        raise AssetError(f"{path}: confidence: expected a number 0 to 1, got {repr(value)[:60]}")
    return float(value)  # type: ignore[arg-type]


def _parts(path: Path, value: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise AssetError(
            f"{path}: parts: expected names of parts ({', '.join(PART_NAMES)}), each with objects "
            f"or materials of the mesh, got {repr(value)[:60]}"
        )
    found = {}
    for part, names in value.items():
        _one_of(path, "parts: unknown part", part, PART_NAMES)
        listed = names if isinstance(names, list) else [names]
        if not listed or not all(isinstance(name, str) and name for name in listed):
            raise AssetError(
                f"{path}: parts: {part}: expected a name, or a list of names, of objects or "
                f"materials (numbers in quotes), got {repr(names)[:60]}"
            )
        found[part] = tuple(listed)
    return found


def _point(path: Path, key: str, value: object) -> FloatArray:
    numbers = [_number(n) for n in value] if isinstance(value, list) and len(value) == 3 else []
    if not numbers or not all(math.isfinite(n) and abs(n) < 1e12 for n in numbers):
        got = repr(value)[:60]
        raise AssetError(f"{path}: {key}: expected three finite numbers [x, y, z], got {got}")
    return np.array(numbers)


def _number(value: object) -> float:
    """A number, also one such as 1e-3, which YAML 1.1 takes for text; nan for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def anchor_frame(points: Anchors, path: Path, kind: str | None = None) -> AnchorFrame:
    """The frame that four points span.

    x runs from the right to the left temple node, z from the temple nodes forward to the nose
    nodes (made square to x), y up. On a head that looks straight ahead the nose nodes lie lower
    than the temple nodes, so for the kind 'head' z points HEAD_PITCH_DEG higher. `path` is named
    in errors. Raises AssetError where the points coincide, lie on a line, or have one pair
    swapped left for right. That both pairs are swapped only the mesh can tell: see
    `head_upside_down` and `eyewear_upside_down`.
    """
    across = points.temple_left - points.temple_right
    width = float(np.linalg.norm(across))
    nose = points.nose_left - points.nose_right
    if not width > 0 or not np.linalg.norm(nose) > 0.01 * width:
        raise AssetError(f"{path}: the left and right points of a pair coincide")
    x = across / width
    if nose @ x <= 0:
        raise AssetError(
            f"{path}: one pair is swapped: temple_left and nose_left must lie on the same side"
        )
    origin = 0.5 * (points.temple_left + points.temple_right)
    ahead = 0.5 * (points.nose_left + points.nose_right) - origin
    ahead = ahead - (ahead @ x) * x
    depth = float(np.linalg.norm(ahead))
    if depth < 0.15 * width:
        raise AssetError(
            f"{path}: the four points lie almost on a line; the nose points belong in front"
        )
    if np.linalg.norm(nose) > width or depth > 3.0 * width:
        raise AssetError(
            f"{path}: the nose points lie too far apart or too far from the temple points"
        )
    z = ahead / depth
    scale, unit = _scale(width)
    matrix = np.eye(4)
    matrix[:3, :3] = scale * np.stack([x, np.cross(z, x), z])
    matrix[:3, 3] = -matrix[:3, :3] @ origin
    if kind == "head":
        matrix = rotation_about((1.0, 0.0, 0.0), HEAD_PITCH_DEG) @ matrix
    moved = points.as_array() @ matrix[:3, :3].T + matrix[:3, 3]
    return AnchorFrame(matrix, unit, Anchors(*moved))


def _scale(width: float) -> tuple[float, str]:
    for unit, factor in UNITS_MM.items():
        if TEMPLES_MM[0] <= width * factor <= TEMPLES_MM[1]:
            return factor, unit
    return SCALED_TEMPLES_MM / width, "scaled"


def head_upside_down(vertices: FloatArray, anchors: Anchors) -> bool:
    """Whether the tip of the nose lies above the nose nodes: left and right are swapped then.

    vertices: (n, 3) mm in the frame of the anchors. Asked is only what is as near as a nose is
    large, and of that the foremost tenth, so that neither the peak of a cap nor a stray corner
    answers for it.
    """
    away = vertices - 0.5 * (anchors.nose_left + anchors.nose_right)
    near = (np.abs(away[:, :2]) < (12, 40)).all(axis=1) & (away[:, 2] > 0) & (away[:, 2] < 45)
    return _height_of_furthest(away[near], 0.1) > 5.0


def eyewear_upside_down(vertices: FloatArray, anchors: Anchors) -> bool:
    """Whether the tips of the temples bend up: left and right are swapped then.

    vertices: (n, 3) mm in the frame of the anchors. Asked is only what is near the ears, and of
    that the hindmost third, so that neither a cord nor a stray corner answers for the tips.
    """
    behind = []
    for temple in (anchors.temple_left, anchors.temple_right):
        away = (vertices - temple) * (1, 1, -1)
        near = (np.abs(away[:, :2]) < (25, 60)).all(axis=1) & (away[:, 2] > 5) & (away[:, 2] < 70)
        behind.append(away[near])
    return _height_of_furthest(np.concatenate(behind), 1 / 3) > 6.0


def _height_of_furthest(points: FloatArray, share: float) -> float:
    """The median y of that share of points, (n, 3), whose z is greatest; -inf without points."""
    if not len(points):
        return -np.inf
    furthest = points[points[:, 2] >= np.quantile(points[:, 2], 1 - share)]
    return float(np.median(furthest[:, 1]))
