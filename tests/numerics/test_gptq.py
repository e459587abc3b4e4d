"""GPTQ against the algorithm written out column by column, with an explicit inverse after each."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressctl.numerics.gptq import gptq
from compressctl.numerics.grids import BINARY, INT2, INT3, INT4, TERNARY
from compressctl.numerics.levels import fit_levels
from compressctl.numerics.obs import damped


def problem(outputs, inputs, seed):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(inputs, inputs)) * np.exp(rng.normal(size=inputs))
    x = rng.normal(size=(4 * inputs, inputs)) @ mix
    return rng.normal(size=(outputs, inputs)), damped(x.T @ x / len(x), 0.01)


def fitted(grid, offset=False):
    return lambda part: fit_levels(part.astype(np.float32), grid, offset=offset)


def dequantized(codes, roundings):
    return np.concatenate([r.values(c) for c, r in zip(np.split(codes, len(roundings), 1), roundings, strict=True)], 1)


def error(change, moments):
    return float(((change @ moments) * change).sum())


def slow(weight, moments, fit, places, group):
    """Optimal brain quantization: round column after column, and invert what is left of H anew each time."""
    w, result = weight.copy(), np.zeros(weight.shape)
    for number, column in enumerate(places):
        if number % group == 0:
            rounding = fit(w[:, places[number : number + group]])
        rest = places[number:]
        inverse = np.linalg.inv(moments[np.ix_(rest, rest)])
        result[:, column] = rounding.values(rounding.codes(w[:, [column]]))[:, 0]
        change = (w[:, column] - result[:, column]) / inverse[0, 0]
        w[:, rest] -= np.outer(change, inverse[0])
    return result


@pytest.mark.parametrize("block", [1, 5, 128])
@pytest.mark.parametrize("offset", [False, True])
def test_one_group_is_rounded_as_by_the_slow_algorithm(block, offset):
    weight, moments = problem(7, 40, 1)
    fit = fitted(INT3, offset)
    codes, roundings = gptq(weight, moments, fit, order=False, block=block)
    np.testing.assert_array_equal(dequantized(codes, roundings), slow(weight, moments, fit, np.arange(40), 40))
    places = np.argsort(-np.diag(moments))
    codes, roundings = gptq(weight, moments, fit, block=block)
    np.testing.assert_array_equal(dequantized(codes, roundings), slow(weight, moments, fit, places, 40))


@pytest.mark.parametrize("block", [3, 16, 128])
def test_groups_are_fitted_when_their_turn_comes(block):
    weight, moments = problem(5, 48, 2)
    codes, roundings = gptq(weight, moments, fitted(INT4), group=16, order=False, block=block)
    assert len(roundings) == 3
    expected = slow(weight, moments, fitted(INT4), np.arange(48), 16)
    np.testing.assert_array_equal(dequantized(codes, roundings), expected)


def test_ordered_groups_stay_together():
    weight, moments = problem(5, 48, 3)
    sizes = np.diag(moments)
    groups = sorted(range(3), key=lambda g: -sizes[16 * g : 16 * g + 16].sum())
    places = np.array([c for g in groups for c in sorted(range(16 * g, 16 * g + 16), key=lambda c: -sizes[c])])
    codes, roundings = gptq(weight, moments, fitted(INT4), group=16)
    expected = slow(weight, moments, fitted(INT4), places, 16)
    np.testing.assert_array_equal(dequantized(codes, roundings), expected)


def test_without_correlations_it_is_rounding_to_nearest():
    weight, _ = problem(6, 20, 4)
    codes, (levels,) = gptq(weight, np.eye(20), fitted(INT4))
    np.testing.assert_array_equal(codes, levels.codes(weight))


def test_levels_may_be_given():
    weight, moments = problem(6, 20, 5)
    levels = fit_levels(weight.astype(np.float32), INT4)
    codes, found = gptq(weight, moments, lambda _: levels)
    assert found == [levels]
    nearest = levels.values(levels.codes(weight))
    assert error(levels.values(codes) - weight, moments) < error(nearest - weight, moments)


CHOICES = [(grid, None) for grid in (INT4, INT3, INT2, TERNARY, BINARY)] + [(INT4, 8), (INT3, 8)]


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 24), st.sampled_from(CHOICES), st.integers(0, 10**6))
def test_many_rows_lose_less_than_by_rounding_to_nearest(outputs, choice, seed):
    grid, group = choice
    weight, moments = problem(outputs, 32, seed)
    offset = grid == INT2
    width = group or 32
    codes, roundings = gptq(weight, moments, fitted(grid, offset), group=group)
    plain = fit_levels(weight.reshape(-1, width).astype(np.float32), grid, offset=offset)
    nearest = plain.values(plain.codes(weight.reshape(-1, width))).reshape(weight.shape)
    assert error(dequantized(codes, roundings) - weight, moments) <= error(nearest - weight, moments)
