"""HDR worlds: Blender's own eight, or a folder of the user's."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import AssetError
from pipeline.pixels import REC709_LUMINANCE

SUFFIXES = (".hdr", ".exr")
#: A face of middle reflectance (0.35) is exposed to this linear value; 0.30 is 149 of 255 in sRGB.
TARGET_FACE_VALUE = 0.30
MIDDLE_REFLECTANCE = 0.35
#: Where light is metered: the front of the face and its cheeks, towards the subject's left.
FACE_YAWS_DEG = (0.0, -60.0, 60.0)
_SMALL = (64, 32)
#: As light, a world is at most so wide: a pixel is then 0.7 degrees, little more than the sun.
LIGHT_MAP_PX = 512
_LUMINANCE = np.array(REC709_LUMINANCE)
#: The sun on a linear scale where a room is about 1 stays below the latter.
_DIMMEST, _BRIGHTEST = 1e-6, 1e8


@dataclass(frozen=True)
class Light:
    """A world of the catalogue."""

    name: str
    path: Path
    sha256: str
    licence: str

    def exposure_ev(self, rotation_deg: float) -> float:
        """`exposure_of` a face in this world, turned by `rotation_deg` as in `LightSpec`."""
        return exposure_of(self.face_irradiances(rotation_deg))

    def face_irradiances(self, rotation_deg: float) -> tuple[float, ...]:
        """Irradiance (luminance) of a face turned by `FACE_YAWS_DEG`, in the world turned so."""
        return _face_irradiances(self.path, rotation_deg)


@lru_cache(maxsize=2**13)
def _face_irradiances(path: Path, rotation_deg: float) -> tuple[float, ...]:
    """Recipes turn worlds by whole degrees, so a plan meets the same again and again."""
    world = _small_map(path)
    return tuple(face_irradiance(world, rotation_deg, yaw) for yaw in FACE_YAWS_DEG)


def exposure_of(irradiances: Sequence[float]) -> float:
    """Stops that bring a face of middle reflectance to the middle tone.

    irradiances: of the face turned by `FACE_YAWS_DEG`. Metered half on the front of the face and
    half on its brighter cheek, so that a sun from the side does not burn it out. Lambert:
    radiance = reflectance * irradiance / pi.
    """
    irradiance = (irradiances[0] + max(irradiances)) / 2
    radiance = MIDDLE_REFLECTANCE * max(irradiance, 1e-6) / np.pi
    return float(np.log2(TARGET_FACE_VALUE / radiance))


def face_irradiance(world: NDArray[np.float32], rotation_deg: float, yaw_deg: float = 0.0) -> float:
    """Irradiance of luminance on a face, from an equirectangular map (h, w, 3), first row on top.

    `yaw_deg` turns the face to the subject's left.

    Blender's convention: the column's middle fraction u in 0..1 looks along the azimuth
    (0.5 - u) * 360 degrees from +x towards +y, and the unturned face looks along -y.
    """
    height, width = world.shape[:2]
    share = _facing(height, width, -90.0 - rotation_deg + yaw_deg)
    return float(np.einsum("hw,hwc->c", share, world) @ _LUMINANCE)


@lru_cache(maxsize=16)
def _facing(height: int, width: int, facing_deg: float) -> NDArray[np.float64]:
    """(h, w) shares of a map's radiance in the irradiance of what faces level that way."""
    azimuth = (0.5 - (np.arange(width) + 0.5) / width) * 2 * np.pi
    altitude = (0.5 - (np.arange(height) + 0.5) / height) * np.pi
    turned = np.cos(azimuth - np.deg2rad(facing_deg))
    cosine = np.maximum(np.cos(altitude)[:, None] * turned[None, :], 0.0)
    return cosine * np.cos(altitude)[:, None] * (np.pi / height) * (2 * np.pi / width)


def read_hdr(path: Path) -> NDArray[np.float32]:
    """(h, w, 3) float32 linear RGB of a .hdr or .exr file, first row on top.

    Raises AssetError if it is missing, no such image, empty, or not finite.
    """
    if not path.is_file():
        raise AssetError(f"{path}: no such file; a .hdr or .exr world is expected")
    try:
        pixels = _read_exr(path) if path.suffix.lower() == ".exr" else _read_radiance(path)
    except Exception as error:
        # The decoders raise whatever they like on broken files.
        raise AssetError(f"{path}: not a readable HDR image ({type(error).__name__})") from None
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] < 3 or min(pixels.shape[:2]) < 2:
        raise AssetError(f"{path}: not a readable HDR image (.hdr or .exr with RGB is expected)")
    pixels = np.asarray(pixels[..., :3], np.float32)
    if not np.isfinite(pixels).all() or not pixels.any():
        raise AssetError(f"{path}: HDR image holds no light, or values that are not finite")
    return pixels


@lru_cache(maxsize=16)
def light_map(path: Path) -> NDArray[np.float32]:
    """The world of a file as it lights: `read_hdr`, averaged to at most `LIGHT_MAP_PX` in width."""
    world = read_hdr(path)
    height, width = world.shape[:2]
    if width <= LIGHT_MAP_PX:
        return world
    size = (LIGHT_MAP_PX, max(2, round(height * LIGHT_MAP_PX / width)))
    return cv2.resize(world, size, interpolation=cv2.INTER_AREA)


def check_hdr(path: Path) -> None:
    """Raises AssetError unless the file is a world that a picture can be exposed in."""
    world = read_hdr(path)
    mean = float((world.astype(np.float64) @ _LUMINANCE).mean())
    if not _DIMMEST <= mean <= _BRIGHTEST or world.max() > _BRIGHTEST:
        raise AssetError(
            f"{path}: mean luminance {mean:.3g} and maximum {world.max():.3g} cannot be exposed; "
            f"radiance of {_DIMMEST:g} to {_BRIGHTEST:g} is expected"
        )


def built_in_lights() -> list[Path]:
    """Files of the eight CC0 worlds that come with Blender, sorted by name.

    The module is located without importing it. Raises AssetError if it has none.
    """
    found = importlib.util.find_spec("bpy")
    if found is None or found.origin is None:
        raise AssetError("Blender's module bpy is not installed: pip install eyeglass-pipeline")
    files = sorted(Path(found.origin).parent.glob("*/datafiles/studiolights/world/*.exr"))
    if not files:
        raise AssetError("this build of bpy ships no HDR worlds; give some with --hdri DIR")
    return files


@lru_cache(maxsize=64)
def _small_map(path: Path) -> NDArray[np.float32]:
    return cv2.resize(read_hdr(path), _SMALL, interpolation=cv2.INTER_AREA)


def _read_radiance(path: Path) -> NDArray[np.float32] | None:
    if path.open("rb").read(2) != b"#?":
        return None
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return None if image is None else image[..., ::-1]


def _read_exr(path: Path) -> NDArray[np.float32] | None:
    import OpenEXR

    with OpenEXR.File(str(path)) as file:
        channels = file.parts[0].channels
        for name in ("RGB", "RGBA"):
            if name in channels:
                return np.array(channels[name].pixels, np.float32)
        if not {"R", "G", "B"} <= set(channels):
            return None
        return np.stack([np.array(channels[c].pixels, np.float32) for c in "RGB"], axis=2)
