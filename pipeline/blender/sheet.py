"""Renders eyewear by itself, or persons without any, for a sheet of all that there is.

Runs in a child process, since it loads Blender: `python -m pipeline.blender.sheet FD` with a JSON
object on standard input: `threads`, and either `glasses` (a folder of the user's, or null), `looks`
(a list of [name, choice]) and `width` in px, or `hdri` (likewise a folder) and `people` (a list of
specs). Answers one JSON line a picture: {"png": base64}.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.blender import layers, scene
from pipeline.blender.device import Machine
from pipeline.blender.scene import Portrait
from pipeline.camera import FACE_CENTRE_BELOW_NOSE_MM
from pipeline.catalog.catalog import Surroundings, open_catalog
from pipeline.denoise import Denoiser
from pipeline.geometry import Anchors, Eyewear, Head, Material, Surface
from pipeline.pixels import Float32, UInt8, srgb_from_linear, to_uint8
from pipeline.spec import (
    CameraSpec,
    HeadSpec,
    LampSpec,
    LightSpec,
    RenderSpec,
    SampleSpec,
    parse_spec,
)
from pipeline.store import encode_png

#: Height of a picture as a share of its width.
ASPECT = 0.56
_SPP = 24
#: Seen from a little above and the wearer's left, as in a shop, so wide that temples are in.
_CAMERA = CameraSpec(
    focal_mm=110, distance_mm=640, yaw_deg=24, pitch_deg=9, roll_deg=0, shift_x=0, shift_y=0
)
_EXPOSURE_EV = -0.9
#: What lenses reflect to this camera: without it mirrors would look like dark tints.
_SOFTBOX = LampSpec(
    role="softbox", azimuth_deg=-24, elevation_deg=-22, distance_mm=1500, width_deg=80,
    height_deg=70, color=(1.0, 1.0, 1.0), strength=1.6,
)  # fmt: skip
#: The middle of a pair as seen, mm behind its front.
_BEHIND_MM = 35.0
_PAPER = Material((0.82, 0.82, 0.82), roughness=0.9)
_PAPER_MM = 3000.0


def render_looks(
    glasses: Path | None, looks: list[tuple[str, dict[str, Any]]], width: int, threads: int
) -> Iterator[bytes]:
    """A PNG of each look: name in the catalogue and choice."""
    catalog = open_catalog(None, glasses, None)
    light = catalog.lights.get("studio") or next(iter(catalog.lights.values()))
    spec = _spec(light.name, width)
    around = Surroundings(light.path)
    portrait = scene.build_portrait(spec, _paper(), around, Machine(threads, "CPU"))
    denoiser = Denoiser(threads)
    for name, choice in looks:
        yield encode_png(_picture(portrait, catalog.glasses[name].build(choice), denoiser))


def render_people(hdri: Path | None, specs: list[SampleSpec], threads: int) -> Iterator[bytes]:
    """A PNG of each spec's layer `face`, denoised; built-in persons only."""
    catalog = open_catalog(None, None, hdri)
    denoiser = Denoiser(threads)
    for spec in specs:
        head = catalog.head(spec.head)
        portrait = scene.build_portrait(spec, head, catalog.around(spec), Machine(threads, "CPU"))
        face = layers.render_face(portrait)
        assert face.guides is not None, "a sheet is denoised"
        yield encode_png(_exposed(denoiser.denoise(face.color, face.guides), spec))


def _picture(portrait: Portrait, eyewear: Eyewear, denoiser: Denoiser) -> np.ndarray:
    """(height, width, 3) uint8 sRGB of glasses before paper."""
    size = portrait.spec.render.size
    high = round(size * ASPECT)
    top = (size - high) // 2
    rows = np.zeros((size, size), bool)
    rows[top : top + high] = True
    built = scene.wear(portrait, eyewear.parts)
    passes = layers.trace_layer(built, "all", rows)
    crop = slice(top, top + high)
    guides = layers.guides_of(passes).cropped(crop, slice(None))
    color = denoiser.denoise(layers.color_of(passes)[crop], guides)
    return _exposed(color, portrait.spec)


def _exposed(color: Float32, spec: SampleSpec) -> UInt8:
    return to_uint8(srgb_from_linear(color * np.float32(spec.light.gain)))


def _spec(light: str, width: int) -> SampleSpec:
    nothing = "0" * 64
    return SampleSpec.model_validate(
        {
            "seed": 0,
            "index": 0,
            "attempt": 0,
            "head": HeadSpec(subject="paper", sha256=nothing, expression="none"),
            "glasses": {"name": "sheet", "sha256": nothing},
            "nose": 0.0,
            "camera": _CAMERA,
            "light": LightSpec(
                hdri=light,
                sha256=nothing,
                rotation_deg=200,
                lamps=(_SOFTBOX,),
                exposure_ev=_EXPOSURE_EV,
            ),
            "render": RenderSpec(size=width, spp=_SPP, denoise=True, seed=0),
        }
    )


def _paper() -> Head:
    """A sheet of paper behind the glasses, with anchors that turn the camera to their middle."""
    half, back = _PAPER_MM / 2, -450.0
    corners = np.array([[-half, -half, back], [half, -half, back], [half, half, back],
                        [-half, half, back]])  # fmt: skip
    middle = np.array([0.0, FACE_CENTRE_BELOW_NOSE_MM - 4.0, -_BEHIND_MM])
    surface = Surface(corners, np.array([[0, 1, 2, 3]]), material=_PAPER)
    return Head("paper", {"skin": surface}, Anchors(middle, middle, middle, middle))


def _pictures(request: dict[str, Any]) -> Iterator[bytes]:
    threads = request["threads"]
    if "people" in request:
        folder = request["hdri"]
        specs = [parse_spec(spec, "spec") for spec in request["people"]]
        return render_people(folder and Path(folder), specs, threads)
    folder = request["glasses"]
    looks = [(name, choice) for name, choice in request["looks"]]
    return render_looks(folder and Path(folder), looks, request["width"], threads)


def main() -> None:
    """Answers one request."""
    answers = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8")
    request = json.load(sys.stdin)
    for picture in _pictures(request):
        line = {"png": base64.b64encode(picture).decode("ascii")}
        print(json.dumps(line), file=answers, flush=True)
    # Blender's module may crash while the interpreter tears it down.
    os._exit(0)


if __name__ == "__main__":
    main()
