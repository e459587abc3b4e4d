"""Surgery and refitting against least squares on explicit samples, and against the textbook step of OBS."""

import numpy as np
import pytest

from compressctl.numerics.obs import damped, refit, settle, surgery
from compressctl.numerics.sparsity import n_of_m, share

RNG = np.random.default_rng(5)
X = np.maximum(RNG.standard_normal((400, 24)) @ (0.4 * RNG.standard_normal((24, 24)) + np.eye(24)), 0)
W = RNG.standard_normal((10, 24))
H = X.T @ X


def _error(weight: np.ndarray) -> float:
    return float(np.square(X @ (W - weight).T).sum())


def _least_squares(support: np.ndarray) -> np.ndarray:
    """The best weight with these elements, row by row, from the samples themselves."""
    best = np.zeros_like(W)
    for row, kept in enumerate(support):
        best[row, kept] = np.linalg.lstsq(X[:, kept], X @ W[row], rcond=None)[0]
    return best


def test_refit_of_the_columns_that_remain_is_least_squares():
    kept = [0, 3, 4, 9, 17, 20, 23]
    expected = np.linalg.lstsq(X[:, kept], X @ W.T, rcond=None)[0].T
    fitted = refit(W @ H[:, kept], H[np.ix_(kept, kept)], W[:, kept], damping=1e-12)
    np.testing.assert_allclose(fitted, expected, rtol=1e-6)


def test_refit_on_other_inputs_is_least_squares():
    z = X[:, :9] + 0.3 * RNG.standard_normal((400, 9))
    expected = np.linalg.lstsq(z, X @ W.T, rcond=None)[0].T
    np.testing.assert_allclose(refit(W @ (X.T @ z), z.T @ z, W[:, :9], damping=1e-12), expected, rtol=1e-6)


def test_damping_is_ridge_regression_towards_the_prior():
    z, prior = X[:, :9], RNG.standard_normal((10, 9))
    pull = np.sqrt(0.1 * np.mean(np.square(z).sum(axis=0)))
    rows = np.concatenate([z, pull * np.eye(9)])
    expected = np.linalg.lstsq(rows, np.concatenate([X @ W.T, pull * prior.T]), rcond=None)[0].T
    np.testing.assert_allclose(refit(W @ (X.T @ z), z.T @ z, prior, damping=0.1), expected, rtol=1e-6)


def test_silent_inputs_keep_their_weights():
    np.testing.assert_allclose(refit(np.zeros((2, 3)), np.zeros((3, 3)), W[:2, :3]), W[:2, :3])


def test_one_column_at_a_time_is_optimal_brain_surgery():
    """dw = -w_q / [H^-1]_qq * H^-1[:, q], with the columns before q fixed (Hassibi and Stork, eq. 5)."""
    mask = RNG.random(W.shape) < 0.5
    moments = damped(H, 0.01)
    expected = W.copy()
    for q in range(W.shape[1]):
        inverse = np.linalg.inv(moments[q:, q:])
        for row in np.flatnonzero(mask[:, q]):
            expected[row, q:] -= expected[row, q] / inverse[0, 0] * inverse[:, 0]
    for block in (1, 5, 128):
        found = surgery(W, moments, lambda _, columns: mask[:, columns], block=block)
        np.testing.assert_allclose(found, np.where(mask, 0, expected), atol=1e-9)


def test_scores_are_what_zeroing_costs():
    seen = []
    moments = damped(H, 0.01)

    def choose(scores, columns):
        seen.append(scores)
        return np.zeros(scores.shape, bool)

    surgery(W, moments, choose, block=1)
    for q, scores in enumerate(seen):
        np.testing.assert_allclose(scores[:, 0], W[:, q] ** 2 / np.linalg.inv(moments[q:, q:])[0, 0])


@pytest.mark.parametrize("pattern", ["half", "2:4"])
def test_each_step_lessens_the_error(pattern):
    moments = damped(H, 1e-9)
    rule = (lambda s, _: share(s, 0.5)) if pattern == "half" else (lambda s, _: n_of_m(s, 2, 4))
    block = 8 if pattern == "half" else 4
    naive = np.where(rule(np.abs(W), slice(0, 24)), 0, W)
    operated = surgery(W, moments, rule, block=block)
    settled = settle(operated, W, moments, steps=500, tolerance=1e-10)
    assert (operated == 0).mean() == 0.5
    np.testing.assert_array_equal(settled == 0, operated == 0)
    assert _error(settled) < 0.95 * _error(operated) < 0.8 * _error(naive)
    np.testing.assert_allclose(settled, _least_squares(operated != 0), rtol=1e-4, atol=1e-6)


def test_few_steps_settle_most():
    moments = damped(H, 0.01)
    operated = surgery(W, moments, lambda s, _: share(s, 0.7))
    best, found = _error(_least_squares(operated != 0)), _error(settle(operated, W, moments))
    assert found < best + 0.05 * (_error(operated) - best)


def test_rows_without_weights_stay_empty():
    empty = np.zeros((2, 24))
    np.testing.assert_array_equal(settle(empty, W[:2], damped(H, 0.01)), empty)
