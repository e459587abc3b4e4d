"""Different values and rows, against numpy's own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressctl.numerics.distinct import distinct


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.sampled_from([1, 2, 4, 8]), st.sampled_from(["u1", "i4", "f2", "f4", "f8"]), st.data())
def test_as_numpy_finds_them(count, width, dtype, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    pool = rng.normal(0, 100, (count, width)).astype(dtype)
    array = pool[rng.integers(0, count, data.draw(st.sampled_from([1, 7, 5000])))]
    expected = np.unique(array, axis=0)
    found = distinct(array if width > 1 else array[:, 0])
    if len(expected) > 256:
        assert found is None
        return
    assert len(found.values) == len(expected)
    np.testing.assert_array_equal(found.values[found.codes].reshape(array.shape), array)


def test_bits_decide():
    found = distinct(np.array([0.0, -0.0, 1.0, 0.0], np.float32))
    np.testing.assert_array_equal(found.codes, [0, 2, 1, 0])
    assert np.signbit(found.values[2]) and found.values[2] == 0


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("extra", [0, 1])
def test_rare_ones_that_a_sample_misses_count(width, extra):
    array = np.zeros((1 << 20, width), np.float32)
    places = np.random.default_rng(0).choice(1 << 20, 255 + extra, replace=False)
    array[places, -1] = np.arange(1, 256 + extra)
    found = distinct(array if width > 1 else array[:, 0])
    if extra:
        assert found is None
    else:
        assert len(found.values) == 256
        np.testing.assert_array_equal(found.values[found.codes].reshape(array.shape), array)
