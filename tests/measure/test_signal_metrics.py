"""si_sdr and snr against the written formulas; roc_auc and average_precision against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from compressctl.data.source import Batch
from compressctl.errors import DataError
from compressctl.measure.metrics import parse_metric
from compressctl.numerics.ranking import average_precision, counts, roc_auc


def score(name, output, labels, parts=3):
    metric = parse_metric(name)
    for rows in np.array_split(np.arange(len(output)), parts):
        metric.update({"y": output[rows]}, Batch({}, labels[rows], len(rows)))
    return metric.result()


@pytest.fixture
def signals():
    rng = np.random.default_rng(0)
    clean = rng.standard_normal((7, 1, 400)).astype(np.float32)
    return clean, (0.3 * clean + 0.1 * rng.standard_normal(clean.shape) + 0.02).astype(np.float32)


def si_sdr(s, e):
    s, e = s.ravel().astype(float), e.ravel().astype(float)
    s, e = s - s.mean(), e - e.mean()
    target = (e @ s) / (s @ s) * s
    return 10 * np.log10((target @ target) / ((target - e) @ (target - e)))


def test_signals_are_judged_by_the_formulas(signals):
    clean, given = signals
    found = score("si_sdr", given, clean[:, 0])
    np.testing.assert_allclose(found.per_sample, [si_sdr(s, e) for s, e in zip(clean, given, strict=True)])
    np.testing.assert_allclose(found.value, found.per_sample.mean())
    assert found.low < found.value < found.high and found.count == 7
    np.testing.assert_allclose(score("si_sdr", 5 * given - 1, clean).value, found.value)
    wanted = [10 * np.log10((s * s).sum() / ((s - e) ** 2).sum()) for s, e in zip(clean, given, strict=True)]
    np.testing.assert_allclose(score("snr", given, clean).per_sample, wanted, rtol=1e-5)
    with pytest.raises(DataError, match="the target of sample 0 is silent"):
        score("si_sdr", given, np.zeros_like(clean))


def test_the_steps_of_a_sequence_are_one_sample(signals):
    clean, given = signals
    metric = parse_metric("si_sdr")
    for rows in (slice(4), slice(4, 7)):
        for step in range(4):
            part = slice(100 * step, 100 * step + 100)
            batch = Batch({}, clean[rows, 0, part], len(clean[rows]), follows=step > 0)
            metric.update({"y": given[rows, 0, part]}, batch)
    np.testing.assert_allclose(metric.result().per_sample, score("si_sdr", given, clean).per_sample)


def test_ranking_is_that_of_scikit_learn_on_resamples():
    rng = np.random.default_rng(0)
    scores, right = rng.integers(0, 9, 60) / 8, rng.integers(0, 2, 60)
    indices = rng.integers(0, 60, (5, 60))
    weights = counts(indices, 60)
    for ours, theirs in ((roc_auc, roc_auc_score), (average_precision, average_precision_score)):
        np.testing.assert_allclose(ours(scores, right, weights), [theirs(right[i], scores[i]) for i in indices])
    assert np.isnan(roc_auc(scores, np.ones(60), weights)).all()


@pytest.mark.parametrize(
    ("name", "theirs"), [("roc_auc", roc_auc_score), ("average_precision", average_precision_score)]
)
def test_binary_many_labels_and_one_against_the_rest(name, theirs):
    rng = np.random.default_rng(1)
    right = rng.integers(0, 2, 50)
    scores = (right + rng.standard_normal(50)).astype(np.float32)
    found = score(name, scores[:, None], right)
    np.testing.assert_allclose(found.value, theirs(right, scores))
    assert found.low < found.value < found.high
    two = np.stack([-scores, scores], axis=1)
    np.testing.assert_allclose(score(name, two, right).value, found.value)
    events, given = rng.integers(0, 2, (50, 4)), rng.random((50, 4))
    np.testing.assert_allclose(score(name, given, events).value, theirs(events, given, average="macro"))
    labels = rng.integers(0, 4, 50)
    shares = given / given.sum(axis=1, keepdims=True)
    wanted = np.mean([theirs(labels == one, shares[:, one]) for one in range(4)])
    np.testing.assert_allclose(score(name, shares, labels).value, wanted)
    with pytest.raises(DataError, match="labels are all the same"):
        score(name, scores, np.zeros(50))
    assert np.isnan(score(name, np.where(right, np.nan, scores), right).value)
