"""The openings of a frame, seen from in front, and lenses made to span them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from pipeline.catalog.fields import atan2
from pipeline.catalog.looks import CLEAR_LENS
from pipeline.catalog.outline import TOOL_MM_D
from pipeline.errors import AssetError
from pipeline.geometry import FloatArray, Surface
from pipeline.triangles import refined

_PX_PER_MM = 4.0
_MAX_PIXELS = 4_000_000
_MARGIN_MM = 2.0
#: A double bridge closes some 40 mm2 and more, the loop of a pad arm less.
_HOLE_MM2 = 40.0
#: The smallest lenses are some 38 by 20 mm.
_LENS_MM2 = 300.0
#: How far a lens reaches into its rim, and how thick it is in its middle and at its edge.
_OVERLAP_MM, _THICK_MM, _EDGE_MM = 0.7, 1.6, 0.4
#: The rim within this of an opening says how deep the lens sits.
_RIM_MM = 2.0
_SPACING_MM = 0.5
_RAYS = 120
#: Shares of the radius at which a lens has rings of vertices.
_RINGS = (0.12, 0.25, 0.38, 0.5, 0.61, 0.72, 0.82, 0.9, 0.96, 1.0)
#: A round rim is plane whatever its lens: curve it as a lens of 4 dioptres, which is common.
_BASE_CURVE_D = 4.0
_SIDES = (("left", 1), ("right", -1))


class _Silhouette:
    """Surfaces in mm as seen along z: a picture of where there is none, in labelled regions."""

    def __init__(self, surfaces: Sequence[Surface]) -> None:
        corners = np.concatenate([s.vertices[s.triangles()][:, :, :2] for s in surfaces])
        self.low: FloatArray = corners.min(axis=(0, 1)) - _MARGIN_MM
        size = (corners.max(axis=(0, 1)) + _MARGIN_MM - self.low) * _PX_PER_MM
        self.labels: NDArray = np.zeros((1, 1), dtype=np.int32)
        self.areas: dict[int, float] = {}
        if size.prod() > _MAX_PIXELS:
            return
        image = Image.new("1", (int(np.ceil(size[0])), int(np.ceil(size[1]))))
        draw = ImageDraw.Draw(image)
        for triangle in ((corners - self.low) * _PX_PER_MM).reshape(-1, 6).tolist():
            draw.polygon(triangle, fill=1, outline=1)
        self.labels, count = ndimage.label(~np.asarray(image))
        edge = self.labels
        border = set(np.concatenate([edge[0], edge[-1], edge[:, 0], edge[:, -1]]).tolist())
        areas = np.bincount(self.labels.ravel(), minlength=count + 1) / _PX_PER_MM**2
        self.areas = {k: float(areas[k]) for k in range(1, count + 1) if k not in border}

    def pixels(self, points: FloatArray) -> NDArray[np.int64]:
        """(n, 2) row and column of points, (n, 2) or (n, 3) mm, kept within the picture."""
        place = np.floor((points[:, 1::-1] - self.low[::-1]) * _PX_PER_MM).astype(np.int64)
        return np.clip(place, 0, np.array(self.labels.shape) - 1)

    def opening(self, sign: int) -> NDArray[np.bool_] | None:
        """The largest closed opening fit for a lens on the side of that sign of x."""
        x = (np.arange(self.labels.shape[1]) + 0.5) / _PX_PER_MM + self.low[0]
        best, most = None, _LENS_MM2
        for label, area in self.areas.items():
            if area > most:
                region = (self.labels == label) & (x * sign > 0)
                if region.sum() / _PX_PER_MM**2 > most:
                    best, most = region, region.sum() / _PX_PER_MM**2
        return best


def count_holes(surfaces: Sequence[Surface]) -> int:
    """Openings of more than 40 mm2 that surfaces in mm close all round, seen along z."""
    if not surfaces:
        return 0
    return sum(area > _HOLE_MM2 for area in _Silhouette(surfaces).areas.values())


def span(rims: Sequence[Surface], sides: Sequence[str], where: str) -> dict[str, Surface]:
    """Clear lenses, 'lens_left' and 'lens_right' as asked for, across the openings of rims.

    rims: what closes the openings, mm, in our frame. Each lens is a closed body curved as its rim
    is, in the middle of the rim's depth. `where` is named in errors. Raises AssetError if a side
    has no opening that is closed all round.
    """
    seen = _Silhouette(rims) if rims else None
    lenses = {}
    for side, sign in _SIDES:
        if side not in sides:
            continue
        opening = seen.opening(sign) if seen is not None else None
        if seen is None or opening is None:
            raise AssetError(
                f"{where}: lenses: synthesise: no closed opening was found for the {side} lens; "
                "lenses can be made for full rims only"
            )
        lenses[f"lens_{side}"] = _lens(seen, opening, rims)
    return lenses


def _lens(seen: _Silhouette, opening: NDArray[np.bool_], rims: Sequence[Surface]) -> Surface:
    rows, columns = np.nonzero(opening)
    centre = seen.low + (np.array([columns.mean(), rows.mean()]) + 0.5) / _PX_PER_MM
    angle = np.linspace(0, 2 * np.pi, _RAYS, endpoint=False)
    ray = np.column_stack([np.cos(angle), np.sin(angle)])
    radius = _reach(seen, opening, centre, ray) + _OVERLAP_MM
    depth = _depth(seen, opening, rims, centre)
    flat = np.concatenate([np.zeros((1, 2)), *(s * radius[:, None] * ray for s in _RINGS)])
    z = _terms(flat) @ depth
    thick = np.full(len(flat), _THICK_MM)
    thick[-_RAYS:] = _EDGE_MM
    slope = np.column_stack(
        [-(_terms(flat + step) - _terms(flat - step)) @ depth for step in 0.5 * np.eye(2)]
    )
    normal = np.column_stack([slope, np.ones(len(flat))])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    middle = np.column_stack([flat + centre, z])
    half = 0.5 * thick[:, None] * normal
    return Surface(
        np.concatenate([middle + half, middle - half]), _lens_faces(), material=CLEAR_LENS
    )


def _reach(
    seen: _Silhouette, opening: NDArray[np.bool_], centre: FloatArray, ray: FloatArray
) -> FloatArray:
    """mm from the centre to where each ray, (n, 2), leaves the opening, freed of pixels' steps."""
    steps = np.arange(0.0, 120.0, 0.5 / _PX_PER_MM)
    places = (centre + steps[:, None, None] * ray).reshape(-1, 2)
    row, column = seen.pixels(places).T
    inside = opening[row, column].reshape(len(steps), len(ray))
    inside[0], inside[-1] = True, False
    radius = steps[inside.argmin(axis=0)]
    return np.asarray(ndimage.median_filter(radius, 3, mode="wrap"))


