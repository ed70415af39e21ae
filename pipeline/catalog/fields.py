"""Small functions on points and values that hair, skin, cloth and eyewear share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import FloatArray


def smoothstep(values: NDArray, low: float, high: float) -> NDArray:
    """0 below `low`, 1 above `high`, smooth between."""
    part = np.clip((values - low) / (high - low), 0.0, 1.0)
    return np.asarray(part * part * (3.0 - 2.0 * part))


def atan2(y: NDArray, x: NDArray) -> NDArray:
    """Radians of columns of points. numpy rounds functions of views with gaps now one way, now
    another, by where in memory they happen to lie; copies it does not."""
    return np.asarray(np.arctan2(np.ascontiguousarray(y), np.ascontiguousarray(x)))


def unit(vectors: NDArray) -> NDArray:
    """Vectors (..., 3) scaled to length 1."""
    # Column by column, since numpy takes long over rows of three.
    x, y, z = (vectors[..., axis] * vectors[..., axis] for axis in range(3))
    return np.asarray(vectors / np.maximum(np.sqrt(x + y + z), 1e-12)[..., None])


def vertex_normals(vertices: FloatArray, faces: NDArray[np.int64]) -> FloatArray:
    """(v, 3) unit normals of a mesh of quads, means of the faces around."""
    a, b = (vertices[faces[:, i + 2]] - vertices[faces[:, i]] for i in (0, 1))
    normal = np.cross(a, b)
    summed = np.stack(
        [
            np.bincount(faces.ravel(), np.repeat(normal[:, i], faces.shape[1]), len(vertices))
            for i in range(3)
        ],
        axis=1,
    )
    return unit(summed)
