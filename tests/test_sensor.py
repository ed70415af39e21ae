"""The sensor against facts: what each step does to light, and that pairs stay pairs."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.pixels import linear_from_srgb, srgb_from_linear, to_uint8
from pipeline.plan import draw
from pipeline.recipe import load_recipe, parse_recipe
from pipeline.sensor import GREY, apply_sensor
from pipeline.spec import KERNELS, SensorSpec

CLEAN = SensorSpec(
    vignette=0, fringe=0, shot_noise=0, read_noise=0, seed=7, red_gain=1, blue_gain=1, contrast=0,
    sharpen=0, resize=1, kernel="area", jpeg_quality=None,
)  # fmt: skip


def sensor(**changes):
    return CLEAN.model_copy(update=changes)


def flat(value, size=128):
    return np.full((size, size, 3), value, np.uint8)


def scene(size=128):
    """Ramps, edges and a texture, far from black and white."""
    rng = np.random.default_rng(3)
    image = rng.integers(90, 120, (size, size, 3)).astype(np.uint8)
    image[:, size // 2 :] += 80
    image[size // 4 : size // 2, : size // 2, 0] = 60
    return image


def taken(image, spec):
    return apply_sensor({"all": image}, spec)["all"]


def test_srgb_and_back_is_the_same():
    ramp = np.arange(256, dtype=np.float32) / 255
    assert np.array_equal(to_uint8(srgb_from_linear(linear_from_srgb(ramp))), np.arange(256))


def test_a_sensor_that_does_nothing_changes_no_byte():
    assert np.array_equal(taken(scene(), CLEAN), scene())


def test_the_same_image_gives_the_same_bytes_whatever_comes_along():
    spec = draw_one()
    together = apply_sensor({"all": scene(), "face": flat(90)}, spec)
    assert np.array_equal(together["all"], taken(scene(), spec))
    assert np.array_equal(together["face"], apply_sensor({"face": flat(90)}, spec)["face"])


def draw_one(index=0):
    from pipeline.catalog.catalog import open_catalog

    return draw(load_recipe("smoke"), open_catalog(), 0, index).sensor


def test_labels_are_left_as_they_are():
    matte = np.arange(128 * 128, dtype=np.uint16).reshape(128, 128)
    mask = flat(255)[..., 0]
    images = {"all": scene(), "shadow_matte": matte, "mask_full": mask,
              "lens_transmittance": np.dstack([matte] * 3)}  # fmt: skip
    found = apply_sensor(images, sensor(shot_noise=0.05, jpeg_quality=30))
    assert list(found) == list(images)
    for key in images:
        assert np.array_equal(found[key], images[key]) == (key != "all")


def test_noise_is_that_of_photons_in_linear_light():
    """Standard deviations at 18% grey and, four times as bright, twice as much."""
    for share, expected in ((GREY, 0.02), (4 * GREY, 0.04)):
        byte = int(to_uint8(srgb_from_linear(np.float32([share])))[0])
        image = flat(byte, 256)
        linear = linear_from_srgb(taken(image, sensor(shot_noise=0.02)).astype(np.float32) / 255)
        assert linear.std() == pytest.approx(expected, rel=0.03)
        assert linear.mean() == pytest.approx(share, rel=0.02)


def test_the_dark_has_read_noise_only():
    shown = taken(flat(0, 256), sensor(shot_noise=0.05))
    assert not shown.any()
    linear = linear_from_srgb(taken(flat(0, 256), sensor(read_noise=0.01)).astype(np.float32) / 255)
    # Half of the values are below black and cut off: mean of a half normal is 0.399 sigma.
    assert linear.mean() == pytest.approx(0.00399, rel=0.05)


def test_white_balance_scales_channels_in_linear_light():
    shown = taken(flat(128), sensor(red_gain=2.0, blue_gain=0.5))
    linear = linear_from_srgb(shown.astype(np.float32) / 255)[0, 0]
    grey = linear_from_srgb(np.float32([128 / 255]))[0]
    assert linear == pytest.approx([2 * grey, grey, grey / 2], rel=0.02)


def test_noise_comes_before_white_balance():
    shown = taken(flat(110, 256), sensor(shot_noise=0.01, red_gain=1.5))
    linear = linear_from_srgb(shown.astype(np.float32) / 255)
    assert linear[..., 0].std() == pytest.approx(1.5 * linear[..., 1].std(), rel=0.05)


def test_a_vignette_takes_its_share_at_the_corners_and_nothing_in_the_middle():
    linear = linear_from_srgb(taken(flat(200, 129), sensor(vignette=0.4)).astype(np.float32) / 255)
    full = linear_from_srgb(np.float32([200 / 255]))[0]
    assert linear[64, 64, 0] == pytest.approx(full, rel=0.01)
    assert linear[0, 0, 0] == pytest.approx(0.6 * full, rel=0.02)
    assert linear[64, 0, 0] == pytest.approx(0.8 * full, rel=0.02)


def test_a_fringe_moves_red_out_and_blue_in_by_its_share_and_never_a_pixel():
    for fringe, expected in ((0.003, 0.003 * 200 / 2**0.5), (0.004, 0.95 / 2**0.5)):
        image = flat(40, 200 if fringe == 0.003 else 1000)
        size = len(image)
        image[:, : size - 4] = 200
        shown = taken(image, sensor(fringe=fringe)).astype(float)
        edge = linear_from_srgb((shown / 255).astype(np.float32))[size // 2].sum(axis=0)
        step = np.ptp(linear_from_srgb(np.float32([40 / 255, 200 / 255])))
        moved = (edge - edge[1]) / step
        # At the side's middle, of what it is at the corner, less what the 4 px further in take.
        at_edge = expected * (size - 8) / size
        assert moved[0] == pytest.approx(at_edge, rel=0.05)
        assert moved[2] == pytest.approx(-at_edge, rel=0.05)
        assert abs(moved).max() < 1


def test_the_tone_curve_keeps_black_middle_and_white_and_rises():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    ramp = np.ascontiguousarray(np.repeat(ramp, 16, axis=0))
    for contrast in (-1.0, -0.3, 0.5, 1.0):
        shown = taken(ramp, sensor(contrast=contrast))[0, :, 0].astype(int)
        assert (shown[0], shown[255]) == (0, 255)
        assert abs(shown[128] - 128) <= 1
        assert (np.diff(shown) >= 0).all()
        assert (shown[64] < 64) == (contrast > 0)


def test_sharpening_lifts_edges_and_keeps_flat_fields():
    image = flat(80)
    image[:, 64:] = 160
    shown = taken(image, sensor(sharpen=1.0)).astype(int)
    assert shown[10, 10].tolist() == [80, 80, 80]
    assert shown[60, 63, 0] < 70
    assert shown[60, 64, 0] > 170


@pytest.mark.parametrize("kernel", KERNELS)
def test_resizing_blurs_in_place(kernel):
    image = flat(30)
    image[40:88, 40:88] = 220
    shown = taken(image, sensor(resize=0.5, kernel=kernel)).astype(float)
    weights = shown[..., 0] - 30
    rows, columns = np.mgrid[:128, :128]
    for place in (rows, columns):
        assert (weights * place).sum() / weights.sum() == pytest.approx(63.5, abs=0.02)
    assert not np.array_equal(shown, image)


def test_jpeg_loses_more_at_less_quality():
    errors = [
        np.abs(taken(scene(), sensor(jpeg_quality=q)).astype(int) - scene()).mean()
        for q in (95, 60, 20)
    ]
    assert 0 < errors[0] < errors[1] < errors[2] < 40


def test_pairs_stay_equal_where_they_were_but_for_what_reaches_over():
    """Everything on: beyond the blocks and filters that touch the difference, bytes are equal."""
    first, second = scene(), scene()
    second[50:60, 50:60] = 200
    spec = sensor(
        vignette=0.3, fringe=0.002, shot_noise=0.03, read_noise=0.005, red_gain=1.1, contrast=0.3,
        sharpen=0.8, resize=0.5, kernel="lanczos", jpeg_quality=75,
    )  # fmt: skip
    both = apply_sensor({"all": first, "glass": second}, spec)
    far = np.ones((128, 128), bool)
    # 8 pixels of a kernel at half the size, twice, and sharpening; then blocks of 16.
    far[16:96, 16:96] = False
    assert np.array_equal(both["all"][far], both["glass"][far])
    assert not np.array_equal(both["all"], both["glass"])
    other = apply_sensor({"all": first}, spec.model_copy(update={"seed": 8}))["all"]
    assert not np.array_equal(other[far], both["all"][far])


def test_noise_alone_keeps_pairs_equal_pixel_by_pixel():
    first, second = scene(), scene()
    second[50:60, 50:60] = 200
    both = apply_sensor({"all": first, "glass": second}, sensor(shot_noise=0.03, read_noise=0.01))
    same = (first == second).all(axis=2)
    assert np.array_equal(both["all"][same], both["glass"][same])


def test_a_sensor_is_drawn_for_each_portrait_within_the_recipe(catalog):
    recipe = parse_recipe(
        {
            "pairs_per_portrait": 2,
            "sensor": {"jpeg": 0.5, "jpeg_quality": [50, 60], "kernels": {"cubic": 1},
                       "white_balance": [-0.2, 0.2], "resize": 0.7},
        },
        "x",
    )  # fmt: skip
    specs = [draw(recipe, catalog, 0, index).sensor for index in range(80)]
    assert all(first == second for first, second in zip(specs[::2], specs[1::2], strict=True))
    assert len({spec.seed for spec in specs}) == 40
    assert {spec.kernel for spec in specs} == {"cubic"}
    assert {spec.resize for spec in specs} == {0.7}
    assert all(spec.jpeg_quality is None or 50 <= spec.jpeg_quality <= 60 for spec in specs)
    assert 10 <= sum(spec.jpeg_quality is None for spec in specs[::2]) <= 30
    assert all(2**-0.2 <= spec.red_gain <= 2**0.2 for spec in specs)
