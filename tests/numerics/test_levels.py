"""Levels with offsets against an exhaustive search; and when 16 bits hold scales."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressctl.numerics.grids import BINARY, INT2, INT3, INT4, TERNARY
from compressctl.numerics.levels import covering, fit_levels
from compressctl.numerics.rounding import weight_qparams


def squared(levels, rows):
    return np.square(levels.values(levels.codes(rows)).astype(np.float64) - rows).sum(axis=1)


def drawn(seed, rows=6, columns=32):
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([INT4, INT3, INT2]), st.integers(0, 10**6))
def test_an_offset_costs_no_more_than_covering_the_row(grid, seed):
    rows = drawn(seed)
    scale, low = (a.astype(np.float64)[:, None] for a in covering(rows, grid.high - grid.low + 1))
    covered = np.rint((rows - low) / scale) * scale + low
    assert (squared(fit_levels(rows, grid, offset=True), rows) <= 1.02 * np.square(covered - rows).sum(axis=1)).all()


def test_four_levels_come_near_the_best_of_an_exhaustive_search():
    rows = drawn(7, rows=10)
    scales, offsets = np.linspace(0.3, 2, 80), np.linspace(-2.5, 0, 80)
    best = np.full(10, np.inf)
    for scale in scales:
        for offset in offsets:
            values = np.clip(np.rint((rows - offset) / scale), 0, 3) * scale + offset
            best = np.minimum(best, np.square(values - rows).sum(axis=1))
    assert squared(fit_levels(rows, INT2, offset=True), rows).sum() <= 1.05 * best.sum()


@pytest.mark.parametrize("grid", [INT4, INT3, INT2, TERNARY, BINARY])
def test_without_offsets_scales_are_those_of_the_grids(grid):
    rows = drawn(3)
    levels = fit_levels(rows, grid)
    np.testing.assert_array_equal(levels.scale, weight_qparams(rows, 0, grid).scale.astype(np.float16))
    assert levels.scale.dtype == np.float16 and levels.offset is None


@pytest.mark.parametrize("factor", [1e-12, 1e-6, 1e30])
@pytest.mark.parametrize("offset", [False, True])
def test_scales_beyond_16_bits_are_kept_in_32(factor, offset):
    rows = drawn(4) * np.float32(factor)
    levels = fit_levels(rows, INT4, offset=offset)
    assert levels.scale.dtype == np.float32
    assert (squared(levels, rows) < 0.02 * np.square(rows.astype(np.float64)).sum(axis=1)).all()


def test_an_offset_far_beyond_the_steps_is_kept_in_32_bits():
    rows = 1000 + drawn(5)
    levels = fit_levels(rows, INT4, offset=True)
    assert levels.offset.dtype == np.float32
    assert np.abs(levels.values(levels.codes(rows)) - rows).max() < 0.6


def test_pieces_give_what_rows_give_alone():
    rows = drawn(6, rows=5000, columns=128)
    whole, part = fit_levels(rows, INT4, offset=True), fit_levels(rows[4000:4100], INT4, offset=True)
    np.testing.assert_array_equal(whole.scale[4000:4100], part.scale)
    np.testing.assert_array_equal(whole.codes(rows)[4000:4100], part.codes(rows[4000:4100]))


def test_blocks_that_lie_by_columns_give_what_their_rows_give():
    stored = np.random.default_rng(8).standard_normal((3, 32, 9000)).astype(np.float32)  # more than is fitted at once
    blocks = stored.swapaxes(1, 2)
    rows = np.ascontiguousarray(blocks).reshape(-1, 32)
    whole, alone = fit_levels(blocks, INT4, offset=True), fit_levels(rows, INT4, offset=True)
    np.testing.assert_array_equal(whole.scale, alone.scale)
    np.testing.assert_array_equal(whole.offset, alone.offset)
    codes = whole.codes(blocks)
    np.testing.assert_array_equal(codes.reshape(-1, 32), alone.codes(rows))
    assert codes.swapaxes(1, 2).flags.c_contiguous  # as the stored array


def test_lines_err_less_than_lloyds_alternation_from_the_whole_range():
    rows = drawn(9, rows=400, columns=64)
    scale, offset = (one.astype(np.float64)[:, None] for one in covering(rows, 16))
    for _ in range(8):
        codes = np.clip(np.rint((rows - offset) / scale), 0, 15)
        centred = codes - codes.mean(axis=1, keepdims=True)
        scale = (centred * rows).sum(axis=1, keepdims=True) / (centred**2).sum(axis=1, keepdims=True)
        offset = rows.mean(axis=1, keepdims=True) - scale * codes.mean(axis=1, keepdims=True)
    codes = np.clip(np.rint((rows - offset) / scale), 0, 15)
    assert squared(fit_levels(rows, INT4, offset=True), rows).sum() < np.square(codes * scale + offset - rows).sum()
