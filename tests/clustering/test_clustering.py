"""The pass `cluster`: which values weights get, by brute force and formulas; what is left alone says why."""

from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from scipy.optimize import minimize

from compressctl.errors import ModelError, UsageError
from compressctl.measure.session import Session
from compressctl.model.graph import set_constant
from compressctl.passes import cluster
from compressctl.passes.base import Outcome
from tests import graphs
from tests.graphs import weights
from tests.passes import apply, texts
from tests.training.tiny import Arrays, blobs, mlp

run = partial(apply, cluster)
random = graphs.Random(5)


CNN = {"w1": random(8, 3, 3, 3), "b1": random(8), "w2": random(8, 4, 3, 3), "b2": random(8), "w3": random(8, 10)}
X = random(60, 3, 7, 7)
cnn = partial(graphs.cnn, CNN)


def rows(outcome: Outcome) -> dict[str, dict[str, Any]]:
    return {row["weight"]: row for row in outcome.facts["layers"]}


def error(model: ir.Model, other: ir.Model, x: np.ndarray = X) -> float:
    """The squared error of the outputs over their variance."""
    y, z = (Session(m, threads=1).run({"x": x})["y"] for m in (model, other))
    return float(np.square(y - z).sum() / np.square(y - y.mean(axis=0)).sum())


def assert_nearest(old: np.ndarray, new: np.ndarray) -> None:
    """Each weight has the nearest of the values, and each value is the mean of its weights."""
    values = np.unique(new)
    np.testing.assert_array_equal(new, values[np.abs(old[..., None] - values).argmin(axis=-1)])
    np.testing.assert_allclose(values, [old[new == value].mean() for value in values], rtol=1e-5)


def test_each_layer_gets_values_of_its_own(tmp_path):
    out = run(cnn(), tmp_path, clusters=8)
    for name in ("w1", "w2", "w3"):
        old, new = CNN[name], weights(out.model)[name]
        assert_nearest(old, new)
        row = rows(out)[name]
        assert (row["clusters"], row["zeros"], row["weights"]) == (8, 0, old.size) == (len(np.unique(new)), 0, new.size)
        assert row["error"] == pytest.approx(np.square(old - new).sum() / np.square(old).sum(), rel=1e-5)
    np.testing.assert_array_equal(weights(out.model)["b1"], CNN["b1"])
    assert texts(out)[None].startswith("584 weights in 3 tensors each share up to 8 values")


def test_a_group_shares_one_codebook(tmp_path):
    out = run(cnn(), tmp_path, clusters=8, scope="group", exclude=["Conv_0"])
    new = weights(out.model)
    np.testing.assert_array_equal(new["w1"], CNN["w1"])
    assert_nearest(*(np.concatenate([of["w2"].ravel(), of["w3"].ravel()]) for of in (CNN, new)))


def test_zeros_stay_and_are_one_of_the_values(tmp_path):
    model = cnn()
    pruned = np.where(np.abs(CNN["w1"]) < 0.8, np.float32(0), CNN["w1"])
    set_constant(model.graph.initializers["w1"], pruned)
    for calibration in (None, Arrays({"x": X})):
        out = run(model, tmp_path, calibration, clusters=4)
        new = weights(out.model)["w1"]
        np.testing.assert_array_equal(new == 0, pruned == 0)
        assert len(np.unique(new)) == 4
        assert rows(out)["w1"]["zeros"] == int((pruned == 0).sum())
    assert_nearest(pruned[pruned != 0], weights(run(model, tmp_path, clusters=4).model)["w1"][pruned != 0])


