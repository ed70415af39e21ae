"""Image arithmetic against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.denoise import Denoiser
from pipeline.finish import coverage_masks
from pipeline.pixels import srgb_from_linear, to_uint8
from pipeline.rendering import Coverage, Guides

ZERO = np.zeros((1, 4), np.float32)


def coverage(**given: np.ndarray) -> Coverage:
    names = ("frame", "legs", "lens_left", "lens_right", "full", "dark_lens")
    return Coverage(**{name: given.get(name, ZERO) for name in names})


def test_srgb_transfer_of_iec_61966():
    linear = np.array([-1, 0, 0.0031308, 0.18, 0.5, 1, 7], np.float32)
    expected = [0, 0, 10.31, 117.64, 187.52, 255, 255]
    assert srgb_from_linear(linear) * 255 == pytest.approx(np.array(expected), abs=0.01)
    assert to_uint8(srgb_from_linear(linear)).tolist() == [0, 0, 10, 118, 188, 255, 255]


def test_every_byte_survives_the_way_to_linear_and_back():
    encoded = np.arange(256) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    back = to_uint8(srgb_from_linear(linear.astype(np.float32)))
    assert np.array_equal(back, np.arange(256))


def test_masks_cut_at_one_half_and_alpha_keeps_the_faintest_touch():
    part = np.array([[0, 0.0001, 0.4999, 0.5]], np.float32)
    masks = coverage_masks(coverage(frame=part, lens_left=part, full=part), part > 0)
    assert masks["mask_frame"].tolist() == [[0, 0, 0, 255]]
    assert masks["mask_lenses"].tolist() == [[0, 0, 0, 255]]
    assert masks["mask_lens_right"].tolist() == [[0, 0, 0, 0]]
    assert masks["alpha_full"].tolist() == [[0, 1, 127, 128]]


def test_a_pixel_that_both_lenses_half_cover_is_in_one_mask():
    half = np.array([[0.5, 0.5, 0.25, 0]], np.float32)
    other = np.array([[0.5, 0.25, 0.5, 0.5]], np.float32)
    masks = coverage_masks(coverage(lens_left=half, lens_right=other), half > 0)
    assert masks["mask_lens_left"].tolist() == [[255, 255, 0, 0]]
    assert masks["mask_lens_right"].tolist() == [[0, 0, 255, 255]]
    assert masks["mask_lenses"].tolist() == [[255, 255, 255, 255]]


def test_alpha_is_one_where_only_a_sample_of_the_picture_touches():
    touched = np.array([[False, True, False, False]])
    assert coverage_masks(coverage(), touched)["alpha_full"].tolist() == [[0, 1, 0, 0]]


def test_grain_of_what_lenses_show_does_not_stay_through_its_albedo():
    """Half the samples meet skin, half the bright room: so do colour and albedo, pixel by pixel."""
    rng = np.random.default_rng(5)
    share = rng.binomial(8, 0.5, (96, 96, 1)) / 8
    albedo = (0.3 + 0.7 * share * np.ones(3)).astype(np.float32)
    color = (0.6 * albedo * rng.uniform(0.9, 1.1, (96, 96, 1))).astype(np.float32)
    where = np.zeros((96, 96), bool)
    where[24:72, 24:72] = True
    denoiser = Denoiser(1)
    guides = Guides(albedo, np.zeros_like(albedo))
    clean = denoiser.with_clean_albedo(guides, where)
    assert np.array_equal(clean.albedo[~where], albedo[~where])
    grain = [
        denoiser.replace(color, color, used, where)[where].std() for used in (guides, clean)
    ]
    assert grain[1] < 0.3 * grain[0]
    assert grain[1] < 0.2 * color[where].std()
