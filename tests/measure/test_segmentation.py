"""mIoU and Dice against scikit-learn's Jaccard index and F1 of pixels."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score

from compressctl.data.source import Batch
from compressctl.errors import DataError
from compressctl.measure.metrics import parse_metric
from compressctl.numerics.resize import resized

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, (12, 6, 5)).astype(np.int16)
SCORES = RNG.normal(size=(12, 5, 6, 5)).astype(np.float32) + 2 * (np.arange(5)[:, None, None] == LABELS[:, None])


def _score(name, output, labels=LABELS, batch=5):
    metric = parse_metric(name)
    for start in range(0, len(labels), batch):
        part = labels[start : start + batch]
        metric.update({"out": output[start : start + batch]}, Batch({}, part, len(part)))
    return metric.result()


@pytest.mark.parametrize(("name", "reference"), [("miou", jaccard_score), ("dice", f1_score)])
def test_they_are_scikit_learns(name, reference):
    answers = SCORES.argmax(axis=1)
    for output in (SCORES, answers, answers[:, None].astype(np.float32)):
        score = _score(name, output)
        assert score.value == pytest.approx(reference(LABELS.ravel(), answers.ravel(), average="macro"))
        assert score.low < score.value < score.high and score.count == 12
    ignored = np.where(RNG.random(LABELS.shape) < 0.3, -1, LABELS)
    judged = ignored >= 0
    expected = reference(LABELS[judged], answers[judged], average="macro")
    assert _score(name, SCORES, ignored).value == pytest.approx(expected)
    binary, logits = (LABELS > 1).astype(np.int16), RNG.normal(size=LABELS.shape).astype(np.float32)
    expected = reference(binary.ravel(), logits.ravel() > 0, average="macro")
    assert _score(name, logits[:, None], binary).value == pytest.approx(expected)
    assert _score(name, 1 / (1 + np.exp(-logits)), binary).value == pytest.approx(expected)


def test_smaller_outputs_are_scaled_as_torch_does():
    maps = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)
    for size in ((8, 20), (6, 7), (3, 2)):
        expected = torch.nn.functional.interpolate(torch.tensor(maps), size, mode="bilinear", align_corners=False)
        np.testing.assert_allclose(resized(maps, size), expected.numpy(), atol=1e-6)
    small = RNG.normal(size=(12, 5, 3, 3)).astype(np.float32)
    assert _score("miou", small).value == _score("miou", resized(small, (6, 5))).value


def test_nan_answers_nothing():
    broken = SCORES.copy()
    broken[0] = np.nan
    answers = np.where(np.arange(12)[:, None, None] == 0, 9, SCORES.argmax(axis=1))
    both = [(np.sum((k == LABELS) & (answers == k)), np.sum((k == LABELS) | (answers == k))) for k in range(5)]
    assert _score("miou", broken).value == pytest.approx(np.mean([same / any_ for same, any_ in both if any_]))


def test_classes_beyond_the_output_are_refused():
    with pytest.raises(DataError, match=r"class 3 of sample 0 is beyond those of output 'out', which are 0 to 2"):
        _score("miou", SCORES[:, :3])
    with pytest.raises(DataError, match=r"miou judges an output \[N, C, H, W\]"):
        _score("miou", SCORES[:, 0, 0])
