"""The four anchor points that a user writes next to a mesh, and the frame they span.

`NAME.anchors.yaml` beside `NAME.obj` (or .ply, .stl, .glb, .gltf) holds four 3-D points in the
coordinates of the file's scene, node transforms applied: temple_left, temple_right, nose_left,
nose_right. Left is the wearer's left. Nothing else is needed: they give axes, origin and unit.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import AssetError
from pipeline.geometry import Anchors, FloatArray
from pipeline.yamlfile import read_yaml

KEYS = ("temple_left", "temple_right", "nose_left", "nose_right")
UNITS_MM = {"um": 1e-3, "mm": 1.0, "cm": 10.0, "inch": 25.4, "dm": 100.0, "m": 1000.0}
#: The temple nodes of people and of glasses lie this far apart.
TEMPLES_MM = (100.0, 190.0)
SCALED_TEMPLES_MM = 145.0


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


def sidecar_path(mesh: Path) -> Path:
    """Where the anchors of a mesh file are looked for."""
    return mesh.with_name(f"{mesh.stem}.anchors.yaml")


def read_anchors(path: Path) -> Anchors:
    """The four points of a sidecar, in the coordinates of the mesh file.

    Raises AssetError, on one line with the path: missing file, YAML that does not parse, keys
    missing or unknown, values that are not three finite numbers.
    """
    if not path.is_file():
        raise AssetError(
            f"{path}: no such file; write the anchor points there, three numbers each: "
            + ", ".join(KEYS)
        )
    data = read_yaml(path, AssetError)
    if not isinstance(data, dict):
        raise AssetError(f"{path}: expected the keys {', '.join(KEYS)}, got {_kind(data)}")
    for key in data:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}" if near else f"the keys are {', '.join(KEYS)}"
            raise AssetError(f"{path}: unknown key '{str(key)[:40]}'; {hint}")
    missing = [key for key in KEYS if key not in data]
    if missing:
        raise AssetError(f"{path}: missing {', '.join(missing)} (three numbers each)")
    return Anchors(**{key: _point(path, key, data[key]) for key in KEYS})


def _kind(data: object) -> str:
    return "an empty file" if data is None else f"a {type(data).__name__}"


def _point(path: Path, key: str, value: object) -> FloatArray:
    numbers = value if isinstance(value, list) else []
    valid = len(numbers) == 3 and all(
        isinstance(n, int | float) and not isinstance(n, bool) and _finite(n) for n in numbers
    )
    if not valid:
        got = repr(value)[:60]
        raise AssetError(f"{path}: {key}: expected three finite numbers [x, y, z], got {got}")
    return np.array([float(n) for n in numbers])


def _finite(number: int | float) -> bool:
    try:
        return math.isfinite(float(number)) and abs(number) < 1e12
    except OverflowError:
        return False


def anchor_frame(points: Anchors, path: Path) -> AnchorFrame:
    """The frame that four points span.

    x runs from the right to the left temple node, z from the temple nodes forward to the nose
    nodes (made square to x), y up. `path` is named in errors. Raises AssetError where the points
    coincide, lie on a line, or have one pair swapped left for right. That both pairs are swapped
    only the mesh can tell: see `head_upside_down` and `eyewear_upside_down`.
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
    moved = points.as_array() @ matrix[:3, :3].T + matrix[:3, 3]
    return AnchorFrame(matrix, unit, Anchors(*moved))


def _scale(width: float) -> tuple[float, str]:
    for unit, factor in UNITS_MM.items():
        if TEMPLES_MM[0] <= width * factor <= TEMPLES_MM[1]:
            return factor, unit
    return SCALED_TEMPLES_MM / width, "scaled"


def head_upside_down(vertices: FloatArray, anchors: Anchors) -> bool:
    """Whether the tip of the nose lies above the nose nodes: left and right are swapped then."""
    nose = 0.5 * (anchors.nose_left + anchors.nose_right)
    near = (np.abs(vertices[:, 0] - nose[0]) < 12) & (np.abs(vertices[:, 1] - nose[1]) < 60)
    near &= vertices[:, 2] > nose[2]
    if not near.any():
        return False
    tip = vertices[near][vertices[near][:, 2].argmax()]
    return bool(tip[1] > nose[1] + 5.0)


def eyewear_upside_down(vertices: FloatArray, anchors: Anchors) -> bool:
    """Whether the tips of the temples bend up: left and right are swapped then."""
    back = vertices[vertices[:, 2] < vertices[:, 2].min() + 5.0]
    temples = 0.5 * (anchors.temple_left[1] + anchors.temple_right[1])
    return bool(back[:, 1].mean() > temples + 6.0)
