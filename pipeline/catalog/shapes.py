"""Connected regions of a mesh, cuts through it, and what shape alone says of parts of glasses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import overload

import numpy as np
import trimesh
from numpy.typing import NDArray

from pipeline.geometry import FloatArray, Surface
from pipeline.triangles import heights_at, refined

#: Corners this near one another are one, mm.
_WELD_DECIMALS = 4
#: Faces that meet at more than this are not of one smooth sheet.
_SMOOTH_DEG = 30.0
#: Specks: of less than a share of the area each and all, outside the rest by a share of its size.
_SPECK_AREA, _SPECKS_AREA, _SPECK_OFF = 0.002, 0.01, 0.05
#: Lenses seen from in front, mm: a pair in one pane is wider than one lens can be.
_PANE_WIDTH_MM, _PANE_HEIGHT_MM, _PANE_PAIR_MM = (25.0, 160.0), (18.0, 80.0), 90.0
#: From the front back, slices this thick tell where a temple begins.
_SLICE_MM = 1.5
_LOOK_BEHIND_MM = 60.0
#: A temple lies beyond this share of the half width of its glasses; what lies within the second
#: of that (pads, the nasal half of a lens) does not tell where it begins.
_TEMPLE_OUT, _FRONT_OUT = 0.82, 0.55


@dataclass(frozen=True, eq=False)
class Regions:
    """Connected faces of a surface: the region of each face, (m,), and boxes round them, (k, 3)."""

    labels: NDArray[np.int64]
    low: FloatArray
    high: FloatArray


def regions(surface: Surface, smooth: bool = False) -> Regions:
    """The connected regions of a triangle mesh; corners at one place are one corner.

    smooth: edges where faces meet at more than 30 degrees part them, too.
    """
    triangles = surface.vertices[surface.faces]
    first, place = trimesh.grouping.unique_rows(surface.vertices, digits=_WELD_DECIMALS)
    places = place[surface.faces]
    if smooth:
        mesh = trimesh.Trimesh(surface.vertices[first], places, process=False)
        edges = mesh.face_adjacency[mesh.face_adjacency_angles < np.radians(_SMOOTH_DEG)]
        labels = trimesh.graph.connected_component_labels(edges, node_count=len(triangles))
    else:
        edges = np.concatenate([places[:, [0, 1]], places[:, [1, 2]]])
        labels = trimesh.graph.connected_component_labels(edges, node_count=places.max() + 1)
        labels = labels[places[:, 0]]
    labels = np.unique(labels, return_inverse=True)[1].reshape(-1)
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(labels.max() + 1))
    return Regions(
        labels,
        np.minimum.reduceat(triangles.min(axis=1)[order], starts),
        np.maximum.reduceat(triangles.max(axis=1)[order], starts),
    )


def specks(triangles: FloatArray) -> NDArray[np.bool_]:
    """(t,) which of triangles, (t, 3, 3) in any unit, are dirt that lies apart from the mesh.

    That is connected regions of hardly any area outside the box of all the larger ones: one grain
    of a scan behind the temples would else pass for their tips. Where all that is outside amounts
    to more, or nothing is larger, the mesh comes in crumbs, and none of them is dirt.
    """
    if not len(triangles):
        return np.zeros(0, dtype=bool)
    corners = triangles.reshape(-1, 3)
    # Regions weld at a fraction of a millimetre: as if half the corners lay within 70 mm.
    off = corners - np.median(corners, axis=0)
    size = float(np.median(np.linalg.norm(off, axis=1))) or 1.0
    found = regions(Surface(off * (70.0 / size), np.arange(len(corners)).reshape(-1, 3)))
    sides = triangles[:, 1:] - triangles[:, :1]
    areas = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    share = np.bincount(found.labels, areas) / (areas.sum() or 1.0)
    large = share >= _SPECK_AREA
    if not large.any():
        return np.zeros(len(triangles), dtype=bool)
    low, high = found.low[large].min(axis=0), found.high[large].max(axis=0)
    gap = _SPECK_OFF * float((high - low).max())
    away = ((found.low > high + gap) | (found.high < low - gap)).any(axis=1) & ~large
    if share[away].sum() >= _SPECKS_AREA:
        away[:] = False
    return np.asarray(away[found.labels])


def is_pane(triangles: FloatArray) -> bool:
    """Whether triangles, (k, 3, 3) mm, are as large as a lens and closed in the middle.

    Seen from in front; of a pane for both eyes, one side is asked.
    """
    low, high = triangles.min(axis=(0, 1)), triangles.max(axis=(0, 1))
    width, height = high[0] - low[0], high[1] - low[1]
    if not (_PANE_WIDTH_MM[0] < width < _PANE_WIDTH_MM[1]):
        return False
    if not (_PANE_HEIGHT_MM[0] < height < _PANE_HEIGHT_MM[1]):
        return False
    x, y = 0.5 * (low + high)[:2]
    if width > _PANE_PAIR_MM:
        x += 0.25 * width
    # Three points: the middle alone may lie on a thin bar, or on an edge of the mesh.
    reach = 0.12 * min(width, height)
    asked = [(x, y), (x - reach, y + 0.7 * reach), (x + reach, y - 0.8 * reach)]
    return all(len(heights_at(triangles, *point)) for point in asked)


def corner(triangles: FloatArray, sign: int, front: float) -> tuple[float, float]:
    """Where the temple of one side leaves the front it is one piece with: z, and the least |x|.

    Going forward slice by slice, a temple ends where the mesh spreads towards the middle, or is
    taller than a temple: a front that wraps.
    """
    near = triangles[triangles[:, :, 2].max(axis=1) > front - _LOOK_BEHIND_MM - 15.0]
    points = refined(near, 2 * _SLICE_MM)[0].reshape(-1, 3)
    away, depth = points[:, 0] * sign, front - points[:, 2]
    outer = _TEMPLE_OUT * float(np.quantile(away, 0.98))
    behind = (depth > _LOOK_BEHIND_MM - 20.0) & (depth < _LOOK_BEHIND_MM) & (away > outer)
    tall = float(np.ptp(points[behind, 1])) if behind.any() else 0.0
    allowed = max(1.6 * tall, tall + 5.0)
    for edge in np.arange(_LOOK_BEHIND_MM - 20.0, 0.0, -_SLICE_MM):
        # What is before the temple's inner side but nearer the nose is pads, lenses and rims.
        slab = (depth > edge - _SLICE_MM) & (depth <= edge) & (away > _FRONT_OUT * outer)
        if slab.any() and (away[slab].min() < outer or np.ptp(points[slab, 1]) > allowed):
            return front - float(edge), outer
    return front - _SLICE_MM, outer


@overload
def cut_at(surface: Surface, axis: int, at: float) -> Surface: ...
@overload
def cut_at(
    surface: Surface, axis: int, at: float, owner: NDArray[np.int64], only: int
) -> tuple[Surface, NDArray[np.int64]]: ...
def cut_at(
    surface: Surface,
    axis: int,
    at: float,
    owner: NDArray[np.int64] | None = None,
    only: int = 0,
) -> Surface | tuple[Surface, NDArray[np.int64]]:
    """A triangle mesh in which no face crosses the plane of one coordinate.

    owner: a number for each face, which its parts inherit; faces of others than `only` stay whole.
    """
    owners = np.zeros(len(surface.faces), np.int64) if owner is None else owner
    over = surface.vertices[surface.faces][:, :, axis] > at
    crossed = (over.any(axis=1) & ~over.all(axis=1)) & (owners == only)
    faces = surface.faces[crossed]
    # The corner that is alone on its side comes first.
    alone = np.where(over[crossed].sum(axis=1) == 1, over[crossed].T, ~over[crossed].T).argmax(0)
    a, b, c = np.take_along_axis(faces, (alone[:, None] + np.arange(3)) % 3, axis=1).T
    edges, which = np.unique(
        np.sort(np.stack([np.r_[a, a], np.r_[b, c]], axis=1), axis=1), axis=0, return_inverse=True
    )
    height = surface.vertices[:, axis]
    share = (at - height[edges[:, 0]]) / (height[edges[:, 1]] - height[edges[:, 0]])
    new = len(surface.vertices) + which.reshape(-1)
    ab, ac = new[: len(a)], new[len(a) :]
    pieces = [np.stack(t, axis=1) for t in ((a, ab, ac), (ab, b, c), (ab, c, ac))]
    result = replace(
        surface,
        vertices=_with_cuts(surface.vertices, edges, share),
        faces=np.concatenate([surface.faces[~crossed], *pieces]).astype(np.int64),
        uv=None if surface.uv is None else _with_cuts(surface.uv, edges, share),
        attributes={n: _with_cuts(v, edges, share) for n, v in surface.attributes.items()},
    )
    if owner is None:
        return result
    return result, np.concatenate([owners[~crossed], np.full(3 * len(a), only)])


def _with_cuts(values: NDArray, edges: NDArray[np.int64], share: FloatArray) -> NDArray:
    """Values of vertices and of the points at a share of the edges."""
    share = share.reshape(-1, *([1] * (values.ndim - 1)))
    between = values[edges[:, 0]] * (1 - share) + values[edges[:, 1]] * share
    return np.concatenate([values, between.astype(values.dtype)])
