"""Fitting layers one after the other: against least squares on what the layers read in both models."""

from pathlib import Path

import numpy as np
import pytest

from compressctl.errors import DataError
from compressctl.layers.bias import find_bias
from compressctl.layers.layerwise import Pair, fit_layers
from compressctl.layers.linear import linear_layers
from compressctl.layers.walk import Walk
from compressctl.measure.session import Session
from compressctl.model.graph import set_constant
from compressctl.numerics.obs import refit
from tests import graphs
from tests.graphs import weights
from tests.training.tiny import Arrays

random = graphs.Random(8)


RESIDUAL = {"w1": random(4, 6), "b1": random(6), "w2": random(6, 4), "w3": random(4, 4), "w4": random(4, 3)}
X = random(70, 4)


def _residual(**arrays: np.ndarray):
    body = """h = Gemm(x, w1, b1) a = Relu(h) b = MatMul(a, w2) s = MatMul(x, w3) z = Add(b, s) t = Tanh(z)
        m = MatMul(t, w4) y = Add(m, s4)"""
    given = {**RESIDUAL, "s4": np.zeros(3, np.float32), **arrays}
    return graphs.model(body, given, "float[N, 4] x", "float[N, 3] y")


def _walk(model, folder: Path, batch: int = 16) -> Walk:
    feeds = ({"x": X[start : start + batch]} for start in range(0, len(X), batch))
    return Walk(model, linear_layers(model.graph), feeds, folder, 1)


def test_stages_follow_what_layers_read(tmp_path):
    stages = _walk(_residual(), tmp_path).stages
    assert [[layer.weight.name for layer in stage] for stage in stages] == [["w1", "w3"], ["w2"], ["w4"]]


def test_layers_read_what_changed_layers_give(tmp_path):
    model = _residual()
    walk = _walk(model, tmp_path)
    (first, beside), (second,), (last,) = walk.stages
    walk.reach(first.name)
    set_constant(first.weight, 2 * RESIDUAL["w1"])
    walk.reach(second.name)
    hidden = np.maximum(X @ (2 * RESIDUAL["w1"]) + RESIDUAL["b1"], 0)
    read = np.concatenate([walk.value(second.name, batch) for batch in range(walk.batches)])
    np.testing.assert_allclose(read, hidden, rtol=1e-5)
    walk.leave(second.name)
    walk.reach(last.name)
    read = np.concatenate([walk.value(last.name, batch) for batch in range(walk.batches)])
    np.testing.assert_allclose(read, np.tanh(hidden @ RESIDUAL["w2"] + X @ RESIDUAL["w3"]), rtol=1e-4, atol=1e-5)
    held = np.concatenate([walk.value(beside.name, batch) for batch in range(walk.batches)])
    np.testing.assert_array_equal(held, X)  # it was not left


def test_values_of_other_types_cross_the_stages(tmp_path):
    """A shape that was read early and is used late, in a graph that does not tell its values' types."""
    body = """s = Shape(x) h = MatMul(x, w1) n = Gather(s, first) a = Relu(h) b = MatMul(a, w2)
        k = Unsqueeze(n, zero) t = Concat<axis = 0>(k, two) r = Reshape(b, t) m = MatMul(r, v) y = Identity(m)"""
    arrays = {"w1": RESIDUAL["w1"], "w2": RESIDUAL["w2"], "v": random(2, 3)}
    integers = {"first": np.array(0), "zero": np.array([0]), "two": np.array([2, 2])}
    model = graphs.model(body, {**arrays, **integers}, "float[N, 4] x", "float[N, 2, 3] y")
    for node in model.graph:
        for value in node.outputs:
            value.type, value.shape = (value.type, value.shape) if value.is_graph_output() else (None, None)
    walk = _walk(model, tmp_path)
    (last,) = walk.stages[-1]
    walk.reach(last.name)
    read = np.concatenate([walk.value(last.name, batch) for batch in range(walk.batches)])
    expected = (np.maximum(X @ arrays["w1"], 0) @ arrays["w2"]).reshape(-1, 2, 2)
    np.testing.assert_allclose(read, expected, rtol=1e-4, atol=1e-5)


def test_values_that_bodies_capture_wait(tmp_path):
    body = """h = MatMul(x, w1) a = Relu(h) m = ReduceMax<keepdims = 0>(x) c = Greater(m, limit)
        b = If(c) <then_branch = t () => (float[N, 6] p) { p = Add(a, a) },
                   else_branch = e () => (float[N, 6] q) { q = Identity(a) }> y = MatMul(b, w2)"""
    arrays = {"w1": RESIDUAL["w1"], "w2": RESIDUAL["w2"], "limit": np.array(2, np.float32)}
    walk = _walk(graphs.model(body, arrays, "float[N, 4] x", "float[N, 4] y"), tmp_path, batch=1)
    (last,) = walk.stages[-1]
    walk.reach(last.name)
    read = np.concatenate([walk.value(last.name, batch) for batch in range(walk.batches)])
    factor = np.where(X.max(axis=1, keepdims=True) > 2, 2, 1)
    np.testing.assert_allclose(read, factor * np.maximum(X @ arrays["w1"], 0), rtol=1e-5, atol=1e-6)
    assert 0 < (factor == 2).mean() < 1


