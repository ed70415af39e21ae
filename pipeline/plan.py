"""Draws specs: the only place with a random generator.

Sample i of seed s draws each concern from its own stream, seeded by a part of its own of a hash of
(s, i). So a sample is the same at any count and on any worker, and a new parameter of the light
moves no camera. What portraits in a row share, such as where a seed's walk through people begins,
comes from the hash of s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.backdrop import check_backgrounds, draw_background
from pipeline.camera import gaze_at
from pipeline.catalog.catalog import Catalog, Persons
from pipeline.crowd import check_people, choose_person
from pipeline.design import Cell, Design, check_design, design_of
from pipeline.distributions import Choice, draw_number, pick_name
from pipeline.errors import RecipeError, nearest
from pipeline.geometry import FloatArray
from pipeline.lighting import check_lights, draw_light
from pipeline.lighting import walk as walk_place
from pipeline.recipe import Camera, Gaze, Recipe, WearBy
from pipeline.sensor import draw_sensor
from pipeline.spec import (
    WEAR_MODES,
    BackgroundSpec,
    CameraSpec,
    GlassesSpec,
    LightSpec,
    RenderSpec,
    SampleSpec,
    WearSpec,
)

#: Attempts after which a sample is given up: a spec carries 0 to MAX_ATTEMPTS - 1.
MAX_ATTEMPTS = 20
#: Height of a head, chin to crown, to which `fill` refers (adult mean; ANSUR II 2012: 222-234).
HEAD_HEIGHT_MM = 230.0


class Stream(IntEnum):
    """One number per concern. Numbers are data: they never change and are never used again."""

    SUBJECT = 1
    EXPRESSION = 2
    GLASSES = 3
    NOSE = 4
    CAMERA = 5
    LIGHT = 6
    NOISE = 7
    WEAR = 10
    WEAR_BY = 11
    CROWD = 12
    GAZE = 13
    LIGHT_KIND = 20
    LIGHT_WALK = 21
    BACKGROUND = 22
    SENSOR = 23
    FOCUS = 24
    DESIGN = 25


class _Words(np.random.bit_generator.ISeedSequence):
    """Seeds a generator by 256 bits, in an eighth of the time that numpy's own sequence takes."""

    def __init__(self, words: NDArray[np.uint64]) -> None:
        self._words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> NDArray[np.uint64]:
        assert (n_words, dtype) == (len(self._words), np.uint64)
        return self._words


@lru_cache(maxsize=16)
def _hashed(text: str) -> NDArray[np.uint64]:
    """(streams, 4): SHAKE128 of a text, 256 bits for each stream by its number."""
    digest = hashlib.shake_128(text.encode()).digest(32 * (max(Stream) + 1))
    return np.frombuffer(digest, "<u8").reshape(-1, 4)


def _generator(which: Stream, *numbers: int) -> np.random.Generator:
    # numpy takes any ISeedSequence; its annotations name one of its own only.
    seeds: Any = _Words(_hashed(" ".join(map(str, numbers)))[which])
    return np.random.Generator(np.random.PCG64(seeds))


