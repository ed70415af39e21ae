"""Renders the layers of a built scene: `face` in full, of the others only what can differ.

The four layers are one scene with the eyewear's ray visibility switched. With a fixed number of
samples and one seed, Cycles' random numbers depend on pixel and sample only, so pixels that no
path ties to the eyewear come out bit-identical in all layers, and need not be traced again:

- `glass` is `face` and `shadow` is `all` but for the eyewear's silhouette, the pixels in which a
  camera ray can meet it. Outside, the layers are equal to the last bit.
- `all` is `face` but for the silhouette, what touches it, and the eyewear's influence: skin that it
  shades, or throws light on. Every path of a face has some chance to meet the eyewear, so this
  border bounds what is left out. Where it runs is seen in a small picture of both layers,
  `PROBE_PX` wide: `all` is traced where the two differ, averaged over 3 x 3 small pixels, by more
  than `OMITTED_BYTES` of 8-bit sRGB, in more small pixels together than one lone path can lift.
  Noise of the small picture widens the border as often as it narrows it, and what is left out
  averages over a block of pixels to below one byte (`make verify-layers` measures it).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.blender import labels
from pipeline.blender.scene import BuiltScene, Portrait
from pipeline.blender.trace import RAYS, show_to, trace
from pipeline.pixels import Float32, Mask, dilated, srgb_from_linear
from pipeline.rendering import Guides, Rendering
from pipeline.shadows import may_be_shadow

#: Which rays meet the eyewear in each layer. `glass` keeps transmission, so that temples show
#: through lenses; `shadow` loses camera rays only, so that shadows are those of `all`.
VISIBLE_TO = {
    "all": set(RAYS),
    "glass": {"camera", "transmission"},
    "shadow": set(RAYS) - {"camera"},
    "face": set(),
}
#: Width and samples of the small picture that tells where the eyewear has influence.
PROBE_PX, PROBE_SPP = 48, 16
#: A change below this, of 255, is left out.
OMITTED_BYTES = 1.0
#: One path of a small picture that met the eyewear by chance lifts the averages of so many pixels.
_LONE_PATH_PX = 9
#: The fewer pixels share a shadow, the less a denoiser can make of them. In pictures narrower than
#: this, labels have more samples, so many at this width, with the fifth power of the width, at
#: most so many (`make verify-shadow`: half as many add a tenth to the error of the matte).
#: Whoever asks for a quick look does not wait for more than so many times its samples either, if
#: it has no more samples than that; else for as many times as it has.
_LABEL_PX, _LABEL_SPP, _MOST_LABEL_SPP, _MOST_LABEL_TIMES = 256, 32, 1024, 8
#: More samples with one seed let Cycles enlarge its table of random numbers for good, and later
#: pictures are others.
_SEED_SPP = 256
#: What each layer is taken over from where it cannot differ.
_BASE = {"all": "face", "shadow": "all", "glass": "face"}


@dataclass(frozen=True, eq=False)
class FaceLayer:
    """What all samples of a portrait share: `face` (h, w, 3), its guides, and its small picture.

    guides: None if pictures are not denoised.
    """

    color: Float32
    guides: Guides | None
    small: Float32


def render_face(portrait: Portrait) -> FaceLayer:
    """`face` of a portrait that wears nothing yet."""
    size = portrait.spec.render.size
    passes = trace(portrait.scene, np.ones((size, size), bool))
    guides = guides_of(passes) if portrait.spec.render.denoise else None
    return FaceLayer(color_of(passes), guides, _small_picture(portrait))


def render(built: BuiltScene, face: FaceLayer) -> Rendering:
    """All layers as traced, and the coverage of the eyewear."""
    coverage, silhouette = labels.render_coverage(built)
    # Shadows of what lies close are as narrow as a pixel: a small picture does not show them.
    border = dilated(silhouette, 1) | influence(built, face)
    colors = {"face": face.color}
    guides = {} if face.guides is None else {"face": face.guides}
    for layer, base in _BASE.items():
        where = border if layer == "all" else silhouette
        passes = trace_layer(built, layer, where)
        colors[layer] = np.where(where[..., None], color_of(passes), colors[base])
        if layer == "all" and face.guides is not None:
            guides["all"] = face.guides.replaced(silhouette, guides_of(passes))
    fine = _for_labels(built, colors, silhouette)
    return Rendering(colors, guides, coverage, silhouette, border, fine)


def label_spp(size: int, spp: int) -> int:
    """Samples per pixel of labels; see `_LABEL_PX`."""
    most = min(_MOST_LABEL_SPP, max(_MOST_LABEL_TIMES, spp) * spp)
    return max(spp, min(most, round(_LABEL_SPP * (_LABEL_PX / size) ** 5)))


def _for_labels(
    built: BuiltScene, colors: Mapping[str, Float32], silhouette: Mask
) -> dict[str, Float32]:
    """The layers, of about the samples that labels need where shadow lies.

    `all` and `glass`, of which only a mask is made, have one seed's at most.
    """
    render, cycles = built.portrait.spec.render, built.portrait.scene.cycles
    needed, found = label_spp(render.size, render.spp), dict(colors)
    if needed < 2 * render.spp:
        return found
    runs = math.ceil(needed / max(_SEED_SPP, render.spp))
    cycles.samples = round(needed / runs)
    everywhere = np.ones_like(silhouette)
    try:
        for dark, lit, within, times in (
            ("shadow", "face", everywhere, runs),
            ("all", "glass", silhouette, int(cycles.samples > render.spp)),
        ):
            where = within & may_be_shadow(found[dark], found[lit])
            for run in range(times):
                cycles.seed = (render.seed + run) % 2**31
                for layer in (dark, lit):
                    traced = color_of(trace_layer(built, layer, where))
                    mean = (found[layer] * run + traced) / np.float32(run + 1)
                    found[layer] = np.where(where[..., None], mean, found[layer])
                # The more samples, the less noise there is to be taken for shadow.
                where &= may_be_shadow(found[dark], found[lit])
    finally:
        cycles.samples, cycles.seed = render.spp, render.seed
    return found


def trace_layer(built: BuiltScene, layer: str, where: Mask | None = None) -> dict[str, Float32]:
    """Passes of a layer in the pixels `where` (h, w), or in full; see `trace.trace`."""
    size = built.portrait.scene.render.resolution_x
    show(built, layer)
    return trace(built.portrait.scene, np.ones((size, size), bool) if where is None else where)


def show(built: BuiltScene, layer: str) -> None:
    """Sets the picture up for a layer; 'all' is how a person wants to find it."""
    for obj in built.eyewear.values():
        show_to(obj, VISIBLE_TO[layer])


def influence(built: BuiltScene, face: FaceLayer) -> Mask:
    """(h, w): where the eyewear changes skin by more than is left out; see the module's text."""
    size = built.portrait.spec.render.size
    show(built, "shadow")
    small = _small_picture(built.portrait)
    gain = np.float32(built.portrait.spec.light.gain)
    with_eyewear, without = (
        srgb_from_linear(cv2.blur(color * gain, (3, 3))) * 255.0 for color in (small, face.small)
    )
    changed = np.abs(with_eyewear - without).max(axis=2) > OMITTED_BYTES
    _, parts, stats, _ = cv2.connectedComponentsWithStats(changed.astype(np.uint8))
    changed &= stats[parts, cv2.CC_STAT_AREA] > _LONE_PATH_PX
    nearest = np.arange(size) * len(changed) // size
    return changed[np.ix_(nearest, nearest)]


def _small_picture(portrait: Portrait) -> Float32:
    """(h, w, 3) of the scene as it is now, small and noisy."""
    render, cycles = portrait.scene.render, portrait.scene.cycles
    size, spp = render.resolution_x, cycles.samples
    small = min(size, PROBE_PX)
    render.resolution_x = render.resolution_y = small
    cycles.samples = PROBE_SPP
    try:
        return color_of(trace(portrait.scene, np.ones((small, small), bool)))
    finally:
        render.resolution_x = render.resolution_y = size
        cycles.samples = spp


def color_of(passes: Mapping[str, Float32]) -> Float32:
    """(h, w, 3) linear: what was traced."""
    return passes["Combined"][..., :3]


def guides_of(passes: Mapping[str, Float32]) -> Guides:
    """What a denoiser may know of what was traced, of a picture that is to be denoised."""
    return Guides(passes["Denoising Albedo"], passes["Denoising Normal"])
