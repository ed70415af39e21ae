"""The shape of a lens in its own plane, and the curved front that carries both lenses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.catalog.fields import atan2

FloatArray = NDArray[np.float64]

#: Index for which lens tools and base curves are named, in mm times dioptres: (1.530 - 1) * 1000.
TOOL_MM_D = 530.0
SAMPLES = 720


@dataclass(frozen=True, eq=False)
class Outline:
    """A lens outline about the centre of its box, x temporal (towards the ear), y up.

    points: (n, 2) mm, counter-clockwise, evenly spaced, star-shaped about the centre.
    normals: (n, 2), outward.
    """

    points: FloatArray
    normals: FloatArray

    @property
    def nasal(self) -> FloatArray:
        """(2,) mm, the point nearest to the nose."""
        return np.asarray(self.points[np.argmin(self.points[:, 0])])

    def offset(self, distance: float) -> FloatArray:
        """(n, 2) mm, the outline moved outward by `distance`."""
        return self.points + distance * self.normals

    def at_angles(self, angle: FloatArray, pole_y: float) -> tuple[FloatArray, FloatArray]:
        """Points and normals, both (k, 2), in directions `angle` (k,) rad from (0, pole_y)."""
        own = atan2(self.points[:, 1] - pole_y, self.points[:, 0])
        both = np.concatenate([self.points, self.normals], axis=1)
        columns = [np.interp(angle, own, both[:, i], period=2 * np.pi) for i in range(4)]
        out = np.stack(columns, axis=1)
        normal = out[:, 2:] / np.linalg.norm(out[:, 2:], axis=1, keepdims=True)
        return out[:, :2], normal

    def at_height(self, y: float, distance: float, temporal: bool) -> FloatArray:
        """(2,) mm, where the outline moved outward by `distance` passes height `y`."""
        return np.asarray(self.offset(distance)[self.index_at(y, distance, temporal)])

    def index_at(self, y: float, distance: float, temporal: bool) -> int:
        """Which sample, moved outward by `distance`, is nearest to height `y` on that side."""
        points = self.offset(distance)
        side = np.flatnonzero(points[:, 0] > 0 if temporal else points[:, 0] < 0)
        return int(side[np.argmin(np.abs(points[side, 1] - y))])


def outline_from_curve(curve: FloatArray, width: float, height: float) -> Outline:
    """Outline from a closed curve (m, 2), counter-clockwise, stretched to the lens box in mm."""
    low, high = curve.min(axis=0), curve.max(axis=0)
    scaled = ((curve - low) / (high - low) - 0.5) * (width, height)
    loop = np.concatenate([scaled, scaled[:1]])
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(loop, axis=0), axis=1))])
    even = np.linspace(0.0, s[-1], SAMPLES, endpoint=False)
    points = np.stack([np.interp(even, s, loop[:, i]) for i in range(2)], axis=1)
    low, high = points.min(axis=0), points.max(axis=0)
    points = ((points - low) / (high - low) - 0.5) * (width, height)
    ahead, behind = np.roll(points, -3, axis=0), np.roll(points, 3, axis=0)
    tangent = ahead - behind
    normals = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1)
    return Outline(points, normals / np.linalg.norm(normals, axis=1, keepdims=True))


def superellipse(exponent: float) -> FloatArray:
    """(m, 2) unit superellipse |x|^n + |y|^n = 1, counter-clockwise; 2 is a circle."""
    t = np.linspace(0.0, 2 * np.pi, 4 * SAMPLES, endpoint=False)
    c, s = np.cos(t), np.sin(t)
    radius = (np.abs(c) ** exponent + np.abs(s) ** exponent) ** (-1.0 / exponent)
    return np.stack([radius * c, radius * s], axis=1)


def closed_spline(points: ArrayLike) -> FloatArray:
    """(m, 2) smooth closed curve through control points (k, 2), in either direction."""
    from scipy.interpolate import CubicSpline

    p = np.asarray(points, float)
    loop = np.concatenate([p, p[:1]])
    # Centripetal spacing keeps the curve from overshooting beside close points.
    step = np.sqrt(np.linalg.norm(np.diff(loop, axis=0), axis=1))
    s = np.concatenate([[0.0], np.cumsum(step)])
    t = np.linspace(0.0, s[-1], 4 * SAMPLES, endpoint=False)
    return _counter_clockwise(np.asarray(CubicSpline(s, loop, bc_type="periodic")(t)))


def rounded_polygon(corners: ArrayLike, rounding: float) -> FloatArray:
    """(m, 2) closed curve of straight sides through corners (k, 2), in either direction.

    Rounded over `rounding` of the shorter side beside each corner, at most half of it.
    """
    p = np.asarray(corners, float)
    before, after = np.roll(p, 1, axis=0) - p, np.roll(p, -1, axis=0) - p
    lengths = np.linalg.norm(before, axis=1), np.linalg.norm(after, axis=1)
    reach = min(rounding, 0.499) * np.minimum(*lengths)
    start, end = (
        p + (reach / length)[:, None] * side
        for side, length in zip((before, after), lengths, strict=True)
    )
    # A parabola leaves and meets the sides without a kink.
    t = np.linspace(0.0, 1.0, 40)[:, None]
    curve = (1 - t) ** 2 * start[:, None] + 2 * t * (1 - t) * p[:, None] + t**2 * end[:, None]
    return _counter_clockwise(curve.reshape(-1, 2))


def _counter_clockwise(curve: FloatArray) -> FloatArray:
    x, y = curve.T
    area = np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))
    return curve if area > 0 else curve[::-1].copy()


@dataclass(frozen=True)
class Front:
    """Map from the flat boxing plane to the curved, turned and tilted front.

    Flat coordinates: x from the middle of the bridge (positive on the wearer's left), y up from
    the boxing centre line, depth along the lens normal, out of the face. Each lens lies on a
    sphere of `radius` mm, turned back by `wrap` rad about its nasal edge, so the distance
    between the lenses is the bridge whatever the wrap. Then the whole front is pitched by `tilt`
    rad about the x axis, lower edge towards the face.
    """

    half_bridge: float
    lens_width: float
    radius: float
    wrap: float
    tilt: float
    nasal_y: float

    def sag(self, u: ArrayLike, v: ArrayLike) -> FloatArray:
        """mm by which the sphere falls back at (u, v) mm from the lens centre."""
        square = np.square(u) + np.square(v)
        return self.radius - np.sqrt(self.radius**2 - square)

    def place(self, x: ArrayLike, y: ArrayLike, depth: ArrayLike = 0.0) -> FloatArray:
        """(..., 3) mm in the eyewear's frame from flat x, y and depth, broadcast."""
        x, y, depth = np.broadcast_arrays(*(np.asarray(v, float) for v in (x, y, depth)))
        a, h, half = np.abs(x), self.half_bridge, self.lens_width / 2
        p = np.maximum(a - h, 0.0)
        top = self.sag(half, self.nasal_y)
        fall = top - self.sag(p - half, y)
        sin, cos = np.sin(self.wrap), np.cos(self.wrap)
        out_x = h + p * cos + fall * sin
        out_z = -p * sin + fall * cos
        # Between the lenses the surface runs on smoothly and is level at the middle.
        slope = half / np.sqrt(self.radius**2 - half**2 - y**2) * cos - sin
        between = a < h
        out_x = np.where(between, a / h * out_x, out_x)
        out_z = np.where(between, out_z - slope * (h**2 - a**2) / (2 * h), out_z)
        turn = self.wrap * np.minimum(a / h, 1.0)
        out_x = np.sign(x) * (out_x + depth * np.sin(turn))
        return pitch(np.stack([out_x, y, out_z + depth * np.cos(turn)], axis=-1), self.tilt)


def pitch(points: FloatArray, tilt: float) -> FloatArray:
    """Points (..., 3) turned by `tilt` rad about x, so that what is low moves to -z."""
    sin, cos = np.sin(tilt), np.cos(tilt)
    x, y, z = np.moveaxis(points, -1, 0)
    return np.stack([x, y * cos - z * sin, y * sin + z * cos], axis=-1)
