"""Labels of shadows against numbers worked out by hand, and against what noise hides."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.denoise import Denoiser
from pipeline.pixels import differing
from pipeline.rendering import Coverage
from pipeline.shadows import may_be_shadow, shadow_mask, shadow_ratio

ZERO = np.zeros((1, 4), np.float32)


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return Denoiser(threads=1)


def grey(*values: float) -> np.ndarray:
    return np.repeat(np.array([values], np.float32)[..., None], 3, axis=2)


def linear(byte: float) -> float:
    return ((byte / 255 + 0.055) / 1.055) ** 2.4


def coverage(**given: np.ndarray) -> Coverage:
    names = ("frame", "legs", "lens_left", "lens_right", "full", "dark_lens")
    return Coverage(**{name: given.get(name, ZERO) for name in names})


def test_shadow_rule_of_lyu_at_its_threshold():
    """From 188/255 grey: 12.5 and 13 of 255 darker, unshaded, and darker under a frame."""
    lit = grey(*[linear(188)] * 4)
    ratio = np.array([[linear(175.5), linear(175), linear(188), linear(100)]], np.float32)
    frame = np.array([[0, 0, 0, 1]], np.float32)
    mask = shadow_mask(lit, ratio / np.float32(linear(188)), coverage(frame=frame))
    assert mask.tolist() == [[0, 255, 0, 0]]


def test_no_shadow_is_marked_where_frame_and_dark_lens_share_a_pixel():
    frame = np.array([[0.3, 0.3, 0.0, 0.0]], np.float32)
    lens = np.array([[0.3, 0.1, 0.6, 0.4]], np.float32)
    ratio = np.full((1, 4), 0.2, np.float32)
    mask = shadow_mask(grey(0.5, 0.5, 0.5, 0.5), ratio, coverage(frame=frame, dark_lens=lens))
    assert mask.tolist() == [[0, 255, 0, 255]]


def test_shadow_rule_weighs_colours_by_lyus_luma():
    """A pure colour that loses 27 of 180 in sRGB: of 0.3, 0.59, 0.11 only green passes 12.75."""
    lit = np.zeros((1, 4, 3), np.float32)
    for channel in range(3):
        lit[0, channel, channel] = linear(180)
    ratio = np.full((1, 4), linear(153) / linear(180), np.float32)
    assert shadow_mask(lit, ratio, coverage()).tolist() == [[0, 255, 0, 0]]


def test_influence_reaches_two_pixels_around_a_difference():
    a = np.zeros((9, 9, 3), np.float32)
    b = a.copy()
    b[4, 4, 1] = 1e-30
    near = differing(a, b)
    assert near.sum() == 25
    assert near[2:7, 2:7].all()


def noisy_pair(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(dark, lit, true ratio) of 32 samples a pixel that see a light or not; a wide penumbra."""
    rng = np.random.default_rng(seed)
    columns = np.arange(64)
    true = np.tile(np.clip((columns - 16) / 24, 0, 1), (64, 1))
    true[:, 56:] = 1.0
    light = rng.gamma(32, 1 / 32, (64, 64)) * np.where(np.arange(64) % 8 < 4, 0.2, 0.6)
    dark = light * rng.binomial(32, true) / 32
    dark[:, 56:] = light[:, 56:]
    repeat = [np.repeat(x[..., None].astype(np.float32), 3, axis=2) for x in (dark, light)]
    return repeat[0], repeat[1], true


def test_a_ratio_keeps_the_penumbra_and_loses_noise_and_texture(denoiser):
    dark, lit, true = noisy_pair(1)
    found = shadow_ratio(dark, lit, denoiser)
    raw = np.minimum(dark[..., 0] / lit[..., 0], 1)
    error = np.abs(found - true).mean()
    assert error < 0.02
    assert error < 0.5 * np.abs(raw - true).mean()
    assert found[:, :12].mean() < 0.02
    assert (found[:, 60:] == 1).all()


def test_a_ratio_is_one_where_nothing_is_tied_or_nothing_shines(denoiser):
    lit = np.full((32, 32, 3), 0.4, np.float32)
    assert (shadow_ratio(lit, lit, denoiser) == 1).all()
    black = np.full((32, 32, 3), 1e-6, np.float32)
    assert (shadow_ratio(black * 0, black, denoiser) == 1).all()


def test_what_is_black_darkens_nothing_beside_it(denoiser):
    """A faint shade of 0.97 up to a black backdrop, and with a tenth of its pixels black."""
    lit = np.full((64, 64, 3), 0.4, np.float32)
    lit[:, 40:] = 0.0
    lit[np.random.default_rng(5).random((64, 64)) < 0.1] = 0.0
    found = shadow_ratio(np.nextafter(lit * np.float32(0.97), np.float32(1)), lit, denoiser)
    shone = lit[..., 0] > 0
    assert (found[~shone] == 1).all()
    assert found[shone].mean() == pytest.approx(0.97, abs=0.01)
    assert found[:, 39][shone[:, 39]].mean() == pytest.approx(0.97, abs=0.015)


def test_a_sharp_shadow_keeps_its_place_and_depth(denoiser):
    lit = np.full((48, 48, 3), 0.5, np.float32)
    dark = lit.copy()
    dark[:, 20:30] *= 0.25
    found = shadow_ratio(dark, lit, denoiser)
    assert np.abs(found[4:-4, 22:28] - 0.25).max() < 0.035
    assert ((found < 0.625).sum(axis=1)[4:-4] == 10).all()


def test_shadow_is_suspected_through_noise_and_only_where_layers_differ():
    """A tenth darker on the left, noise of a fifth; a hundredth on the right is none."""
    noise = np.random.default_rng(3).normal(1, 0.2, (48, 96, 1)).astype(np.float32)
    lit = np.broadcast_to(noise * np.float32(0.4), (48, 96, 3)).copy()
    dark = lit.copy()
    dark[:, :24] *= np.float32(0.9)
    dark[:, 72:] *= np.float32(0.99)
    suspected = may_be_shadow(dark, lit)
    assert suspected[:, :24].all()
    assert not suspected[:, 28:].any()
