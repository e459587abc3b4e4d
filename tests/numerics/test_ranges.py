"""Range choice: percentile against numpy, mse against an exhaustive search, entropy against a slow direct reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import entropy as kullback_leibler

from compressctl.numerics import ranges
from compressctl.numerics.histogram import Histogram
from compressctl.numerics.qparams import affine, dequantize, quantize

FLOATS = st.floats(-1e6, 1e6, width=32)
ARRAYS = hnp.arrays(np.float32, st.integers(1, 200), elements=FLOATS | st.just(0.0))
METHODS = ["minmax", "percentile", "entropy", "mse"]


def _of(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.update(np.asarray(values, np.float32))
    return histogram


def _sample(name: str) -> np.ndarray:
    rng = np.random.default_rng(3)
    values = {
        "relu": np.maximum(rng.standard_normal(20_000), 0),
        "normal": rng.standard_normal(20_000),
        "heavy": rng.standard_t(3, 20_000),
        "shifted": rng.laplace(2, 1, 20_000),
        "negative": -rng.exponential(1, 20_000),
        "spike": np.append(rng.standard_normal(20_000), [60.0]),
    }
    return values[name].astype(np.float32)


SAMPLES = ["relu", "normal", "heavy", "shifted", "negative", "spike"]


@settings(max_examples=150, deadline=None)
@given(ARRAYS, st.sampled_from(METHODS))
def test_every_range_holds_zero_and_lies_in_what_was_seen(values, method):
    low, high = ranges.choose(_of(values), method)
    assert min(values.min(), 0) <= low <= 0 <= high <= max(values.max(), 0)
    if method == "minmax":
        assert (low, high) == (min(values.min(), 0), max(values.max(), 0))


@settings(max_examples=150, deadline=None)
@given(ARRAYS, st.floats(60, 100))
def test_percentile_is_numpys_within_a_bin(values, percent):
    histogram = _of(values)
    low, high = ranges.percentile(histogram, percent)
    cut = (100 - percent) / 2
    # numpy interpolates between neighbours; the two order statistics around the quantile bound what may be returned.
    for end, q in ((low, cut), (high, 100 - cut)):
        around = [np.percentile(values, q, method=m).astype(np.float64) for m in ("lower", "higher")]
        bounds = [min(around[0], 0), max(around[1], 0)] if end == 0 else around
        assert bounds[0] - histogram.width <= end <= bounds[1] + histogram.width


@pytest.mark.parametrize("name", SAMPLES)
def test_percentile_of_many_values(name):
    values = _sample(name)
    histogram = _of(values)
    low, high = ranges.percentile(histogram, 99.0)
    expected = np.percentile(values, [0.5, 99.5])
    assert low == pytest.approx(min(expected[0], 0), abs=1.01 * histogram.width)
    assert high == pytest.approx(max(expected[1], 0), abs=1.01 * histogram.width)


@settings(max_examples=200, deadline=None)
@given(ARRAYS)
def test_mse_is_never_worse_than_minmax(values):
    histogram = _of(values)
    ours = ranges.squared_error(histogram, *ranges.mse(histogram))
    assert ours <= ranges.squared_error(histogram, *ranges.minmax(histogram))


@pytest.mark.parametrize("name", SAMPLES)
def test_squared_error_is_that_of_the_values(name):
    values = _sample(name)
    qparams = affine(-2.0, 3.0)
    measured = np.mean((dequantize(quantize(values, qparams), qparams).astype(np.float64) - values) ** 2)
    assert ranges.squared_error(_of(values), -2.0, 3.0) == pytest.approx(measured, rel=0.02)


@pytest.mark.parametrize("name", SAMPLES)
def test_mse_is_near_the_best_of_an_exhaustive_search(name):
    histogram = _of(_sample(name))
    low, high = ranges.minmax(histogram)
    best = min(
        ranges.squared_error(histogram, low * a, high * b)
        for a in (np.linspace(0.02, 1, 60) if low < 0 else [1.0])
        for b in (np.linspace(0.02, 1, 60) if high > 0 else [1.0])
    )
    assert ranges.squared_error(histogram, *ranges.mse(histogram)) <= 1.05 * best


def _slow_entropy(histogram: Histogram, clips: list[int]) -> tuple[float, tuple[float, float]]:
    """The published procedure, one bin at a time."""
    counts, edges = histogram.counts.tolist(), histogram.edges
    zero = edges.tolist().index(0.0)
    best = (np.inf, (0.0, 0.0))
    for clip in clips:
        start, stop = max(zero - clip, 0), min(zero + clip, len(counts))
        while start < zero and counts[start] == 0:
            start += 1
        while stop > zero and counts[stop - 1] == 0:
            stop -= 1
        reference = [float(c) for c in counts[start:stop]]
        occupied = [i for i, c in enumerate(reference) if c > 0]
        reference[occupied[0]] += sum(counts[:start])
        reference[occupied[-1]] += sum(counts[stop:])
        candidate = [0.0] * len(reference)
        levels: dict[int, list[int]] = {}
        for i in range(len(reference)):
            levels.setdefault(i * 256 // len(reference), []).append(i)
        for members in levels.values():
            mass = sum(counts[start + i] for i in members)
            present = [i for i in members if reference[i] > 0]
            for i in present:
                candidate[i] = mass / len(present)
        divergence = float(kullback_leibler(reference, candidate))
        best = min(best, (divergence, (min(edges[start], 0.0), max(edges[stop], 0.0))))
    return best


@pytest.mark.parametrize("name", ["relu", "normal", "heavy", "spike"])
def test_entropy_is_that_of_a_direct_reference(name):
    histogram = _of(_sample(name))
    low, high = ranges.entropy(histogram)
    zero = int(np.searchsorted(histogram.edges, 0.0))
    used = np.flatnonzero(histogram.counts)
    reach = max(used[-1] + 1 - zero, zero - used[0])
    clips = sorted({int(c) for c in np.linspace(256, reach, 64)})
    _, expected = _slow_entropy(histogram, clips)
    assert (low, high) == (max(expected[0], min(histogram.low, 0)), min(expected[1], max(histogram.high, 0)))


def test_entropy_ignores_the_spike_of_zeros():
    values = np.abs(_sample("heavy"))
    assert ranges.entropy(_of(values)) == ranges.entropy(_of(np.append(values, np.zeros(10**6, np.float32))))


def test_clipping_methods_cut_an_outlier():
    histogram = _of(_sample("spike"))
    assert ranges.entropy(histogram)[1] < 30
    assert ranges.percentile(histogram, 99.9)[1] < 6
    assert ranges.minmax(histogram)[1] == 60


@pytest.mark.parametrize("method", METHODS)
def test_nothing_seen_zeros_only_and_ends_only(method):
    assert ranges.choose(Histogram(), method) == (0, 0)
    assert ranges.choose(_of(np.zeros(5)), method) == (0, 0)
    histogram = Histogram()
    histogram.cover(-1.5, 2.5)
    assert ranges.choose(histogram, method) == (-1.5, 2.5)
    assert ranges.choose(_of(np.ones(7)), method) == (0, 1)
    assert ranges.choose(_of(-np.ones(7)), method) == (-1, 0)


def test_what_is_seldom_other_than_zero_is_not_cut_away():
    histogram = Histogram()
    histogram.update(np.concatenate([np.zeros(500_000), [3.0, 5.0]]).astype(np.float32))
    assert ranges.choose(histogram, "percentile") == (0.0, 5.0)
    histogram.update(np.ones(500_000, np.float32))
    assert ranges.choose(histogram, "percentile")[1] < 3, "beside other values they are outliers"
