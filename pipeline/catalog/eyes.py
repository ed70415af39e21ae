"""Eyeballs, and lids that lie on them.

The lids of one eye are a grid of vertices, (11 loops, 28 columns): loops run from inside the
socket outwards, loop `CONTACT` being the edge that lies on the eye; column 0 is the inner corner,
columns 1 to 12 the upper lid, 13 the outer corner, 14 to 27 the lower lid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import FloatArray, Surface

#: Angle between the optical axis and the rim of the iris, seen from the eye's centre (radians).
IRIS_ANGLE_RAD = 0.375
CONTACT = 3
_UPPER = np.arange(1, 13)
_LOWER = np.append(np.arange(13, 28), 0)
_FOLLOW = np.array([0.6, 0.8, 1.0, 1.0, 1.0, 0.95, 0.85, 0.7, 0.5, 0.3, 0.12])
#: Least distance of each loop from the eye (mm); loops inside the contact are left alone.
CLEARANCE_MM = np.array([0.0, 0.0, 0.0, 0.12, 0.6, 0.9, 1.1, 1.3, 1.5, 1.6, 1.6])
_CORNEA_ANGLE_RAD, _CORNEA_HEIGHT = 0.47, 0.055
_OVERLAP_MM = 0.5
_CARUNCLE_MM, _CARUNCLE_HEIGHT_MM = np.array([1.9, 1.3, 1.3]), 0.35
_FILM_COLOR, _CARUNCLE_COLOR = (0.46, 0.30, 0.27), (0.46, 0.21, 0.19)


@dataclass(frozen=True, eq=False)
class Eyeball:
    """A sphere with a cornea. centre (3,) mm, radius mm, unit optical axis (3,)."""

    centre: FloatArray
    radius: float
    axis: FloatArray

    def height_over(self, points: FloatArray) -> FloatArray:
        """(n,) distance in mm of (n, 3) points outside the eye, along the eye's radius."""
        offset = points - self.centre
        distance = np.maximum(np.linalg.norm(offset, axis=-1), 1e-9)
        cosine = np.clip((offset @ self.axis) / distance, -1.0, 1.0)
        return distance - self.radius * cornea_profile(np.arccos(cosine))

    def looking(self, yaw_rad: float, pitch_rad: float) -> Eyeball:
        """The same eye turned to the subject's left by `yaw_rad` and up by `pitch_rad`."""
        flat = np.cos(pitch_rad)
        axis = [np.sin(yaw_rad) * flat, np.sin(pitch_rad), np.cos(yaw_rad) * flat]
        return Eyeball(self.centre, self.radius, np.array(axis))


def cornea_profile(angle_rad: NDArray) -> NDArray:
    """Radius in units of the eyeball's, at angles from the optical axis."""
    inside = np.clip(1.0 - (angle_rad / _CORNEA_ANGLE_RAD) ** 2, 0.0, None)
    return 1.0 + _CORNEA_HEIGHT * inside**2


def fit_eyeball(lids: FloatArray, helper: FloatArray) -> Eyeball:
    """The eye that sits best behind its lids.

    lids: (11, 28, 3) mm, the neutral face. helper: (n, 3) mm, the data's own rough eye, which
    gives size and sideways position.
    """
    centre = helper.mean(axis=0)
    radius = float(np.linalg.norm(helper - centre, axis=1).mean())
    edge = lids[CONTACT]
    upper, lower = edge[4:11].mean(axis=0), edge[17:24].mean(axis=0)
    centre[1] = 0.5 * (upper[1] + lower[1]) + 0.3
    central = edge[[4, 5, 6, 7, 8, 9, 18, 19, 20, 21, 22, 23]]
    across = ((central - centre)[:, :2] ** 2).sum(axis=1)
    angle = np.arcsin(np.clip(np.sqrt(across) / radius, 0.0, 1.0))
    reach = radius * cornea_profile(angle) + CLEARANCE_MM[CONTACT]
    centre[2] = np.median(central[:, 2] - np.sqrt(np.maximum(reach**2 - across, 0.0)))
    return Eyeball(centre, radius, np.array([0.0, 0.0, 1.0]))


