"""Masks against their definitions written out, and the schedule against the paper's formula."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from compressctl.numerics.sparsity import cubic, layer_adaptive, n_of_m, share, shares, smallest

SCORES = arrays(np.float32, array_shapes(max_dims=3, max_side=9), elements=st.integers(0, 5).map(float))


@given(SCORES, st.integers(0, 800))
def test_smallest_goes_by_score_then_by_index(scores, count):
    order = sorted(range(scores.size), key=lambda i: (scores.flat[i], i))
    expected = np.zeros(scores.size, bool)
    expected[order[:count]] = True
    np.testing.assert_array_equal(smallest(scores, count), expected.reshape(scores.shape))


@given(st.lists(SCORES, max_size=4), st.floats(0, 0.999))
def test_shares_is_the_share_of_all_together(parts, ratio):
    masks = list(shares(parts, ratio))
    assert [mask.shape for mask in masks] == [part.shape for part in parts]
    if parts:
        flat = np.concatenate([part.reshape(-1) for part in parts])
        np.testing.assert_array_equal(np.concatenate([m.reshape(-1) for m in masks]), share(flat, ratio))
        assert sum(int(mask.sum()) for mask in masks) == round(ratio * flat.size)


@given(arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 4)).map(lambda s: (s[0], 4 * s[1]))), st.data())
def test_n_of_m_leaves_the_largest(scores, data):
    scores = np.nan_to_num(scores)
    n = data.draw(st.integers(1, 3))
    mask = n_of_m(scores, n, 4)
    for group, gone in zip(scores.reshape(-1, 4), mask.reshape(-1, 4), strict=True):
        assert (~gone).sum() == n
        assert sorted(group[~gone]) == sorted(group)[4 - n :]


def test_n_of_m_needs_multiples():
    with pytest.raises(ValueError, match="6 scores are no multiple of 4"):
        n_of_m(np.zeros((2, 6)), 2, 4)


def test_layer_adaptive_follows_the_formula():
    weight = np.random.default_rng(0).standard_normal((3, 5))
    expected = [[w**2 / sum(v**2 for v in weight.flat if abs(v) >= abs(w)) for w in row] for row in weight]
    np.testing.assert_allclose(layer_adaptive(weight), expected)
    np.testing.assert_allclose(layer_adaptive(1e3 * weight), expected)
    np.testing.assert_array_equal(layer_adaptive(np.zeros((2, 2))), 0)


@given(arrays(np.float32, 20, elements=st.integers(-4, 4).map(float)), st.integers(0, 20))
def test_layer_adaptive_ranks_by_magnitude(weight, count):
    np.testing.assert_array_equal(smallest(layer_adaptive(weight), count), smallest(np.abs(weight), count))


def test_cubic_is_zhu_and_guptas():
    np.testing.assert_allclose(cubic(0.8, 4), [0.8 + (0 - 0.8) * (1 - k / 4) ** 3 for k in (1, 2, 3, 4)])
    assert cubic(0.5, 1) == [0.5]
