"""Perplexity against torch's cross-entropy, with padding, overlap, and caches."""

import numpy as np
import pytest
import torch

from compressctl.data.notation import open_source
from compressctl.data.source import Batch
from compressctl.errors import DataError, UsageError
from compressctl.measure.accuracy import compare, evaluate
from compressctl.measure.metrics import parse_metric
from compressctl.measure.session import Session
from compressctl.model.load import interface, load_model
from tests import decoders

RNG = np.random.default_rng(0)
LOGITS = (4 * RNG.normal(size=(6, 9, 50))).astype(np.float32)
IDS = RNG.integers(0, 50, (6, 9))


def _score(logits=LOGITS, ids=IDS, labels=None, batch=6, padding=0, **others):
    metric = parse_metric("perplexity")
    for start in range(0, len(ids), batch):
        rows = [*range(start, min(start + batch, len(ids)))]
        fed = rows + rows[-1:] * padding
        feeds = {"input_ids": ids[fed], **{name: array[fed] for name, array in others.items()}}
        given = None if labels is None else labels[rows]
        outputs = {"logits": logits[fed], "other": logits[fed][:, 0]}
        metric.update(outputs, Batch(feeds, given, len(rows), size=len(fed)))
    return metric.result()


def _reference(logits, labels):
    lost = torch.nn.functional.cross_entropy(
        torch.tensor(logits[:, :-1]).double().transpose(1, 2), torch.tensor(labels[:, 1:])
    )
    return float(np.exp(lost.item()))


@pytest.mark.parametrize(("batch", "padding"), [(1, 0), (4, 0), (4, 3)])
def test_it_is_the_exponential_of_cross_entropy(batch, padding):
    score = _score(batch=batch, padding=padding)
    assert score.value == pytest.approx(_reference(LOGITS, IDS), rel=1e-12) and score.count == 6
    assert score.output == "logits" and score.low < score.value < score.high


@pytest.mark.parametrize("shift", [0, 3e4])
def test_half_precision_and_large_logits(shift):
    logits = (LOGITS + np.float32(shift)).astype(np.float16 if not shift else np.float32)
    assert _score(logits).value == pytest.approx(_reference(logits.astype(np.float64), IDS), rel=1e-12)


def test_padding_does_not_count_on_either_side():
    mask = np.ones((6, 9), np.int64)
    mask[0, 5:] = mask[1, :4] = 0
    labels = np.where(mask == 1, IDS, -100)
    labels[1, 4] = -100  # the first token has none before it
    assert _score(attention_mask=mask).value == pytest.approx(_reference(LOGITS, labels), rel=1e-12)
    past = np.concatenate([np.ones((6, 3), np.int64), mask], axis=1)
    assert _score(attention_mask=past).value == _score(attention_mask=mask).value


def test_labels_leave_out_what_the_window_before_counted():
    labels = np.where(np.arange(9) < 5, -100, IDS)
    assert _score(labels=labels).value == pytest.approx(_reference(LOGITS, labels), rel=1e-12)
    assert _score(labels=np.arange(6)).value == _score().value, "classes are no tokens"


def test_samples_are_weighed_by_their_tokens():
    mask = (np.arange(9) < np.array([9, 2, 3, 9, 5, 4])[:, None]).astype(np.int64)
    metric, score = parse_metric("perplexity"), _score(attention_mask=mask)
    rows = np.array([[0, 0, 1, 2, 3, 3]])
    lost, tokens = score.per_sample[rows[0]].sum(axis=0)
    assert tokens == 8 + 8 + 1 + 2 + 8 + 8
    assert metric.statistic(score.per_sample, rows) == pytest.approx([np.exp(lost / tokens)])


def test_a_rise_is_a_drop_and_nan_is_nan():
    worse = _score(LOGITS / 2)
    found = compare(_score(), worse, parse_metric("perplexity"))
    assert found.drop == pytest.approx(worse.value - _score().value)
    broken = LOGITS.copy()
    broken[2, 3, 4] = np.nan
    assert np.isnan(_score(broken).value)


def test_what_cannot_be_judged_is_said():
    with pytest.raises(DataError, match=r"token 50 of sample 4 is not below 50.*'logits'"):
        _score(ids=np.where(np.arange(6)[:, None] == 4, 50, IDS), batch=2)
    with pytest.raises(DataError, match="no token to judge"):
        _score(LOGITS[:, :1], IDS[:, :1])
    with pytest.raises(DataError, match=r"models of token ids.*takes x"):
        parse_metric("perplexity").update({"y": LOGITS}, Batch({"x": LOGITS}, None, 6))
    with pytest.raises(UsageError, match="no output 'loglits'"):
        parse_metric("perplexity:loglits").update({"y": LOGITS}, Batch({"input_ids": IDS}, None, 6))


@pytest.mark.parametrize("cache", [False, True])
def test_a_window_of_ids_is_all_that_a_decoder_needs(cache, tmp_path):
    model, ids = decoders.decoder(tmp_path / "m.onnx", cache=cache), decoders.text()
    np.savez(tmp_path / "x.npz", input_ids=ids)
    np.save(tmp_path / "x.npy", ids)
    session, inputs = Session(model, threads=1), interface(load_model(model).model)[0]
    scores = [
        evaluate(session, open_source(f"{tmp_path}/{name}", inputs), parse_metric("perplexity"), batch_size=5)
        for name in ("x.npz", "x.npy")
    ]
    plain = Session(decoders.decoder(tmp_path / "plain.onnx", cache=False), threads=1)
    places = np.broadcast_to(np.arange(20), (12, 20))
    feeds = {"input_ids": ids, "attention_mask": np.ones((12, 20), np.int64), "position_ids": places}
    expected = _reference(plain.run(feeds)["logits"], ids)
    assert [score.value for score in scores] == pytest.approx([expected] * 2, rel=1e-5)


def test_positions_follow_a_mask_that_is_given(tmp_path):
    model = decoders.decoder(tmp_path / "m.onnx", cache=True)
    mask = (np.arange(20) >= np.arange(12)[:, None]).astype(np.int64)  # padded in front
    np.savez(tmp_path / "x.npz", input_ids=decoders.text(), attention_mask=mask)
    source = open_source(f"{tmp_path}/x.npz", interface(load_model(model).model)[0])
    feeds = next(source.batches(12)).feeds
    assert np.array_equal(feeds["position_ids"], np.maximum(mask.cumsum(axis=1) - 1, 0))
    assert feeds["past_key_values_1_value"].shape == (12, decoders.HEADS, 0, decoders.SIZE)
