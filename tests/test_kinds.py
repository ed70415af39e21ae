"""The laws of layers and masks for every kind of frame and lens, not for the plain ones alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.blender import layers, scene
from pipeline.blender.device import Machine
from pipeline.blender.labels import render_coverage
from pipeline.fit import fit, posed_parts
from pipeline.pixels import dilated
from pipeline.spec import LAYERS

TWO = Machine(threads=2, device="CPU")
#: Design, frame, lenses, dioptres.
KINDS = [
    ("half_rim", "black_metal", "clear", -4.0),
    ("half_rim_low", "gold", "blue_filter", 3.0),
    ("browline", "havana", "green", 0.0),
    ("round_acetate", "crystal", "uncoated", -6.0),
    ("square", "tortoise", "grey_gradient", -2.0),
    ("wrap", "matte_black", "blue_mirror", 0.0),
    ("rimless_hexagon", "silver", "photo_grey", -4.0),
    ("pilot", "rose_gold", "silver_mirror", 1.0),
]
#: Turned so that temples are seen through lenses, so near that the glasses fill the picture.
NEAR = {"distance_mm": 280.0, "yaw_deg": 24.0, "pitch_deg": 0.0, "roll_deg": 0.0}


def worn(kind, worn_spec, catalog, size, **camera):
    """The scene of a kind on a person, of `size` px."""
    name, frame, lenses, power = kind
    spec = worn_spec(name)
    choice = {
        **spec.glasses.choice, "frame": frame, "lenses": lenses, "power_d": power, "smudges": 1.0,
    }  # fmt: skip
    spec = spec.model_copy(
        update={
            "glasses": spec.glasses.model_copy(update={"choice": choice}),
            "camera": spec.camera.model_copy(update=camera),
            "render": spec.render.model_copy(update={"size": size}),
        }
    )
    head, eyewear = catalog.head(spec.head), catalog.eyewear(spec.glasses)
    portrait = scene.build_portrait(spec, head, catalog.around(spec), TWO)
    return scene.wear(portrait, posed_parts(eyewear, fit(head, eyewear, spec.nose)))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind)))
def test_layers_agree_bit_for_bit_outside_any_eyewear(kind, worn_spec, catalog):
    built = worn(kind, worn_spec, catalog, 48)
    traced = {name: layers.trace_layer(built, name)["Combined"][..., :3] for name in LAYERS}
    seen = render_coverage(built, hide_head=True)[0].full > 0
    far = ~dilated(seen, 2)
    assert 0.2 < far.mean() < 0.99
    assert np.array_equal(traced["all"][far], traced["shadow"][far])
    assert np.array_equal(traced["glass"][far], traced["face"][far])
    assert (traced["all"] != traced["shadow"]).any()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind)))
def test_lenses_are_two_masks_apart(kind, worn_spec, catalog):
    built = worn(kind, worn_spec, catalog, 128, **NEAR)
    coverage = render_coverage(built, hide_head=True)[0]
    left, right = coverage.lens_left >= 0.5, coverage.lens_right >= 0.5
    for lens in (left, right):
        sizes = cv2.connectedComponentsWithStats(lens.astype(np.uint8))[2][1:, cv2.CC_STAT_AREA]
        assert (sizes > 0.05 * lens.sum()).sum() == 1
        assert lens.mean() > 0.02
    assert not (left & right).any()
    # What is behind a dark lens is not in the masks, what is behind a clear one is.
    behind = cv2.erode((left | right).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    dark = kind[2] in ("green", "grey_gradient", "blue_mirror", "photo_grey", "silver_mirror")
    assert set(built.dark_lenses) == ({"lens_left", "lens_right"} if dark else set())
    assert (coverage.frame[behind] >= 0.5).any() == (not dark)