def _depth(
    seen: _Silhouette,
    opening: NDArray[np.bool_],
    rims: Sequence[Surface],
    centre: FloatArray,
) -> FloatArray:
    """(6,) coefficients of `_terms` for z half way through the rim that surrounds an opening."""
    near = ndimage.distance_transform_edt(~opening) <= _RIM_MM * _PX_PER_MM
    rows, columns = np.nonzero(near)
    high = seen.low + (np.array([columns.max(), rows.max()]) + 1) / _PX_PER_MM
    low = seen.low + np.array([columns.min(), rows.min()]) / _PX_PER_MM
    triangles = np.concatenate([s.vertices[s.triangles()] for s in rims])
    met = (triangles[:, :, :2].min(axis=1) < high).all(axis=1)
    met &= (triangles[:, :, :2].max(axis=1) > low).all(axis=1)
    points = refined(triangles[met], _SPACING_MM)[0].reshape(-1, 3)
    row, column = seen.pixels(points).T
    points = points[near[row, column]]
    flat = points[:, :2] - centre
    sector = np.floor(atan2(flat[:, 1], flat[:, 0]) / (2 * np.pi) * _RAYS).astype(np.int64)
    sector -= sector.min()
    count = np.bincount(sector)
    found = count > 0
    least, most = np.full(len(count), np.inf), np.full(len(count), -np.inf)
    np.minimum.at(least, sector, points[:, 2])
    np.maximum.at(most, sector, points[:, 2])
    sums = np.column_stack([np.bincount(sector, flat[:, i]) for i in range(2)])[found]
    place: FloatArray = np.asarray(sums / count[found, None], dtype=np.float64)
    return _surface_through(place, 0.5 * (least + most)[found])


def _surface_through(flat: FloatArray, z: FloatArray) -> FloatArray:
    """Coefficients for a surface near points, curved as usual where they do not say how."""
    usual = np.zeros(6)
    usual[[3, 5]] = -_BASE_CURVE_D / (2 * TOOL_MM_D)
    columns = _terms(flat)
    # 0.3 mm at 20 mm from the middle weighs as much as one of the points being 0.3 mm off.
    prior = np.diag([0.0, 0.0, 0.0, 400.0, 400.0, 400.0])
    kept = np.ones(len(z), dtype=bool)
    for _ in range(3):
        lhs = np.concatenate([columns[kept], prior])
        solved = np.linalg.lstsq(lhs, np.concatenate([z[kept], prior @ usual]), rcond=None)[0]
        off = np.abs(columns @ solved - z)
        # A pad arm or an end piece reaches far out of the rim.
        kept = off <= max(1.0, 2.0 * float(np.median(off)))
    return np.asarray(solved)


def _terms(flat: FloatArray) -> FloatArray:
    x, y = flat.T
    return np.column_stack([np.ones(len(flat)), x, y, x * x, x * y, y * y])


def _lens_faces() -> NDArray[np.int64]:
    """Triangles of a front and a back sheet, each a middle and rings, and of the edge between."""
    ray = np.arange(_RAYS)
    after = (ray + 1) % _RAYS
    front = [np.column_stack([np.zeros_like(ray), 1 + ray, 1 + after])]
    for k in range(len(_RINGS) - 1):
        inner, outer = 1 + k * _RAYS, 1 + (k + 1) * _RAYS
        front.append(np.column_stack([inner + ray, outer + ray, outer + after]))
        front.append(np.column_stack([inner + ray, outer + after, inner + after]))
    sheet = np.concatenate(front)
    count = 1 + len(_RINGS) * _RAYS
    last = count - _RAYS
    edge = np.concatenate(
        [
            np.column_stack([last + ray, last + ray + count, last + after + count]),
            np.column_stack([last + ray, last + after + count, last + after]),
        ]
    )
    return np.concatenate([sheet, sheet[:, ::-1] + count, edge])
