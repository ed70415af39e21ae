"""Tracing chosen pixels: which boxes, and the very pixels of the picture in full."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.blender import scene, trace
from pipeline.blender.device import Machine
from pipeline.pixels import Box, bounding_box, boxes_around, dilated

MASKS = st.integers(0, 2**30).map(
    lambda seed: np.random.default_rng(seed).random((24, 24)) < (seed % 97) / 400
)


def portrait_of(spec, catalog):
    around = catalog.around(spec)
    return scene.build_portrait(spec, catalog.head(spec.head), around, Machine(2, "CPU"))


def area(boxes: list[Box]) -> int:
    return sum((b.right - b.left) * (b.bottom - b.top) for b in boxes)


@given(MASKS, st.integers(0, 200))
def test_boxes_hold_every_pixel_once_and_are_no_larger_than_one_box(mask, worth):
    boxes = boxes_around(mask, worth)
    held = np.zeros(mask.shape, int)
    for box in boxes:
        held[box.slices()] += 1
        assert mask[box.slices()].any()
    assert held.max(initial=0) <= 1
    assert held[mask].all()
    whole = bounding_box(mask)
    if whole is None:
        assert boxes == []
    else:
        assert area(boxes) + worth * (len(boxes) - 1) <= area([whole])


def test_two_far_corners_are_two_boxes_if_a_call_is_cheap():
    mask = np.zeros((20, 20), bool)
    mask[1:3, 2:4] = mask[15:18, 16:19] = True
    assert boxes_around(mask, 100) == [Box(2, 1, 4, 3), Box(16, 15, 19, 18)]
    assert boxes_around(mask, 1000) == [Box(2, 1, 19, 18)]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("speckles", {}), ("ring", {}), ("corner", {}),
        # An open lens, whose rays spread before what is in focus; and an aligned crop.
        ("speckles", {"f_number": 1.4}), ("ring", {"f_number": 1.4, "align": "ffhq"}),
    ],
)  # fmt: skip
def test_pixels_traced_alone_are_those_of_the_whole_picture(kind, changes, worn_spec, catalog):
    spec = worn_spec("round")
    camera = spec.camera.model_copy(
        update={"shift_x": 0.07, "shift_y": -0.04, "roll_deg": 9.0, "yaw_deg": 20.0, **changes}
    )
    spec = spec.model_copy(update={"camera": camera})
    portrait = portrait_of(spec, catalog)
    rows, columns = np.indices((64, 64))
    wanted = {
        "speckles": np.random.default_rng(3).random((64, 64)) < 0.05,
        "ring": np.abs(np.hypot(rows - 30, columns - 34) - 18) < 1.5,
        "corner": (rows > 60) & (columns > 58),
    }[kind]
    whole = trace.trace(portrait.scene, np.ones((64, 64), bool))
    part = trace.trace(portrait.scene, wanted)
    assert whole.keys() == part.keys()
    for name, image in whole.items():
        assert np.array_equal(part[name][wanted], image[wanted]), name
        assert not part[name][~wanted].any(), name
    again = trace.trace(portrait.scene, np.ones((64, 64), bool))
    assert np.array_equal(again["Combined"], whole["Combined"])


def test_a_far_camera_sees_through_holes_as_well(worn_spec, catalog):
    """At 20 m rays begin by as much off as a cell is wide on a screen at the camera."""
    spec = worn_spec("round")
    camera = spec.camera.model_copy(update={"focal_mm": 600.0, "distance_mm": 20000.0})
    render = spec.render.model_copy(update={"size": 512})
    spec = spec.model_copy(update={"camera": camera, "render": render})
    portrait = portrait_of(spec, catalog)
    block = np.zeros((512, 512), bool)
    block[240:280, 240:280] = True
    wanted = block & (np.random.default_rng(4).random(block.shape) < 0.1)
    whole, part = (trace.trace(portrait.scene, pixels)["Combined"] for pixels in (block, wanted))
    assert len(np.unique(whole[wanted])) > 50
    assert np.array_equal(part[wanted], whole[wanted])


@pytest.mark.parametrize(("f_number", "near_px", "least"), [(None, 1, 1.0), (2.0, 3, 0.95)])
def test_the_screen_stops_rays_of_what_is_not_wanted(f_number, near_px, least, worn_spec, catalog):
    spec = worn_spec("round")
    camera = spec.camera.model_copy(update={"f_number": f_number})
    spec = spec.model_copy(update={"camera": camera})
    portrait = portrait_of(spec, catalog)
    wanted = np.zeros((64, 64), bool)
    wanted[30:34, 30:34] = True
    trace._raise_screen(portrait.scene, wanted, [Box(0, 0, 64, 64)])
    seen = trace._render_passes(portrait.scene)["Combined"][..., :3]
    beyond = ~dilated(wanted, near_px)
    # Nothing stands outside the box, where rays of its rim may stray.
    beyond[[0, -1]] = beyond[:, [0, -1]] = False
    assert (seen[beyond] == 0).all(axis=-1).mean() >= least
    assert (seen[wanted] > 0).all()


def test_screens_have_the_same_bounds_whatever_they_cover(worn_spec, catalog):
    """Else parts of the eyewear that touch are met in another order; see `trace._strips`."""
    spec = worn_spec("round")
    portrait = portrait_of(spec, catalog)
    screen, twin = (obj for obj in portrait.scene.objects if "_screen" in obj.name)
    wanted = np.zeros((64, 64), bool)
    wanted[30:34, 40:44] = True
    bounds = []
    for boxes in ([], [Box(0, 0, 64, 64)], [Box(38, 28, 50, 40)]):
        trace._raise_screen(portrait.scene, wanted, boxes)
        points = np.array([vertex.co for vertex in screen.data.vertices])
        bounds.append((points.min(axis=0), points.max(axis=0)))
    np.testing.assert_array_equal(bounds[1], bounds[0])
    np.testing.assert_array_equal(bounds[2], bounds[0])
    assert twin.data == screen.data
    assert screen.matrix_world == twin.matrix_world == portrait.scene.camera.matrix_world