def test_values_that_are_read_no_more_are_deleted(tmp_path):
    walk = _walk(_residual(), tmp_path)
    for stage in walk.stages:
        for layer in stage:
            walk.reach(layer.name)
        assert len(list(tmp_path.glob("*.npy"))) <= 3 * walk.batches
        for layer in stage:
            walk.leave(layer.name)


def _fit(original, changed, resources, solve, outputs=None):
    old = {layer.name: layer for layer in linear_layers(original.graph)}
    rows = outputs or {}
    pairs = [
        Pair(old[new.name], new, rows.get(new.name, np.arange(old[new.name].shape[1])))
        for new in linear_layers(changed.graph)
    ]
    return fit_layers(original, changed, pairs, Arrays({"x": X}), solve, resources)


def test_fit_aims_at_the_old_output_from_the_new_input(resources):
    """The first layer loses half of its outputs; the second makes the best of what is left, the last of what comes."""
    original = _residual()
    kept = np.array([0, 2, 5])
    changed = _residual(w1=RESIDUAL["w1"][:, kept], b1=RESIDUAL["b1"][kept], w2=RESIDUAL["w2"][kept])

    def solve(layer, group, fit):
        return refit(fit.target, fit.moments, fit.weight, damping=1e-9)

    errors = _fit(original, changed, resources, solve, {"Gemm_0": kept})
    found = weights(changed)
    np.testing.assert_allclose(found["w1"], RESIDUAL["w1"][:, kept], atol=1e-5)
    np.testing.assert_allclose(found["w3"], RESIDUAL["w3"], atol=1e-5)
    old = np.maximum(X @ RESIDUAL["w1"] + RESIDUAL["b1"], 0).astype(np.float64)
    best, *_ = np.linalg.lstsq(old[:, kept], old @ RESIDUAL["w2"], rcond=None)
    np.testing.assert_allclose(found["w2"], best, rtol=1e-3, atol=1e-4)
    error = np.square(old[:, kept] @ best - old @ RESIDUAL["w2"]).sum() / np.square(old @ RESIDUAL["w2"]).sum()
    assert errors["MatMul_2"] == pytest.approx(error, rel=1e-3)
    # The last layer has a bias: least squares with a column of ones.
    before = np.tanh(old @ RESIDUAL["w2"] + X @ RESIDUAL["w3"])
    after = np.tanh(old[:, kept] @ best + X @ RESIDUAL["w3"])
    ones = np.ones((len(X), 1))
    affine, *_ = np.linalg.lstsq(np.hstack([after, ones]), before @ RESIDUAL["w4"], rcond=None)
    np.testing.assert_allclose(found["w4"], affine[:-1], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found["s4"], affine[-1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("group", [1, 2])
def test_a_convolution_is_fitted_as_its_windows_are(resources, group):
    x = random(6, 4, 8, 8)
    w, b, rough = random(6, 4 // group, 3, 3), random(6), random(6, 4 // group, 3, 3)
    body = f"y = Conv<group = {group}, pads = [1, 1, 1, 1], strides = [2, 1]>(x, w, b)"

    def model(weight):
        return graphs.model(body, {"w": weight, "b": b}, "float[N, 4, 8, 8] x", "float[N, 6, P, Q] y")

    original, changed = model(w), model(rough)
    old, new = linear_layers(original.graph)[0], linear_layers(changed.graph)[0]

    def solve(layer, number, fit):
        return np.linalg.solve(fit.moments, fit.target.T).T

    fit_layers(original, changed, [Pair(old, new, np.arange(6))], Arrays({"x": x}), solve, resources)
    expected = Session(original, threads=1).run({"x": x})["y"]
    np.testing.assert_allclose(Session(changed, threads=1).run({"x": x})["y"], expected, atol=1e-3)
    np.testing.assert_allclose(weights(changed)["w"], w, atol=1e-3)


def test_a_bias_that_others_read_stays_theirs(tmp_path):
    arrays = {"w": random(4, 4), "v": random(4, 4), "b": random(4)}
    body = "h = Gemm(x, w, b) y = Gemm(h, v, b)"
    model = graphs.model(body, arrays, "float[N, 4] x", "float[N, 4] y")
    first, second = linear_layers(model.graph)
    bias = find_bias(first)
    assert bias is not None
    bias.replace(np.zeros(4))
    np.testing.assert_array_equal(find_bias(first).array, 0)
    np.testing.assert_array_equal(find_bias(second).array, arrays["b"])


def test_samples_that_overflow_are_named(resources):
    model = _residual(w1=RESIDUAL["w1"] * 1e38)
    with pytest.raises(DataError, match="Gemm_0"):
        _fit(model, _residual(w1=RESIDUAL["w1"] * 1e38), resources, lambda layer, group, fit: fit.weight)
