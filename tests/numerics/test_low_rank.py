"""Low rank against scipy's and numpy's singular value decompositions and errors summed over samples."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from compressctl.numerics.low_rank import RowMoments, components, factors, refit, relative_error
from compressctl.numerics.separable import channel_components, column_components, separable, tucker

SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))


def _moments(x: np.ndarray) -> RowMoments:
    return RowMoments(x.T @ x / len(x), x.mean(axis=0), len(x))


def _samples(rng: np.random.Generator, inputs: int, rows: int = 40) -> np.ndarray:
    return rng.standard_normal((rows, inputs)) @ rng.standard_normal((inputs, inputs))


@given(SIZES)
@settings(deadline=None)
def test_plain_factors_are_the_svd(sizes):
    outputs, inputs, seed = sizes
    w = np.random.default_rng(seed).standard_normal((outputs, inputs)).astype(np.float32)
    u, s, v = np.linalg.svd(w.astype(np.float64), full_matrices=False)
    found = components(w)
    np.testing.assert_allclose(found.energies, s**2, atol=1e-9 * s[0] ** 2)
    for rank in range(1, len(s) + 1):
        up, down = factors(w, found, rank)
        assert up.shape == (outputs, rank)
        np.testing.assert_allclose(up @ down, (u[:, :rank] * s[:rank]) @ v[:rank], atol=1e-6 * s[0])


@given(SIZES)
@settings(deadline=None)
def test_whitened_factors_are_the_svd_of_the_weight_times_the_root_of_the_moments(sizes):
    outputs, inputs, seed = sizes
    rng = np.random.default_rng(seed)
    w, x = rng.standard_normal((outputs, inputs)), _samples(rng, inputs)
    second = x.T @ x / len(x)
    root = scipy.linalg.cholesky(second + 1e-13 * np.trace(second) * np.eye(inputs), lower=True)
    u, s, v = scipy.linalg.svd(w @ root, full_matrices=False)
    found, variance = components(w, _moments(x)), np.sum(np.var(x @ w.T, axis=0)) * len(x)
    np.testing.assert_allclose(found.energies, s**2, atol=1e-7 * s[0] ** 2)
    rank = (len(s) + 1) // 2
    up, down = factors(w, found, rank)
    best = np.sum((x @ (w - (u[:, :rank] * s[:rank]) @ v[:rank] @ np.linalg.inv(root)).T) ** 2)
    ours = np.sum((x @ (w - up @ down).T) ** 2)
    assert ours <= best * (1 + 1e-6) + 1e-7 * np.sum((x @ w.T) ** 2)
    assert relative_error(w, up @ down, _moments(x)) == pytest.approx(ours / variance, rel=1e-6, abs=1e-9)
    assert found.tail()[rank] == pytest.approx(ours / variance, rel=1e-6, abs=1e-9)


def test_whitening_needs_fewer_samples_than_inputs():
    rng = np.random.default_rng(1)
    w, x = rng.standard_normal((6, 20)), rng.standard_normal((4, 20))
    found = components(w, _moments(x))
    up, down = factors(w, found, 4)
    np.testing.assert_allclose(x @ (up @ down).T, x @ w.T, atol=1e-9)
    assert found.rank_for(1.0) == 4


def test_whitening_is_better_on_the_inputs_than_the_plain_decomposition():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((200, 16)) * np.geomspace(10, 0.01, 16)
    w = rng.standard_normal((16, 16))
    moments = _moments(x)
    errors = [relative_error(w, np.matmul(*factors(w, components(w, m), 4)), moments) for m in (moments, None)]
    assert errors[0] < errors[1] / 3


@given(st.lists(st.floats(0, 100), min_size=1, max_size=9), st.floats(0.01, 1))
def test_rank_for_energy_is_the_fewest(singular, energy):
    s = np.sort(np.float32(singular))[::-1].astype(np.float64)
    found = components(np.diag(s))
    rank = found.rank_for(energy)
    total = np.sum(s**2)
    assert np.sum(s[:rank] ** 2) >= (energy - 1e-9) * total
    assert rank == 1 or np.sum(s[: rank - 1] ** 2) < (energy + 1e-9) * total


def test_a_mean_is_no_energy():
    rng = np.random.default_rng(7)
    w, x = rng.standard_normal((8, 8)), rng.standard_normal((500, 8)) + 100
    found = components(w, _moments(x))
    assert found.energies[0] > 0.999 * found.energies.sum()
    centred = np.linalg.svd((x - x.mean(axis=0)) @ w.T, compute_uv=False) ** 2
    assert found.variance == pytest.approx(centred.sum() / 500)
    expected = 1 + np.argmax(np.cumsum(centred) >= 0.9 * centred.sum())
    assert found.rank_for(0.9) in (expected, expected + 1)  # one more may hold the mean
    assert components(np.ones((2, 2)), _moments(np.ones((3, 2)))).variance > 0  # constant outputs


def test_shrinking_adds_to_the_diagonal_as_rows_are_few():
    x = np.random.default_rng(8).standard_normal((20, 10))
    moments = _moments(x)
    expected = moments.second + 0.01 * 10 / 20 * np.trace(moments.second) / 10 * np.eye(10)
    np.testing.assert_allclose(moments.shrunk().second, expected)
    np.testing.assert_array_equal(moments.shrunk().mean, moments.mean)


def test_zero_weights():
    found = components(np.zeros((3, 4)))
    up, down = factors(np.zeros((3, 4)), found, 2)
    assert found.rank_for(0.9) == 1
    assert not np.any(up @ down)
    assert relative_error(np.zeros((3, 4)), up @ down) == 0.0


def test_refit_is_least_squares():
    rng = np.random.default_rng(3)
    x, target, features = rng.standard_normal((50, 8)), rng.standard_normal((3, 8)), rng.standard_normal((4, 8))
    expected, *_ = np.linalg.lstsq(x @ features.T, x @ target.T, rcond=None)
    np.testing.assert_allclose(refit(target, features, _moments(x)), expected.T, atol=1e-5)
    expected, *_ = np.linalg.lstsq(features.T, target.T, rcond=None)
    np.testing.assert_allclose(refit(target, features), expected.T, atol=1e-5)


KERNELS = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 10**6))


@given(KERNELS, st.booleans())
@settings(deadline=None)
def test_full_rank_is_exact(shape, with_moments):
    *shape, seed = shape
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal(shape)
    outputs, channels, height, width = shape
    x = _samples(rng, channels * height * width, 100)
    moments = _moments(x) if with_moments else None
    full = min(channels * height, outputs * width)
    cut = separable(kernel, column_components(kernel, moments), full, moments)
    assert relative_error(kernel.reshape(outputs, -1), cut.kernel().reshape(outputs, -1), moments) < 1e-5
    flat = kernel.reshape(outputs, channels, -1)
    sides = channel_components(flat, moments), components(kernel.reshape(outputs, -1), moments)
    ranks = min(channels, outputs * height * width), min(outputs, channels * height * width)
    small = tucker(flat, *sides, ranks, moments)
    assert small.first.shape == (ranks[0], channels)
    assert small.core.shape == (*ranks[::-1], height * width)
    assert relative_error(kernel.reshape(outputs, -1), small.kernel().reshape(outputs, -1), moments) < 1e-5


def test_separable_kernel_has_the_error_of_the_svd():
    kernel = np.random.default_rng(4).standard_normal((6, 5, 3, 3))
    s = np.linalg.svd(np.einsum("ochw->owch", kernel).reshape(18, 15), compute_uv=False)
    cut = separable(kernel, column_components(kernel), 7).kernel()
    assert np.sum((kernel - cut) ** 2) == pytest.approx(np.sum(s[7:] ** 2))


def test_tucker_error_is_bounded_by_both_tails():
    kernel = np.random.default_rng(5).standard_normal((8, 7, 9))
    inputs, outputs = channel_components(kernel), components(kernel.reshape(8, -1))
    error = relative_error(kernel.reshape(8, -1), tucker(kernel, inputs, outputs, (5, 4)).kernel().reshape(8, -1))
    assert max(inputs.tail()[5], outputs.tail()[4]) <= error <= inputs.tail()[5] + outputs.tail()[4]


def test_moments_fit_the_cut_kernels_to_the_windows():
    rng = np.random.default_rng(6)
    kernel, x = rng.standard_normal((6, 4, 3, 3)), _samples(rng, 36, 400)
    moments = _moments(x)

    def error(found_on):
        cut = separable(kernel, column_components(kernel, found_on), 5, found_on).kernel()
        return relative_error(kernel.reshape(6, -1), cut.reshape(6, -1), moments)

    assert error(moments) < error(None)
