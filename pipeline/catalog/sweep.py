"""Closed triangle meshes made by sweeping a profile along a path.

Everything is mm and a pure function on arrays. A body is one closed, outward-oriented
2-manifold; several bodies may be joined into one mesh without being welded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Distance from a rounded edge to the loop that keeps the neighbouring flat side flat when the
#: renderer averages normals.
HOLD_MM = 0.2


@dataclass(frozen=True, eq=False)
class Body:
    """Triangles: vertices (n, 3) float64 mm, faces (m, 3) int64 counter-clockwise from outside."""

    vertices: FloatArray
    faces: IntArray

    def volume(self) -> float:
        """Signed volume in cubic mm; positive when the faces look outward."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0)

    def mirrored(self) -> Body:
        """The mirror image about x = 0, oriented outward again."""
        return Body(self.vertices * (-1.0, 1.0, 1.0), self.faces[:, ::-1].copy())


def outward(body: Body) -> Body:
    """The same body with its faces turned outward."""
    return body if body.volume() > 0 else Body(body.vertices, body.faces[:, ::-1].copy())


def join(bodies: Iterable[Body]) -> Body:
    """Several bodies as one mesh; vertices are not shared between them."""
    items = list(bodies)
    starts = np.cumsum([0, *(len(b.vertices) for b in items)])
    faces = [b.faces + s for b, s in zip(items, starts[:-1], strict=True)]
    return Body(np.concatenate([b.vertices for b in items]), np.concatenate(faces))


def grid_faces(rows: int, cols: int, closed: bool) -> IntArray:
    """(m, 3) triangles of a (rows, cols) vertex grid whose columns close into a ring.

    `closed` also joins the last row to the first.
    """
    i, j = np.meshgrid(np.arange(rows if closed else rows - 1), np.arange(cols), indexing="ij")
    i2, j2 = (i + 1) % rows, (j + 1) % cols
    a, b, c, d = (p * cols + q for p, q in ((i, j), (i2, j), (i2, j2), (i, j2)))
    quads = np.stack([a, b, c, d], axis=-1).reshape(-1, 4)
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int64)


def ring_body(rings: FloatArray) -> Body:
    """A torus-like body from (n, k, 3) rings of points, the last joined to the first."""
    n, k, _ = rings.shape
    return outward(Body(rings.reshape(-1, 3), grid_faces(n, k, closed=True)))


def tube_body(rings: FloatArray) -> Body:
    """A tube from (n, k, 3) rings of points, closed at both ends by a fan."""
    n, k, _ = rings.shape
    vertices = np.concatenate([rings.reshape(-1, 3), rings[[0, -1]].mean(axis=1)])
    j = np.arange(k)
    j2 = (j + 1) % k
    first = np.stack([np.full(k, n * k), j, j2], axis=1)
    last = np.stack([np.full(k, n * k + 1), (n - 1) * k + j2, (n - 1) * k + j], axis=1)
    faces = np.concatenate([grid_faces(n, k, closed=False), first, last]).astype(np.int64)
    return outward(Body(vertices, faces))


def rounded_rect(
    width: ArrayLike, height: ArrayLike, radius: ArrayLike, segments: int = 3
) -> FloatArray:
    """Rectangles with rounded corners, counter-clockwise, (n, 4 * (segments + 3), 2) mm.

    width, height, radius: scalars or (n,) mm. The radius is cut to what fits.
    """
    w, h, r = (np.atleast_1d(np.asarray(v, float)) for v in (width, height, radius))
    w, h, r = (v[:, None] for v in np.broadcast_arrays(w, h, r))
    r = np.minimum(r, 0.49 * np.minimum(w, h))
    hold_w = np.minimum(HOLD_MM, 0.4 * (w / 2 - r))
    hold_h = np.minimum(HOLD_MM, 0.4 * (h / 2 - r))
    angles = np.linspace(0.0, np.pi / 2, segments + 1)
    x = np.concatenate([w / 2, w / 2 - r + r * np.cos(angles), w / 2 - r - hold_w], axis=1)
    y = np.concatenate([h / 2 - r - hold_h, h / 2 - r + r * np.sin(angles), h / 2], axis=1)
    corner = np.stack([x, y], axis=-1)
    flipped = corner[:, ::-1]
    return np.concatenate([corner, flipped * (-1, 1), corner * (-1, -1), flipped * (1, -1)], axis=1)