@pytest.mark.parametrize("calibrated", [False, True])
def test_vectors_share_centroids(tmp_path, calibrated):
    w = random(32, 8, 3, 3)
    w.reshape(-1, 4)[::5] = 0
    w.reshape(-1, 4)[1, 2] = 0  # beside others
    model = graphs.model("y = Conv(x, w)", {"w": w}, "float[N, 8, 5, 5] x", "float[N, 32, 3, 3] y")
    samples = Arrays({"x": random(40, 8, 5, 5)}) if calibrated else None
    out = run(model, tmp_path, samples, clusters=32, vector=4)
    old, new = w.reshape(-1, 4), weights(out.model)["w"].reshape(-1, 4)
    values = np.unique(new, axis=0)
    assert len(values) == 32 == rows(out)["w"]["clusters"]
    still = ~old.any(axis=1)
    np.testing.assert_array_equal(~new.any(axis=1), still)
    if not calibrated:
        others = values[values.any(axis=1)]
        distances = np.square(old[:, None] - others).sum(axis=2)
        np.testing.assert_allclose(np.square(old - new).sum(axis=1)[~still], distances.min(axis=1)[~still], atol=1e-5)
    told = [note.text for note in out.notes if note.kind == "warning"]
    assert told == ["1 zeros lie beside other weights in a vector and are lost"] and new[1, 2] != 0


def test_values_keep_the_outputs_of_layers(tmp_path):
    plain = run(cnn(), tmp_path, clusters=6)
    kept = run(cnn(), tmp_path, Arrays({"x": X}), clusters=6)
    assert error(cnn(), kept.model) < 0.25 * error(cnn(), plain.model)
    for name in ("w1", "w2", "w3"):
        assert len(np.unique(weights(kept.model)[name])) == 6


def test_the_error_told_is_that_of_the_output(tmp_path):
    x, w = random(300, 12), random(12, 20)
    model = graphs.model("y = MatMul(x, w)", {"w": w}, "float[N, 12] x", "float[N, 20] y")
    out = run(model, tmp_path, Arrays({"x": x}), clusters=6)
    new = weights(out.model)["w"]
    told = rows(out)["w"]["output_error"]
    assert told == pytest.approx(np.square(x @ (w - new)).sum() / np.square(x @ w).sum(), rel=1e-3)
    # no values in the same places are better by more than the damping, 1 %, makes of it
    values, codes = np.unique(new, return_inverse=True)
    best = minimize(lambda v: np.square(x @ (w - v[codes].reshape(w.shape))).sum(), values).fun
    assert np.square(x @ (w - new)).sum() <= 1.01 * best


@pytest.mark.parametrize("importance", ["activation", "hessian"])
def test_importance_moves_values_towards_what_counts(tmp_path, importance):
    x, w = random(200, 8) * np.float32([10, 10, 1, 1, 1, 1, 1, 1]), random(8, 24)
    model = graphs.model("y = MatMul(x, w)", {"w": w}, "float[N, 8] x", "float[N, 24] y")
    plain, weighed = (
        weights(run(model, tmp_path, Arrays({"x": x}), clusters=4, importance=i, reconstruct=False).model)["w"]
        for i in ("none", importance)
    )
    assert_nearest(w, plain)
    counts = np.broadcast_to(np.square(x).mean(axis=0)[:, None], w.shape)
    if importance == "activation":
        for value in np.unique(weighed):
            members = weighed == value
            assert value == pytest.approx(np.average(w[members], weights=counts[members]), rel=1e-4)
    assert (counts * np.square(w - weighed)).sum() < 0.9 * (counts * np.square(w - plain)).sum()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_floats_keep_their_type(tmp_path, dtype):
    w = random(8, 40).astype(dtype)
    kind = {"float16": "float16", "bfloat16": "bfloat16", "float64": "double"}[np.dtype(dtype).name]
    model = graphs.model("y = MatMul(x, w)", {"w": w}, f"{kind}[N, 8] x", f"{kind}[N, 40] y")
    new = weights(run(model, tmp_path, clusters=16).model)["w"]
    assert new.dtype == w.dtype and len(np.unique(new.astype(np.float64))) == 16


def test_tables_and_recurrent_weights_take_part(tmp_path):
    arrays = {"t": random(50, 6), "W": random(1, 40, 6), "R": random(1, 40, 10), "B": random(1, 80)}
    body = "e = Gather(t, x) s, y, c = LSTM<hidden_size = 10>(e, W, R, B)"
    model = graphs.model(body, arrays, "int64[5, N] x", "float[1, N, 10] y")
    out = run(model, tmp_path, clusters=16)
    assert set(rows(out)) == {"t", "W", "R"}
    for name in ("t", "W", "R"):
        assert_nearest(arrays[name], weights(out.model)[name])


