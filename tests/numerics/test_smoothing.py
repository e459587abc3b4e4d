"""SmoothQuant's scales against the paper's formula."""

import numpy as np
import pytest

from compressctl.numerics.equalization import smoothing_scales


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_scales_follow_the_formula(alpha):
    rng = np.random.default_rng(0)
    x, w = rng.exponential(3, 50).astype("f"), rng.exponential(0.1, 50).astype("f")
    expected = [float(a) ** alpha / float(b) ** (1 - alpha) for a, b in zip(x, w, strict=True)]
    np.testing.assert_allclose(smoothing_scales(x, w, alpha), np.maximum(expected, 1e-5), rtol=1e-9)


def test_half_makes_both_sides_equal():
    x, w = np.array([100.0, 1.0, 0.5]), np.array([0.25, 1.0, 2.0])
    scales = smoothing_scales(x, w, 0.5)
    np.testing.assert_allclose(x / scales, w * scales)


def test_silent_channels_keep_their_scale():
    assert smoothing_scales(np.array([0.0, 4.0, 0.0]), np.array([3.0, 0.0, 0.0]), 0.5).tolist() == [1, 1, 1]
