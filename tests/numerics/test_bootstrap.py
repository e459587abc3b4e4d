"""Intervals from groups: Student's quantile against scipy, width and coverage against theory."""

import numpy as np
import pytest
from scipy import stats

from compressctl.numerics.statistics import group_interval, student_quantile


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