def rest_lids_on(eye: Eyeball, lids: FloatArray) -> FloatArray:
    """(11, 28, 3) displacement in mm that lays the neutral lids' edges on the eye."""
    edge = lids[CONTACT]
    offset = edge - eye.centre
    gap = np.clip(eye.height_over(edge) - CLEARANCE_MM[CONTACT], -3.0, 2.5)
    gap = 0.5 * gap + 0.25 * (np.roll(gap, 1) + np.roll(gap, -1))
    inward = -gap[:, None] * offset / np.linalg.norm(offset, axis=1, keepdims=True)
    return _FOLLOW[:, None, None] * inward


def droop_lids(eye: Eyeball, lids: FloatArray, cover_mm: float) -> FloatArray:
    """(11, 28, 3) displacement in mm after which the upper lid hides the uppermost `cover_mm` of
    an iris that looks ahead, or as much as it hides already."""
    upper = lids[CONTACT, _UPPER] - eye.centre
    order = np.argsort(upper[:, 0])
    edge = float(np.interp(0.0, upper[order, 0], upper[order, 1]))
    lack = max(edge - (eye.radius * np.sin(IRIS_ANGLE_RAD) - cover_mm), 0.0)
    taper = np.sin(np.pi * np.arange(1, 13) / 13.0) ** 0.7
    offset = lids[:, _UPPER] - eye.centre
    turn = lack * _FOLLOW[:, None] * taper / np.hypot(offset[..., 1], offset[..., 2])
    sine, cosine = np.sin(turn), np.cos(turn)
    moved = np.zeros(lids.shape)
    moved[:, _UPPER, 1] = offset[..., 1] * (cosine - 1.0) - offset[..., 2] * sine
    moved[:, _UPPER, 2] = offset[..., 2] * (cosine - 1.0) + offset[..., 1] * sine
    return moved


def close_lids(lids: FloatArray, amount: float) -> FloatArray:
    """(11, 28, 3) displacement in mm that brings the upper edge onto the lower one.

    lids: (11, 28, 3) mm, already moved by the data's blink of weight `amount` 0..1, which fits
    the average face only; what it leaves open or overshoots is made good here.
    """
    edge = lids[CONTACT]
    lower, upper = edge[_LOWER], edge[_UPPER]
    order = np.argsort(lower[:, 0])
    goal = np.stack([np.interp(upper[:, 0], lower[order, 0], lower[order, i]) for i in range(3)], 1)
    taper = np.sin(np.pi * np.arange(1, 13) / 13.0)
    goal[:, 1] -= _OVERLAP_MM * taper
    moved = np.zeros(lids.shape)
    moved[:, _UPPER] = amount * _FOLLOW[:, None, None] * (goal - upper)
    return moved


def keep_outside(eye: Eyeball, points: FloatArray, clearance_mm: NDArray) -> FloatArray:
    """(n, 3) points pushed out along the eye's radius to at least `clearance_mm` (n,)."""
    lack = np.maximum(clearance_mm - eye.height_over(points), 0.0)
    offset = points - eye.centre
    return points + lack[:, None] * offset / np.linalg.norm(offset, axis=1, keepdims=True)


@cache
def _sphere(rings: int = 56, around: int = 64) -> tuple[FloatArray, NDArray[np.int64], NDArray]:
    """Directions (n, 3) about +z, triangles, and angles from +z; denser near the pole."""
    steps = np.linspace(0.0, 1.0, rings + 1)[1:-1]
    angle = np.pi * (0.45 * steps + 0.55 * steps**2)
    turn = np.arange(around) * (2.0 * np.pi / around)
    sine, cosine = np.sin(angle)[:, None], np.cos(angle)[:, None]
    grid = np.stack(
        [sine * np.cos(turn), sine * np.sin(turn), np.broadcast_to(cosine, (rings - 1, around))], 2
    )
    directions = np.concatenate([[[0.0, 0.0, 1.0]], grid.reshape(-1, 3), [[0.0, 0.0, -1.0]]])
    angles = np.concatenate([[0.0], np.repeat(angle, around), [np.pi]])
    here = 1 + np.arange((rings - 2) * around).reshape(-1, around)
    right, below = np.roll(here, -1, axis=1), here + around
    corner = np.roll(below, -1, axis=1)
    last = len(directions) - 1
    first_ring, last_ring = np.arange(1, around + 1), np.arange(last - around, last)
    faces = [
        np.stack([here, below, corner], -1).reshape(-1, 3),
        np.stack([here, corner, right], -1).reshape(-1, 3),
        np.stack([np.zeros(around, int), first_ring, np.roll(first_ring, -1)], -1),
        np.stack([np.full(around, last), np.roll(last_ring, -1), last_ring], -1),
    ]
    return directions, np.concatenate(faces).astype(np.int64), angles


