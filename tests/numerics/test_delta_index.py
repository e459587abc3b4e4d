"""Relative indices, against sums of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressctl.numerics.delta_index import deltas_of, fillers, split


@given(st.lists(st.booleans(), max_size=400), st.integers(1, 8))
def test_sums_of_gaps_are_places(mask, bits):
    array = np.array(mask, np.float32)
    deltas = deltas_of(array)
    np.testing.assert_array_equal(np.cumsum(deltas), np.flatnonzero(array))
    short, real = split(deltas, bits)
    assert len(short) == len(deltas) + fillers(deltas, bits)
    assert (short < 1 << bits).all()
    places = np.cumsum(short, dtype=np.int64)
    np.testing.assert_array_equal(places[real], np.flatnonzero(array))
    assert len(np.unique(places)) == len(places)  # fillers stand on zeros, one each
    assert not array[places[~real]].any()


def test_as_in_deep_compression():
    """Figure 2 of arXiv:1510.00149: spans beyond 8 with 3 bits; here a delta of 3 bits is 7 at most."""
    array = np.zeros(20, np.float32)
    array[[1, 4, 15]] = [3.4, 0.9, 1.7]
    short, real = split(deltas_of(array), 3)
    assert short.tolist() == [1, 3, 7, 4]
    assert real.tolist() == [True, True, False, True]


@pytest.mark.parametrize("size", [(1 << 22) - 1, (1 << 22) + 5])
def test_large_arrays_go_piece_by_piece(size):
    array = np.zeros(size, np.int8)
    places = [3, (1 << 22) - 2, size - 1]
    array[places] = 1
    np.testing.assert_array_equal(np.cumsum(deltas_of(array)), np.unique(places))


def test_minus_zero_is_an_element():
    assert deltas_of(np.array([0.0, -0.0, 1.0], np.float32)).tolist() == [1, 1]
