"""Draws the light of a portrait: which kind, and where its lamps stand.

A recipe says in which shares the shadow of glasses is none, soft or hard. That is decided first,
spread more evenly than by chance; then the kind of light among those that can give it; then lamps
whose size and place do. What came of it is measured in the picture, see `pipeline.shadowkind`.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np

from pipeline.catalog.light import FACE_YAWS_DEG, Light, exposure_of, face_irradiance
from pipeline.catalog.sky import METERED_HEIGHT, SKY_NAME, SKY_SHA256, sky_map
from pipeline.distributions import pick_name
from pipeline.errors import RecipeError
from pipeline.lamps import coloured, set_up
from pipeline.recipe import Light as LightRecipe
from pipeline.spec import (
    LIGHT_KINDS,
    SHADOW_KINDS,
    CameraSpec,
    LightKind,
    LightSpec,
    ShadowKind,
)

#: Which shadows of glasses each kind of light can be made to give. HDR worlds are as they are.
CAN_GIVE: dict[LightKind, tuple[ShadowKind, ...]] = {
    "world": ("soft",),
    "sun": ("soft", "hard"),
    "overcast": ("soft",),
    "window": ("soft",),
    "studio": SHADOW_KINDS,
    "flash": SHADOW_KINDS,
    "lamp": ("soft", "hard"),
    "screen": ("soft",),
}
#: Kinds whose lamps are electric and may be coloured.
_COLOURED: tuple[LightKind, ...] = ("studio", "lamp", "screen")
#: How much darker a portrait in dim light comes out, stops.
_DIM_EV = (0.7, 1.7)
_GOLDEN = (math.sqrt(5) - 1) / 2


def check_lights(recipe: LightRecipe, where: str) -> None:
    """Raises RecipeError for a shadow that none of the recipe's kinds of light can give."""
    if not 0 < sum(recipe.kinds.values()) < 1e300:
        raise RecipeError(f"{where}: $.light.kinds: weights must add up to more than 0")
    if recipe.shadow is None:
        return
    shares = recipe.shadow.shares()
    if not 0 < sum(shares.values()) < 1e300:
        raise RecipeError(f"{where}: $.light.shadow: shares must add up to more than 0")
    for shadow, share in shares.items():
        able = [kind for kind in LIGHT_KINDS if shadow in CAN_GIVE[kind]]
        if share > 0 and not any(recipe.kinds.get(kind) for kind in able):
            raise RecipeError(
                f"{where}: $.light.shadow.{shadow}: no kind of light here gives that; "
                f"add one of {', '.join(able)} to $.light.kinds"
            )


def draw_light(
    recipe: LightRecipe,
    world: Light,
    rotation_deg: int,
    exposure_ev: float,
    camera: CameraSpec,
    place: float,
    rng: np.random.Generator,
) -> LightSpec:
    """The light of a portrait. `check_lights` must have passed.

    world, rotation_deg: the HDR world drawn, and how it is turned. exposure_ev: beside what brings
    the face to the middle tone. place: in 0..1, where the portrait falls in the walk through
    shadows, see `walk`.
    """
    kind, shadow = _draw_kind(recipe, place, rng)
    if kind not in ("sun", "overcast") and rng.random() < recipe.dim:
        exposure_ev -= float(rng.uniform(*_DIM_EV))
    setup = set_up(kind, shadow, camera, rng)
    if kind in _COLOURED and rng.random() < recipe.coloured:
        setup = replace(setup, lamps=tuple(coloured(lamp, rng) for lamp in setup.lamps))
    gain = 1.0
    if setup.ambient is not None:
        gain = setup.ambient / max(statistics.fmean(world.face_irradiances(rotation_deg)), 1e-6)
    light = LightSpec(
        kind=kind,
        shadow=shadow,
        hdri=SKY_NAME if setup.sky else world.name,
        sha256=SKY_SHA256 if setup.sky else world.sha256,
        rotation_deg=0 if setup.sky else rotation_deg,
        world_gain=round(gain, 6),
        sky=setup.sky,
        lamps=setup.lamps,
        exposure_ev=0.0,
    )
    exposure_ev += exposure_of(face_irradiances(light, world))
    # Rounded, so that a spec does not hang on the last bit of a sum over pixels.
    return light.model_copy(update={"exposure_ev": round(exposure_ev, 4)})


def walk(offset: float, portrait: int) -> float:
    """Where a portrait falls in 0..1: any portraits in a row lie evenly (golden section)."""
    return (offset + portrait * _GOLDEN) % 1.0


def face_irradiances(light: LightSpec, world: Light) -> list[float]:
    """Irradiance (luminance) of the face turned by `FACE_YAWS_DEG`, by world, sky and lamps."""
    if light.sky is None:
        around = list(world.face_irradiances(light.rotation_deg))
    else:
        sky = sky_map(light.sky, METERED_HEIGHT)
        around = [face_irradiance(sky, 0.0, yaw) for yaw in FACE_YAWS_DEG]
    found = [light.world_gain * irradiance for irradiance in around]
    for lamp in light.lamps:
        across = math.cos(math.radians(lamp.elevation_deg))
        for index, yaw in enumerate(FACE_YAWS_DEG):
            cosine = across * math.cos(math.radians(lamp.azimuth_deg - yaw))
            found[index] += lamp.strength * max(cosine, 0.0)
    return found


def _draw_kind(
    recipe: LightRecipe, place: float, rng: np.random.Generator
) -> tuple[LightKind, ShadowKind | None]:
    """The kind of light, and the shadow it is to give; None of a world that nobody asked of."""
    if recipe.shadow is None:
        kind = pick_name(recipe.kinds, rng.random())
        able = CAN_GIVE[kind]
        shadow = able[int(rng.integers(len(able)))]
        return kind, None if kind == "world" else shadow
    shadow = pick_name(recipe.shadow.shares(), place)
    able_kinds = {k: w for k, w in recipe.kinds.items() if shadow in CAN_GIVE[k]}
    return pick_name(able_kinds, rng.random()), shadow
