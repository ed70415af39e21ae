"""Lamps as photographers and rooms set them up, for each kind of light and shadow.

Angles are of a lamp as the face sees it, in the head's frame: azimuth to the subject's left, and
up. How soft its shadows are is how large it is seen; where they fall is where it stands. Glasses
hide their own shadow from the camera if a small light stands at the lens. Strengths count from 1
for the main lamp.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.camera import towards_camera
from pipeline.catalog.sky import RGB_FROM_XYZ, SUN_DEG, sunlight
from pipeline.geometry import RGB
from pipeline.pixels import REC709_LUMINANCE
from pipeline.spec import CameraSpec, LampSpec, LightKind, ShadowKind, SkySpec

#: The camera's white: so much of the way, in mireds, from daylight to the lamp's colour.
_BALANCED, _DAYLIGHT_K = 0.65, 5500.0


@dataclass(frozen=True)
class Setup:
    """Lamps, the sky, and what the HDR world adds where there is no sky.

    ambient: irradiance of the face by the world, mean of front and cheeks, on the lamps' scale;
    None leaves the world as it is.
    """

    lamps: tuple[LampSpec, ...] = ()
    sky: SkySpec | None = None
    ambient: float | None = None


def set_up(
    kind: LightKind, shadow: ShadowKind | None, camera: CameraSpec, rng: np.random.Generator
) -> Setup:
    """Lamps of a kind of light that give a kind of shadow, see `pipeline.lighting.CAN_GIVE`."""
    return _SETUPS[kind](shadow, camera, rng)


def balanced(kelvin: float) -> RGB:
    """Linear colour, of luminance 1, of a black body as a camera shows it that balances for it.

    The camera goes `_BALANCED` of the way from daylight to the lamp, as automatic balances do.
    """
    white = 1e6 / ((1 - _BALANCED) * 1e6 / _DAYLIGHT_K + _BALANCED * 1e6 / kelvin)
    lamp, seen = _black_body(kelvin), _black_body(white)
    return _of_luminance_one([a / b for a, b in zip(lamp, seen, strict=True)])


def coloured(lamp: LampSpec, rng: np.random.Generator) -> LampSpec:
    """The lamp with a gel or as a neon tube: any hue, more or less saturated."""
    hue, saturation = rng.uniform(0, 2 * math.pi), rng.uniform(0.35, 0.85)
    wheel = [0.5 + 0.5 * math.cos(hue + third * math.pi / 3) for third in (0, 2, 4)]
    color = _of_luminance_one([1 - saturation * (1 - value) for value in wheel])
    return lamp.model_copy(update={"color": color})


def _black_body(kelvin: float) -> list[float]:
    """Linear Rec. 709 of a black body, 1667 to 25000 K (Kim et al., US patent 7024034, 2006)."""
    t = 1e3 / kelvin
    if kelvin < 4000:
        x = -0.2661239 * t**3 - 0.2343589 * t**2 + 0.8776956 * t + 0.179910
    else:
        x = -3.0258469 * t**3 + 2.1070379 * t**2 + 0.2226347 * t + 0.240390
    if kelvin < 2222:
        y = -1.1063814 * x**3 - 1.34811020 * x**2 + 2.18555832 * x - 0.20219683
    elif kelvin < 4000:
        y = -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
    else:
        y = 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483
    big_x, big_z = x / y, (1 - x - y) / y
    return [max(r * big_x + g + b * big_z, 1e-3) for r, g, b in RGB_FROM_XYZ]


def _of_luminance_one(color: Sequence[float]) -> RGB:
    # Rounded, so that a spec does not hang on the last bit of a power.
    luminance = sum(c * weight for c, weight in zip(color, REC709_LUMINANCE, strict=True))
    red, green, blue = (round(value / luminance, 4) for value in color)
    return red, green, blue


def _lamp(
    role: str,
    place: tuple[float, float, float],
    size_deg: tuple[float, float],
    color: RGB,
    strength: float = 1.0,
) -> LampSpec:
    """place: azimuth, elevation (degrees) and distance (mm)."""
    azimuth, elevation, distance = place
    return LampSpec(
        role=role,
        azimuth_deg=round((azimuth + 180) % 360 - 180, 3),
        elevation_deg=round(min(max(elevation, -90.0), 90.0), 3),
        distance_mm=round(distance, 1),
        width_deg=round(size_deg[0], 3),
        height_deg=round(size_deg[1], 3),
        color=color,
        strength=round(strength, 4),
    )


def _either_side(rng: np.random.Generator, low: float, high: float) -> float:
    """An angle between low and high, to the left or to the right."""
    return float(rng.uniform(low, high)) * (1.0 if rng.integers(2) else -1.0)


def _world(shadow: ShadowKind | None, camera: CameraSpec, rng: np.random.Generator) -> Setup:
    return Setup()


def _sun(shadow: ShadowKind | None, camera: CameraSpec, rng: np.random.Generator) -> Setup:
    """Hard: a clear sky before the subject. Soft: a veiled sun, or the sun behind the subject."""
    width, veil, turbidity = SUN_DEG, 1.0, rng.uniform(2.0, 4.5)
    azimuth, elevation = _either_side(rng, 8, 70), rng.uniform(12, 58)
    if shadow == "soft":
        if rng.random() < 0.4:
            azimuth, elevation = _either_side(rng, 115, 175), rng.uniform(10, 60)
        else:
            width, veil = rng.uniform(8, 22), rng.uniform(0.25, 0.6)
            turbidity = rng.uniform(5, 8)
    sky = SkySpec(
        turbidity=round(turbidity, 2),
        sun_azimuth_deg=round(azimuth, 3),
        sun_elevation_deg=round(elevation, 3),
    )
    irradiance, color = sunlight(sky)
    sun = LampSpec(
        role="sun",
        azimuth_deg=sky.sun_azimuth_deg,
        elevation_deg=sky.sun_elevation_deg,
        distance_mm=None,
        width_deg=round(width, 3),
        height_deg=round(width, 3),
        color=_of_luminance_one(color),
        strength=round(irradiance * veil, 4),
    )
    return Setup((sun,), sky)


def _overcast(shadow: ShadowKind | None, camera: CameraSpec, rng: np.random.Generator) -> Setup:
    return Setup(sky=SkySpec(turbidity=None))


def _window(shadow: ShadowKind | None, camera: CameraSpec, rng: np.random.Generator) -> Setup:
    """A window to one side; the room gives some of its light back."""
    color = balanced(rng.uniform(5000, 7500))
    place = _either_side(rng, 20, 80), rng.uniform(0, 28), rng.uniform(900, 2400)
    size = rng.uniform(22, 55), rng.uniform(30, 60)
    return Setup((_lamp("window", place, size, color),), ambient=rng.uniform(0.1, 0.45))


def _studio(shadow: ShadowKind | None, camera: CameraSpec, rng: np.random.Generator) -> Setup:
    """Key, fill and rim. The key's size decides; without a shadow it is a ring about the lens."""
    color = balanced(rng.uniform(4800, 6200))
    distance = rng.uniform(1000, 2200)
    fill = rng.uniform(0.12, 0.5)
    if shadow == "none":
        key = _before_camera(camera, rng.uniform(0, 1.2), camera.distance_mm, rng)
        size = rng.uniform(1.5, 3.5)
        return Setup((_lamp("key", key, (size, size), color),), ambient=rng.uniform(0.02, 0.1))
    if shadow == "hard":
        key = _either_side(rng, 15, 60), rng.uniform(12, 50), distance
        size, fill = rng.uniform(1.0, 2.5), rng.uniform(0.05, 0.25)
    else:
        key = _either_side(rng, 15, 65), rng.uniform(10, 50), distance
        size = rng.uniform(14, 45)
    side = -1.0 if key[0] > 0 else 1.0
    lamps = [
        _lamp("key", key, (size, size * rng.uniform(0.8, 1.4)), color),
        _lamp(
            "fill",
            (side * rng.uniform(20, 60), rng.uniform(-5, 20), distance),
            (rng.uniform(35, 60),) * 2,
            color,
            fill,
        ),
    ]
    if rng.random() < 0.6:
        rim = side * rng.uniform(125, 160), rng.uniform(10, 50), distance
        lamps.append(_lamp("rim", rim, (8.0, 20.0), color, rng.uniform(0.4, 1.6)))
    return Setup(tuple(lamps), ambient=rng.uniform(0.03, 0.15))


