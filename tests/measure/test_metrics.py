"""Metrics against scikit-learn, scipy and numpy, in any split into batches."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score, matthews_corrcoef, mean_squared_error, ndcg_score, top_k_accuracy_score

from compressctl.data.relevance import Relevance
from compressctl.data.source import Batch
from compressctl.errors import DataError, UsageError
from compressctl.measure.metrics import parse_metric

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(200, 10)).astype(np.float32)
LABELS = np.where(RNG.random(200) < 0.6, SCORES.argmax(1), RNG.integers(0, 10, 200))


def _score(notation, outputs, labels, batch_size=64, pairs=False, padding=0, allow_python=False):
    metric = parse_metric(notation, allow_python=allow_python)
    if not isinstance(outputs, dict):
        outputs = {"out": outputs}
    rows = len(next(iter(outputs.values())))
    for start in range(0, rows, batch_size):
        stop = min(start + batch_size, rows)
        fed = {name: np.concatenate([a[start:stop], np.repeat(a[:1], padding, 0)]) for name, a in outputs.items()}
        chosen = None
        if labels is not None:
            chosen = labels[start // 2 : stop // 2] if pairs else labels[start:stop]
        feeds = {"x": np.zeros((stop - start + padding, 1))}
        metric.update(fed, Batch(feeds, chosen, stop - start, pairs, len(feeds["x"])))
    return metric.result()


@pytest.mark.parametrize("batch_size", [1, 7, 200])
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize(("name", "k"), [("top1", 1), ("top5", 5)])
def test_top_k_is_sklearns(name, k, batch_size, padding):
    score = _score(name, SCORES, LABELS, batch_size, padding=padding)
    expected = top_k_accuracy_score(LABELS, SCORES, k=k, labels=np.arange(10))
    assert score.value == pytest.approx(expected) and score.count == 200
    interval = stats.binomtest(round(expected * 200), 200).proportion_ci(0.95, method="wilson")
    assert (score.low, score.high) == pytest.approx(tuple(interval))
    assert score.per_sample.dtype == bool and score.per_sample.mean() == score.value


def test_ties_take_the_first_columns_and_nan_is_wrong():
    constant = np.zeros((10, 10))
    assert _score("top1", constant, np.arange(10)).value == 0.1
    assert _score("top5", constant, np.arange(10)).value == 0.5
    broken = np.eye(10)
    broken[3, 3] = np.nan  # numpy's argmax would call it right
    assert _score("top1", broken, np.arange(10)).value == 0.9
    assert _score("f1", broken, np.arange(10)).value == pytest.approx(0.9)


@pytest.mark.parametrize("shape", [(200, 10, 1, 1), (200, 1, 10)])
def test_dimensions_of_one_are_ignored(shape):
    score = _score("top1", SCORES.reshape(shape), LABELS[:, None].astype(np.float32))
    assert score.value == (SCORES.argmax(1) == LABELS).mean()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(2, 6), st.integers(0, 99))
def test_f1_is_sklearns(count, classes, seed):
    rng = np.random.default_rng(seed)
    scores, labels = rng.normal(size=(count, classes)), rng.integers(0, classes, count)
    with warnings.catch_warnings(action="ignore"):
        expected = f1_score(labels, scores.argmax(1), average="macro")
    score = _score("f1", scores, labels, 16)
    assert score.value == pytest.approx(expected) and score.low <= score.high


def test_f1_resamples_are_sklearns():
    metric = parse_metric("f1")
    score = _score("f1", SCORES, LABELS)
    indices = RNG.integers(0, 200, (5, 200))
    expected = [f1_score(LABELS[row], SCORES.argmax(1)[row], average="macro") for row in indices]
    np.testing.assert_allclose(metric.statistic(score.per_sample, indices), expected, rtol=1e-12)


@pytest.mark.parametrize(("shape", "labels"), [((200,), (200,)), ((200, 1), (200,)), ((200, 3, 4), (200, 3, 4))])
def test_mse_is_sklearns(shape, labels):
    outputs, truth = RNG.normal(size=shape).astype(np.float32), RNG.normal(size=labels)
    score = _score("mse", outputs, truth, 33)
    assert score.value == pytest.approx(mean_squared_error(truth.reshape(200, -1), outputs.reshape(200, -1)), rel=1e-9)
    assert score.low < score.value < score.high


def test_psnr():
    truth = RNG.random((50, 3, 4, 4))
    outputs = truth + RNG.normal(size=truth.shape) * 0.1
    score = _score("psnr", outputs, truth, 16)
    assert score.value == pytest.approx(10 * np.log10(np.ptp(truth) ** 2 / np.mean((truth - outputs) ** 2)))
    assert score.low < score.value < score.high
    assert _score("psnr", truth, truth).value == np.inf
    with pytest.raises(DataError, match="no peak"):
        _score("psnr", truth, np.ones_like(truth))


def test_spearman_is_scipys():
    truth = RNG.integers(0, 6, 200).astype(float)
    outputs = (truth + RNG.normal(size=200)).astype(np.float32)
    for shaped in (outputs, outputs[:, None]):
        score = _score("spearman", shaped, truth, 30)
        assert score.value == pytest.approx(stats.spearmanr(outputs, truth).statistic)
        assert score.low < score.value < score.high and score.count == 200


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_spearman_of_pairs(batch_size):
    first, second, truth = RNG.normal(size=(50, 8)), RNG.normal(size=(50, 8)), RNG.random(50)
    interleaved = np.stack([first, second], axis=1).reshape(100, 8).astype(np.float32)
    outputs = {"tokens": np.zeros((100, 3, 8)), "embedding": interleaved}
    score = _score("spearman", outputs, truth, batch_size, pairs=True)
    expected = stats.spearmanr((interleaved[::2].astype(float) * interleaved[1::2]).sum(1), truth).statistic
    assert score.value == pytest.approx(expected) and score.count == 50


@pytest.mark.parametrize("name", ["mse", "psnr", "spearman"])
def test_nan_in_an_output_is_not_hidden(name):
    outputs = np.linspace(0, 1, 10)
    outputs[4] = np.nan
    score = _score(name, outputs, np.linspace(0, 1, 10))
    assert np.isnan([score.value, score.low, score.high]).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            np.where(np.arange(200) == 150, 12, LABELS),
            r"label 12 of sample 150 is not a class of output 'out', .* 0 to 9",
        ),
        (np.where(np.arange(200) == 3, -1, LABELS), "label -1 of sample 3"),
        (np.where(np.arange(200) == 3, 0.5, LABELS), r"label 0\.5 of sample 3"),
        (np.eye(10)[LABELS], r"against class labels \[N\]: no output fits .* labels \[64, 10\]"),
        (None, "needs labels"),
    ],
)
def test_bad_labels(labels, message):
    for name in ("top1", "top5", "f1"):
        with pytest.raises(DataError, match=message):
            _score(name, SCORES, labels)


def test_which_output():
    outputs = {"hidden": np.zeros((200, 3, 4)), "logits": SCORES}
    expected = (SCORES.argmax(1) == LABELS).mean()
    assert _score("top1", outputs, LABELS).value == expected
    assert _score("top1:logits", outputs, LABELS).value == expected
    with pytest.raises(DataError, match=r"'hidden' does not fit \(these do: logits\)"):
        _score("top1:hidden", outputs, LABELS)
    with pytest.raises(UsageError, match=r"no output 'logit' \(there are hidden, logits\)"):
        _score("top1:logit", outputs, LABELS)
    with pytest.raises(UsageError, match=r"could judge the outputs logits, other .*top1:logits"):
        _score("top1", {**outputs, "other": SCORES}, LABELS)
    with pytest.raises(DataError, match="no output fits"):
        _score("top5", SCORES[:, :5], LABELS % 5)


def test_names():
    assert parse_metric("spearman:sentence_embedding").name == "spearman:sentence_embedding"
    with pytest.raises(UsageError, match="did you mean 'spearman'"):
        parse_metric("spearmann")
    with pytest.raises(UsageError, match="there are top1, top5, f1"):
        parse_metric("accuracy")
    with pytest.raises(DataError, match="no samples"):
        parse_metric("top1").result()


def test_fresh_forgets():
    metric = parse_metric("spearman")
    metric.update({"a": np.zeros((1, 4))}, Batch({}, np.zeros(0), 1, pairs=True))  # leaves a vector waiting
    twin = metric.fresh()
    twin.update({"b": np.arange(6.0)}, Batch({}, np.arange(6.0), 6))
    assert twin.result().value == pytest.approx(1.0) and twin.output == "b" and metric.output == "a"


@pytest.fixture
def judge(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "judge.py").write_text(
        "right = lambda outputs, labels: outputs['out'].argmax(1) == labels\n"
        "margin = lambda outputs, labels: outputs['out'].max(1) if labels is None else 0\n"
        "broken = lambda outputs, labels: outputs['no']\n"
    )


def test_python(judge):
    right = _score("python:judge:right", SCORES, LABELS, 9, padding=2, allow_python=True)
    top1 = _score("top1", SCORES, LABELS)
    assert (right.value, right.low, right.high) == (top1.value, top1.low, top1.high)
    margin = _score("python:judge:margin", SCORES, None, allow_python=True)
    assert margin.value == pytest.approx(SCORES.max(1).astype(float).mean()) and margin.low < margin.value < margin.high
    with pytest.raises(DataError, match="python:judge:broken raised KeyError"):
        _score("python:judge:broken", SCORES, LABELS, allow_python=True)
    with pytest.raises(DataError, match=r"int64 \[\], but one number for each of 64 samples"):
        _score("python:judge:margin", SCORES, LABELS, allow_python=True)
    with pytest.raises(UsageError, match="--allow-python"):
        parse_metric("python:judge:right")


def test_an_output_that_is_not_one_row_a_sample_is_not_cut_to_fit():
    """Its first rows would be judged in the place of the samples."""
    feeds, labels = {"x": np.zeros((4, 2))}, np.array([0, 1, 1])
    padded = np.eye(2)[[0, 1, 1, 0]]
    metric = parse_metric("top1")
    metric.update(
        {"y": padded, "boxes": np.eye(2)[[1, 0, 0, 1, 0]], "total": np.zeros(())}, Batch(feeds, labels, 3, size=4)
    )
    assert metric.output == "y" and metric.result().value == 1
    with pytest.raises(DataError):
        parse_metric("top1").update({"boxes": np.eye(2)[[1, 0, 0, 1, 0]]}, Batch(feeds, labels, 3, size=4))


def test_f1_of_two_classes_and_matthews_are_sklearns():
    rng = np.random.default_rng(3)
    for classes in (2, 5):
        scores, labels = rng.normal(size=(120, classes)), rng.integers(0, classes, 120)
        answers = scores.argmax(1)
        found = _score("matthews", scores, labels, 7)
        assert found.value == pytest.approx(matthews_corrcoef(labels, answers))
        pick = rng.integers(0, 120, (3, 120))
        expected = [matthews_corrcoef(labels[rows], answers[rows]) for rows in pick]
        assert parse_metric("matthews").statistic(found.per_sample, pick) == pytest.approx(expected)
    scores, labels = rng.normal(size=(120, 2)), (rng.random(120) < 0.2).astype(int)
    found = _score("f1_binary", scores, labels, 7)
    assert found.value == pytest.approx(f1_score(labels, scores.argmax(1))) and found.low < found.value < found.high
    assert _score("matthews", np.eye(2)[[1, 1]], np.array([1, 1])).value == 0
    with pytest.raises(DataError, match="no output fits"):
        _score("f1_binary", np.eye(3), np.arange(3))


def test_pearson_is_scipys():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=80), rng.normal(size=80)
    found = _score("pearson", x + y, y, 7)
    assert found.value == pytest.approx(stats.pearsonr(x + y, y).statistic)
    pick = rng.integers(0, 80, (3, 80))
    expected = [stats.pearsonr((x + y)[rows], y[rows]).statistic for rows in pick]
    assert parse_metric("pearson").statistic(found.per_sample, pick) == pytest.approx(expected)
    vectors = rng.normal(size=(160, 6))
    dots = (vectors[0::2] * vectors[1::2]).sum(axis=1)
    assert _score("pearson", vectors, y, 7, pairs=True).value == pytest.approx(stats.pearsonr(dots, y).statistic)


def test_tokens_of_pairs_are_pooled_under_the_mask():
    rng = np.random.default_rng(5)
    tokens, mask, labels = rng.normal(size=(40, 5, 6)), rng.integers(0, 2, (40, 5)), rng.normal(size=20)
    mask[:, 0] = 1
    mean = np.stack([one[kept == 1].mean(axis=0) for one, kept in zip(tokens, mask, strict=True)])
    cosines = (mean[0::2] * mean[1::2]).sum(1) / np.linalg.norm(mean[0::2], axis=1) / np.linalg.norm(mean[1::2], axis=1)
    for name, expected in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        metric = parse_metric(name)
        metric.update({"t": tokens}, Batch({"attention_mask": mask}, labels, 40, pairs=True))
        assert metric.result().value == pytest.approx(expected(cosines, labels).statistic)
        assert metric.output == "t"
        both = parse_metric(name)
        both.update({"t": tokens, "v": mean}, Batch({"attention_mask": mask}, labels, 40, pairs=True))
        assert both.output == "v"


RELEVANCE = Relevance(3, {0: {3: 3.0, 5: 1.0, 6: 2.0}, 1: {4: 1.0}})  # query 2 has nothing to find
QUERIES = np.eye(3)
DOCUMENTS = np.array([[0.5, 0.9, 0], [0.9, 0.5, 0], [0.7, 0, 0], [0.1, 0, 0], [0.5, 0, 1]])


def _retrieved(name, order, size=3):
    metric, rows = parse_metric(name), np.concatenate([QUERIES, DOCUMENTS])
    for start in range(0, len(order), size):
        numbers = np.array(order[start : start + size])
        metric.update({"v": rows[numbers]}, Batch({}, numbers, len(numbers), relevance=RELEVANCE))
    return metric.result()


@pytest.mark.parametrize("order", [range(8), [0, 6, 3, 1, 4, 7, 5, 2], range(7, -1, -1)])
def test_recall_and_ndcg_are_their_formulas(order):
    # query 0 ranks documents 4, 5, 3 (which goes before its equal 7), 7, 6: grades 0, 1, 3, 0, 2
    # query 1 ranks documents 3, 4: grades 0, 1
    log = np.log2
    best = 3 / log(2) + 2 / log(3) + 1 / log(4)
    first = (1 / log(3) + 3 / log(4) + 2 / log(6)) / best
    assert _retrieved("ndcg@10", order).per_sample == pytest.approx([first, 1 / log(3)])
    assert _retrieved("ndcg@2", order).value == pytest.approx((1 / log(3) / (3 / log(2) + 2 / log(3)) + 1 / log(3)) / 2)
    assert _retrieved("recall@1", order).value == 0
    assert _retrieved("recall@2", order).per_sample == pytest.approx([1 / 3, 1])
    found = _retrieved("recall@3", order)
    assert found.per_sample == pytest.approx([2 / 3, 1]) and found.count == 2 and found.low <= found.value <= found.high


def test_ndcg_is_sklearns_where_all_documents_are_ranked():
    rng = np.random.default_rng(6)
    queries, documents, grades = rng.normal(size=(4, 5)), rng.normal(size=(9, 5)), rng.integers(0, 4, (4, 9))
    relevance = Relevance(4, {q: {4 + d: float(g) for d, g in enumerate(row) if g} for q, row in enumerate(grades)})
    metric = parse_metric("ndcg@5")
    rows = np.concatenate([queries, documents]).astype(np.float32)
    metric.update({"v": rows}, Batch({}, np.arange(13), 13, relevance=relevance))
    expected = ndcg_score(grades, queries @ documents.T, k=5)
    assert metric.result().value == pytest.approx(expected)


def test_retrieval_is_judged_by_its_own_metrics_alone():
    with pytest.raises(DataError, match=r"top1 does not judge these data.*ndcg@10"):
        _retrieved("top1", range(8))
    with pytest.raises(DataError, match=r"recall@5 does not judge these data.*documents=FILE"):
        _score("recall@5", SCORES, LABELS)
    with pytest.raises(DataError, match="no query has a relevant document"):
        _retrieved("recall@5", range(3))
    with pytest.raises(UsageError, match="no metric 'recall@0'"):
        parse_metric("recall@0")
