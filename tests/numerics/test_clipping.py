"""Clipping against its definition, element by element."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compressctl.numerics.clipping import clip, percentile_threshold, sigma_threshold

FLOATS = st.sampled_from([np.float16, np.float32, np.float64])
ARRAYS = FLOATS.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(max_dims=3), elements=st.floats(-100, 100, width=16))
)


@given(ARRAYS, st.floats(0.01, 100), st.none() | st.floats(0, 100))
def test_elements_beyond_the_threshold_get_the_value_and_keep_their_sign(array, threshold, value):
    clipped = clip(array, threshold, value)
    count, squares = 0, 0.0
    for before, after in zip(array.ravel().tolist(), clipped.array.ravel().tolist(), strict=True):
        if abs(before) > threshold:
            count += 1
            wanted = threshold if value is None else value
            assert after == pytest.approx(np.copysign(wanted, before), rel=1e-3, abs=1e-4)
            assert value is not None or abs(after) <= threshold
        else:
            assert after == before
        squares += (after - before) ** 2
    assert clipped.count == count
    assert clipped.mse == pytest.approx(squares / array.size)
    assert clipped.array.dtype == array.dtype
    assert clipped.array.shape == array.shape


@given(ARRAYS, st.floats(0.01, 100))
def test_clipping_twice_is_clipping_once(array, threshold):
    once = clip(array, threshold)
    twice = clip(once.array, threshold)
    assert twice.count == 0
    assert twice.array is once.array


def test_the_original_is_left_alone():
    array = np.array([1.0, -3.0], np.float32)
    assert clip(array, 2).array.tolist() == [1, -2]
    assert array.tolist() == [1, -3]


@given(ARRAYS, st.floats(1, 100))
def test_a_percentile_of_the_magnitudes(array, percentile):
    threshold = percentile_threshold(array, percentile)
    assert threshold == pytest.approx(np.percentile(np.abs(array.astype(np.float64)), percentile))
    assert clip(array, threshold).count <= (1 - percentile / 100) * array.size + 1


@given(ARRAYS, st.floats(0.1, 5))
def test_standard_deviations(array, sigma):
    assert sigma_threshold(array, sigma) == pytest.approx(sigma * np.std(array.astype(np.float64)))


def test_nothing_at_all():
    empty = np.zeros((0, 3), np.float32)
    assert percentile_threshold(empty, 50) == sigma_threshold(empty, 3) == 0
    assert clip(empty, 1.0).count == 0
