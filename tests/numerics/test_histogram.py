"""The streaming histogram against numpy.histogram, and its independence of order and of splits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compressctl.numerics.histogram import BINS, Histogram

FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)
ARRAYS = hnp.arrays(np.float32, st.integers(0, 50), elements=FLOATS | st.just(0.0))
BATCHES = st.lists(ARRAYS, min_size=1, max_size=6)


def _of(*batches: np.ndarray) -> Histogram:
    histogram = Histogram()
    for batch in batches:
        histogram.update(batch)
    return histogram


def _assert_same(a: Histogram, b: Histogram) -> None:
    assert (a.low, a.high, a.zeros, a.total) == (b.low, b.high, b.zeros, b.total)
    np.testing.assert_array_equal(a.edges, b.edges)
    np.testing.assert_array_equal(a.counts, b.counts)


@settings(max_examples=200, deadline=None)
@given(BATCHES)
def test_counts_are_numpys(batches):
    values = np.concatenate(batches)
    histogram = _of(*batches)
    assert histogram.total == values.size
    assert histogram.zeros == np.sum(values == 0)
    if values.size:
        assert (histogram.low, histogram.high) == (values.min(), values.max())
    edges = histogram.edges
    # numpy closes the last bin on the right; one more edge keeps all of ours half open.
    expected, _ = np.histogram(values[values != 0].astype(np.float64), np.append(edges, np.inf))
    np.testing.assert_array_equal(histogram.counts, expected[:-1])
    assert expected[-1] == 0
    assert len(histogram.counts) == BINS and 0.0 in edges


@settings(max_examples=100, deadline=None)
@given(BATCHES, st.randoms(use_true_random=False))
def test_order_and_splits_do_not_matter(batches, random):
    at_once = _of(np.concatenate(batches))
    shuffled = list(batches)
    random.shuffle(shuffled)
    _assert_same(_of(*shuffled), at_once)


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float32, 20, elements=FLOATS))
def test_bins_are_as_fine_as_they_can_be(values):
    histogram = _of(values)
    reach = max(float(values.max()), 0.0) - min(float(values.min()), 0.0)
    assert histogram.width <= max(2 * reach / (BINS - 2), 2.0**-148)


def test_range_doubles():
    histogram = _of(np.array([0.5, 1.0, 3.0]))
    fine = histogram.width
    histogram.update(np.array([2 * 3.0]))
    assert histogram.width == 2 * fine
    histogram.update(np.array([-100.0]))
    assert histogram.counts.sum() == 5
    np.testing.assert_array_equal(histogram.edges[np.flatnonzero(histogram.counts)] <= [-100, 0.5, 1.0, 3.0, 6.0], True)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32])
def test_other_types(dtype):
    assert _of(np.array([[-3, 0], [7, 1]], dtype)).total == 4


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refuses_what_is_not_finite(bad):
    with pytest.raises(ValueError, match="finite"):
        _of(np.array([1.0, bad]))
