"""Rigid 4x4 transforms, as pure functions on float64 arrays.

A transform is named `a_from_b`: it takes points in b to points in a, so that inner names cancel in
`a_from_c = compose(a_from_b, b_from_c)`. Points are rows, (n, 3) or (3,).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def apply(a_from_b: ArrayLike, points: ArrayLike) -> FloatArray:
    """Points in b, (n, 3) or (3,), taken to a; same shape, float64."""
    matrix = np.asarray(a_from_b, dtype=np.float64)
    return np.asarray(points, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


def compose(*transforms: ArrayLike) -> FloatArray:
    """(4, 4) product: compose(a_from_b, b_from_c) is a_from_c; of nothing, the identity."""
    product = np.eye(4)
    for matrix in transforms:
        product = product @ np.asarray(matrix, dtype=np.float64)
    return product


def translation(offset: ArrayLike) -> FloatArray:
    """(4, 4) that moves points by `offset`, (3,)."""
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix


def rotation_about(axis: ArrayLike, angle_deg: float, origin: ArrayLike = (0, 0, 0)) -> FloatArray:
    """(4, 4) right-handed turn by `angle_deg` about the line along `axis` through `origin`.

    `axis` need not have unit length; a zero axis raises ValueError.
    """
    direction = np.asarray(axis, dtype=np.float64)
    length = float(np.linalg.norm(direction))
    if not length > 0:
        raise ValueError("the axis of a rotation has no length")
    x, y, z = direction / length
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(angle_deg)
    matrix = np.eye(4)
    matrix[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    centre = np.asarray(origin, dtype=np.float64)
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre
    return matrix
