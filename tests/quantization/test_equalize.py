"""Cross-layer equalization: the model computes the same and its ranges are equal; what cannot be equalized says so."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.measure.session import Session
from compressctl.model.graph import constant
from compressctl.notes import Note
from compressctl.passes import equalize
from tests import graphs
from tests.passes import apply

RNG = np.random.default_rng(2)
X = RNG.standard_normal((3, 4, 9, 9)).astype("f")


def _uneven(*shape: int) -> np.ndarray:
    spread = np.exp(RNG.normal(0, 1.5, shape[:2] + (1,) * (len(shape) - 2)))
    return (RNG.standard_normal(shape) * spread).astype("f")


WEIGHTS = {
    "w1": _uneven(8, 4, 3, 3),
    "dw": _uneven(8, 1, 3, 3),
    "w2": _uneven(6, 8, 1, 1),
    "g2": _uneven(6, 4, 3, 3),
    "w3": _uneven(5, 6, 1, 1),
    "slope": RNG.random((8, 1, 1)).astype("f"),
    "zero": np.zeros((), "f"),
    "six": np.array(6, "f"),
}
for bias, weight in (("b1", "w1"), ("bd", "dw"), ("b2", "w2")):  # in like proportion: none lives by its bias alone
    WEIGHTS[bias] = np.abs(WEIGHTS[weight]).max(axis=(1, 2, 3)) * RNG.uniform(-1, 1, len(WEIGHTS[weight])).astype("f")


def _run(body: str, iterations: int = 40) -> tuple[ir.Model, ir.Model, tuple[Note, ...]]:
    model = graphs.model(body, WEIGHTS, "float[N, 4, H, W] x", "float[N, C, I, J] y")
    outcome = apply(equalize, model, Path(), iterations=iterations)
    return model, outcome.model, outcome.notes


def _outputs(model: ir.Model) -> np.ndarray:
    return Session(model, threads=1, optimize=False).run({"x": X})["y"]


def _assert_same(before: ir.Model, after: ir.Model) -> None:
    expected = _outputs(before)
    np.testing.assert_allclose(_outputs(after), expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def _ranges(model: ir.Model, node: int, axis: int, groups: int = 1) -> np.ndarray:
    convolutions = [n for n in model.graph if n.op_type == "Conv"]
    weight = constant(convolutions[node].inputs[1])
    assert weight is not None
    if axis == 1 and groups > 1:
        grouped = np.abs(weight).reshape(groups, -1, *weight.shape[1:])
        return grouped.max(axis=(1, *range(3, grouped.ndim))).reshape(-1)
    return np.abs(weight).max(axis=tuple(d for d in range(weight.ndim) if d != axis))


BETWEEN = [
    "Relu(c)",
    "Identity(c)",
    "LeakyRelu<alpha = 0.2>(c)",
    "PRelu(c, slope)",
    "MaxPool<kernel_shape = [2, 2]>(c)",
    "AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(c)",
    "GlobalAveragePool(c)",
]


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("second", ["Conv(a, w2, b2)", "Conv<group = 2>(a, g2)"])
def test_pairs_become_equal_and_compute_the_same(between, second):
    if "g2" in second and "Global" in between:
        second = "Conv<group = 2, pads = [1, 1, 1, 1]>(a, g2)"
    before, after, notes = _run(f"c = Conv(x, w1, b1) a = {between} y = {second}")
    _assert_same(before, after)
    np.testing.assert_allclose(_ranges(after, 0, 0), _ranges(after, 1, 1, 2 if "g2" in second else 1), rtol=1e-5)
    assert not np.allclose(_ranges(before, 0, 0), _ranges(after, 0, 0))
    assert [(note.kind, note.node) for note in notes] == [("skipped", "Conv_2"), ("done", "Conv_0")]


def test_chain_through_a_depthwise_layer():
    body = """c = Conv<pads = [1, 1, 1, 1]>(x, w1, b1) r = Relu(c) d = Conv<group = 8>(r, dw, bd) s = Relu(d)
              e = Conv(s, w2, b2) t = Relu(e) y = Conv(t, w3)"""
    before, after, notes = _run(body, 200)
    _assert_same(before, after)
    for first, groups in ((0, 8), (1, 1), (2, 1)):
        np.testing.assert_allclose(_ranges(after, first, 0), _ranges(after, first + 1, 1, groups), rtol=5e-3)
    assert [note.kind for note in notes].count("done") == 3


def test_baseline_keeps_its_weights():
    before, _, _ = _run("c = Conv(x, w1, b1) y = Conv(c, w2, b2)")
    for name in ("w1", "b1", "w2", "b2"):
        np.testing.assert_array_equal(before.graph.initializers[name].const_value.numpy(), WEIGHTS[name])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("c = Conv(x, w1) a = Clip(c, zero, six) y = Conv(a, w2)", "Clip reads its output"),
        ("c = Conv(x, w1) a = Sigmoid(c) y = Conv(a, w2)", "Sigmoid reads its output"),
        ("c = Conv(x, w1) a = Relu(c) d = Conv(a, w2) e = Conv(c, w2) y = Add(d, e)", "several nodes"),
        ("w = Neg(w1) c = Conv(x, w) y = Conv(c, w2)", "not constant"),
        ("c = Conv(x, w1) w = Neg(w2) y = Conv(c, w)", "not constant"),
        ("p = Conv(x, w1) q = Conv(x, w1) s = Add(p, q) y = Conv(s, w2)", "other nodes use its weight"),
        ("c = Conv(x, w1) y = PRelu(slope, c)", "no plain input"),
    ],
)
def test_what_is_left_alone_says_why(body, reason):
    before, after, notes = _run(body)
    assert (reason in notes[0].text and notes[0].kind == "skipped" and notes[0].node == "Conv_0") or "Neg" in body
    assert any(reason in note.text for note in notes)
    assert not any(note.kind == "done" for note in notes)
    assert ir.to_proto(before).SerializeToString() == ir.to_proto(after).SerializeToString()


def test_weights_in_constant_nodes():
    values = ", ".join(str(v) for v in np.linspace(-3, 2, 16).round(3))
    body = f"w = Constant<value = float[4, 4, 1, 1] {{{values}}}>() c = Conv(x, w) y = Conv(c, w1)"
    before, after, notes = _run(body)
    assert [note.kind for note in notes] == ["skipped", "done"]
    _assert_same(before, after)
