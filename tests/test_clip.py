"""The pass `clip`: which weights it changes, what it tells, and what it refuses."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.errors import UsageError
from compressctl.passes import clip
from compressctl.passes.base import Outcome
from tests import graphs
from tests.graphs import weights
from tests.passes import apply

RNG = np.random.default_rng(8)
WEIGHTS = {
    "w": RNG.standard_normal((4, 3, 3, 3)).astype(np.float32),
    "v": RNG.standard_normal((4, 6)).astype(np.float16).astype(np.float32),
    "table": RNG.standard_normal((11, 6)).astype(np.float32),
    "lw": RNG.standard_normal((1, 8, 3)).astype(np.float32),
    "lr": RNG.standard_normal((1, 8, 2)).astype(np.float32),
}
CNN = "c = Conv(x, w) p = GlobalAveragePool(c) f = Flatten(p) y = MatMul(f, v)"
TIED = "e = Gather(table, x) t = Transpose<perm = [0, 2, 1]>(e) s = MatMul(table, t) y = Identity(s)"


def _run(body: str, x: str = "float[N, 3, 8, 8] x", **options: object) -> tuple[ir.Model, Outcome]:
    model = graphs.model(body, WEIGHTS, x, "float y")
    outcome = apply(clip, model, Path(), **options)
    for name, array in weights(model).items():  # shared with the result, so never written into
        np.testing.assert_array_equal(array, WEIGHTS[name])
    return outcome.model, outcome


def test_a_number():
    model, outcome = _run(CNN, threshold=1.5)
    for name in "wv":
        np.testing.assert_array_equal(weights(model)[name], np.clip(WEIGHTS[name], -1.5, 1.5))
    row = outcome.facts["layers"][0]
    w = WEIGHTS["w"].astype(np.float64)
    assert (row["layer"], row["weight"], row["elements"]) == ("Conv_0", "w", 108)
    assert row["clipped"] == np.sum(np.abs(w) > 1.5)
    assert row["mse"] == pytest.approx(np.mean((w - np.clip(w, -1.5, 1.5)) ** 2), rel=1e-6)
    assert f"{row['clipped']} of 108 weights clipped at 1.5" in outcome.notes[0].text


@pytest.mark.parametrize(
    ("option", "threshold"),
    [
        ({"percentile": 90}, lambda w: np.percentile(np.abs(w.astype(np.float64)), 90)),
        ({"sigma": 2}, lambda w: 2 * np.std(w.astype(np.float64))),
    ],
)
def test_thresholds_of_each_tensor(option, threshold):
    model, outcome = _run(CNN, **option)
    for row, name in zip(outcome.facts["layers"], "wv", strict=True):
        limit = threshold(WEIGHTS[name])
        assert row["threshold"] == pytest.approx(limit)
        np.testing.assert_allclose(weights(model)[name], np.clip(WEIGHTS[name], -limit, limit), rtol=1e-6)


def test_another_value():
    model, _ = _run(CNN, threshold=1.5, value=0)
    np.testing.assert_array_equal(weights(model)["v"], np.where(np.abs(WEIGHTS["v"]) > 1.5, 0, WEIGHTS["v"]))


def test_include_and_exclude():
    model, _ = _run(CNN, threshold=1.5, exclude=("Conv*",))
    np.testing.assert_array_equal(weights(model)["w"], WEIGHTS["w"])
    assert np.abs(weights(model)["v"]).max() <= 1.5
    with pytest.raises(UsageError, match="matches no node"):
        _run(CNN, threshold=1.5, include=("nothing",))


def test_recurrent_layers_only_where_they_are_named():
    body = "h, hn, cn = LSTM<hidden_size = 2>(x, lw, lr) y = Identity(h)"
    _, outcome = _run(body, "float[T, 1, 3] x", threshold=0.5)
    assert [(note.kind, note.text) for note in outcome.notes] == [
        ("skipped", "not clipped: it is recurrent"),
        ("warning", "no weight lies beyond the threshold: nothing was clipped"),
    ]
    model, _ = _run(body, "float[T, 1, 3] x", threshold=0.5, include=("LSTM_0",))
    assert max(np.abs(weights(model)[name]).max() for name in ("lw", "lr")) == 0.5


def test_tied_weights_are_clipped_once_for_all():
    model, outcome = _run(TIED, "int64[N, 5] x", threshold=0.5)
    assert np.abs(weights(model)["table"]).max() == 0.5
    assert len(outcome.facts["layers"]) == 1
    _, outcome = _run(TIED, "int64[N, 5] x", threshold=0.5, exclude=("Gather_0",))
    assert outcome.notes[0].text == "not clipped: Gather Gather_0, which is left, shares its weight"


def test_a_threshold_that_clips_nothing_warns():
    model, outcome = _run(CNN, threshold=100)
    assert outcome.notes[-1].kind == "warning"
    np.testing.assert_array_equal(weights(model)["w"], WEIGHTS["w"])