def test_a_table_that_a_layer_shares_is_clustered_once(tmp_path):
    t = random(40, 40)
    model = graphs.model("e = Gather(t, x) y = MatMul(e, t)", {"t": t}, "int64[N] x", "float[N, 40] y")
    samples = Arrays({"x": np.arange(40)})
    out = run(model, tmp_path, samples, clusters=16)
    assert_nearest(t, weights(out.model)["t"])
    assert len(out.facts["layers"]) == 1 and "other nodes use it, too" in texts(out)["MatMul_1"]


def test_what_gains_nothing_is_left_and_told(tmp_path):
    few = random.rng.choice(np.float32([-1, 0, 1]), (16, 16))
    arrays = {"few": few, "flat": np.full((16, 16), 0.5, np.float32), "small": random(16, 3), "w": random(3, 90)}
    body = "a = MatMul(x, few) b = MatMul(a, flat) c = MatMul(b, small) y = MatMul(c, w)"
    model = graphs.model(body, arrays, "float[N, 16] x", "float[N, 90] y")
    out = run(model, tmp_path, clusters=16)
    for name in ("few", "flat", "small"):
        np.testing.assert_array_equal(weights(out.model)[name], arrays[name])
    told = texts(out)
    assert told["MatMul_0"] == "not clustered: it has 3 distinct values as it is"
    assert told["MatMul_1"] == "not clustered: it has 1 distinct values as it is"
    assert told["MatMul_2"] == "not clustered: its 48 elements are fewer than 4 for each of the codebook's 16"
    told = texts(run(model, tmp_path, clusters=2, vector=4))
    assert told["MatMul_3"] == "not clustered: its 270 elements make no vectors of 4"


def test_what_cannot_be_reconstructed_gets_the_nearest_values_and_says_why(tmp_path):
    out = run(cnn(), tmp_path, Arrays({"x": X}), clusters=4, vector=2)
    assert texts(out)["Conv_2"] == "clustered, but not reconstructed: the layer is a grouped convolution"
    assert "output_error" in rows(out)["w1"] and "output_error" not in rows(out)["w2"]


def test_large_weights_wait_on_disk(tmp_path):
    w = random(600, 600)
    model = graphs.model("y = MatMul(x, w)", {"w": w}, "float[N, 600] x", "float[N, 600] y")
    tensor = run(model, tmp_path, clusters=16).model.graph.initializers["w"].const_value
    assert isinstance(tensor, ir.ExternalTensor)
    values = np.unique(tensor.numpy())
    np.testing.assert_array_equal(tensor.numpy(), values[np.abs(w[..., None] - values).argmin(axis=-1)])
    assert len(values) == 16


@pytest.mark.parametrize("options", [{}, {"vector": 2}, {"scope": "group"}])
@pytest.mark.parametrize("calibrated", [False, True])
def test_the_same_input_gives_the_same_bytes(tmp_path, options, calibrated):
    samples = Arrays({"x": X}) if calibrated else None
    one, two = (weights(run(cnn(), tmp_path, samples, clusters=8, **options).model) for _ in range(2))
    assert all(one[name].tobytes() == two[name].tobytes() for name in one)


def test_samples_are_asked_for(tmp_path):
    with pytest.raises(UsageError, match="reconstructed on samples, and there are none"):
        run(cnn(), tmp_path, reconstruct=True)
    with pytest.raises(UsageError, match="importance activation needs samples"):
        run(cnn(), tmp_path, importance="activation")
    assert run(mlp(), tmp_path, blobs(), clusters=4, importance="hessian").facts["layers"]


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = cnn()
    set_constant(model.graph.initializers["w1"], np.full((8, 3, 3, 3), np.nan, np.float32))
    with pytest.raises(ModelError, match="weight 'w1' holds NaN or infinity"):
        run(model, tmp_path, clusters=4)


def test_models_without_such_weights_are_refused(tmp_path):
    model = graphs.model("y = Relu(x)", {}, "float[N, 4] x", "float[N, 4] y")
    with pytest.raises(ModelError, match="no weight can be clustered: there are no float weights"):
        run(model, tmp_path)
    with pytest.raises(ModelError, match="no weight can be clustered: its 216 elements are fewer"):
        run(cnn(), tmp_path, clusters=256)
