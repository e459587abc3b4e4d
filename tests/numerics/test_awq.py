"""Scales that follow the size of the inputs, against the search written out."""

import numpy as np

from compressctl.numerics.awq import awq_scales
from compressctl.numerics.grids import INT3
from compressctl.numerics.levels import fit_levels


def rounded(weight):
    levels = fit_levels(weight, INT3)
    return levels.values(levels.codes(weight)).astype(np.float64)


def problem(seed, inputs=32):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((200, inputs)) * np.exp(2 * rng.standard_normal(inputs))
    return [rng.standard_normal((16, inputs)).astype(np.float32) for _ in range(2)], x


def test_the_exponent_is_the_one_that_loses_least_of_the_outputs():
    weights, x = problem(0)
    scales, gain = awq_scales([(w, rounded) for w in weights], x.T @ x / len(x))
    size = np.sqrt(np.square(x).mean(axis=0))
    losses = []
    for alpha in np.linspace(0, 1, 21):
        s = size**alpha / np.sqrt((size**alpha).max() * (size**alpha).min())
        losses.append(
            sum(np.square((x / s) @ rounded((w * s).astype(np.float32)).T - x @ w.T).mean(0).sum() for w in weights)
        )
    best = size ** np.linspace(0, 1, 21)[np.argmin(losses)]
    np.testing.assert_allclose(scales, best / np.sqrt(best.max() * best.min()), rtol=1e-12)
    np.testing.assert_allclose(gain, min(losses) / losses[0], rtol=1e-6)
    assert gain < 0.7


def test_inputs_alike_need_no_scales():
    weights, _ = problem(1)
    scales, gain = awq_scales([(weights[0], rounded)], np.eye(32))
    np.testing.assert_array_equal(scales, np.ones(32))
    assert gain == 1


def test_silent_inputs_and_exact_weights_do_no_harm():
    moments = np.diag([0.0, 1.0, 4.0])
    scales, gain = awq_scales([(np.ones((2, 3), np.float32), lambda w: w.astype(np.float64))], moments)
    assert np.isfinite(scales).all() and gain == 1
