"""Where hairs can grow: places on the skin, the same ones for everybody.

A place is a triangle of the parametric head's skin and weights of its corners, so hair follows
every identity and expression. Which places are used, and how hair grows from them, is told by
where they lie on the average head (`rest`, mm, origin between the eyes).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import FloatArray, Surface


@dataclass(frozen=True, eq=False)
class Roots:
    """Places on the skin.

    corners: (n, 3) vertices of the skin. weights: (n, 3), sum 1. rest: (n, 3) mm. luck: (n,)
    0..1, evenly spread: the place is used where that is below the density wanted.
    """

    corners: NDArray[np.int64]
    weights: FloatArray
    rest: FloatArray
    luck: FloatArray

    def __len__(self) -> int:
        return len(self.luck)

    def of(self, chosen: NDArray) -> Roots:
        """Some of the places, by a mask or by indices."""
        return Roots(
            self.corners[chosen], self.weights[chosen], self.rest[chosen], self.luck[chosen]
        )

    def on(self, values: NDArray) -> FloatArray:
        """Values (v, ...) of the skin's vertices at the places, (n, ...)."""
        return np.einsum("ij,ij...->i...", self.weights, values[self.corners])


def scatter(skin: Surface, density: NDArray, spacing_mm2: float, rng: np.random.Generator) -> Roots:
    """Places scattered over the average head, one each `spacing_mm2` where density is 1.

    skin: with the attribute `rest`. density: (v,) at its vertices, 0..1; places where it is 0
    are left out, so that it bounds what any person can use.
    """
    rest = skin.attributes["rest"].astype(np.float64)
    triangles = skin.triangles()
    triangles = triangles[density[triangles].max(axis=1) > 0]
    edges = rest[triangles[:, 1:]] - rest[triangles[:, :1]]
    area = 0.5 * np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    wanted = area * density[triangles].mean(axis=1) / spacing_mm2
    # Evenly spaced along the running sum: as even over triangles as can be.
    total = np.cumsum(wanted)
    at = np.searchsorted(total, np.arange(0.5, total[-1]))
    first, second = rng.random((2, len(at)))
    fold = first + second > 1.0
    first[fold], second[fold] = 1.0 - first[fold], 1.0 - second[fold]
    weights = np.stack([1.0 - first - second, first, second], axis=1)
    corners = triangles[at]
    place = np.einsum("ij,ijk->ik", weights, rest[corners])
    order = rng.permutation(len(at))
    return Roots(corners[order], weights[order], place[order], rng.random(len(at)))
