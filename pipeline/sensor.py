"""What a camera does to a clean picture: optics, noise, colour, tone, sharpening, size, JPEG.

Stored pictures are clean. `apply_sensor` degrades them when they are read or exported, by numbers
that stand in the spec, so both versions come without rendering again. All pictures of a sample get
the same draw and the same field of noise: where two of them are equal, they stay so, but for what
reaches over from where they differ: the chromatic fringe, sharpening and resizing over a few
pixels, JPEG over blocks of 8 or 16. Labels are left as they are; nothing is moved by as much as a
pixel.

Light is linear up to the tone curve, as in a camera. Noise is normal, of a variance that grows with
the light (photons) plus one of the dark (read-out), and a little blurred as by demosaicing.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.distributions import draw_number, pick
from pipeline.pixels import (
    REC709_LUMINANCE,
    Float32,
    UInt8,
    linear_from_srgb,
    srgb_from_linear,
    to_uint8,
)
from pipeline.recipe import Sensor
from pipeline.spec import KERNELS, LAYERS, Kernel, SensorSpec

#: Images that a camera takes; all others are labels.
PICTURES = (*LAYERS, "sunglasses", "no_reflection")
#: Linear value at which `SensorSpec.shot_noise` is given.
GREY = 0.18
#: Blur of the noise by demosaicing, px, and of what an unsharp mask takes away, per 256 px.
_DEMOSAIC_PX, _UNSHARP_PX = 0.5, 0.8
_KERNELS = {
    "area": cv2.INTER_AREA,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}


def draw_sensor(recipe: Sensor, rng: np.random.Generator) -> SensorSpec:
    """The camera of a portrait."""
    weights = [recipe.kernels.get(kernel, 0.0) for kernel in KERNELS]
    kernel: Kernel = KERNELS[pick(weights, rng.random())]
    drawn = {
        name: round(draw_number(getattr(recipe, name), rng), 6)
        for name in (
            "vignette", "fringe", "shot_noise", "read_noise", "contrast", "sharpen", "resize",
        )
    }  # fmt: skip
    red, blue = (round(2.0 ** draw_number(recipe.white_balance, rng), 4) for _ in range(2))
    compressed, quality = rng.random() < recipe.jpeg, round(draw_number(recipe.jpeg_quality, rng))
    return SensorSpec(
        **drawn,
        seed=int(rng.integers(2**31)),
        red_gain=red,
        blue_gain=blue,
        kernel=kernel,
        jpeg_quality=quality if compressed else None,
    )


def apply_sensor(images: Mapping[str, NDArray], spec: SensorSpec) -> dict[str, NDArray]:
    """The images of a sample by key as a camera would have taken them; labels as they are.

    images: by the keys of `pipeline.spec.IMAGE_KEYS` and `EXTRA_KEYS`, as stored; those of
    `PICTURES` are uint8 (h, w, 3) sRGB, and so is what comes back. The same image and spec give
    the same bytes, whichever other images come along.
    """
    shapes = {image.shape[:2] for key, image in images.items() if key in PICTURES}
    fields = {shape: _noise(shape, spec.seed) for shape in shapes}
    return {
        key: _taken(image, spec, fields[image.shape[:2]]) if key in PICTURES else image
        for key, image in images.items()
    }


def _taken(image: UInt8, spec: SensorSpec, noise: tuple[Float32, Float32]) -> UInt8:
    linear = linear_from_srgb(image.astype(np.float32) / np.float32(255))
    linear = _vignetted(_fringed(linear, spec.fringe), spec.vignette)
    linear = _noisy(linear, spec, noise)
    linear = linear * np.array([spec.red_gain, 1.0, spec.blue_gain], np.float32)
    shown = _toned(srgb_from_linear(linear), spec.contrast)
    shown = _resized(_sharpened(shown, spec.sharpen), spec)
    return _compressed(to_uint8(np.clip(shown, 0, 1)), spec.jpeg_quality)


def _noise(shape: tuple[int, ...], seed: int) -> tuple[Float32, Float32]:
    """Standard normal fields (h, w, 3) of photons and of reading out, blurred and scaled back."""
    rng = np.random.Generator(np.random.PCG64(seed))
    reach = np.zeros((9, 9), np.float32)
    reach[4, 4] = 1.0
    left = float(np.sqrt((cv2.GaussianBlur(reach, (0, 0), _DEMOSAIC_PX) ** 2).sum()))
    photons, reading = (
        cv2.GaussianBlur(rng.standard_normal((*shape, 3), np.float32), (0, 0), _DEMOSAIC_PX) / left
        for _ in range(2)
    )
    return photons, reading


def _noisy(linear: Float32, spec: SensorSpec, noise: tuple[Float32, Float32]) -> Float32:
    """White-balance gains amplify the noise of their channel, so noise comes before them."""
    photons, reading = noise
    shot = np.sqrt(linear / np.float32(GREY)) * np.float32(spec.shot_noise)
    return np.maximum(linear + photons * shot + reading * np.float32(spec.read_noise), 0)


def _vignetted(linear: Float32, lost: float) -> Float32:
    """Darker to the corners, with the square of the distance from the middle."""
    if not lost:
        return linear
    height, width = linear.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    middle_x, middle_y = np.float32((width - 1) / 2), np.float32((height - 1) / 2)
    square = ((x - middle_x) ** 2 + (y - middle_y) ** 2) / (middle_x**2 + middle_y**2)
    return linear * (1 - np.float32(lost) * square)[..., None]


def _fringed(linear: Float32, fringe: float) -> Float32:
    """Red drawn larger and blue smaller about the middle, by `fringe` of the width at a corner."""
    height, width = linear.shape[:2]
    # Less than a pixel anywhere, so that labels hold.
    shift = float(np.clip(fringe * width, -0.95, 0.95))
    if not shift:
        return linear
    corner = np.hypot(width - 1, height - 1) / 2
    fringed = linear.copy()
    for channel, sign in ((0, 1.0), (2, -1.0)):
        scale = 1 + sign * shift / corner
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        matrix = np.column_stack([np.eye(2) * scale, centre * (1 - scale)])
        fringed[..., channel] = cv2.warpAffine(
            np.ascontiguousarray(linear[..., channel]), matrix, (width, height),
            flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
    return fringed


def _toned(shown: Float32, contrast: float) -> Float32:
    """An S about the middle of the sRGB scale, rising everywhere; ends and middle stay."""
    bend = shown * (1 - shown) * (2 * shown - 1)
    return shown + np.float32(contrast) * bend


def _sharpened(shown: Float32, amount: float) -> Float32:
    """Unsharp mask on luma, so that colours do not change at edges."""
    if not amount:
        return shown
    luma = shown @ np.array(REC709_LUMINANCE, np.float32)
    sigma = _UNSHARP_PX * max(1.0, shown.shape[1] / 256)
    missing = luma - cv2.GaussianBlur(luma, (0, 0), sigma)
    return np.clip(shown + np.float32(amount) * missing[..., None], 0, 1)


def _resized(shown: Float32, spec: SensorSpec) -> Float32:
    """Made smaller and as large as before, both by the same kernel; centres of pixels stay."""
    height, width = shown.shape[:2]
    small = max(1, round(width * spec.resize)), max(1, round(height * spec.resize))
    if small == (width, height):
        return shown
    kernel = _KERNELS[spec.kernel]
    larger = cv2.INTER_LINEAR if spec.kernel == "area" else kernel
    smaller = cv2.resize(shown, small, interpolation=kernel)
    return cv2.resize(smaller, (width, height), interpolation=larger)


def _compressed(image: UInt8, quality: int | None) -> UInt8:
    """Through JPEG with chroma at half the size, as cameras store it."""
    if quality is None:
        return image
    ok, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise RuntimeError("OpenCV could not encode a JPEG")
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.ascontiguousarray(decoded[..., ::-1])
