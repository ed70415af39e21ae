"""Where what is seen through a lens would be without it: rays traced through its two surfaces.

Arrays in, arrays out; no renderer. Rays go through the centres of pixels; surfaces are smooth, as
they are rendered: normals at vertices, blended across triangles.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.camera import View
from pipeline.geometry import LENS_PARTS, FloatArray, Head, Material, Surface
from pipeline.pixels import Mask
from pipeline.rays import Solid

#: Rays that leave a surface start this far from it.
_STEP_MM = 0.01
#: What is seen without the lens must be the same point to within this, or it is hidden there.
_SAME_MM = 1.0
#: Far enough that where on a lens a ray leaves it makes no difference.
_INFINITE_MM = 1e7
#: KITTI's 16-bit flow: a pixel is 64 steps, and no motion is 2**15 (Menze and Geiger 2015).
KITTI_STEPS, KITTI_ZERO = 64.0, 2**15


def refraction_flow(
    view: View, head: Head, parts: Mapping[str, Surface], where: Mask
) -> tuple[FloatArray, Mask]:
    """(h, w, 2) px and (h, w): what a pixel shows through a lens is `shadow` at pixel + flow.

    head, parts: eyewear as worn, in the head's frame (mm). where: (h, w), pixels asked for.
    Valid is where the centre of a pixel looks through one lens on something that the picture shows
    without it: not on the frame, not on skin that nose or brow hides, not beyond the picture. A
    lens that is not a pinhole is looked through at its middle.
    """
    size = len(where)
    flow, valid = np.zeros((size, size, 2)), np.zeros((size, size), bool)
    rows, columns = np.nonzero(where)
    eye = view.pose[:3, 3]
    directions = view.rays(np.stack([columns, rows], axis=1).astype(np.float64) + 0.5, size)
    glass = {
        name: parts[name].material or Material()
        for name in LENS_PARTS
        if name in parts and (parts[name].material or Material()).is_glass()
    }
    lenses = {name: Solid([parts[name]]) for name in glass}
    frame = Solid([part for name, part in parts.items() if name not in glass])
    skin = Solid(list(head.surfaces.values()))
    for name, lens in lenses.items():
        worn = [frame, *(other for key, other in lenses.items() if key != name)]
        start: FloatArray = np.broadcast_to(eye, directions.shape)
        reach, normals = lens.hit(start, directions)
        before = np.min([other.reach(start, directions) for other in (skin, *worn)], axis=0)
        through = np.flatnonzero(reach < before)
        ior = glass[name].ior
        points, ways, ok = _through(
            lens, ior, (start + directions * reach[:, None])[through], directions[through],
            normals[through],
        )  # fmt: skip
        seen = _seen_point(points, ways, skin, worn)
        found = ok & np.isfinite(seen).all(axis=1)
        found[found] = _in_sight(eye, seen[found], skin)
        pixel = through[found]
        place = view.project(seen[found], size)
        inside = ((place >= 0) & (place < size)).all(axis=1)
        pixel, place = pixel[inside], place[inside]
        here = np.stack([columns[pixel], rows[pixel]], axis=1) + 0.5
        flow[rows[pixel], columns[pixel]] = place - here
        valid[rows[pixel], columns[pixel]] = True
    return flow, valid


def kitti_flow(flow: FloatArray, valid: Mask) -> NDArray[np.uint16]:
    """(h, w, 3) as KITTI stores flow: u, v, valid; flow beyond 511 px is not valid."""
    steps = np.rint(flow * KITTI_STEPS) + KITTI_ZERO
    valid = valid & ((steps >= 0) & (steps < 2**16)).all(axis=2)
    image = np.zeros((*valid.shape, 3), np.uint16)
    image[valid, :2] = steps[valid].astype(np.uint16)
    image[..., 2] = valid
    return image


def flow_from_kitti(image: NDArray[np.uint16]) -> tuple[FloatArray, Mask]:
    """Flow in px (h, w, 2) and where it is valid (h, w), of an image of `kitti_flow`."""
    valid = image[..., 2] > 0
    flow = (image[..., :2].astype(np.float64) - KITTI_ZERO) / KITTI_STEPS
    return np.where(valid[..., None], flow, 0.0), valid


def _through(
    lens: Solid, ior: float, points: FloatArray, ways: FloatArray, normals: FloatArray
) -> tuple[FloatArray, FloatArray, Mask]:
    """Where rays that meet a lens at `points` leave it, on which way, and whether they do."""
    inside, ok = refracted(ways, normals, 1.0 / ior)
    start = points + _STEP_MM * inside
    reach, back = lens.hit(start, inside)
    ok &= np.isfinite(reach)
    leave = start + np.where(np.isfinite(reach), reach, 0.0)[:, None] * inside
    outside, passed = refracted(inside, -back, ior)
    return leave + _STEP_MM * outside, outside, ok & passed


def refracted(
    ways: FloatArray, normals: FloatArray, ratio: float
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Unit directions (n, 3) after a surface by Snell's law, and where light is not all reflected.

    normals: (n, 3) unit, towards where the rays come from. ratio: index before over index after.
    """
    cosine = -(ways * normals).sum(axis=1)
    square = 1.0 - ratio**2 * (1.0 - cosine**2)
    passed = (square > 0) & (cosine > 0)
    bend = (ratio * cosine - np.sqrt(np.maximum(square, 0.0)))[:, None]
    return ratio * ways + bend * normals, passed


def _seen_point(
    points: FloatArray, ways: FloatArray, skin: Solid, eyewear: list[Solid]
) -> FloatArray:
    """(n, 3) mm that rays end at, far away where they miss the head; nan if eyewear stops them."""
    reach = skin.reach(points, ways)
    stopped = np.min([part.reach(points, ways) for part in eyewear], axis=0) < reach
    far = np.where(np.isfinite(reach), reach, _INFINITE_MM)
    return np.where(stopped[:, None], np.nan, points + far[:, None] * ways)


def _in_sight(eye: FloatArray, points: FloatArray, skin: Solid) -> Mask:
    """(n,) whether nothing of the head stands between the pinhole and points (n, 3)."""
    ways = points - eye
    distance = np.linalg.norm(ways, axis=1)
    reach = skin.reach(np.broadcast_to(eye, points.shape), ways / distance[:, None])
    return reach > distance - _SAME_MM
