"""Intel Open Image Denoise on layers: arrays in, arrays out.

Layers are denoised after they are put together, not by Cycles, so that what a layer takes over
from another is taken over from its denoised form as well: the denoiser adds no difference between
layers where the eyewear has none.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyoidn

from pipeline.pixels import Float32, Mask, bounding_box, differing
from pipeline.rendering import Guides, Rendering

#: The denoiser sees this much more than what is taken from its output, so that no seam shows.
_MARGIN_PX = 16


class Denoiser:
    """Open Image Denoise on the CPU. The number of threads changes no bit of what comes out."""

    def __init__(self, threads: int) -> None:
        self._device = pyoidn.Device(pyoidn.OIDN_DEVICE_TYPE_CPU)
        self._device.set_int("numThreads", threads)
        # Two workers' threads would be pinned to the same cores.
        self._device.set_bool("setAffinity", False)
        self._device.commit()

    def denoise(self, color: Float32, guides: Guides) -> Float32:
        """Noise-free (h, w, 3) float32 of a linear picture of any brightness.

        Raises RuntimeError with the library's message.
        """
        images = {
            pyoidn.OIDN_IMAGE_COLOR: color,
            pyoidn.OIDN_IMAGE_ALBEDO: guides.albedo,
            pyoidn.OIDN_IMAGE_NORMAL: guides.normal,
        }
        return self._filtered(images, {"hdr": True})

    def denoise_share(self, share: Float32) -> Float32:
        """Noise-free (h, w) float32 in 0..1 of a share.

        By the middle one of three networks: the best one is no better. Raises RuntimeError with the
        library's message.
        """
        grey = np.repeat(share[..., None], 3, axis=2)
        clean = self._filtered({pyoidn.OIDN_IMAGE_COLOR: grey}, {}, balanced=True)
        return np.clip(clean[..., 0], 0.0, 1.0)

    def with_clean_albedo(self, guides: Guides, where: Mask) -> Guides:
        """The guides with an albedo without noise about `where` (h, w).

        That of lenses is of what a sample meets behind or before them, and so as noisy as the
        picture; grain in it would stay in what it guides.
        """
        box = bounding_box(where)
        if box is None:
            return guides
        area = box.widened(_MARGIN_PX, len(where)).slices()
        clean = self._filtered({pyoidn.OIDN_IMAGE_ALBEDO: guides.albedo[area]}, {})
        albedo = guides.albedo.copy()
        albedo[area] = np.where(where[area][..., None], clean, albedo[area])
        return Guides(albedo, guides.normal)

    def _filtered(
        self, images: Mapping[str, Float32], flags: Mapping[str, bool], balanced: bool = False
    ) -> Float32:
        """What the library makes of images (h, w, 3) by its name for each."""
        inputs = {name: np.ascontiguousarray(image, np.float32) for name, image in images.items()}
        result = np.empty_like(next(iter(inputs.values())))
        denoiser = pyoidn.Filter(self._device, pyoidn.OIDN_FILTER_TYPE_RT)
        try:
            for name, image in {**inputs, pyoidn.OIDN_IMAGE_OUTPUT: result}.items():
                denoiser.set_image(name, image, pyoidn.OIDN_FORMAT_FLOAT3)
            for name, flag in flags.items():
                denoiser.set_bool(name, flag)
            if balanced:
                denoiser.set_quality(pyoidn.OIDN_QUALITY_BALANCED)
            denoiser.commit()
            denoiser.execute()
        finally:
            denoiser.release()
        problem = self._device.get_error()
        if problem is not None:
            raise RuntimeError(f"Open Image Denoise: {problem}")
        return result

    def replace(self, base: Float32, color: Float32, guides: Guides, where: Mask) -> Float32:
        """`base` (h, w, 3) with the denoised `color` in its place `where` (h, w)."""
        box = bounding_box(where)
        if box is None:
            return base
        rows, columns = box.widened(_MARGIN_PX, len(where)).slices()
        part = self.denoise(color[rows, columns], guides.cropped(rows, columns))
        result = base.copy()
        result[rows, columns] = np.where(where[rows, columns, None], part, base[rows, columns])
        return result


def denoised_layers(rendering: Rendering, denoiser: Denoiser) -> dict[str, Float32]:
    """The layers without noise, linear (h, w, 3) by name, as equal to each other as the noisy ones.

    Further than 2 px from pixels that the eyewear is seen in, `glass` is `face` and `all` is
    `shadow`; where no path ties a pixel to the eyewear all four are `face`.
    """
    noisy, guides = rendering.layers, rendering.guides
    face = denoiser.denoise(noisy["face"], guides["face"])
    tied = differing(noisy["shadow"], noisy["face"])
    shadow = denoiser.replace(face, noisy["shadow"], guides["face"], tied)
    # The silhouette, of which coverage has other numbers of samples, holds pixels without eyewear.
    seen = rendering.silhouette & differing(noisy["all"], noisy["shadow"])
    worn = denoiser.with_clean_albedo(guides["all"], seen)
    return {
        "face": face,
        "shadow": shadow,
        "glass": denoiser.replace(face, noisy["glass"], worn, seen),
        "all": denoiser.replace(shadow, noisy["all"], worn, seen),
    }
