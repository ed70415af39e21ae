"""Scenes: what may vary in a dataset, as YAML.

A recipe holds distributions and settings; `pipeline.plan` draws specs from it. Every error names
the file and the path in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from pipeline.catalog.data import data_path
from pipeline.distributions import Choice, Distribution, Normal, Share, bounds
from pipeline.errors import RecipeError
from pipeline.limits import WearLimits
from pipeline.model import Finite, Frozen, NonNegative, first_fault
from pipeline.spec import (
    GAZE_PITCH_DEG,
    GAZE_YAW_DEG,
    Align,
    BackgroundKind,
    ExtraKey,
    Kernel,
    LightKind,
    ShadowKind,
    once,
)
from pipeline.yamlfile import parse_yaml, read_yaml

AgeGroup = Literal["child", "teen", "young", "middle", "senior"]
ToneStep = Literal["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]
Sex = Literal["female", "male"]


class People(Frozen):
    """Which built-in persons appear: some of those numbered `first` to `first + count - 1`.

    age, tone, sex: weights of groups of them, see `pipeline.catalog.person`; a group that is not
    named does not appear. Where a trait is not given, its groups appear as among these persons.
    """

    first: Annotated[int, Field(ge=0, le=10**9)] = 0
    count: Annotated[int, Field(ge=1, le=10**9)] = 10_000
    age: dict[AgeGroup, NonNegative] | None = None
    tone: dict[ToneStep, NonNegative] | None = None
    sex: dict[Sex, NonNegative] | None = None

    @field_validator("tone", mode="before")
    @classmethod
    def _numbers_are_names(cls, value: Any) -> Any:
        return {str(key): v for key, v in value.items()} if isinstance(value, dict) else value

    @field_validator("age", "tone", "sex")
    @classmethod
    def _weigh_something(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        if value is not None and not 0 < sum(value.values()) < 1e300:
            raise ValueError("weights must add up to more than 0 and be finite")
        return value

    @model_validator(mode="after")
    def _numbers_have_nine_digits(self) -> People:
        if self.first + self.count > 10**9:
            raise ValueError("first + count must not exceed 1000000000")
        return self


class WearBy(Frozen):
    """By how much the ways of wearing depart from 'worn'; see `pipeline.spec.WearSpec`.

    slip_mm, lift_mm: of slipped and pushed_up. roll_deg, yaw_deg: sizes of askew's turns, each
    either way. undersized, oversized: their scales.
    """

    slip_mm: Distribution = [9.0, 15.0]
    roll_deg: Distribution = [1.5, 4.0]
    yaw_deg: Distribution = [0.0, 3.0]
    lift_mm: Distribution = [34.0, 52.0]
    undersized: Distribution = [0.85, 0.93]
    oversized: Distribution = [1.08, 1.18]


class Camera(Frozen):
    """Distributions of the camera; see `pipeline.spec.CameraSpec` for frames and signs.

    fill: height of the head (chin to crown, 230 mm) as a share of the picture's height; the
    distance follows from it and the focal length, but is `nearest_mm` at least, so that a wide lens
    shows more around the head and no distorted face. f_number: of the share `focused` of portraits
    that a thin lens takes; the others are by a pinhole. With `align` the picture's crop is that of
    a dataset, and focal length, fill and `nearest_mm` say only from how far away it is seen.
    """

    focal_mm: Distribution = [50.0, 85.0]
    fill: Distribution = [0.6, 0.75]
    yaw_deg: Distribution = 0.0
    pitch_deg: Distribution = 0.0
    roll_deg: Distribution = 0.0
    shift_x: Distribution = 0.0
    shift_y: Distribution = 0.0
    nearest_mm: NonNegative = 0.0
    focused: Annotated[Finite, Field(ge=0, le=1)] = 0.0
    f_number: Distribution = [1.8, 8.0]
    align: Align = "none"


class Gaze(Frozen):
    """Where the eyes look: a share of portraits at the camera, the others by distributions.

    yaw_deg, pitch_deg: in the head's frame, towards the subject's left and up.
    """

    at_camera: Annotated[Finite, Field(ge=0, le=1)] = 0.0
    yaw_deg: Distribution = 0.0
    pitch_deg: Distribution = 0.0


class Shadows(Frozen):
    """Shares of portraits in which the glasses throw no visible shadow, a soft one, a hard one."""

    none: NonNegative = 0.0
    soft: NonNegative = 0.0
    hard: NonNegative = 0.0

    def shares(self) -> dict[ShadowKind, float]:
        return {"none": self.none, "soft": self.soft, "hard": self.hard}


class Light(Frozen):
    """Distributions of the light.

    kinds: weights, see `pipeline.lamps`. shadow: shares of what shadow the glasses are to throw,
    which then decide first; kinds weigh among those that can give it. hdri: worlds of the kind
    'world', and what else lights a room around its lamps. exposure_ev: brighter or darker, in
    stops, than the exposure at which a face of middle reflectance comes out in a middle tone.
    coloured: share of portraits by electric lamps whose lamps are coloured. dim: share of portraits
    in rooms that come out darker by 0.7 to 1.7 stops.
    """

    kinds: dict[LightKind, NonNegative] = {"world": 1.0}
    shadow: Shadows | None = None
    hdri: Choice = "all"
    rotation_deg: Distribution = [0.0, 360.0]
    exposure_ev: Distribution = [-0.5, 0.5]
    coloured: Share = 0.0
    dim: Share = 0.0


class Background(Frozen):
    """What stands behind the subject.

    kinds: weights, see `pipeline.spec.BackgroundSpec`. blur: radius of the disc that a point of a
    painted place or of a photo is spread over, as a share of the picture's width; 0.012 at least
    for places. photos: names in the folder of the user's.
    """

    kinds: dict[BackgroundKind, NonNegative] = {"world": 1.0}
    blur: Distribution = [0.012, 0.06]
    photos: Choice = "all"


class Sensor(Frozen):
    """Distributions of what a camera does to a picture; see `pipeline.spec.SensorSpec`.

    white_balance: error of the gains of red and of blue, in stops. kernels: weights. jpeg: share of
    pictures that are compressed, at `jpeg_quality`, a whole number.
    """

    vignette: Distribution = [0.0, 0.3]
    fringe: Distribution = Normal(mean=0, std=0.0006, low=-0.0015, high=0.0015)
    shot_noise: Distribution = [0.002, 0.03]
    read_noise: Distribution = [0.0005, 0.008]
    white_balance: Distribution = Normal(mean=0, std=0.1, low=-0.3, high=0.3)
    contrast: Distribution = Normal(mean=0.1, std=0.15, low=-0.2, high=0.5)
    sharpen: Distribution = [0.0, 0.8]
    resize: Distribution = [0.5, 1.0]
    kernels: dict[Kernel, NonNegative] = {"area": 1.0, "linear": 1.0, "cubic": 1.0, "lanczos": 1.0}
    jpeg: Share = 0.8
    jpeg_quality: Distribution = [60.0, 98.0]

    @field_validator("kernels")
    @classmethod
    def _weigh_something(cls, value: dict[Kernel, float]) -> dict[Kernel, float]:
        if not 0 < sum(value.values()) < 1e300:
            raise ValueError("weights must add up to more than 0 and be finite")
        return value


class Render(Frozen):
    """size: px, width and height; spp: samples per pixel; denoise: RGB layers only.

    layers: optional images, each at a cost of its own; see `pipeline.spec.EXTRA_KEYS`. caustics:
    lenses bend the light that falls on skin, at much more noise.
    """

    size: Annotated[int, Field(ge=16, le=8192)] = 384
    spp: Annotated[int, Field(ge=1, le=65536)] = 32
    denoise: bool = True
    layers: list[ExtraKey] = []
    caustics: bool = False

    @field_validator("layers")
    @classmethod
    def _each_once(cls, value: list[ExtraKey]) -> list[ExtraKey]:
        return list(once(value))


_PHYSICAL = {
    "camera.focal_mm": (8, 600),
    "camera.fill": (0.02, 3),
    "camera.yaw_deg": (-90, 90),
    "camera.pitch_deg": (-60, 60),
    "camera.roll_deg": (-180, 180),
    "camera.shift_x": (-0.5, 0.5),
    "camera.shift_y": (-0.5, 0.5),
    "camera.nearest_mm": (0, 20000),
    "camera.f_number": (0.5, 64),
    "gaze.yaw_deg": (-GAZE_YAW_DEG, GAZE_YAW_DEG),
    "gaze.pitch_deg": (-GAZE_PITCH_DEG, GAZE_PITCH_DEG),
    "light.rotation_deg": (0, 360),
    "light.exposure_ev": (-10, 10),
    "background.blur": (0, 0.3),
    "sensor.vignette": (0, 0.9),
    "sensor.fringe": (-0.004, 0.004),
    "sensor.shot_noise": (0, 0.2),
    "sensor.read_noise": (0, 0.1),
    "sensor.white_balance": (-1.5, 1.5),
    "sensor.contrast": (-1, 1),
    "sensor.sharpen": (0, 3),
    "sensor.resize": (0.2, 1),
    "sensor.jpeg_quality": (1, 100),
    "nose": (0, 3),
    "wear_by.slip_mm": (0, 25),
    "wear_by.roll_deg": (0, 15),
    "wear_by.yaw_deg": (0, 15),
    "wear_by.lift_mm": (0, 80),
    "wear_by.undersized": (0.5, 1),
    "wear_by.oversized": (1, 2),
}


class Recipe(Frozen):
    """A validated scene.

    pairs_per_portrait: so many samples in a row share head, expression, gaze, camera, light,
    background, sensor and noise, and differ in glasses, nose and wear; what they share is rendered
    once.
    design: samples are a plan of every combination of persons, expressions, glasses and nose
    positions, each once; see `pipeline.design`.
    """

    description: str = ""
    design: bool = False
    pairs_per_portrait: Annotated[int, Field(ge=1, le=1000)] = 1
    people: People = People()
    expressions: Choice = "all"
    gaze: Gaze = Gaze()
    glasses: Choice = "all"
    nose: Distribution = [0.0, 3.0]
    wear: Choice = "worn"
    wear_by: WearBy = WearBy()
    camera: Camera = Camera()
    light: Light = Light()
    background: Background = Background()
    sensor: Sensor = Sensor()
    render: Render = Render()
    limits: WearLimits = WearLimits()


def load_recipe(scene: str, changes: Sequence[str] = ()) -> Recipe:
    """Recipe from a scene's name ('portrait') or a YAML file's path.

    changes: 'camera.yaw_deg=[20, 40]' each, a dotted path and YAML, in place of what the file says.
    Raises RecipeError in one line: unknown name, unreadable file, broken YAML, unknown key
    (with its path and the nearest known one), value of the wrong kind or out of range.
    """
    data = read_yaml(_scene_path(scene), RecipeError)
    for change in changes:
        data = _changed(data, change)
    return parse_recipe(data, scene)


def _changed(data: Any, change: str) -> Any:
    """Parsed YAML with one value in place of another; mappings on the way are made."""
    path, given, text = change.partition("=")
    keys = path.strip().split(".")
    if not given or not all(keys):
        raise RecipeError(f"--set {change}: KEY=VALUE is expected, like camera.yaw_deg=40")
    value = parse_yaml(text, f"--set {change}", RecipeError)
    for number in reversed(range(len(keys))):
        outer = data
        for key in keys[:number]:
            outer = outer.get(key) if isinstance(outer, dict) else None
        if outer is not None and not isinstance(outer, dict):
            # In place of a number, say, stands a mapping then.
            outer = None
        value = {**(outer or {}), keys[number]: value}
    return value


def parse_recipe(data: Any, where: str) -> Recipe:
    """Recipe from parsed YAML; `where` names the scene in errors. Raises RecipeError."""
    if not isinstance(data, dict):
        raise RecipeError(f"{where}: a scene is a mapping of keys, not {type(data).__name__}")
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        raise RecipeError(f"{where}: {first_fault(error, Recipe)}") from None
    _check_bounds(recipe, where)
    return recipe


def scene_names() -> list[str]:
    """Names of the scenes that come with the program, sorted."""
    return sorted(path.stem for path in data_path("scenes").glob("*.yaml"))


def _scene_path(scene: str) -> Path:
    if scene in scene_names():
        return data_path("scenes") / f"{scene}.yaml"
    path = Path(scene)
    if path.is_file():
        return path
    import difflib

    close = difflib.get_close_matches(scene, scene_names(), n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    raise RecipeError(
        f"unknown scene '{scene}': {hint}give a file or one of {', '.join(scene_names())}"
    )


def _check_bounds(recipe: Recipe, where: str) -> None:
    """Ranges the right way round and within what the renderer can do."""
    for path, (low, high) in _PHYSICAL.items():
        value: Any = recipe
        for part in path.split("."):
            value = getattr(value, part)
        first, last = bounds(value)
        if first > last:
            raise RecipeError(f"{where}: $.{path}: [low, high] expected, got [{first:g}, {last:g}]")
        if not (math.isfinite(first) and low <= first and last <= high):
            raise RecipeError(
                f"{where}: $.{path}: must lie within {low:g} and {high:g}, "
                f"got {first:g} to {last:g}"
            )