def draw(recipe: Recipe, catalog: Catalog, seed: int, index: int, attempt: int = 0) -> SampleSpec:
    """The spec of sample `index` (>= 0) of `seed` (>= 0).

    Attempts differ in glasses, nose and in by how much the way of wearing departs from 'worn':
    attempt a is the (a+1)-th draw of those streams. The way itself stays, so that one that is
    rejected more often is not delivered less often. Where headwear or a mask leaves no room for
    it, glasses are worn as they should be. Of a design, attempts differ in sizes and finish of the
    same glasses only.
    Samples of a portrait share its number, and with it every other stream. The recipe must have
    passed `check_names` with the same catalogue.
    """
    portrait = index // recipe.pairs_per_portrait

    def stream(which: Stream, number: int = portrait) -> np.random.Generator:
        return _generator(which, seed, number)

    cell = design(recipe, catalog, seed).cell(index) if recipe.design else None
    subject = (
        cell.person
        if cell
        else _draw_subject(recipe, catalog, seed, portrait, stream(Stream.SUBJECT))
    )
    glasses_rng, nose_rng = stream(Stream.GLASSES, index), stream(Stream.NOSE, index)
    mode = _draw_name(recipe.wear, WEAR_MODES, stream(Stream.WEAR, index))
    if mode != "worn" and mode in catalog.heads.unwearable(subject):
        mode = "worn"
    wear_rng = stream(Stream.WEAR_BY, index)
    for _ in range(attempt + 1):
        glasses = _draw_glasses(recipe, catalog, glasses_rng, cell)
        nose = cell.nose if cell else draw_number(recipe.nose, nose_rng)
        wear = draw_wear(recipe.wear_by, mode, wear_rng)
    expression = (
        cell.expression
        if cell
        else _draw_name(recipe.expressions, catalog.heads.expressions(), stream(Stream.EXPRESSION))
    )
    camera = _draw_camera(recipe.camera, stream(Stream.CAMERA), stream(Stream.FOCUS))
    place = walk_place(_light_offset(seed), portrait)
    light = _draw_light(
        recipe, catalog, camera, place, stream(Stream.LIGHT), stream(Stream.LIGHT_KIND)
    )
    return SampleSpec(
        seed=seed,
        index=index,
        attempt=attempt,
        head=catalog.heads.spec(
            subject,
            expression,
            _draw_gaze(recipe.gaze, camera, stream(Stream.GAZE)),
        ),
        glasses=glasses,
        nose=nose,
        wear=wear,
        camera=camera,
        light=light,
        background=_draw_background(recipe, catalog, light, stream(Stream.BACKGROUND)),
        sensor=draw_sensor(recipe.sensor, stream(Stream.SENSOR)),
        render=RenderSpec(
            size=recipe.render.size,
            spp=recipe.render.spp,
            denoise=recipe.render.denoise,
            seed=int(stream(Stream.NOISE).integers(2**31)),
            layers=tuple(recipe.render.layers),
            caustics=recipe.render.caustics,
        ),
    )


def design(recipe: Recipe, catalog: Catalog, seed: int) -> Design:
    """The plan of a recipe with `design`, in the order of this seed."""
    return design_of(recipe, catalog, _generator(Stream.DESIGN, seed))


def check_names(recipe: Recipe, catalog: Catalog, where: str) -> None:
    """Raises RecipeError, with the path, for a name, people or light that cannot be had, or a
    design that is none."""
    check_design(recipe, where)
    _check_people(recipe, catalog, where)
    check_lights(recipe.light, where)
    check_backgrounds(recipe.background, len(catalog.photos), where)
    for path, choice, known in (
        ("expressions", recipe.expressions, catalog.heads.expressions()),
        ("glasses", recipe.glasses, tuple(catalog.glasses)),
        ("wear", recipe.wear, WEAR_MODES),
        ("light.hdri", recipe.light.hdri, tuple(catalog.lights)),
        ("background.photos", recipe.background.photos, tuple(catalog.photos)),
    ):
        for name in [choice] if isinstance(choice, str) else choice:
            if name not in known and choice != "all":
                raise RecipeError(
                    f"{where}: $.{path}: unknown name '{name}'; {nearest(name, known)}"
                )
        if isinstance(choice, dict) and not 0 < sum(choice.values()) < 1e300:
            raise RecipeError(
                f"{where}: $.{path}: weights must add up to more than 0 and be finite"
            )
        if isinstance(choice, list) and not choice:
            raise RecipeError(f"{where}: $.{path}: at least one name is needed")


def _check_people(recipe: Recipe, catalog: Catalog, where: str) -> None:
    if isinstance(catalog.heads, Persons):
        check_people(recipe.people, where)
        return
    for trait in ("age", "tone", "sex"):
        if getattr(recipe.people, trait) is not None:
            raise RecipeError(
                f"{where}: $.people.{trait}: heads of a folder have no known {trait}; leave it out"
            )


def _draw_subject(
    recipe: Recipe, catalog: Catalog, seed: int, portrait: int, rng: np.random.Generator
) -> int:
    people = recipe.people
    if not isinstance(catalog.heads, Persons):
        return people.first + int(rng.integers(people.count))
    return choose_person(people, _crowd_offset(seed), portrait, rng)


@lru_cache(maxsize=8)
def _crowd_offset(seed: int) -> FloatArray:
    return _generator(Stream.CROWD, seed).random(3)


