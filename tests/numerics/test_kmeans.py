"""Clusters on the line against all partitions, of vectors against scipy, and values that fit outputs against lstsq."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.vq import kmeans2

from compressctl.arrays import Floats
from compressctl.numerics import points as points_module
from compressctl.numerics.kmeans import kmeans, lloyd, nearest, optimal
from compressctl.numerics.points import Points, collect, distinct_points
from compressctl.numerics.product_quantization import means, nearest_rows, train_codebook
from compressctl.numerics.shared_fit import fit_values

RNG = np.random.default_rng(11)


def error(points: Points, centroids: Floats) -> float:
    """Return the least weighted squared error with these centroids."""
    squares = np.square(points.values[:, None] - centroids).min(axis=1)
    return float((points.weights * squares).sum())


def best_of_all(points: Points, clusters: int) -> float:
    """Return the least error over all partitions into intervals."""

    def cost(part: slice) -> float:
        v, w = points.values[part], points.weights[part]
        return float((w * np.square(v - np.average(v, weights=w))).sum())

    n = len(points)
    splits = combinations(range(1, n), clusters - 1)
    return min(sum(cost(slice(a, b)) for a, b in zip((0, *s), (*s, n), strict=True)) for s in splits)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 9)), min_size=3, max_size=10, unique_by=lambda p: p[0]),
    st.integers(2, 6),
)
def test_dynamic_programming_is_as_good_as_the_best_of_all_partitions(pairs, clusters):
    values, weights = (np.array(sorted(pairs), float)).T
    points = Points(values, weights)
    if len(points) > clusters:
        centroids = optimal(points, clusters)
        assert len(centroids) == clusters and (np.diff(centroids) > 0).all()
        assert error(points, centroids) == pytest.approx(best_of_all(points, clusters), rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=200), st.integers(2, 30))
def test_more_clusters_are_never_worse(values, clusters):
    points = distinct_points(np.array(values, np.float32))
    total = float((points.weights * np.square(points.values)).sum())
    fewer, more = (error(points, kmeans(points, count)) for count in (clusters, clusters + 1))
    assert more <= fewer + 1e-9 * total
    if len(points) <= clusters:
        np.testing.assert_array_equal(kmeans(points, clusters), np.unique(np.float32(values)))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-20, 20), st.integers(1, 5)), min_size=1, max_size=40), st.integers(2, 8))
def test_a_weight_is_worth_repetitions(pairs, clusters):
    values, counts = (np.array(column) for column in zip(*pairs, strict=True))
    weighted = distinct_points(values.astype(np.float32), counts)
    repeated = distinct_points(np.repeat(values, counts).astype(np.float32))
    np.testing.assert_array_equal(weighted.values, repeated.values)
    np.testing.assert_array_equal(weighted.weights, repeated.weights)
    np.testing.assert_array_equal(kmeans(weighted, clusters), kmeans(repeated, clusters))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 20))
def test_lloyd_never_ends_above_its_start(seed, clusters):
    rng = np.random.default_rng(seed)
    points = distinct_points(rng.standard_t(2, 300).astype(np.float32), rng.random(300))
    start = rng.standard_normal(clusters)
    assert error(points, lloyd(points, start)) <= error(points, start) * (1 + 1e-12)


@pytest.mark.parametrize("draw", [RNG.standard_normal, RNG.laplace, lambda size: RNG.standard_t(3, size)])
def test_many_points_end_within_a_thousandth_of_the_optimum(draw, monkeypatch):
    values = np.asarray(draw(size=40_000), np.float32)
    points = distinct_points(values)
    least = error(points, optimal(points, 16))
    monkeypatch.setattr("compressctl.numerics.kmeans._QUICK", 2**15)
    assert least <= error(points, kmeans(points, 16)) <= least * 1.001
    monkeypatch.setattr(points_module, "_FEW", 1000)
    bins = collect([(values[:30_000], None), (values[30_000:], None)], values.size)
    assert len(bins) < len(points) and least <= error(points, kmeans(bins, 16)) <= least * 1.001


def test_bins_keep_weights_and_sums(monkeypatch):
    monkeypatch.setattr(points_module, "_FEW", 0)
    values = np.float32([0, 0, -1, 1, 1 + 2**-22, -np.float32(3.3e38), 1e-42])
    points = collect([(values, None)], values.size)
    assert (np.diff(points.values) > 0).all()
    assert points.weights.tolist() == [1, 1, 3, 2]  # 1e-42 lies in the bin of zeros
    assert points.values[3] == pytest.approx(1 + 2**-23, rel=1e-12)
    weights = np.arange(7.0)
    weighted = collect([(values, weights)], values.size)
    assert weighted.weights.sum() == weights.sum()
    assert (weighted.weights * weighted.values).sum() == pytest.approx((weights * values.astype(float)).sum())


def test_weights_of_zero_are_left_out():
    points = distinct_points(np.float32([1, 2, 3]), np.array([1.0, 0.0, 2.0]))
    assert points.values.tolist() == [1, 3]
    assert Points(np.array([-1.0, 0.0, 2.0]), np.ones(3)).without_zero().values.tolist() == [-1, 2]


def test_the_nearest_centroid_is_found():
    centroids = np.sort(RNG.standard_normal(256))
    values = RNG.standard_normal((50, 40)).astype(np.float32)
    np.testing.assert_array_equal(nearest(values, centroids), np.abs(values[..., None] - centroids).argmin(axis=2))


@pytest.mark.parametrize("weighted", [False, True])
def test_vectors_reach_a_fixed_point_of_lloyds_algorithm(weighted):
    rows = RNG.standard_normal((1500, 4)).astype(np.float32)
    weights = RNG.random((1500, 4)) if weighted else None
    book = train_codebook(rows, 16, weights, steps=1000)
    heavy = np.ones(rows.shape) if weights is None else weights
    distances = (heavy[:, None] * np.square(rows[:, None].astype(np.float64) - book)).sum(axis=2)
    codes = nearest_rows(rows, book, weights)
    chosen = np.take_along_axis(distances, codes[:, None].astype(int), 1)[:, 0]
    np.testing.assert_allclose(chosen, distances.min(axis=1), atol=1e-5)
    members = [codes == code for code in range(16)]
    centres = [(heavy[m] * rows[m]).sum(axis=0) / heavy[m].sum(axis=0) for m in members]
    np.testing.assert_allclose(book, centres, atol=1e-5)
    np.testing.assert_array_equal(means(rows, codes, book, weights), book)


def test_vectors_are_as_good_as_scipys():
    rows = RNG.laplace(size=(3000, 4)).astype(np.float32)
    book = train_codebook(rows, 64, seed=1)

    def distortion(centroids):
        return np.square(rows[:, None] - centroids).sum(axis=2).min(axis=1).mean()

    theirs = min(distortion(kmeans2(rows, 64, iter=50, minit="++", seed=seed)[0]) for seed in range(3))
    assert distortion(book) <= 1.02 * theirs


def test_vectors_are_the_same_every_time_and_move_with_all_rows():
    rows = RNG.standard_normal((5000, 2)).astype(np.float32)
    book = train_codebook(rows, 8, seed=3)  # looks at 2,048 of them
    np.testing.assert_array_equal(book, train_codebook(rows, 8, seed=3))
    assert len(np.unique(nearest_rows(rows, book))) == 8


def test_values_of_least_output_error_are_least_squares():
    """In k steps of conjugate gradients, against lstsq on the samples themselves."""
    x = RNG.standard_normal((400, 12)) @ RNG.standard_normal((12, 12))
    target, numbers = RNG.standard_normal((9, 12)), RNG.integers(-1, 5, (9, 12))
    design = np.zeros((400, 9, 5))
    for output, number in np.ndindex(9, 5):
        design[:, output, number] = x[:, numbers[output] == number].sum(axis=1)
    expected = np.linalg.lstsq(design.reshape(-1, 5), (x @ target.T).reshape(-1), rcond=None)[0]
    found = fit_values(target, x.T @ x, numbers, np.zeros(5), steps=5)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_no_step_towards_them_is_worse():
    x = np.maximum(RNG.standard_normal((300, 20)), 0)
    target, numbers = RNG.standard_normal((7, 20)), RNG.integers(0, 40, (7, 20))
    start = np.bincount(numbers.ravel(), target.ravel(), 40) / np.maximum(np.bincount(numbers.ravel(), minlength=40), 1)
    errors = [
        np.square(x @ (target - fit_values(target, x.T @ x, numbers, start, steps=s)[numbers]).T).sum()
        for s in range(8)
    ]
    assert (np.diff(errors) <= 0).all() and errors[-1] < 0.9 * errors[0]
