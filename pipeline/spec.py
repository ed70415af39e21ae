"""The description of one sample: everything that was drawn, nothing that came out.

A `SampleSpec` with the catalogue it was drawn from is enough to render the sample again. It is
data only: assets are named by catalogue name and sha256, never by path. What came out of a
sample (fit, rejected attempts, files) is a record in `index.jsonl`, see `pipeline.store`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, field_validator

from pipeline.errors import RecipeError
from pipeline.model import Finite, FromList, Frozen, Name, NonNegative, Sha256, first_fault

SCHEMA_VERSION: Literal[1] = 1

#: Image layers, 8-bit RGB. all: glasses and shadow; glass: glasses without shadow;
#: shadow: shadow without glasses; face: neither.
LAYERS = ("all", "glass", "shadow", "face")
#: Masks, 8-bit grey, 0 or 255.
MASKS = (
    "mask_frame",
    "mask_lens_left",
    "mask_lens_right",
    "mask_lenses",
    "mask_legs",
    "mask_full",
    "mask_shadow",
)
#: Every image of a sample: the layers, the masks, 8-bit coverage and the 16-bit shadow matte.
IMAGE_KEYS = (*LAYERS, *MASKS, "alpha_full", "shadow_matte")
#: What a sample can be meant for; see `split_of`.
SPLITS = ("train", "val", "test")
#: Ways of wearing glasses; see `WearSpec`.
WearMode = Literal["worn", "slipped", "askew", "pushed_up", "undersized", "oversized"]
WEAR_MODES: tuple[WearMode, ...] = get_args(WearMode)

#: Crops of datasets; see `pipeline.align`.
Align = Literal["none", "ffhq", "celeba"]

#: How far eyes turn (degrees): to either side, and up or down.
GAZE_YAW_DEG, GAZE_PITCH_DEG = 25.0, 20.0

#: Optional images. sunglasses: `all` with dark lenses; no_reflection: `all` without reflections on
#: lenses; lens_transmittance: 16-bit RGB, 65535 for 1, what lenses let through of what is behind;
#: refraction_flow: 16-bit RGB as KITTI stores flow, see `pipeline.refraction`; depth, normal,
#: parsing_all, parsing_face: see `pipeline.blender.truth`.
ExtraKey = Literal[
    "sunglasses",
    "no_reflection",
    "lens_transmittance",
    "refraction_flow",
    "depth",
    "normal",
    "parsing_all",
    "parsing_face",
]
EXTRA_KEYS: tuple[ExtraKey, ...] = get_args(ExtraKey)

#: What lights a face, see `pipeline.lighting`; and how the glasses' shadow is to come out.
LightKind = Literal["world", "sun", "overcast", "window", "studio", "flash", "lamp", "screen"]
LIGHT_KINDS: tuple[LightKind, ...] = get_args(LightKind)
ShadowKind = Literal["none", "soft", "hard"]
SHADOW_KINDS: tuple[ShadowKind, ...] = get_args(ShadowKind)
#: What stands behind the subject, see `BackgroundSpec`.
BackgroundKind = Literal["world", "plain", "gradient", "black", "room", "street", "park", "photo"]
BACKGROUND_KINDS: tuple[BackgroundKind, ...] = get_args(BackgroundKind)
#: How pictures are made smaller and larger again.
Kernel = Literal["area", "linear", "cubic", "lanczos"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)
#: Linear Rec. 709, not below 0.
Color = Annotated[tuple[NonNegative, NonNegative, NonNegative], FromList]


class HeadSpec(Frozen):
    """A head of the catalogue with an expression; `subject` is its catalogue name.

    gaze_yaw_deg, gaze_pitch_deg: where the eyes look in the head's frame, towards the subject's
    left and up; an expression that turns or closes an eye has its way. 0 for a mesh.
    """

    subject: Name
    sha256: Sha256
    expression: Name
    gaze_yaw_deg: Annotated[Finite, Field(ge=-GAZE_YAW_DEG, le=GAZE_YAW_DEG)] = 0.0
    gaze_pitch_deg: Annotated[Finite, Field(ge=-GAZE_PITCH_DEG, le=GAZE_PITCH_DEG)] = 0.0

    @property
    def gaze(self) -> tuple[float, float]:
        """Yaw and pitch of the eyes, degrees."""
        return self.gaze_yaw_deg, self.gaze_pitch_deg


class GlassesSpec(Frozen):
    """Eyewear of the catalogue; `choice` holds the drawn numbers (mm, degrees) and materials."""

    name: Name
    sha256: Sha256
    choice: dict[str, Finite | str] = {}


class WearSpec(Frozen):
    """How glasses are worn, and by how much that departs from 'worn', where all are 0 and 1.

    worn: pads on the nose, temples on the ears. slipped: `slip_mm` further down the nose, along
    the skin, than the nose position says. askew: the front rolled by `roll_deg` (positive: its
    left side is higher, that temple lies above its ear) and turned by `yaw_deg` (positive: to the
    wearer's left) from how these glasses would sit. pushed_up: on the forehead, the lenses'
    lower edge at least `lift_mm` above the nose nodes, which lie just below the eyes.
    undersized, oversized: made `scale` times as large as designed.
    """

    mode: WearMode = "worn"
    slip_mm: Annotated[Finite, Field(ge=0, le=25)] = 0.0
    roll_deg: Annotated[Finite, Field(ge=-15, le=15)] = 0.0
    yaw_deg: Annotated[Finite, Field(ge=-15, le=15)] = 0.0
    lift_mm: Annotated[Finite, Field(ge=0, le=80)] = 0.0
    scale: Annotated[Finite, Field(ge=0.5, le=2)] = 1.0


class CameraSpec(Frozen):
    """A camera that looks at the face, in the head's frame.

    focal_mm: for a sensor 36 mm wide. distance_mm: from the face's centre to the pinhole.
    yaw_deg: positive shows more of the subject's left side; pitch_deg: positive looks down from
    above; roll_deg: positive turns the picture's content clockwise. shift_x, shift_y: of the face
    in the picture, as a share of the picture's width, right and up: an off-centre crop.
    f_number: of a thin lens of this focal length, focused on the nearer eye; None is a pinhole.
    align: crops the picture as a dataset does, see `pipeline.align`; roll, shift and size of the
    face then follow from that.
    """

    focal_mm: Annotated[Finite, Field(ge=8, le=600)]
    distance_mm: Annotated[Finite, Field(ge=120, le=20000)]
    yaw_deg: Annotated[Finite, Field(ge=-90, le=90)]
    pitch_deg: Annotated[Finite, Field(ge=-60, le=60)]
    roll_deg: Annotated[Finite, Field(ge=-180, le=180)]
    shift_x: Annotated[Finite, Field(ge=-0.5, le=0.5)] = 0.0
    shift_y: Annotated[Finite, Field(ge=-0.5, le=0.5)] = 0.0
    f_number: Annotated[Finite, Field(ge=0.5, le=64)] | None = None
    align: Align = "none"


class SkySpec(Frozen):
    """A sky of `pipeline.catalog.sky` in place of an HDR file.

    turbidity: of a clear sky (Preetham et al. 1999), 2 for very clear air to 10 for haze; None is
    overcast. sun_azimuth_deg, sun_elevation_deg: where the sun of a clear sky stands, see
    `LampSpec`.
    """

    turbidity: Annotated[Finite, Field(ge=1.7, le=10)] | None
    sun_azimuth_deg: Annotated[Finite, Field(ge=-180, le=180)] = 0.0
    sun_elevation_deg: Annotated[Finite, Field(ge=2, le=88)] = 45.0


class LampSpec(Frozen):
    """A lamp that shines at the face and is seen by the light it throws and reflected only.

    azimuth_deg, elevation_deg: where it stands as seen from the face's centre, in the head's frame:
    to the subject's left from straight ahead, and up. distance_mm: from there; None is the sun, a
    disc `width_deg` wide at infinity. width_deg, height_deg: how large the face sees it, so how
    soft its shadows are. color: linear Rec. 709, of luminance 1. strength: irradiance (luminance)
    of a surface at the face's centre that faces the lamp, on the scale of the world.
    """

    role: Name
    azimuth_deg: Annotated[Finite, Field(ge=-180, le=180)]
    elevation_deg: Annotated[Finite, Field(ge=-90, le=90)]
    distance_mm: Annotated[Finite, Field(ge=50, le=100_000)] | None
    width_deg: Annotated[Finite, Field(gt=0, le=150)]
    height_deg: Annotated[Finite, Field(gt=0, le=150)]
    color: Color
    strength: NonNegative


class LightSpec(Frozen):
    """What lights the picture; pixel values are multiplied by 2**exposure_ev.

    The world is an HDR file turned about the vertical by `rotation_deg`, or `sky`, which is not
    turned; its radiance is multiplied by `world_gain`. Lamps add to it. shadow: of which kind the
    glasses' shadow was drawn to be, or None where that was left to the light.
    """

    kind: LightKind = "world"
    shadow: ShadowKind | None = None
    hdri: Name
    sha256: Sha256
    rotation_deg: Annotated[int, Field(ge=0, le=359)]
    world_gain: Annotated[Finite, Field(ge=0)] = 1.0
    sky: SkySpec | None = None
    lamps: Annotated[tuple[LampSpec, ...], FromList, Field(max_length=8)] = ()
    exposure_ev: Annotated[Finite, Field(ge=-30, le=30)]

    @property
    def gain(self) -> float:
        """What linear pixel values are multiplied by."""
        return float(2.0**self.exposure_ev)


class BackgroundSpec(Frozen):
    """What the camera sees behind the subject, itself and through lenses; it lights nothing.

    kind: 'world' shows the world that lights, all others a flat picture far behind. colors: linear
    Rec. 709, as it comes out once exposed: one of 'plain', top and bottom of 'gradient'. photo,
    sha256: of a file of the user's. seed: of what is painted of a place ('room', 'street', 'park');
    night: whether it is lit by its own lights. blur: radius of the disc that a point of a place or
    photo is spread over, as a share of the picture's width; gain: what it is multiplied by.
    """

    kind: BackgroundKind = "world"
    colors: Annotated[tuple[Color, ...], FromList, Field(max_length=2)] = ()
    photo: Name | None = None
    sha256: Sha256 | None = None
    blur: Annotated[Finite, Field(ge=0, le=0.3)] = 0.0
    gain: Annotated[Finite, Field(ge=0)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    night: bool = False


class SensorSpec(Frozen):
    """What a camera does to a clean picture, in the order of `pipeline.sensor`.

    vignette: share of the light that the corners lose. fringe: by how much red is drawn larger than
    green and blue smaller, at a corner, as a share of the picture's width. shot_noise: standard
    deviation at 18% grey, as a share of white; it grows with the root of the light. read_noise:
    what the dark has. seed: of the noise. red_gain, blue_gain: white balance. contrast: of the tone
    curve, 0 for none. sharpen: share of what an unsharp mask finds. resize: the picture is made so
    many times as large and back, with `kernel`. jpeg_quality: 1 to 100; None for none.
    """

    vignette: Annotated[Finite, Field(ge=0, le=0.9)]
    fringe: Annotated[Finite, Field(ge=-0.004, le=0.004)]
    shot_noise: Annotated[Finite, Field(ge=0, le=0.2)]
    read_noise: Annotated[Finite, Field(ge=0, le=0.1)]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    red_gain: Annotated[Finite, Field(ge=0.3, le=3)]
    blue_gain: Annotated[Finite, Field(ge=0.3, le=3)]
    contrast: Annotated[Finite, Field(ge=-1, le=1)]
    sharpen: Annotated[Finite, Field(ge=0, le=3)]
    resize: Annotated[Finite, Field(ge=0.2, le=1)]
    kernel: Kernel
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] | None


def once(names: Sequence[ExtraKey]) -> Any:
    """The names, if none is there twice; raises ValueError."""
    if len(set(names)) < len(names):
        raise ValueError("each layer once is expected")
    return names


class RenderSpec(Frozen):
    """How the picture is traced. size: px, width and height. spp: samples per pixel.

    seed: of Cycles' random numbers. denoise: whether the RGB layers are denoised. layers: optional
    images beside the usual ones. caustics: whether lenses bend the light that falls on skin.
    """

    size: Annotated[int, Field(ge=16, le=8192)]
    spp: Annotated[int, Field(ge=1, le=65536)]
    denoise: bool
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    layers: Annotated[tuple[ExtraKey, ...], FromList] = ()
    caustics: bool = False

    @field_validator("layers")
    @classmethod
    def _each_once(cls, value: tuple[ExtraKey, ...]) -> tuple[ExtraKey, ...]:
        return once(value)

    @property
    def image_keys(self) -> tuple[str, ...]:
        """Every image of such a sample."""
        return (*IMAGE_KEYS, *(key for key in EXTRA_KEYS if key in self.layers))


class SampleSpec(Frozen):
    """All that is needed to render one sample again, given the catalogue."""

    schema_version: Literal[1] = SCHEMA_VERSION
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    index: Annotated[int, Field(ge=0, lt=10**9)]
    attempt: Annotated[int, Field(ge=0, le=100)]
    head: HeadSpec
    glasses: GlassesSpec
    nose: Annotated[Finite, Field(ge=0, le=3)]
    wear: WearSpec = WearSpec()
    camera: CameraSpec
    light: LightSpec
    background: BackgroundSpec = BackgroundSpec()
    sensor: SensorSpec | None = None
    render: RenderSpec

    @property
    def id(self) -> str:
        """The sample's name in its dataset; see `sample_id`."""
        return sample_id(self.index)

    @property
    def portrait(self) -> tuple[HeadSpec, CameraSpec, LightSpec, BackgroundSpec, RenderSpec]:
        """All that a picture without eyewear hangs on; samples where it is equal share it."""
        return self.head, self.camera, self.light, self.background, self.render


def sample_id(index: int) -> str:
    """Name of sample `index` (>= 0): at least six digits, so that names sort by number."""
    return f"{index:06d}"


def split_of(subject: str) -> str:
    """'train' (80%), 'val' (10%) or 'test' (10%) by a hash of the subject.

    The same subject falls into the same split in every dataset, so sets can be joined.
    """
    bucket = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8], "big") % 10
    return {8: "val", 9: "test"}.get(bucket, "train")


def parse_spec(data: Any, where: str) -> SampleSpec:
    """SampleSpec from parsed JSON. `where` names the file in the error.

    Raises RecipeError with the path of the first fault.
    """
    try:
        return SampleSpec.model_validate(data)
    except ValidationError as error:
        raise RecipeError(f"{where}: {first_fault(error, SampleSpec)}") from None