@lru_cache(maxsize=8)
def _light_offset(seed: int) -> float:
    return _generator(Stream.LIGHT_WALK, seed).random()


def _draw_gaze(gaze: Gaze, camera: CameraSpec, rng: np.random.Generator) -> tuple[float, float]:
    """Yaw and pitch, degrees; rounded, so that a spec does not hang on a sine's last bit."""
    if rng.random() < gaze.at_camera:
        yaw, pitch = gaze_at(camera)
    else:
        yaw, pitch = draw_number(gaze.yaw_deg, rng), draw_number(gaze.pitch_deg, rng)
    return round(yaw, 4), round(pitch, 4)


def _draw_name(choice: Choice, known: Sequence[str], rng: np.random.Generator) -> str:
    if isinstance(choice, dict):
        return pick_name(choice, rng.random())
    names = choice if isinstance(choice, list) else known if choice == "all" else [choice]
    return names[int(rng.integers(len(names)))]


def _draw_glasses(
    recipe: Recipe, catalog: Catalog, rng: np.random.Generator, cell: Cell | None
) -> GlassesSpec:
    drawn = _draw_name(recipe.glasses, list(catalog.glasses), rng)
    entry = catalog.glasses[cell.glasses if cell else drawn]
    return GlassesSpec(name=entry.name, sha256=entry.sha256, choice=dict(entry.draw(rng)))


def draw_wear(by: WearBy, mode: str, rng: np.random.Generator) -> WearSpec:
    """How far glasses are from being worn as they should be, for a mode of `WEAR_MODES`."""
    drawn: dict[str, Any] = {}
    if mode == "slipped":
        drawn = {"slip_mm": draw_number(by.slip_mm, rng)}
    elif mode == "askew":
        for turn in ("roll_deg", "yaw_deg"):
            sign = 1.0 if rng.integers(2) else -1.0
            drawn[turn] = sign * draw_number(getattr(by, turn), rng)
    elif mode == "pushed_up":
        drawn = {"lift_mm": draw_number(by.lift_mm, rng)}
    elif mode != "worn":
        drawn = {"scale": draw_number(getattr(by, mode), rng)}
    return WearSpec.model_validate({"mode": mode, **drawn})


def _draw_camera(
    camera: Camera, rng: np.random.Generator, focus_rng: np.random.Generator
) -> CameraSpec:
    focal_mm, fill = draw_number(camera.focal_mm, rng), draw_number(camera.fill, rng)
    focused = focus_rng.random() < camera.focused
    return CameraSpec(
        focal_mm=focal_mm,
        distance_mm=max(focal_mm / 36.0 * HEAD_HEIGHT_MM / fill, camera.nearest_mm),
        yaw_deg=draw_number(camera.yaw_deg, rng),
        pitch_deg=draw_number(camera.pitch_deg, rng),
        roll_deg=draw_number(camera.roll_deg, rng),
        shift_x=draw_number(camera.shift_x, rng),
        shift_y=draw_number(camera.shift_y, rng),
        f_number=draw_number(camera.f_number, focus_rng) if focused else None,
        align=camera.align,
    )


def _draw_light(
    recipe: Recipe, catalog: Catalog, camera: CameraSpec, place: float,
    rng: np.random.Generator, kind_rng: np.random.Generator,
) -> LightSpec:  # fmt: skip
    """rng: of the HDR world and the exposure. place, kind_rng: of the kind of light."""
    world = catalog.lights[_draw_name(recipe.light.hdri, list(catalog.lights), rng)]
    rotation_deg = int(draw_number(recipe.light.rotation_deg, rng)) % 360
    exposure_ev = draw_number(recipe.light.exposure_ev, rng)
    return draw_light(recipe.light, world, rotation_deg, exposure_ev, camera, place, kind_rng)


def _draw_background(
    recipe: Recipe, catalog: Catalog, light: LightSpec, rng: np.random.Generator
) -> BackgroundSpec:
    photo = None
    if catalog.photos:
        names = list(catalog.photos)
        photo = catalog.photos[_draw_name(recipe.background.photos, names, rng)]
    return draw_background(recipe.background, photo, light, rng)