def frames(path: FloatArray, up: ArrayLike = (0.0, 1.0, 0.0)) -> tuple[FloatArray, FloatArray]:
    """Unit side and upright directions, both (n, 3), across an open (n, 3) path.

    The upright direction is `up` made square to the path; `up` must not run along it.
    """
    tangent = np.gradient(path, axis=0)
    side = np.cross(tangent, np.asarray(up, float))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    upright = np.cross(side, tangent)
    return side, upright / np.linalg.norm(upright, axis=1, keepdims=True)


def sweep(path: FloatArray, profile: FloatArray, up: ArrayLike = (0.0, 1.0, 0.0)) -> FloatArray:
    """(n, k, 3) rings of a profile, (k, 2) or (n, k, 2), carried along an open (n, 3) path.

    The profile's first axis lies to the side of the path, its second along `up`.
    """
    side, upright = frames(path, up)
    shape = np.broadcast_to(profile, (len(path), *profile.shape[-2:]))
    return (
        path[:, None, :] + shape[..., :1] * side[:, None, :] + shape[..., 1:] * upright[:, None, :]
    )


def spline(points: ArrayLike, count: int) -> FloatArray:
    """(count, 3) points on a smooth curve through `points` (n, 3), n >= 3, evenly by chord."""
    from scipy.interpolate import CubicSpline

    p = np.asarray(points, float)
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(p, axis=0), axis=1))])
    return np.asarray(CubicSpline(s, p)(np.linspace(0.0, s[-1], count)))


def wire(points: ArrayLike, radius: float, count: int = 24, sides: int = 10) -> Body:
    """A round wire of `radius` mm through `points` (n, 3), its ends rounded."""
    path = spline(points, count)
    angle = np.linspace(0.0, 2 * np.pi, sides, endpoint=False)
    circle = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    tangent = path[-1] - path[0]
    up = np.eye(3)[np.argmin(np.abs(tangent))]
    return tube_body(sweep(path, circle, up))


def cylinder(centre: ArrayLike, axis: ArrayLike, radius: float, length: float) -> Body:
    """An upright round pin with chamfered ends, `length` mm along `axis` about `centre`."""
    c, a = np.asarray(centre, float), np.asarray(axis, float)
    a = a / np.linalg.norm(a)
    edge = min(0.2 * radius, 0.25 * length)
    along = length / 2 - np.array([0.0, 0.0, edge, 2 * edge])
    along = np.concatenate([-along, along[::-1]])
    scale = np.array([0.5, 1 - edge / radius, 1.0, 1.0])
    scale = np.concatenate([scale, scale[::-1]])
    angle = np.linspace(0.0, 2 * np.pi, 20, endpoint=False)
    circle = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    u = np.cross(a, np.eye(3)[np.argmin(np.abs(a))])
    u /= np.linalg.norm(u)
    basis = np.stack([u, np.cross(a, u)])
    ring = circle @ basis
    return tube_body(c + along[:, None, None] * a + scale[:, None, None] * ring[None])


def ellipsoid(centre: ArrayLike, half_axes: FloatArray, rows: int = 14, cols: int = 28) -> Body:
    """A closed ellipsoid; `half_axes` (3, 3) are its half axes as rows, in mm.

    The third axis is the pole, so `centre` plus and minus it are vertices of the mesh.
    """
    polar = np.linspace(0.0, np.pi, rows + 1)[1:-1]
    turn = np.linspace(0.0, 2 * np.pi, cols, endpoint=False)
    unit = np.stack(
        [
            np.sin(polar)[:, None] * np.cos(turn),
            np.sin(polar)[:, None] * np.sin(turn),
            np.repeat(np.cos(polar)[:, None], cols, axis=1),
        ],
        axis=-1,
    )
    c = np.asarray(centre, float)
    body = tube_body(c + unit @ half_axes)
    vertices = body.vertices.copy()
    vertices[-2:] = c + half_axes[2], c - half_axes[2]
    return Body(vertices, body.faces)
