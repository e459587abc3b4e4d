"""Noise in streams against numpy on all values at once."""

import math

import numpy as np
import pytest

from compressctl.explanation.noise import Noise, decibels

RNG = np.random.default_rng(0)
B = RNG.normal(size=(40, 6, 5)).astype(np.float32) + 1


def streamed(b, r, axis=1, size=16):
    noise = Noise(axis)
    for start in range(0, len(b), size):
        assert noise.add(b[start : start + size], r[start : start + size])
    return noise


@pytest.mark.parametrize("axis", [1, -1, None])
@pytest.mark.parametrize("level", [1e-6, 0.1, 3.0])
def test_the_ratio_is_numpys(axis, level):
    r = B + level * RNG.normal(size=B.shape).astype(np.float32)
    exact = np.square(B.astype(np.float64) - r).sum() / np.square(B.astype(np.float64)).sum()
    assert streamed(B, r, axis).ratio == pytest.approx(exact, rel=1e-12)
    assert decibels(exact) == pytest.approx(-10 * np.log10(exact))


def test_equal_values_zeros_and_nan():
    assert streamed(B, B).ratio == 0 and decibels(0.0) == math.inf
    assert streamed(0 * B, B).ratio == math.inf and decibels(math.inf) == -math.inf
    assert math.isnan(streamed(B, np.where(B > 2, np.nan, B)).ratio)
    assert not Noise(1).add(B, B[:, :3])


def test_factors_of_channels_are_undone():
    factors = np.array([0.2, 3, 1, 0.5, 7, 1.5], np.float32)[:, None]
    noisy = (B + 0.01 * RNG.normal(size=B.shape)).astype(np.float32)
    regained = streamed(B, noisy * factors).regained()
    per_channel = [
        np.square(b - r * (b @ r) / (r @ r)).sum()
        for b, r in zip(
            B.astype(np.float64).transpose(1, 0, 2).reshape(6, -1),
            (noisy * factors).astype(np.float64).transpose(1, 0, 2).reshape(6, -1),
            strict=True,
        )
    ]
    assert regained == pytest.approx(sum(per_channel) / np.square(B.astype(np.float64)).sum(), rel=1e-6)


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_rounding_is_not_taken_for_factors(bits):
    scale = np.abs(B).max(axis=(0, 2), keepdims=True) / 2 ** (bits - 1)
    assert streamed(B, (np.round(B / scale) * scale).astype(np.float32)).regained() is None
