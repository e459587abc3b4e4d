"""Equalization scales against the paper's closed form and its fixed point."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressctl.numerics.equalization import Layer, equalize, smoothing_scales


def _weight(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) * np.exp(rng.normal(0, 2, shape[:2] + (1,) * (len(shape) - 2)))).astype("f")


def test_a_pair_meets_at_the_geometric_mean_at_once():
    rng = np.random.default_rng(0)
    w1, w2 = _weight(rng, 6, 3, 3, 3), _weight(rng, 5, 6, 1, 1)
    first, second = Layer.of(w1, None, 1), Layer.of(w2, None, 1)
    assert equalize([(first, second)], 40) == 2, "one sweep to find the scales, one to see that they stay"
    r1, r2 = np.abs(w1).max(axis=(1, 2, 3)), np.abs(w2).max(axis=(0, 2, 3))
    np.testing.assert_allclose(first.outputs.reshape(-1), np.sqrt(r1 / r2), rtol=1e-5)
    np.testing.assert_allclose(second.inputs.reshape(-1), np.sqrt(r1 / r2), rtol=1e-5)
    np.testing.assert_allclose(first.output_ranges(), np.sqrt(r1 * r2), rtol=1e-5)
    np.testing.assert_allclose(second.input_ranges(), np.sqrt(r1 * r2), rtol=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_a_chain_with_a_depthwise_layer_settles_where_neighbours_agree(seed, multiplier):
    rng = np.random.default_rng(seed)
    channels = 6
    layers = [
        Layer.of(_weight(rng, channels, 4, 1, 1), None, 1),
        Layer.of(_weight(rng, channels * multiplier, 1, 3, 3), None, channels),
        Layer.of(_weight(rng, 8, channels * multiplier // 2, 1), None, 2),
    ]
    equalize([(layers[0], layers[1]), (layers[1], layers[2])], 200)
    for first, second in ((layers[0], layers[1]), (layers[1], layers[2])):
        r1, r2 = first.output_ranges(), second.input_ranges()
        np.testing.assert_allclose(r1, r2, rtol=5e-3)


def test_reach_of_groups():
    weight = np.arange(24, dtype=np.float32).reshape(4, 2, 3) - 10
    layer = Layer.of(weight, None, 2)
    assert layer.reach.shape == (2, 2, 2) and layer.inputs.shape == (2, 2) and layer.outputs.shape == (2, 2)
    assert layer.reach[1, 0].tolist() == [4, 7]
    assert layer.reach[0, 0].tolist() == [10, 7]


@pytest.mark.parametrize("side", [0, 1])
def test_dead_channels_keep_their_scale(side):
    rng = np.random.default_rng(1)
    weights = [_weight(rng, 4, 3, 1, 1), _weight(rng, 2, 4, 1, 1)]
    weights[side][(2,) if side == 0 else (slice(None), 2)] = 0
    first, second = (Layer.of(weight, None, 1) for weight in weights)
    equalize([(first, second)], 10)
    assert first.outputs[0, 2] == second.inputs[0, 2] == 1
    assert np.isfinite(first.outputs).all() and (first.outputs > 0).all()


def test_a_bias_without_weights_is_not_blown_up():
    rng = np.random.default_rng(6)
    w1, w2, bias = rng.standard_normal((9, 4, 3, 3)), rng.standard_normal((5, 9, 1, 1)), rng.uniform(0.5, 1, 9)
    w1[4] *= 1e-9
    first, second = Layer.of(w1, bias, 1), Layer.of(w2, None, 1)
    equalize([(first, second)], 40)
    scaled = bias / first.outputs.reshape(-1)
    assert scaled[4] < 8 * np.delete(scaled, 4).max()
    others = np.delete(first.output_ranges(), 4), np.delete(second.input_ranges(), 4)
    np.testing.assert_allclose(*others, rtol=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_scaling_the_channels_beforehand_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    w1, w2, bias = rng.standard_normal((6, 4, 3, 3)), rng.standard_normal((5, 6, 1, 1)), rng.standard_normal(6)
    before = np.exp(rng.normal(0, 2, 6))
    plain = Layer.of(w1, bias, 1), Layer.of(w2, None, 1)
    uneven = (
        Layer.of(w1 / before[:, None, None, None], bias / before, 1),
        Layer.of(w2 * before[None, :, None, None], None, 1),
    )
    for pair in (plain, uneven):
        equalize([pair], 40)
    np.testing.assert_allclose(uneven[0].outputs.reshape(-1) * before, plain[0].outputs.reshape(-1), rtol=5e-3)


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