def eye_surface(eye: Eyeball, lids: FloatArray) -> Surface:
    """The eyeball behind its lids (11, 28, 3) as triangles.

    Attributes: `gaze_angle` (n,) radians from the optical axis, `iris_uv` (n, 3) direction in the
    eye's own axes (z along the optical axis), `lid_shade` (n,) share of light that lids and
    lashes leave to the eye, `corner` (n,) 0..1, nearness to the corners.
    """
    directions, faces, angles = _sphere()
    side = np.cross([0.0, 1.0, 0.0], eye.axis)
    side /= np.linalg.norm(side)
    turned = directions @ np.stack([side, np.cross(eye.axis, side), eye.axis])
    vertices = eye.centre + (eye.radius * cornea_profile(angles))[:, None] * turned
    attributes = {
        "gaze_angle": angles.astype(np.float32),
        "iris_uv": directions.astype(np.float32),
        "lid_shade": _lid_shade(vertices, lids[CONTACT]).astype(np.float32),
        "corner": _nearness_to_corners(vertices, lids[CONTACT]).astype(np.float32),
    }
    return Surface(vertices, faces, attributes=attributes)


def _lid_shade(points: FloatArray, edge: FloatArray) -> FloatArray:
    """(n,) share of light at (n, 3) points of an eye between its lids' edges (28, 3)."""
    below, above = (
        sign * (np.interp(points[:, 0], *_by_column(edge[rows])) - points[:, 1])
        for rows, sign in ((np.append(_UPPER, 13), 1.0), (_LOWER, -1.0))
    )
    dark = 0.62 * np.exp(-np.maximum(below, 0.0) / 2.0)
    dark += 0.30 * np.exp(-np.maximum(above, 0.0) / 1.2)
    return np.clip(1.0 - dark, 0.25, 1.0)


