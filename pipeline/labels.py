"""What a sample's record says of its picture: points, pose, camera, box. Exact, from geometry.

Pixels are (u, v), (0, 0) the corner of the first pixel, so that the centre of pixel i is i + 0.5;
they may lie outside the picture. The head's frame is that of `pipeline.geometry`, mm.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.camera import View, angles_of
from pipeline.catalog.finishes import is_dark
from pipeline.geometry import LENS_PARTS, FloatArray, Head, Material, Surface
from pipeline.pixels import UInt8
from pipeline.rays import Solid

#: A point is hidden by what stands at least so far before it. Lips touch, and lids lie on eyes.
_HIDING_MM = 1.5
#: Decimals of pixels and millimetres, and of turns.
_PX, _EXACT = 3, 6
_ANCHORS = ("temple_left", "temple_right", "nose_left", "nose_right")


class HeadInSight:
    """A head with what tells which of its points a camera sees; samples of a head share it."""

    def __init__(self, head: Head) -> None:
        self.head = head

    @cached_property
    def solid(self) -> Solid:
        """All of the head's surfaces, clothes and what is held too; neither hair nor lashes."""
        return Solid([part for name, part in self.head.surfaces.items() if name != "lashes"])


def sample_labels(
    view: View, in_sight: HeadInSight, parts: Mapping[str, Surface], mask_full: UInt8
) -> dict[str, Any]:
    """The labels of a sample as they are recorded, JSON data.

    parts: eyewear as worn, in the head's frame (mm). mask_full: (h, w) of 0 and 255. Landmarks and
    eyes are left out where a mesh does not say where they are.
    """
    size, head = len(mask_full), in_sight.head
    yaw, pitch, roll = angles_of(view.pose)
    anchors = dict(zip(_ANCHORS, head.anchors.as_array(), strict=True))
    found: dict[str, Any] = {
        "camera_matrix": _rounded(view.matrix(size), _EXACT),
        "camera_from_head": _rounded(view.camera_from_head(), _EXACT),
        "head_pose_deg": {
            name: round(angle, _EXACT) + 0.0
            for name, angle in (("yaw", yaw), ("pitch", pitch), ("roll", roll))
        },
        "anchors_px": _points(view, anchors, size),
        "glasses_box": box_of(mask_full),
    }
    eyes = {"left": head.eye_left, "right": head.eye_right}
    known = {side: eye for side, eye in eyes.items() if eye is not None}
    if known:
        found["eyes_px"] = _points(view, known, size)
        found["eyes_mm"] = {side: _rounded(eye, _PX) for side, eye in known.items()}
    if head.landmarks is not None:
        marks = head.landmarks
        found["landmarks_px"] = _rounded(view.project(marks, size), _PX)
        found["landmarks_visible"] = (
            in_picture(view, marks, size) & ~hidden(view, marks, in_sight.solid)
        ).tolist()
        found["landmarks_behind_glasses"] = hidden(view, marks, _opaque(parts)).tolist()
    return found


def in_picture(view: View, points: FloatArray, size: int) -> NDArray[np.bool_]:
    """(n,) whether points (n, 3) lie before the camera and within the picture's borders."""
    pixels = view.project(points, size)
    return view.in_front(points) & ((pixels >= 0) & (pixels < size)).all(axis=1)


def hidden(view: View, points: FloatArray, solid: Solid | None) -> NDArray[np.bool_]:
    """(n,) whether something stands between the pinhole and points (n, 3)."""
    eye = view.pose[:3, 3]
    solid = solid and solid.towards(eye, points)
    if solid is None:
        return np.zeros(len(points), bool)
    ways = points - eye
    distance = np.linalg.norm(ways, axis=1)
    reach = solid.reach(np.broadcast_to(eye, points.shape), ways / distance[:, None])
    return reach < distance - _HIDING_MM


def box_of(mask: UInt8) -> list[int] | None:
    """[x, y, width, height] in px of the smallest box about a mask (h, w), None if it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]


def _opaque(parts: Mapping[str, Surface]) -> Solid | None:
    """Frame and dark lenses: what of the eyewear hides what is behind it."""
    hiding = [
        part
        for name, part in parts.items()
        if name not in LENS_PARTS or is_dark(part.material or Material())
    ]
    return Solid(hiding) if hiding else None


def _points(view: View, points: Mapping[str, FloatArray], size: int) -> dict[str, list[float]]:
    pixels = view.project(np.array(list(points.values())), size)
    return {name: _rounded(pixel, _PX) for name, pixel in zip(points, pixels, strict=True)}


def _rounded(values: FloatArray, decimals: int) -> Any:
    """Lists of numbers, rounded, so that no record hangs on a sine's last bit; -0 is 0."""
    return (np.round(values, decimals) + 0.0).tolist()
