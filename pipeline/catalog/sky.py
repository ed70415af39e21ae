"""Skies as images: clear ones by Preetham, Shirley and Smits, overcast ones by the CIE.

A. J. Preetham, P. Shirley and B. Smits, "A Practical Analytic Model for Daylight", SIGGRAPH 1999:
luminance and chromaticity of a clear sky over turbidity and sun (their appendix A.2), and what the
air leaves of the sun (A.1). Overcast: P. Moon and D. Spencer 1942, CIE standard sky 16. Radiance
is in kcd/m2 of luminance, irradiance in klx, so that sky and sun are on one scale.

The model is an array of ours, because Blender's sky node has other models in 4.5 and in 5.2.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import RGB, FloatArray
from pipeline.pixels import REC709_LUMINANCE, Float32
from pipeline.spec import SkySpec

#: What a spec with a sky names in place of an HDR file.
SKY_NAME = "procedural-sky"
#: Changes whenever the same `SkySpec` gives another sky.
_REVISION = 1
SKY_SHA256 = hashlib.sha256(f"{SKY_NAME} {_REVISION}".encode()).hexdigest()
#: The sun's width.
SUN_DEG = 0.53

#: Rows of the map that lights, and of one that is fine enough to meter by.
_HEIGHT, METERED_HEIGHT = 256, 32
#: Reflectance of the ground: grass and pavement, a little warm.
_GROUND = np.array([0.21, 0.19, 0.16])
#: What stands at the horizon: trees and hills, hazy with distance.
_HILLS = np.array([0.13, 0.15, 0.16])
#: Luminance of an overcast sky straight up (kcd/m2), and its slightly blue colour.
_OVERCAST_ZENITH, _OVERCAST_COLOR = 6.0, np.array([0.96, 1.0, 1.06])
#: Illuminance of the sun outside the atmosphere (klx), and its colour there.
_SOLAR_KLX, _SOLAR_COLOR = 133.8, np.array([1.08, 0.99, 0.92])
#: Wavelengths that stand for red, green and blue (micrometres).
_WAVELENGTHS_UM = np.array([0.61, 0.55, 0.465])
#: Linear Rec. 709 of CIE XYZ (IEC 61966-2-1).
RGB_FROM_XYZ = (
    (3.2404542, -1.5371385, -0.4985314), (-0.9692660, 1.8760108, 0.0415560),
    (0.0556434, -0.2040259, 1.0572252),
)  # fmt: skip
#: Preetham's coefficients A to E, each a turbidity + b, of luminance Y and chromaticity x and y.
_PEREZ = np.array(
    [
        [(0.1787, -1.4630), (-0.3554, 0.4275), (-0.0227, 5.3251), (0.1206, -2.5771),
         (-0.0670, 0.3703)],
        [(-0.0193, -0.2592), (-0.0665, 0.0008), (-0.0004, 0.2125), (-0.0641, -0.8989),
         (-0.0033, 0.0452)],
        [(-0.0167, -0.2608), (-0.0950, 0.0092), (-0.0079, 0.2102), (-0.0441, -1.6537),
         (-0.0109, 0.0529)],
    ]
)  # fmt: skip
#: Chromaticity of the zenith: (T2, T, 1) times these times (angle3, angle2, angle, 1).
_ZENITH_X = np.array(
    [[0.00166, -0.00375, 0.00209, 0.0], [-0.02903, 0.06377, -0.03202, 0.00394],
     [0.11693, -0.21196, 0.06052, 0.25886]]
)  # fmt: skip
_ZENITH_Y = np.array(
    [[0.00275, -0.00610, 0.00317, 0.0], [-0.04214, 0.08970, -0.04153, 0.00516],
     [0.15346, -0.26756, 0.06670, 0.26688]]
)  # fmt: skip


@lru_cache(maxsize=4)
def sky_map(sky: SkySpec, height: int = _HEIGHT) -> Float32:
    """(height, 2 height, 3) linear Rec. 709 radiance, equirectangular as `pipeline.catalog.light`.

    height: even. The sun's disc is not in it. Below the horizon is ground, and hills on it, lit by
    sky and sun.
    """
    up, ways = _directions(height)
    if sky.turbidity is None:
        dome = (_OVERCAST_ZENITH * (1 + 2 * up) / 3)[..., None] * _OVERCAST_COLOR
        falling = np.zeros(3)
    else:
        sun = direction(sky.sun_azimuth_deg, sky.sun_elevation_deg)
        dome = _clear(up, np.clip(ways @ sun, -1, 1), sky)
        irradiance, color = sunlight(sky)
        falling = irradiance * np.array(color) * np.sin(np.deg2rad(sky.sun_elevation_deg))
    solid_angle = np.sqrt(1 - up**2) * (np.pi / height) ** 2
    falling = falling + np.einsum("hw,hwc->c", up * solid_angle, dome)
    ground, hills = _GROUND * falling / np.pi, _HILLS * falling / np.pi
    image = np.empty((height, 2 * height, 3), np.float32)
    image[: height // 2] = np.where((up < _skyline(2 * height))[..., None], hills, dome)
    image[height // 2 :] = ground
    return image


@lru_cache(maxsize=2)
def _skyline(width: int) -> FloatArray:
    """Sine of the elevation of what stands at the horizon (w,): 1 to 9 degrees, hills or trees."""
    turn = (np.arange(width) + 0.5) / width * 2 * np.pi
    waves = ((3, 2.0, 0.3), (7, 1.1, 1.9), (17, 0.6, 4.0), (41, 0.3, 2.2))
    elevation = 5.0 + sum(high * np.sin(count * turn + shift) for count, high, shift in waves)
    return np.asarray(np.sin(np.deg2rad(elevation)))


def sunlight(sky: SkySpec) -> tuple[float, RGB]:
    """Irradiance of a surface that faces the sun (klx), and the light's colour, of luminance 1.

    Rayleigh scattering and aerosols of a clear sky; the air is as thick as Kasten and Young 1989
    say. 0 under an overcast sky.
    """
    if sky.turbidity is None:
        return 0.0, (1.0, 1.0, 1.0)
    elevation = sky.sun_elevation_deg
    air = 1.0 / (np.sin(np.deg2rad(elevation)) + 0.50572 * (elevation + 6.07995) ** -1.6364)
    haze = 0.04608 * sky.turbidity - 0.04586
    depth = 0.008735 * _WAVELENGTHS_UM**-4.08 + haze * _WAVELENGTHS_UM**-1.3
    light = _SOLAR_COLOR * np.exp(-depth * air)
    luminance = float(light @ np.array(REC709_LUMINANCE))
    red, green, blue = (light / luminance).tolist()
    return _SOLAR_KLX * luminance, (red, green, blue)


def direction(azimuth_deg: float, elevation_deg: float) -> FloatArray:
    """(3,) unit vector in the head's frame: azimuth to the subject's left from straight ahead."""
    azimuth, elevation = np.deg2rad([azimuth_deg, elevation_deg])
    across = np.cos(elevation)
    return np.array([np.sin(azimuth) * across, np.sin(elevation), np.cos(azimuth) * across])


@lru_cache(maxsize=2)
def _directions(height: int) -> tuple[NDArray[np.float64], FloatArray]:
    """Of a map's upper half: the sine of the elevation, (h / 2, w), and the direction in the
    head's frame, (h / 2, w, 3)."""
    # Blender's azimuth, from +x towards +y, is that of the head's frame less 90 degrees.
    width = 2 * height
    azimuth = (0.5 - (np.arange(width) + 0.5) / width) * 2 * np.pi + np.pi / 2
    elevation = (0.5 - (np.arange(height // 2) + 0.5) / height) * np.pi
    across, up = np.cos(elevation)[:, None], np.sin(elevation)[:, None]
    ways = np.stack(
        np.broadcast_arrays(np.sin(azimuth) * across, up, np.cos(azimuth) * across), axis=-1
    )
    return ways[..., 1], ways


def _clear(up: FloatArray, to_sun: FloatArray, sky: SkySpec) -> FloatArray:
    """Radiance (h, w, 3); up: cosine to the zenith, to_sun: cosine to the sun."""
    turbidity = sky.turbidity or 0.0
    zenith_angle = np.pi / 2 - np.deg2rad(sky.sun_elevation_deg)
    chi = (4 / 9 - turbidity / 120) * (np.pi - 2 * zenith_angle)
    powers = np.array([zenith_angle**3, zenith_angle**2, zenith_angle, 1.0])
    turbid = np.array([turbidity**2, turbidity, 1.0])
    zenith = (
        (4.0453 * turbidity - 4.9710) * np.tan(chi) - 0.2155 * turbidity + 2.4192,
        turbid @ _ZENITH_X @ powers,
        turbid @ _ZENITH_Y @ powers,
    )
    angle = np.arccos(to_sun)
    found = []
    for value, coefficients in zip(zenith, _PEREZ, strict=True):
        a, b, c, d, e = coefficients @ np.array([turbidity, 1.0])
        here = (1 + a * np.exp(b / up[:, :1])) * (1 + c * np.exp(d * angle) + e * to_sun**2)
        there = (1 + a * np.exp(b)) * (
            1 + c * np.exp(d * zenith_angle) + e * np.cos(zenith_angle) ** 2
        )
        found.append(value * here / there)
    luminance, x, y = found
    xyz = np.stack([x / y, np.ones_like(x), (1 - x - y) / y], axis=-1) * luminance[..., None]
    return np.maximum(xyz @ np.array(RGB_FROM_XYZ).T, 0.0)