def _flash(shadow: ShadowKind | None, camera: CameraSpec, rng: np.random.Generator) -> Setup:
    """At the lens, beside it on a bracket, or thrown at the ceiling; the room is dimmer."""
    color = balanced(rng.uniform(5400, 6200))
    ambient = rng.uniform(0.03, 0.15) if shadow == "none" else rng.uniform(0.05, 0.25)
    distance = camera.distance_mm
    if shadow == "soft":
        place = _either_side(rng, 0, 50), rng.uniform(42, 65), rng.uniform(900, 1600)
        size = rng.uniform(35, 55)
        return Setup((_lamp("flash", place, (size, size), color),), ambient=ambient)
    aside = rng.uniform(0.3, 1.6) if shadow == "none" else rng.uniform(14, 30)
    place = _before_camera(camera, aside, distance, rng)
    size = rng.uniform(1.0, 2.2)
    return Setup((_lamp("flash", place, (size, size * 0.7), color),), ambient=ambient)


def _lit_lamp(shadow: ShadowKind | None, camera: CameraSpec, rng: np.random.Generator) -> Setup:
    """A bulb or a spotlight in the room, or a lampshade, warm or cool."""
    color = balanced(rng.uniform(2400, 4500))
    distance = rng.uniform(600, 2200)
    if shadow == "hard":
        place = _either_side(rng, 12, 65), rng.uniform(15, 55), distance
        size = rng.uniform(1.0, 3.0)
    else:
        place = _either_side(rng, 0, 75), rng.uniform(10, 65), distance
        size = rng.uniform(14, 40)
    return Setup((_lamp("lamp", place, (size, size), color),), ambient=rng.uniform(0.05, 0.3))


def _screen(shadow: ShadowKind | None, camera: CameraSpec, rng: np.random.Generator) -> Setup:
    """A monitor or a phone below the camera."""
    color = balanced(rng.uniform(5500, 9000))
    place = _either_side(rng, 0, 45), rng.uniform(-38, -12), rng.uniform(350, 650)
    size = rng.uniform(14, 36), rng.uniform(10, 26)
    return Setup((_lamp("screen", place, size, color),), ambient=rng.uniform(0.1, 0.5))


_SETUPS: dict[LightKind, Callable[[ShadowKind | None, CameraSpec, np.random.Generator], Setup]] = {
    "world": _world,
    "sun": _sun,
    "overcast": _overcast,
    "window": _window,
    "studio": _studio,
    "flash": _flash,
    "lamp": _lit_lamp,
    "screen": _screen,
}


def _before_camera(
    camera: CameraSpec, aside_deg: float, distance_mm: float, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Place of a lamp so far from the camera's axis as the face sees it, mostly above the lens."""
    x, y, z = towards_camera(camera).tolist()
    around = math.radians(rng.uniform(-100, 100))
    return (
        math.degrees(math.atan2(x, z)) + aside_deg * math.sin(around),
        math.degrees(math.atan2(y, math.hypot(x, z))) + aside_deg * math.cos(around),
        distance_mm,
    )
