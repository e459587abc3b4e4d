"""Intervals and tests against scipy, and against their promise of 95 % by simulation with fixed seeds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from compressctl.numerics.statistics import (
    bootstrap,
    bootstrap_p_value,
    group_interval,
    mcnemar_exact,
    paired_proportion_interval,
    percentile_interval,
    spearman,
    student_quantile,
    wilson_interval,
)


@given(st.integers(1, 100_000), st.floats(0, 1))
def test_wilson_is_scipys(count, share):
    successes = round(share * count)
    expected = stats.binomtest(successes, count).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(wilson_interval(successes, count), expected, rtol=1e-9, atol=1e-12)


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_mcnemar_is_the_binomial_test(a, b):
    expected = stats.binomtest(a, a + b).pvalue if a + b else 1.0
    assert mcnemar_exact(a, b) == pytest.approx(expected, rel=1e-7, abs=1e-280)  # scipy's underflows to 0 below that
    assert mcnemar_exact(a, b) == mcnemar_exact(b, a)


def test_mcnemar_far_out():
    assert mcnemar_exact(20_000, 21_000) == pytest.approx(stats.binomtest(20_000, 41_000).pvalue, rel=1e-7)


def test_bonett_price_by_hand():
    # n = 100, 12 and 3 discordant: p1 = 13 / 102, p2 = 4 / 102, half = 1.959964 sqrt((p1 + p2 - (p1 - p2)²) / 102)
    low, high = paired_proportion_interval(12, 3, 100)
    assert (low, high) == pytest.approx((0.0882353 - 0.0773543, 0.0882353 + 0.0773543), abs=1e-6)
    assert paired_proportion_interval(1, 0, 1)[1] == 1.0


VALUES = st.integers(-5, 5).map(float) | st.floats(-1e6, 1e6)
SAMPLES = st.integers(3, 40).flatmap(lambda n: st.tuples(*2 * [hnp.arrays(np.float64, n, elements=VALUES)]))


@settings(deadline=None)
@given(SAMPLES, st.integers(0, 9))
def test_spearman_of_resamples_is_scipys(sample, seed):
    x, y = sample
    indices = np.random.default_rng(seed).integers(0, len(x), (4, len(x)))
    indices[0] = np.arange(len(x))
    for row, value in zip(indices, spearman(x, y, indices), strict=True):
        if np.ptp(x[row]) == 0 or np.ptp(y[row]) == 0:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(stats.spearmanr(x[row], y[row]).statistic, abs=1e-9)


def test_spearman_of_nan_is_nan():
    x = np.array([1.0, 2, np.nan])
    assert np.isnan(spearman(x, np.arange(3.0), np.arange(3)[None])).all()


def test_bootstrap_memory_and_seed():
    calls = []

    def mean(indices):
        calls.append(indices.shape)
        return indices.mean(axis=1)

    first, second = bootstrap(mean, 50_000, replicates=100), bootstrap(mean, 50_000, replicates=100)
    np.testing.assert_array_equal(first, second)
    assert first.shape == (100,) and max(rows * count for rows, count in calls) <= 1 << 21
    assert not np.array_equal(first, bootstrap(mean, 50_000, seed=1, replicates=100))


def test_bootstrap_interval_is_scipys():
    x = np.random.default_rng(0).exponential(size=200)
    ours = percentile_interval(bootstrap(lambda i: x[i].mean(axis=1), len(x), replicates=20_000))
    theirs = stats.bootstrap((x,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    np.testing.assert_allclose(ours, theirs, rtol=0.01)


def test_undefined_and_infinite_resamples():
    assert percentile_interval(np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0)
    assert np.isnan(percentile_interval(np.array([np.nan]))).all()
    assert percentile_interval(np.array([3.0] * 50 + [np.inf] * 50)) == (3.0, np.inf)


@given(hnp.arrays(np.float64, st.integers(1, 200), elements=st.floats(-10, 10)))
def test_bootstrap_p_values(differences):
    p = bootstrap_p_value(differences)
    assert 0 < p <= 1
    assert p == bootstrap_p_value(-differences)
    if (differences > 0).all():
        assert p == min(1.0, 2 / (len(differences) + 1))


@pytest.mark.parametrize("share", [0.05, 0.5, 0.81, 0.98])
@pytest.mark.parametrize("count", [40, 500])
def test_wilson_covers(share, count):
    k = np.arange(count + 1)
    covered = np.array([low <= share <= high for low, high in (wilson_interval(int(i), count) for i in k)])
    assert 0.93 <= stats.binom.pmf(k, count, share)[covered].sum() <= 0.985


@pytest.mark.parametrize(("lost", "gained"), [(0.02, 0.02), (0.05, 0.01), (0.2, 0.1)])
def test_the_paired_interval_covers(lost, gained):
    rng, count = np.random.default_rng(0), 300
    tables = rng.multinomial(count, [lost, gained, 1 - lost - gained], 4000)
    intervals = np.array([paired_proportion_interval(int(a), int(b), count) for a, b, _ in tables])
    covered = (intervals[:, 0] <= lost - gained) & (lost - gained <= intervals[:, 1])
    assert 0.935 <= covered.mean() <= 0.985


def test_the_bootstrap_interval_covers():
    rng, hits = np.random.default_rng(0), 0
    for seed in range(400):
        x = rng.gamma(2.0, size=150)
        low, high = percentile_interval(bootstrap(lambda i, x=x: x[i].mean(axis=1), len(x), seed=seed))
        hits += low <= 2.0 <= high
    assert 0.92 <= hits / 400 <= 0.975


def test_the_bootstrap_interval_of_a_correlation_covers():
    rng, hits, rho = np.random.default_rng(0), 0, 0.8
    truth = 6 / np.pi * np.arcsin(rho / 2)  # Spearman's of a bivariate normal (Pearson 1907)
    for seed in range(200):
        x, z = rng.normal(size=(2, 200))
        y = rho * x + np.sqrt(1 - rho**2) * z
        low, high = percentile_interval(
            bootstrap(lambda i, x=x, y=y: spearman(x, y, i), 200, seed=seed, replicates=400)
        )
        hits += low <= truth <= high
    assert 0.9 <= hits / 200 <= 0.985


@pytest.mark.parametrize("freedom", [3, 4, 5, 8, 11, 30, 1000])
@pytest.mark.parametrize("probability", [0.9, 0.95, 0.975])
def test_student_quantile(freedom: int, probability: float) -> None:
    assert student_quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=3e-3)


def test_many_groups_give_students_interval() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    expected = stats.t.interval(0.95, 399, values.mean(), stats.sem(values))
    assert group_interval(values, resamples=20000) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("groups", [5, 8, 12])
def test_few_groups_cover_as_often_as_they_should(groups: int) -> None:
    rng = np.random.default_rng(groups)
    intervals = [group_interval(rng.normal(size=groups), resamples=500, seed=i) for i in range(1000)]
    covered = np.mean([low <= 0 <= high for low, high in intervals])
    assert 0.92 <= covered <= 0.97  # the unstretched percentile interval covers 0.82 with 5 groups


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).normal(size=6)
    assert group_interval(values, seed=3) == group_interval(values, seed=3) != group_interval(values, seed=4)


def test_equal_groups_give_a_point() -> None:
    assert group_interval(np.full(5, 0.25)) == (0.25, 0.25)
