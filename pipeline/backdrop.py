"""What stands behind the subject: its draw, and the picture that the camera sees.

The picture lies far behind, across `SPAN` times the frame's width, so that lenses bend it as they
bend what is far away; beyond its edges it is mirrored. It is seen by the camera, itself and through
lenses, and lights nothing, so that the same light can be had before any background.
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from pipeline.catalog.photos import Photo, read_photo
from pipeline.catalog.places import PLACES, Canvas
from pipeline.distributions import draw_number, pick_name
from pipeline.errors import RecipeError
from pipeline.pixels import Float32
from pipeline.recipe import Background
from pipeline.spec import BackgroundKind, BackgroundSpec, Color, LightKind, LightSpec

#: Width and height of the picture, of the frame's. Lenses of -8 D look no further aside.
SPAN = 1.5
#: Pixels across the frame of a painted place, and across a photo at most.
_PAINTED_PX, _PHOTO_PX = 256, 1024
#: What is painted passes for a place only if it is out of focus by as much.
_LEAST_BLUR = 0.012
#: Places that go with a kind of light; where a recipe has none of them, any will do.
_OUTDOORS: tuple[BackgroundKind, ...] = ("world", "plain", "street", "park", "photo")
_INDOORS: tuple[BackgroundKind, ...] = ("world", "plain", "gradient", "black", "room", "photo")
_GOES_WITH: dict[LightKind, tuple[BackgroundKind, ...]] = {
    "sun": _OUTDOORS,
    "overcast": _OUTDOORS,
    "window": _INDOORS,
    "studio": _INDOORS,
    "screen": _INDOORS,
    "lamp": (*_INDOORS, "street"),
}
#: Lights by which it is night outside, in so many of the portraits.
_AT_NIGHT: tuple[LightKind, ...] = ("flash", "lamp", "screen")
_NIGHT_SHARE = 0.6


def check_backgrounds(recipe: Background, photos: int, where: str) -> None:
    """Raises RecipeError for weights that say nothing, or photos where there are none."""
    if not 0 < sum(recipe.kinds.values()) < 1e300:
        raise RecipeError(f"{where}: $.background.kinds: weights must add up to more than 0")
    if recipe.kinds.get("photo") and not photos:
        raise RecipeError(
            f"{where}: $.background.kinds.photo: photos come from a folder of yours, "
            "--backgrounds DIR"
        )


def draw_background(
    recipe: Background, photo: Photo | None, light: LightSpec, rng: np.random.Generator
) -> BackgroundSpec:
    """What stands behind a portrait. `check_backgrounds` must have passed.

    photo: the one to take, should a photo be drawn.
    """
    kind = _draw_kind(recipe, light.kind, rng)
    seed = int(rng.integers(2**31))
    night = light.kind in _AT_NIGHT and bool(rng.random() < _NIGHT_SHARE)
    blur = round(draw_number(recipe.blur, rng), 5)
    gain = round(float(2.0 ** rng.uniform(-0.8, 0.5)), 4)
    if kind == "plain":
        return BackgroundSpec(kind=kind, colors=(_paper(rng),))
    if kind == "gradient":
        first = _paper(rng)
        share = float(2.0 ** -rng.uniform(1.0, 3.0))
        second: Color = (
            round(first[0] * share, 4), round(first[1] * share, 4), round(first[2] * share, 4)
        )  # fmt: skip
        return BackgroundSpec(kind=kind, colors=(first, second) if seed % 2 else (second, first))
    if kind == "photo":
        assert photo is not None
        return BackgroundSpec(
            kind=kind, photo=photo.name, sha256=photo.sha256, blur=blur, gain=gain
        )
    if kind in PLACES:
        blur = max(blur, _LEAST_BLUR)
        return BackgroundSpec(kind=kind, blur=blur, gain=gain, seed=seed, night=night)
    return BackgroundSpec(kind=kind)


def backdrop(spec: BackgroundSpec, photo: Path | None) -> Float32:
    """(h, w, 3) linear Rec. 709 as it is to come out once exposed, first row on top.

    The middle `1 / SPAN` of it fills the frame. photo: file of the kind 'photo'. Not for the kind
    'world', which has no picture. Raises AssetError if the photo cannot be read.
    """
    if spec.kind == "photo":
        assert photo is not None
        return _spread(_framed(read_photo(photo)), spec.blur) * np.float32(spec.gain)
    if spec.kind in PLACES:
        side = round(_PAINTED_PX * SPAN)
        canvas = Canvas(side, np.random.Generator(np.random.PCG64(spec.seed)))
        PLACES[spec.kind](canvas, spec.night)
        return _spread(canvas.image, spec.blur) * np.float32(spec.gain)
    first, last = (spec.colors[0], spec.colors[-1]) if spec.colors else ((0.0,) * 3,) * 2
    steps = np.linspace(-SPAN / 2, SPAN / 2, 128) + 0.5
    ease = np.clip(steps, 0, 1)
    share = (ease * ease * (3 - 2 * ease))[:, None, None]
    image = (1 - share) * np.array(first) + share * np.array(last)
    return np.repeat(image, 2, axis=1).astype(np.float32)


def _draw_kind(recipe: Background, light: LightKind, rng: np.random.Generator) -> BackgroundKind:
    weights = {kind: weight for kind, weight in recipe.kinds.items() if weight > 0}
    fitting = {k: w for k, w in weights.items() if k in _GOES_WITH.get(light, (k,))}
    weights = fitting or weights
    return pick_name(weights, rng.random())


def _paper(rng: np.random.Generator) -> Color:
    """Paper or paint: mostly near grey, at times of a strong colour; white to nearly black."""
    value = math.exp(rng.uniform(math.log(0.03), math.log(0.75)))
    saturation = rng.uniform(0, 0.2) if rng.random() < 0.7 else rng.uniform(0.3, 0.8)
    hue = rng.uniform(0, 2 * np.pi) + np.array([0.0, 2.0, 4.0]) * np.pi / 3
    red, green, blue = value * (1 - saturation * (0.5 - 0.5 * np.cos(hue)))
    return round(float(red), 4), round(float(green), 4), round(float(blue), 4)


def _framed(photo: Float32) -> Float32:
    """A photo that covers the frame and is mirrored around it, square."""
    height, width = photo.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    photo = photo[top : top + side, left : left + side]
    if side > _PHOTO_PX:
        photo = cv2.resize(photo, (_PHOTO_PX, _PHOTO_PX), interpolation=cv2.INTER_AREA)
        side = _PHOTO_PX
    margin = round(side * (SPAN - 1) / 2)
    return cv2.copyMakeBorder(photo, *(margin,) * 4, cv2.BORDER_REFLECT)


def _spread(image: Float32, blur: float) -> Float32:
    """The image out of focus: every point is spread over a disc of radius `blur` of the frame."""
    radius = blur * image.shape[1] / SPAN
    if radius < 0.5:
        return image
    reach = math.ceil(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    spread = cv2.filter2D(image, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT)
    return np.maximum(spread, 0)
