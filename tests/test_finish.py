"""Image arithmetic against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.finish import (
    Coverage,
    coverage_masks,
    influenced,
    shadow_mask,
    shadow_matte,
    srgb_from_linear,
    to_uint8,
)

ZERO = np.zeros((1, 4), np.float32)


def grey(*values: float) -> np.ndarray:
    return np.repeat(np.array([values], np.float32)[..., None], 3, axis=2)


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


def test_alpha_is_one_where_only_the_filter_touches():
    touched = np.array([[False, True, False, False]])
    assert coverage_masks(coverage(), touched)["alpha_full"].tolist() == [[0, 1, 0, 0]]


def test_shadow_rule_of_lyu_at_its_threshold():
    """From 188/255 grey: 12 and 13 of 255 darker, as much brighter, and darker under a frame."""

    def linear(byte: float) -> float:
        return ((byte / 255 + 0.055) / 1.055) ** 2.4

    without = grey(*[linear(188)] * 4)
    with_shadow = grey(linear(188 - 12.5), linear(188 - 13), linear(188 + 13), linear(100))
    frame = np.array([[0, 0, 0, 1]], np.float32)
    tied = np.ones((1, 4), bool)
    mask = shadow_mask(with_shadow, without, tied, coverage(frame=frame))
    assert mask.tolist() == [[0, 255, 0, 0]]
    assert not shadow_mask(with_shadow, without, ~tied, coverage()).any()


def test_no_shadow_is_marked_where_frame_and_dark_lens_share_a_pixel():
    lit, dark = grey(0.5, 0.5, 0.5, 0.5), grey(0.1, 0.1, 0.1, 0.1)
    frame = np.array([[0.3, 0.3, 0.0, 0.0]], np.float32)
    lens = np.array([[0.3, 0.1, 0.6, 0.4]], np.float32)
    seen = coverage(frame=frame, dark_lens=lens)
    mask = shadow_mask(dark, lit, np.ones((1, 4), bool), seen)
    assert mask.tolist() == [[0, 255, 0, 255]]


def test_shadow_rule_weighs_colours_by_lyus_luma():
    """Of 0.3, 0.59 and 0.11, a change by 30 of 255 passes 12.75 in green only (17.7)."""

    def linear(byte: float) -> float:
        return ((byte / 255 + 0.055) / 1.055) ** 2.4

    base = np.full((1, 4, 3), linear(180), np.float32)
    dark = base.copy()
    for channel in range(3):
        dark[0, channel, channel] = linear(150)
    assert shadow_mask(dark, base, np.ones((1, 4), bool), coverage()).tolist() == [[0, 255, 0, 0]]


def test_matte_is_the_ratio_of_luminance():
    face = np.array([[[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0.5], [0, 0, 0]]], np.float32)
    shadow = np.array([[[0.5, 0, 0], [0, 0.25, 0], [0.6, 0.6, 0.6], [0, 0, 0]]], np.float32)
    matte = shadow_matte(shadow, face, np.ones((1, 4), bool))
    assert matte.dtype == np.uint16
    assert matte.tolist() == [[32768, 16384, 65535, 65535]]
    assert (shadow_matte(shadow, face, np.zeros((1, 4), bool)) == 65535).all()


def test_influence_reaches_two_pixels_around_a_difference():
    a = np.zeros((9, 9, 3), np.float32)
    b = a.copy()
    b[4, 4, 1] = 1e-30
    near = influenced(a, b)
    assert near.sum() == 25
    assert near[2:7, 2:7].all()
