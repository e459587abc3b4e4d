"""What is left of a cut model, fitted to the original: against least squares on its own activations."""

import numpy as np
import pytest

from compressctl.measure.session import Session
from compressctl.model.verify import verify_graph
from compressctl.pruning.cutting import without
from compressctl.pruning.reconstruct import reconstruct
from compressctl.structure.groups import find_groups
from tests import graphs
from tests.graphs import weights
from tests.training.tiny import Arrays

random = graphs.Random(4)


def _fit(model, removed, x, resources):
    groups = find_groups(model)
    cut = without(model, groups, removed)
    before = Session(cut, threads=1).run({"x": x})["y"]
    errors, notes = reconstruct(model, cut, groups, removed, Arrays({"x": x}), resources)
    verify_graph(cut, where="reconstruct")
    return cut, before, errors, notes


def test_the_reader_of_cut_neurons_is_least_squares(resources):
    arrays = {"w": random(6, 8), "b": random(8), "v": random(8, 3), "c": random(3)}
    model = graphs.model("h = Gemm(x, w, b) a = Relu(h) y = Gemm(a, v, c)", arrays, "float[N, 6] x", "float[N, 3] y")
    x = random(300, 6)
    cut, _, errors, notes = _fit(model, {"Gemm_0": np.array([1, 6])}, x, resources)
    kept = [0, 2, 3, 4, 5, 7]
    np.testing.assert_array_equal(weights(cut)["w"], arrays["w"][:, kept])
    hidden = np.maximum(x @ arrays["w"] + arrays["b"], 0).astype(np.float64)
    wanted = hidden @ arrays["v"] + arrays["c"]
    # ridge regression on deviations from the mean, towards the weight as it was, by a hundredth of the mean variance
    left = hidden[:, kept] - hidden[:, kept].mean(axis=0)
    pull = np.sqrt(0.01 * np.square(left).mean(axis=0).mean() * len(x))
    rows = np.vstack([left, pull * np.eye(6)])
    best, *_ = np.linalg.lstsq(rows, np.vstack([wanted - wanted.mean(axis=0), pull * arrays["v"][kept]]), rcond=None)
    np.testing.assert_allclose(weights(cut)["v"], best, rtol=1e-3, atol=1e-4)
    bias = wanted.mean(axis=0) - hidden[:, kept].mean(axis=0) @ best
    np.testing.assert_allclose(weights(cut)["c"], bias, rtol=1e-3, atol=1e-4)
    error = np.square(left @ best - wanted + wanted.mean(axis=0)).sum() / np.square(wanted - wanted.mean(axis=0)).sum()
    assert errors["Gemm_2"] == pytest.approx(error, rel=1e-3) and errors["Gemm_0"] == pytest.approx(0, abs=1e-6)
    assert "2 layers were fitted" in notes[0].text and notes[0].node == "Gemm_2"


CHAIN = """c1 = Conv<pads = [1, 1, 1, 1]>(x, w1, b1) r1 = Relu(c1)
    d = Conv<group = 8, pads = [1, 1, 1, 1]>(r1, w2, b2) r2 = Relu(d) c3 = Conv(r2, w3, b3)
    s = Conv(r1, w4, b4) y = Add(c3, s)"""
CONVOLUTIONS = {
    "w1": random(8, 3, 3, 3),
    "b1": random(8),
    "w2": random(8, 1, 3, 3),
    "b2": random(8),
    "w3": random(4, 8, 1, 1),
    "b3": random(4),
    "w4": random(4, 8, 1, 1),
    "b4": random(4),
}


def test_depthwise_layers_and_branches_come_closer(resources):
    model = graphs.model(CHAIN, CONVOLUTIONS, "float[N, 3, 8, 8] x", "float[N, 4, 8, 8] y")
    x = random(20, 3, 8, 8)
    expected = Session(model, threads=1).run({"x": x})["y"]
    cut, before, errors, _ = _fit(model, {"Conv_0": np.array([0, 3])}, x, resources)
    after = Session(cut, threads=1).run({"x": x})["y"]
    assert np.square(after - expected).mean() < 0.4 * np.square(before - expected).mean()
    kept = [1, 2, 4, 5, 6, 7]
    np.testing.assert_array_equal(weights(cut)["w1"], CONVOLUTIONS["w1"][kept])
    np.testing.assert_array_equal(weights(cut)["w2"], CONVOLUTIONS["w2"][kept])  # it reads what it read
    assert max(errors["Conv_0"], errors["Conv_2"]) < 1e-6


def test_nothing_cut_changes_nothing(resources):
    model = graphs.model(CHAIN, CONVOLUTIONS, "float[N, 3, 8, 8] x", "float[N, 4, 8, 8] y")
    cut, *_ = _fit(model, {}, random(5, 3, 8, 8), resources)
    for name, array in CONVOLUTIONS.items():
        np.testing.assert_array_equal(weights(cut)[name], array)


def test_a_layer_of_very_many_inputs_is_left_as_it_is(resources):
    arrays = {"w": random(3, 8200), "v": random(8200, 2)}
    model = graphs.model("h = Gemm(x, w) a = Relu(h) y = Gemm(a, v)", arrays, "float[N, 3] x", "float[N, 2] y")
    cut, _, errors, notes = _fit(model, {"Gemm_0": np.array([0])}, random(4, 3), resources)
    np.testing.assert_array_equal(weights(cut)["v"], arrays["v"][1:])
    assert "Gemm_2" not in errors
    assert any(note.node == "Gemm_2" and "8199 inputs, too many to solve for" in note.text for note in notes)
