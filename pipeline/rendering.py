"""What the renderer hands on: the layers of one sample as traced, and what they show where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pipeline.pixels import Float32, Mask


@dataclass(frozen=True, eq=False)
class Coverage:
    """Share of each pixel's square covered, (h, w) float32 in 0..1, hidden parts left out.

    frame: rims, bridge, pads and temples, also where seen through a clear lens. legs: the
    temples' part of it. lens_left, lens_right: a lens is in front. full: any eyewear in front.
    dark_lens: a lens in front that hides what is behind it.
    """

    frame: Float32
    legs: Float32
    lens_left: Float32
    lens_right: Float32
    full: Float32
    dark_lens: Float32


@dataclass(frozen=True, eq=False)
class Guides:
    """What a denoiser may know: albedo and normal of what is seen, each (h, w, 3) float32."""

    albedo: Float32
    normal: Float32

    def replaced(self, where: Mask, others: Guides) -> Guides:
        """These guides, with `others` in their place `where` (h, w)."""
        pick = where[..., None]
        return Guides(
            np.where(pick, others.albedo, self.albedo), np.where(pick, others.normal, self.normal)
        )

    def cropped(self, rows: slice, columns: slice) -> Guides:
        """The part in these rows and columns."""
        return Guides(self.albedo[rows, columns], self.normal[rows, columns])


@dataclass(frozen=True, eq=False)
class Extra:
    """An optional layer: linear color (h, w, 3), which is that of `all` but for `where` (h, w).

    guides: None if pictures are not denoised.
    """

    color: Float32
    guides: Guides | None
    where: Mask


@dataclass(frozen=True, eq=False)
class Rendering:
    """The layers of a sample as traced, linear (h, w, 3) by name; see `pipeline.spec.LAYERS`.

    guides: 'face' for what is seen without the eyewear, 'all' for what is seen with it; none if
    pictures are not denoised. silhouette: (h, w), where a camera ray can meet the eyewear. border:
    where `all` was traced; elsewhere it is `face`. for_labels: the layers, where shadow lies of the
    samples that labels need.
    extras: optional layers by name. transmittance: (h, w, 3) in 0..1 of the lenses, if asked for.
    """

    layers: Mapping[str, Float32]
    guides: Mapping[str, Guides]
    coverage: Coverage
    silhouette: Mask
    border: Mask
    for_labels: Mapping[str, Float32]
    extras: Mapping[str, Extra] = field(default_factory=dict)
    transmittance: Float32 | None = None
