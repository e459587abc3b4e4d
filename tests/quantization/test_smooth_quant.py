"""SmoothQuant: the model computes the same, the scales are the paper's; what cannot be smoothed says so."""

import re
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.measure.session import Session
from compressctl.model.graph import constant
from compressctl.notes import Note
from compressctl.passes import smooth_quant
from tests import graphs
from tests.passes import apply
from tests.training.tiny import Arrays

RNG = np.random.default_rng(4)
X = (RNG.standard_normal((6, 5, 8)) * 3).astype("f")
WEIGHTS = {
    "gain": np.array([0.5, 1, 20, 1, 0.1, 2, 3, 60], "f"),
    "shift": RNG.standard_normal(8).astype("f"),
    "q": RNG.standard_normal((8, 8)).astype("f"),
    "k": (RNG.standard_normal((8, 4)) * 0.1).astype("f"),
    "bias": RNG.standard_normal(4).astype("f"),
    "row": (RNG.standard_normal((1, 1, 8)) * 9).astype("f"),
    "two": np.array(2, "f"),
}


def _model(body: str) -> ir.Model:
    return graphs.model(body, WEIGHTS, "float[N, 5, 8] x", "float y")


def _run(body: str, folder: Path, alpha: float = 0.5) -> tuple[ir.Model, ir.Model, tuple[Note, ...]]:
    model = _model(body)
    outcome = apply(smooth_quant, model, folder, Arrays({"x": X}), alpha=alpha)
    return model, outcome.model, outcome.notes


def _values(model: ir.Model, *names: str) -> list[np.ndarray]:
    clone = model.clone()
    for node in clone.graph:
        clone.graph.outputs.extend(v for v in node.outputs if v.name in names and not v.is_graph_output())
    results = Session(clone, threads=1, optimize=False).run({"x": X})
    return [results[name] for name in names]


def _assert_same(before: ir.Model, after: ir.Model) -> None:
    ((expected,), (found,)) = (_values(model, "y") for model in (before, after))
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-6 * np.abs(expected).max())


def _weights(model: ir.Model, op_type: str = "MatMul") -> list[np.ndarray]:
    arrays = [constant(node.inputs[1]) for node in model.graph if node.op_type == op_type]
    return [array for array in arrays if array is not None]


NORM = "n = LayerNormalization(x, gain, shift)"


@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.8])
@pytest.mark.parametrize(
    "producer",
    [
        NORM,
        "n = LayerNormalization<axis = 2>(x, gain)",
        "n = Mul(x, gain)",
        "n = Mul(row, x)",
        "p = Mul(gain, x) n = Add(p, shift)",
    ],
)
def test_scales_are_the_papers_and_the_model_computes_the_same(producer, alpha, tmp_path):
    body = f"{producer} a = MatMul(n, q) b = MatMul(n, k) s = Concat<axis = -1>(a, b) y = Relu(s)"
    before, after, notes = _run(body, tmp_path, alpha)
    _assert_same(before, after)
    (activations,), (smoothed,) = _values(before, "n"), _values(after, "n")
    weights = np.concatenate(_weights(before), axis=1)
    expected = np.abs(activations).max(axis=(0, 1)) ** alpha / np.abs(weights).max(axis=1) ** (1 - alpha)
    np.testing.assert_allclose(np.concatenate(_weights(after), axis=1), weights * expected[:, None], rtol=1e-5)
    np.testing.assert_allclose(smoothed, activations / expected, rtol=1e-4, atol=1e-5)
    assert [(note.kind, note.node) for note in notes] == [("done", "n")]


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm(transposed, tmp_path):
    weight = "q" if transposed else "k, bias"
    body = f"""f = ReduceMean<axes = [1], keepdims = 0>(x) n = LayerNormalization(f, gain, shift)
               y = Gemm<transB = {transposed}>(n, {weight})"""
    before, after, notes = _run(body, tmp_path)
    _assert_same(before, after)
    assert [note.kind for note in notes] == ["done"]
    assert not np.allclose(_weights(before, "Gemm")[0], _weights(after, "Gemm")[0])


def test_a_gain_that_two_normalizations_share_is_told_apart(tmp_path):
    body = f"{NORM} a = MatMul(n, q) m = LayerNormalization(a, gain, shift) y = MatMul(m, k)"
    before, after, notes = _run(body, tmp_path)
    _assert_same(before, after)
    assert [note.node for note in notes] == ["n", "m"]
    assert "gain" not in after.graph.initializers and "shift" not in after.graph.initializers
    for name in ("gain", "shift", "q", "k"):
        np.testing.assert_array_equal(before.graph.initializers[name].const_value.numpy(), WEIGHTS[name])


@pytest.mark.parametrize(
    ("body", "tensor", "reason"),
    [
        (f"{NORM} a = MatMul(n, q) y = Add(a, n)", "n", "Add .* reads it too"),
        ("y = MatMul(x, q)", "x", "input of the model"),
        ("r = Relu(x) y = MatMul(r, q)", "r", "Relu makes it: no constant there"),
        ("n = Mul(x, two) y = MatMul(n, q)", "n", "Mul makes it"),
        (f"{NORM} a = MatMul(n, q) b = MatMul(a, q) y = Relu(b)", "n", "shares its weight"),
        ("n = LayerNormalization<axis = 1>(x, row) y = MatMul(n, q)", "n", "LayerNormalization makes it"),
    ],
)
def test_what_is_left_alone_says_why(body, tensor, reason, tmp_path):
    before, after, notes = _run(body, tmp_path)
    (note, *_) = [note for note in notes if note.node == tensor]
    assert note.kind == "skipped"
    assert re.search(reason, note.text)
    assert ir.to_proto(before).SerializeToString() == ir.to_proto(after).SerializeToString()


def test_graph_outputs_are_left_alone(tmp_path):
    model = graphs.model(f"{NORM} y = MatMul(n, q)", WEIGHTS, "float[N, 5, 8] x", "float y, float[N, 5, 8] n")
    outcome = apply(smooth_quant, model, tmp_path, Arrays({"x": X}))
    assert [(note.kind, note.text) for note in outcome.notes] == [
        ("skipped", "not smoothed: it is an output of the model")
    ]