def _by_column(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """x, rising, and y of (n, 3) points."""
    order = np.argsort(points[:, 0])
    return points[order, 0], points[order, 1]


def _nearness_to_corners(points: FloatArray, edge: FloatArray) -> FloatArray:
    inner, outer = (
        np.exp(-((np.linalg.norm(points - edge[column], axis=1) / reach) ** 2))
        for column, reach in ((0, 4.2), (13, 3.0))
    )
    return np.clip(0.9 * inner + 0.55 * outer, 0.0, 1.0)


def rims(eye: Eyeball, lids: FloatArray) -> Surface:
    """The wet rim of the lower lid, where tears stand, and the caruncle in the inner corner.

    Triangles; attribute `albedo` (n, 3), linear Rec. 709.
    """
    film, film_faces = _tear_film(eye, lids)
    lump, lump_faces = _caruncle(eye, lids)
    colors = np.repeat([_FILM_COLOR, _CARUNCLE_COLOR], [len(film), len(lump)], axis=0)
    faces = np.concatenate([film_faces, lump_faces + len(film)])
    return Surface(
        np.concatenate([film, lump]), faces, attributes={"albedo": colors.astype(np.float32)}
    )


def _tear_film(eye: Eyeball, lids: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """A hollow strip from the eye to the edge of the lower lid."""
    edge = lids[CONTACT, _LOWER]
    out = edge - eye.centre
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    up = edge - lids[CONTACT + 3, _LOWER]
    up -= (up * out).sum(axis=1, keepdims=True) * out
    up /= np.maximum(np.linalg.norm(up, axis=1, keepdims=True), 1e-9)
    ways = np.stack([edge + rise * up for rise in (0.45, 0.2)]) - eye.centre
    ways /= np.linalg.norm(ways, axis=2, keepdims=True)
    angle = np.arccos(np.clip(ways @ eye.axis, -1.0, 1.0))
    height = eye.radius * cornea_profile(angle) + np.array([[0.02], [0.1]])
    on_eye = eye.centre + height[..., None] * ways
    on_lid = 0.5 * (edge + lids[CONTACT + 1, _LOWER]) + 0.06 * out
    strip = np.concatenate([on_eye, on_lid[None]])
    count = len(_LOWER)
    first = np.arange(2 * count).reshape(2, count)[:, :-1].ravel()
    faces = np.stack([first, first + 1, first + count + 1, first, first + count + 1, first + count])
    outwards = np.cross(strip[0, 1] - strip[0, 0], strip[1, 1] - strip[0, 0]) @ out[0]
    triangles = faces.T.reshape(-1, 3)
    return strip.reshape(-1, 3), triangles if outwards > 0.0 else triangles[:, ::-1]


def _caruncle(eye: Eyeball, lids: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    directions, faces, _ = _sphere(9, 14)
    corner = lids[CONTACT, 0]
    inwards = lids[CONTACT, 13] - corner
    inwards /= np.linalg.norm(inwards)
    points = corner + 0.9 * inwards + directions * _CARUNCLE_MM
    high = np.maximum(eye.height_over(points) - _CARUNCLE_HEIGHT_MM, 0.0)
    offset = points - eye.centre
    points -= high[:, None] * offset / np.linalg.norm(offset, axis=1, keepdims=True)
    return points, faces


@cache
def _lash_plan() -> dict[str, FloatArray]:
    """Where each lash stands (fractional column) and how it leans; the same for everybody."""
    rng = np.random.Generator(np.random.PCG64(20220620))
    upper, lower = np.linspace(2.6, 12.3, 58), np.linspace(14.6, 24.0, 34)
    column = np.concatenate([upper, lower]) + rng.uniform(-0.07, 0.07, 92)
    is_upper = np.arange(92) < 58
    middle = np.where(is_upper, 8.5, 18.5)
    return {
        "column": column,
        "upper": is_upper.astype(float),
        "length": np.where(is_upper, 6.2, 3.4) * rng.uniform(0.75, 1.1, 92),
        "fan": 0.09 * (column - middle) * np.where(is_upper, 1.0, -1.0)
        + rng.uniform(-0.12, 0.12, 92),
    }


def lash_ribbons(eye: Eyeball, lids: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Lashes of one eye as thin ribbons: vertices (n, 3) mm and quads (m, 4)."""
    plan = _lash_plan()
    low = np.floor(plan["column"]).astype(int)
    part = (plan["column"] - low)[:, None]
    between = (1.0 - part) * lids[:, low % 28] + part * lids[:, (low + 1) % 28]
    root = between[4]
    out = root - eye.centre
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    away = between[4] - between[7]
    away -= (away * out).sum(axis=1, keepdims=True) * out
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
    along = lids[4, (low + 1) % 28] - lids[4, low % 28]
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    is_upper = plan["upper"][:, None]
    start = out + (0.25 + 0.3 * is_upper) * away + plan["fan"][:, None] * along
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    length = plan["length"][:, None] * eye.radius / 15.0
    steps = np.linspace(0.0, 1.0, 5)[:, None, None]
    curl = -(0.7 + 0.25 * is_upper) * away
    spine = root + length * (steps * start + steps**2 * curl * 0.8)
    width = 0.5 * (0.17 * (1.0 - steps) + 0.03) * along
    vertices = np.stack([spine - width, spine + width], axis=2)
    index = np.arange(vertices.size // 3).reshape(5, len(low), 2)
    quads = [index[:-1, :, 0], index[:-1, :, 1], index[1:, :, 1], index[1:, :, 0]]
    return vertices.reshape(-1, 3), np.stack(quads, axis=-1).reshape(-1, 4).astype(np.int64)
