"""The work of labelling a mesh by hand, without the page it is done on.

Three frames: that of the file; `local`, the same axes with the mesh centred and about 2 across,
which is what the page shows; and, once there are four points, ours in mm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import trimesh
from numpy.typing import ArrayLike

from pipeline.catalog.anchors import KEYS
from pipeline.catalog.piece import Piece
from pipeline.geometry import Anchors, FloatArray
from pipeline.transforms import apply

#: Where the points lie, in words, by kind and by the first half of a point's name.
PLACES: Mapping[str, Mapping[str, str]] = {
    "head": {
        "temple": "on top of the root of the {} ear, where the temple of the glasses rests "
        "between ear and head",
        "nose": "on the {} flank of the nose, just below eye height, where the pad rests",
    },
    "glasses": {
        "temple": "on the underside of the {} temple, at its bend, where it rests on the ear",
        "nose": "on the inner face of the {} pad, where it touches the nose (without pads, on "
        "the bridge)",
    },
}
#: Shares of the vertices, along each axis, that need not be in view: strays far off.
_STRAY_PERCENT = 0.5


@dataclass(frozen=True, eq=False)
class Labels:
    """What has been clicked so far.

    points: (3,) float64 in the file's frame, by name out of KEYS. current: the point that the next
    click places. before: the labels that undoing returns to.
    """

    points: Mapping[str, FloatArray] = field(default_factory=dict)
    current: str = KEYS[0]
    before: Labels | None = field(default=None, repr=False)

    def placed(self, point: FloatArray) -> Labels:
        """With the current point placed, or moved, to `point`, (3,); the next to place follows."""
        points = {**self.points, self.current: np.asarray(point, dtype=np.float64)}
        missing = [key for key in KEYS if key not in points]
        return Labels(points, missing[0] if missing else self.current, self)

    def selected(self, key: str) -> Labels:
        """With another point to place next."""
        return replace(self, current=key)

    def replaced(self, anchors: Anchors) -> Labels:
        """With all four points from elsewhere."""
        return Labels({key: getattr(anchors, key) for key in KEYS}, self.current, self)

    def undone(self) -> Labels:
        """As before the last point was placed."""
        return self.before or self

    def anchors(self) -> Anchors | None:
        """The four points, once all are there."""
        return Anchors(**self.points) if len(self.points) == len(KEYS) else None


def place_in_words(kind: str, key: str) -> str:
    """Where point `key` of a 'head' or of 'glasses' lies, for people."""
    what, side = key.split("_")
    return PLACES[kind][what].format(side)


class Target:
    """A mesh to be clicked at.

    local_from_file: (4, 4) float64, one scale and a translation.
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        starts = np.cumsum([0, *(len(piece.surface.vertices) for piece in pieces)])
        faces = np.concatenate(
            [p.surface.triangles() + start for p, start in zip(pieces, starts, strict=False)]
        )
        vertices = np.concatenate([piece.surface.vertices for piece in pieces])
        used = vertices[np.unique(faces)]
        low, high = np.percentile(used, [_STRAY_PERCENT, 100 - _STRAY_PERCENT], axis=0)
        size = float((high - low).max()) or float(np.ptp(used, axis=0).max()) or 1.0
        self.local_from_file: FloatArray = np.diag([2 / size, 2 / size, 2 / size, 1.0])
        self.local_from_file[:3, 3] = -(low + high) / size
        self.file_from_local: FloatArray = np.linalg.inv(self.local_from_file)
        local = apply(self.local_from_file, vertices)
        self._solid = trimesh.Trimesh(local, faces, process=False, validate=False)

    def pick(self, origin: ArrayLike, direction: ArrayLike) -> FloatArray | None:
        """Where a ray first meets the mesh: (3,) in the file's frame, or None.

        origin, direction: (3,) in the local frame. Embree finds the face in single precision; the
        point is that of the ray in the plane of the face.
        """
        start = np.asarray(origin, dtype=np.float64)
        ahead = np.asarray(direction, dtype=np.float64)
        (face,) = self._solid.ray.intersects_first(start[None], ahead[None])
        if face < 0:
            return None
        a, b, c = np.asarray(self._solid.vertices)[self._solid.faces[face]]
        normal = np.cross(b - a, c - a)
        slope = float(normal @ ahead)
        if slope == 0:
            return apply(self.file_from_local, (a + b + c) / 3)
        return apply(self.file_from_local, start + (normal @ (a - start)) / slope * ahead)
