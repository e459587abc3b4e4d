"""Evaluating a model, and the paired comparison of two, against scipy."""

import numpy as np
import pytest
from scipy import stats

from compressctl.data.notation import open_source
from compressctl.errors import DataError, UsageError
from compressctl.measure.accuracy import compare, evaluate
from compressctl.measure.metric import Score
from compressctl.measure.metrics import parse_metric
from compressctl.measure.session import Session
from tests.graphs import model

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 6)).astype(np.float32)
LABELS = np.where(RNG.random(300) < 0.7, X.argmax(1), RNG.integers(0, 6, 300))


def _session(batch: str = "N") -> Session:
    body = "y = Identity(x) shape = Constant<value_ints = [-1, 3, 2]>() z = Reshape(x, shape)"
    outputs = f"float[{batch}, 6] y, float[{batch}, 3, 2] z"
    return Session(model(body, {}, f"float[{batch}, 6] x", outputs), threads=1)


@pytest.fixture
def data(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, y=LABELS)
    return f"{tmp_path}/d.npz"


@pytest.mark.parametrize(("batch", "batch_size"), [("N", 1), ("N", 64), ("7", 64)])
def test_evaluate_is_numpys(data, batch, batch_size):
    session = _session(batch)
    metric = parse_metric("top1")
    score = evaluate(session, open_source(data, session.inputs), metric, batch_size=batch_size)
    np.testing.assert_array_equal(score.per_sample, X.argmax(1) == LABELS)
    assert (score.value, score.count) == ((X.argmax(1) == LABELS).mean(), 300)
    assert metric.seen == 0


def test_outputs_that_fit_are_named(data):
    session = _session()
    with pytest.raises(DataError, match=r"'z' does not fit \(these do: y\)"):
        evaluate(session, open_source(data, session.inputs), parse_metric("top1:z"))


def test_random_data_are_refused():
    session = _session()
    with pytest.raises(UsageError, match="top1 cannot be judged on random"):
        evaluate(session, open_source("random", session.inputs), parse_metric("top1"))


def _of(per_sample: np.ndarray, metric) -> Score:
    value = metric.statistic(per_sample, np.arange(len(per_sample))[None])[0]
    return Score(float(value), 0, 0, len(per_sample), per_sample)


def test_proportions_are_compared_by_mcnemar():
    metric = parse_metric("top1")
    before = RNG.random(1000) < 0.8
    after = np.where(RNG.random(1000) < 0.05, RNG.random(1000) < 0.4, before)
    lost, gained = (before & ~after).sum(), (after & ~before).sum()
    result = compare(_of(before, metric), _of(after, metric), metric)
    assert result.drop == pytest.approx(before.mean() - after.mean())
    assert result.p_value == pytest.approx(stats.binomtest(int(lost), int(lost + gained)).pvalue)
    assert result.low < result.drop < result.high
    same = compare(_of(before, metric), _of(before, metric), metric)
    assert (same.drop, same.p_value) == (0, 1) and same.low < 0 < same.high


@pytest.mark.parametrize(("name", "sign"), [("mse", -1), ("psnr", 1)])
def test_a_positive_drop_is_worse(name, sign):
    metric = parse_metric(name)
    good, bad = (np.square(RNG.normal(size=400)) * scale for scale in (0.01, 0.02))
    worse, better = (
        compare(_of(good, metric), _of(bad, metric), metric),
        compare(_of(bad, metric), _of(good, metric), metric),
    )
    assert worse.drop == pytest.approx(sign * (_of(good, metric).value - _of(bad, metric).value))
    assert 0 < worse.low < worse.drop < worse.high and worse.p_value < 0.01
    assert better.drop == -worse.drop and better.high < 0


def test_the_paired_interval_is_that_of_the_mean_difference():
    metric = parse_metric("mse")
    before = np.square(RNG.normal(size=500))
    after = before + RNG.normal(0.002, 0.02, size=500)
    result = compare(_of(before, metric), _of(after, metric), metric)
    expected = stats.ttest_rel(after, before)
    interval = expected.confidence_interval(0.95)
    np.testing.assert_allclose((result.low, result.high), tuple(interval), atol=2e-4)
    assert result.p_value == pytest.approx(expected.pvalue, abs=0.02)


def test_two_correlations():
    metric = parse_metric("spearman")
    truth = RNG.random(400)
    before, after = (np.stack([truth + RNG.normal(size=400) * s, truth], axis=1) for s in (0.1, 0.4))
    result = compare(_of(before, metric), _of(after, metric), metric)
    expected = stats.spearmanr(*before.T).statistic - stats.spearmanr(*after.T).statistic
    assert result.drop == pytest.approx(expected) and 0 < result.low < expected < result.high


def test_equal_nan_and_unequal_samples():
    metric = parse_metric("psnr")
    perfect = _of(np.zeros(5), metric)
    assert compare(perfect, perfect, metric).drop == 0
    broken = _of(np.array([0, np.nan, 0, 0, 0]), metric)
    assert np.isnan(compare(perfect, broken, metric).drop) and np.isnan(compare(perfect, broken, metric).p_value)
    with pytest.raises(ValueError, match="sample by sample"):
        compare(perfect, _of(np.zeros(4), metric), metric)


@pytest.mark.parametrize("metric", ["top1", "mse"])
def test_equal_models_are_rarely_told_apart(metric):
    judge = parse_metric(metric)
    false_alarms = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        before, after = rng.random((2, 300))
        if metric == "top1":
            before, after = before < 0.8, after < 0.8
        false_alarms += compare(_of(before, judge), _of(after, judge), judge).p_value < 0.05
    assert false_alarms <= 20
