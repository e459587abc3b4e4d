"""Half-quadratic quantization: what it minimises falls, and outliers are let be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressctl.errors import ModelError
from compressctl.numerics.grids import INT2, INT3, INT4
from compressctl.numerics.hqq import hqq, objective
from compressctl.numerics.levels import Levels, covering


def drawn(seed, rows=20, columns=64):
    return np.random.default_rng(seed).standard_t(4, size=(rows, columns)).astype(np.float32)


def errors(levels, rows):
    return levels.values(levels.codes(rows)) - rows


def test_the_objective_is_the_sum_of_powers():
    error = np.array([[0.0, -1.0, 4.0]], np.float32)
    np.testing.assert_allclose(objective(error), [1 + 4**0.7], rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([INT4, INT3, INT2]), st.integers(0, 10**6))
def test_no_row_has_a_larger_objective_than_before(grid, seed):
    rows = drawn(seed)
    count = grid.high - grid.low + 1
    before, after = Levels(grid, *covering(rows, count)), hqq(rows, grid)
    slack = 1.05  # scales and offsets of 16 bits: the row's smallest weight is exact no more
    assert (objective(errors(after, rows)) <= slack * objective(errors(before, rows))).all()
    assert objective(errors(after, rows)).sum() < objective(errors(before, rows)).sum()


def test_scales_cover_each_row():
    rows = drawn(0)
    np.testing.assert_allclose(hqq(rows, INT4).scale, (rows.max(1) - rows.min(1)) / 15, rtol=2**-10)


@pytest.mark.parametrize("factor", [0.25, 8.0])
def test_scales_of_a_row_go_through(factor):
    rows = drawn(1)
    one, other = hqq(rows, INT4), hqq(rows * np.float32(factor), INT4)
    np.testing.assert_array_equal(other.scale, one.scale * np.float16(factor))


def test_a_constant_row_keeps_its_value():
    rows = np.array([[0.5] * 8, [0.0] * 8, [-3.0] * 8], np.float32)
    levels = hqq(rows, INT4)
    np.testing.assert_array_equal(levels.values(levels.codes(rows)), rows)


def test_what_is_no_number_is_refused():
    with pytest.raises(ModelError, match="weight 'w' holds NaN"):
        hqq(np.array([[1, np.nan]], np.float32), INT4, name="weight 'w'")
