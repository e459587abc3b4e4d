"""Importances of units, against loops and scipy."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist

from compressctl.numerics.importance import (
    distances_to_others,
    share_of_sum,
    unit_elements,
    unit_rows,
    unit_sums,
)

UNITS = st.lists(st.integers(-1, 3), min_size=1, max_size=8).map(lambda units: np.array(units, np.int64))


@given(UNITS, st.integers(0, 2), st.integers(0, 99))
def test_sums_rows_and_numbers_of_elements_are_those_of_the_units(units, axis, seed):
    shape = [2, 3, 4]
    shape[axis] = len(units)
    array = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    sums, elements, rows = (f(array, axis, units, 4) for f in (unit_sums, _elements, unit_rows))
    for unit in range(4):
        part = np.compress(units == unit, array, axis).astype(np.float64)
        assert_allclose(sums[unit], part.sum(), atol=1e-9)
        assert elements[unit] == part.size
        of_unit = np.moveaxis(part, axis, 0).ravel()
        assert_allclose(rows[unit, : part.size], of_unit)
        assert not rows[unit, part.size :].any()


def _elements(array, axis, units, count):
    return unit_elements(array.shape, axis, units, count)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 99))
def test_distances_are_euclidean(count, width, seed):
    rows = np.random.default_rng(seed).standard_normal((count, width)) + 100
    assert_allclose(distances_to_others(rows), cdist(rows, rows).sum(axis=1), atol=1e-5)


def test_twins_are_the_first_to_be_spared():
    rows = np.array([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]])
    assert_allclose(distances_to_others(rows), [5, 5, 10])


def test_shares_sum_to_one():
    assert_allclose(share_of_sum(np.array([1.0, 3.0])), [0.25, 0.75])
    assert_allclose(share_of_sum(np.zeros(4)), np.full(4, 0.25))
