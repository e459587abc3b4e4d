"""Intervals and tests for what is measured on a sample. All intervals are of 95 %."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Literal

import numpy as np

from compressctl.arrays import Floats, Integers

Statistic = Callable[[Integers], Floats]

Z95 = 1.959963984540054  # the 97.5 % quantile of the normal distribution
REPLICATES = 1000
_CELLS = 1 << 21  # resampled indices held at a time


def wilson_interval(successes: float, count: int) -> tuple[float, float]:
    """Return the score interval of a proportion (Wilson 1927).

    Args:
        successes: between 0 and `count`; of a mean of values from 0 to 1, their sum.
        count: at least 1.
    """
    share, z2 = successes / count, Z95**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    low = 0.0 if successes == 0 else centre - half  # the closed form gives these exactly, rounding does not
    high = 1.0 if successes == count else centre + half
    return low, high


def bootstrap(statistic: Statistic, count: int, *, seed: int = 0, replicates: int = REPLICATES) -> Floats:
    """Return the statistic's values on resamples with replacement (Efron 1979), shape [replicates].

    Args:
        statistic: maps indices [R, count] into the sample to the R values of the statistic on those resamples; it may
            be called several times, so that memory stays bounded.
        count: size of the sample, at least 1.
        seed: of the resampling.
        replicates: number of resamples.
    """
    rng = np.random.default_rng(seed)
    at_once = max(1, _CELLS // count)
    parts = [
        statistic(rng.integers(0, count, (min(at_once, replicates - done), count)))
        for done in range(0, replicates, at_once)
    ]
    return np.concatenate(parts).astype(np.float64)


def percentile_interval(values: Floats) -> tuple[float, float]:
    """Return the 2.5 % and 97.5 % percentiles of bootstrap values; NaN, a resample without a value, is left out."""
    defined = values[~np.isnan(values)]
    if not defined.size:
        return math.nan, math.nan
    # between infinities, interpolation would make NaN
    method: Literal["linear", "nearest"] = "linear" if np.isfinite(defined).all() else "nearest"
    low, high = np.quantile(defined, [0.025, 0.975], method=method)
    return float(low), float(high)


def bootstrap_p_value(differences: Floats) -> float:
    """Return the two-sided p-value of "the difference is 0" from bootstrap values of it (Efron & Tibshirani 1993).

    The +1 keeps it above 0 (Davison & Hinkley 1997, eq. 4.11). NaN, a resample without a value, is left out.
    """
    defined = differences[~np.isnan(differences)]
    at_most, at_least = int(np.count_nonzero(defined <= 0)), int(np.count_nonzero(defined >= 0))
    return min(1.0, 2 * (min(at_most, at_least) + 1) / (len(defined) + 1))


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of the exact McNemar test: the smaller discordant count is Binomial(n, 1/2).

    Args:
        only_first: pairs in which only the first of two paired outcomes is a success.
        only_second: pairs in which only the second is.
    """
    n, k = only_first + only_second, min(only_first, only_second)
    i = np.arange(1, k + 1)
    log_choose = np.concatenate([[0.0], np.cumsum(np.log(n - i + 1) - np.log(i))])
    return min(1.0, 2 * float(np.exp(log_choose - n * math.log(2)).sum()))


def paired_proportion_interval(only_first: int, only_second: int, count: int) -> tuple[float, float]:
    """Return the adjusted Wald interval of the difference of two paired proportions (Bonett & Price 2012, eq. 3).

    Args:
        only_first: pairs in which only the first outcome is a success.
        only_second: pairs in which only the second is.
        count: all pairs, at least 1.
    """
    first, second = (only_first + 1) / (count + 2), (only_second + 1) / (count + 2)
    half = Z95 * math.sqrt((first + second - (first - second) ** 2) / (count + 2))
    return max(-1.0, first - second - half), min(1.0, first - second + half)


def spearman(x: Floats, y: Floats, indices: Integers) -> Floats:
    """Return Spearman's rank correlation of x and y (ties share their mean rank) on each of R resamples.

    A resample is a weight per sample, and weighted ranks come from a running sum in sorted order, so nothing is
    sorted again.

    Args:
        x, y: shape [N].
        indices: shape [R, N], entries below N.

    Returns:
        Shape [R]; NaN where either is constant or holds NaN.
    """
    if np.isnan(x).any() or np.isnan(y).any():
        return np.full(len(indices), np.nan)
    replicates, count = indices.shape
    flat = indices + count * np.arange(replicates)[:, None]
    weights = np.bincount(flat.ravel(), minlength=replicates * count).reshape(replicates, count).astype(np.float64)
    first, second = (_weighted_ranks(v, weights) for v in (x, y))
    covariance, first_variance, second_variance = (
        (weights * a * b).sum(axis=1) for a, b in ((first, second), (first, first), (second, second))
    )
    with np.errstate(invalid="ignore"):
        return np.asarray(np.clip(covariance / np.sqrt(first_variance * second_variance), -1, 1))


def pearson(x: Floats, y: Floats, indices: Integers) -> Floats:
    """Return Pearson's correlation of x and y, [N], on each of R resamples, `indices` [R, N]: [R].

    NaN where either is constant or holds NaN.
    """
    first, second = x - x.mean(), y - y.mean()  # correlations do not depend on it, and large means cost digits
    a, b = first[indices], second[indices]
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    covariance, first_variance, second_variance = ((u * v).sum(axis=1) for u, v in ((a, b), (a, a), (b, b)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.clip(covariance / np.sqrt(first_variance * second_variance), -1, 1))


def _weighted_ranks(values: Floats, weights: Floats) -> Floats:
    """Return mid-ranks less their mean, [R, N], in samples that hold each value `weights` times."""
    unique, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(unique)))
    mass = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks = np.cumsum(mass, axis=1) - mass / 2
    return ranks[:, group] - values.size / 2


def group_interval(values: Floats, *, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Return a 95 % bootstrap confidence interval for the mean of `values`, one value a group of measurements.

    Groups are drawn with replacement and stay whole (a block bootstrap; Davison & Hinkley 1997, section 3.8): what
    correlates the measurements inside a group, and what sets one group apart from another, both reach the width.
    The percentile interval is too narrow for few groups, so it is stretched around the mean by
    sqrt(n / (n - 1)) * t / z, which gives the width of Student's interval for n normal groups (Hesterberg 2015,
    "What Teachers Should Know About the Bootstrap", section 4.1.4).

    Args:
        values: shape (n,), n >= 2.
        resamples: number of bootstrap samples.
        seed: the seed of the drawing.
    """
    n = len(values)
    draws = np.random.default_rng(seed).integers(n, size=(resamples, n))
    means = values[draws].mean(axis=1)
    tail = 0.025
    low, high = np.quantile(means, (tail, 1 - tail))
    mean = values.mean()
    stretch = math.sqrt(n / (n - 1)) * student_quantile(1 - tail, n - 1) / NormalDist().inv_cdf(1 - tail)
    return float(mean - stretch * (mean - low)), float(mean + stretch * (high - mean))


def student_quantile(probability: float, freedom: int) -> float:
    """Return the quantile of Student's t (Abramowitz & Stegun 26.7.5; within 0.3 % from 3 degrees of freedom on)."""
    x = NormalDist().inv_cdf(probability)
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
    )
    return x + math.fsum(term / freedom ** (i + 1) for i, term in enumerate(terms))
