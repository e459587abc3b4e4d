"""Pads, pooling and activations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import Rewritten, ints, rand, rewrite

INF = np.array(-np.inf, np.float32)
ZERO, SIX = np.array(0, np.float32), np.array(6, np.float32)


def padded(layer: str, pad: str = "Pad(a, p)", before: str = "Relu", **weights: np.ndarray) -> Rewritten:
    text = f"(float[batch,4,8,8] x) => (float[batch,c,h,w] y) {{ a = {before}(x) b = {pad} y = {layer} }}"
    return rewrite(text, **{"p": ints(0, 0, 1, 0, 0, 0, 2, 1), **weights})


@pytest.mark.parametrize(
    ("layer", "pads"),
    [
        ("Conv(b, w)", (1, 0, 2, 1)),
        ("Conv <strides = [2,2], pads = [1,1,0,0]> (b, w)", (2, 1, 2, 1)),
        ('Conv <auto_pad = "VALID", dilations = [2,2]> (b, w)', (1, 0, 2, 1)),
    ],
)
def test_pad_goes_into_the_convolution(layer: str, pads: tuple[int, ...]) -> None:
    result = padded(layer, w=rand(5, 4, 3, 3))
    assert result.ops == {"Relu": 1, "Conv": 1}
    assert result.node("y").attributes.get_ints("pads") == pads


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=4), st.lists(st.integers(0, 2), min_size=4, max_size=4))
def test_any_pads_go_into_the_convolution(pads: list[int], own: list[int]) -> None:
    result = padded(f"Conv <pads = {own}> (b, w)", p=ints(0, 0, *pads[:2], 0, 0, *pads[2:]), w=rand(5, 4, 3, 3))
    assert result.ops == {"Relu": 1, "Conv": 1}


def test_pad_with_axes_goes_into_the_convolution() -> None:
    weights = {"q": ints(1, 2, 0, 1), "axes": ints(-1, 2), "w": rand(5, 4, 3, 3)}
    text = "(float[batch,4,8,8] x) => (float[batch,5,h,w] y) { b = Pad(x, q, , axes) y = Conv(b, w) }"
    result = rewrite(text, opset=18, **weights)
    assert result.ops == {"Conv": 1}
    assert result.node("y").attributes.get_ints("pads") == (2, 1, 1, 0)


def test_pad_goes_into_each_of_several_convolutions() -> None:
    text = """(float[batch,4,8,8] x) => (float[batch,5,h,w] y)
    { b = Pad(x, p) c = Conv(b, w) d = Conv(b, v) y = Add(c, d) }"""
    result = rewrite(text, p=ints(0, 0, 1, 1, 0, 0, 1, 1), w=rand(5, 4, 3, 3), v=rand(5, 4, 3, 3, seed=1))
    assert result.ops == {"Conv": 2, "Add": 1}


@pytest.mark.parametrize(
    ("layer", "pad", "weights", "reason"),
    [
        ('Conv <auto_pad = "SAME_UPPER"> (b, w)', "Pad(a, p)", {}, "pads automatically"),
        ("Conv(b, w)", 'Pad <mode = "reflect"> (a, p)', {}, "mode is reflect"),
        ("Conv(b, w)", "Pad(a, p, v)", {"v": SIX}, "does not pad with zeros"),
        ("Conv(b, w)", "Pad(a, p)", {"p": ints(0, 1, 1, 1, 0, 1, 1, 1), "w": rand(5, 6, 3, 3)}, "not of the spatial"),
        ("Conv(b, w)", "Pad(a, p)", {"p": ints(0, 0, -1, 1, 0, 0, 1, 1)}, "negative"),
    ],
)
def test_pad_is_kept_before_a_convolution(layer: str, pad: str, weights: dict[str, np.ndarray], reason: str) -> None:
    result = padded(layer, pad, **{"w": rand(5, 4, 3, 3), **weights})
    assert result.ops == {"Relu": 1, "Pad": 1, "Conv": 1}
    assert any(reason in text for text in result.reasons())


@pytest.mark.parametrize(
    ("layer", "before", "value"),
    [
        ("MaxPool <kernel_shape = [3,3], strides = [2,2]> (b)", "Relu", None),
        ("MaxPool <kernel_shape = [3,3]> (b)", "Sigmoid", None),
        ("MaxPool <kernel_shape = [3,3]> (b)", "Neg", INF),
        ("AveragePool <kernel_shape = [3,3]> (b)", "Neg", None),
        ("AveragePool <kernel_shape = [4,4], pads = [1,1,1,1], count_include_pad = 1> (b)", "Neg", None),
    ],
)
def test_pad_goes_into_pooling(layer: str, before: str, value: np.ndarray | None) -> None:
    pad, weights = ("Pad(a, p)", {}) if value is None else ("Pad(a, p, v)", {"v": value})
    assert padded(layer, pad, before, **weights).ops == {before: 1, layer.split(" ")[0]: 1}


@pytest.mark.parametrize(
    ("layer", "before", "reason"),
    [
        ("MaxPool <kernel_shape = [3,3]> (b)", "Neg", "may be negative"),
        ("MaxPool <kernel_shape = [3,3], ceil_mode = 1> (b)", "Relu", "rounds its output size up"),
        ("MaxPool <kernel_shape = [3,3], dilations = [2,2]> (b)", "Relu", "dilations"),
        ("MaxPool <kernel_shape = [2,2]> (b)", "Relu", "as wide as the window"),
        ("AveragePool <kernel_shape = [4,4], pads = [1,1,1,1]> (b)", "Relu", "count its own padding"),
    ],
)
def test_pad_is_kept_before_pooling(layer: str, before: str, reason: str) -> None:
    result = padded(layer, before=before)
    assert result.ops["Pad"] == 1
    assert any(reason in text for text in result.reasons())


def test_a_keras_block() -> None:
    """Channels last, zero padding, a bias as Add, normalisation as arithmetic, Relu6 written out."""
    text = """(float[batch,9,9,3] image) => (float[batch,5] y)
    { n = Transpose <perm = [0,3,1,2]> (image) p = Pad(n, pads) c = Conv <strides = [2,2]> (p, kernel)
      t = Transpose <perm = [0,2,3,1]> (c) a = Add(t, bias) m = Mul(a, scale) s = Add(m, shift)
      r = Relu(s) six = Min(r, six_) d = Transpose <perm = [0,3,1,2]> (six) e = Pad(d, pads)
      f = Conv <group = 6> (e, depthwise) g = BatchNormalization(f, gamma, beta, mean, var) h = Max(g, zero)
      i = Transpose <perm = [0,2,3,1]> (h) j = Transpose <perm = [0,3,1,2]> (i)
      k = ReduceMean <axes = [2,3], keepdims = 0> (j) y = Gemm(k, w, b) }"""
    weights = {
        "pads": ints(0, 0, 0, 0, 0, 0, 1, 1),
        "kernel": rand(6, 3, 3, 3),
        "bias": rand(6, seed=1),
        "scale": rand(6, seed=2),
        "shift": rand(6, seed=3),
        "six_": SIX,
        "zero": ZERO,
        "depthwise": rand(6, 1, 3, 3),
        "gamma": rand(6, seed=4),
        "beta": rand(6, seed=5),
        "mean": rand(6, seed=6),
        "var": rand(6, low=0.5),
        "w": rand(6, 5),
        "b": rand(5),
    }
    result = rewrite(text, **weights)
    ops = {"Transpose": 1, "Conv": 2, "Clip": 1, "Relu": 1, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
    assert result.ops == ops
    assert {"kernel", "depthwise", "w", "b"} <= result.weights.keys()


MEANS = [
    ("ReduceMean <axes = [2,3]> (a)", 17, {"GlobalAveragePool": 1}),
    ("ReduceMean <axes = [-1,-2], keepdims = 0> (a)", 17, {"GlobalAveragePool": 1, "Flatten": 1}),
    ("ReduceMean (a, axes)", 18, {"GlobalAveragePool": 1}),
    ("ReduceMean <axes = [1,2]> (a)", 17, {"ReduceMean": 1}),
    ("ReduceMean <axes = [2]> (a)", 17, {"ReduceMean": 1}),
    ("ReduceMean (a)", 17, {"ReduceMean": 1}),
    ("AveragePool <kernel_shape = [8,6]> (a)", 17, {"GlobalAveragePool": 1}),
    ("AveragePool <kernel_shape = [8,6], strides = [2,2]> (a)", 17, {"GlobalAveragePool": 1}),
    ("AveragePool <kernel_shape = [6,6]> (a)", 17, {"AveragePool": 1}),
    ("AveragePool <kernel_shape = [8,6], pads = [1,1,1,1]> (a)", 17, {"AveragePool": 1}),
]


@pytest.mark.parametrize(("node", "opset", "ops"), MEANS)
def test_means_over_all_positions(node: str, opset: int, ops: dict[str, int]) -> None:
    dims = "n,c" if "keepdims" in node else "n,c,h,w"
    weights = {"axes": ints(2, 3)} if "axes)" in node else {}
    text = f"(float[batch,4,8,6] x) => (float[{dims}] y) {{ a = Relu(x) y = {node} }}"
    assert rewrite(text, opset=opset, **weights).ops == {"Relu": 1, **ops}


def test_a_mean_over_the_last_axes_of_three_or_five_stays() -> None:
    text = "(float[batch,4,8] x) => (float[batch,1,1] y) { y = ReduceMean <axes = [1,2]> (x) }"
    assert rewrite(text).ops == {"ReduceMean": 1}


ACTIVATIONS = [
    ("y = Max(x, zero)", {"Relu": 1}),
    ("y = Max(zero, x)", {"Relu": 1}),
    ("y = Clip(x, zero)", {"Relu": 1}),
    ("r = Max(x, zero) y = Min(r, six)", {"Clip": 1}),
    ("r = Min(x, six) y = Max(r, zero)", {"Clip": 1}),
    ("r = Relu(x) y = Min(six, r)", {"Clip": 1}),
    ("r = Relu(x) y = Clip(r, , six)", {"Clip": 1}),
    ("r = Relu(x) y = Clip(r, zero, six)", {"Clip": 1}),
    ("r = Clip(x, zero, six) y = Relu(r)", {"Clip": 1}),
    ("r = Relu(x) y = Relu(r)", {"Relu": 1}),
    ("y = Clip(x, zero, six)", {"Clip": 1}),
    ("y = Max(x, six)", {"Max": 1}),
    ("y = Min(x, six)", {"Min": 1}),
    ("y = Max(x, v)", {"Max": 1}),
    ("y = Clip(x, , six)", {"Clip": 1}),
    ("r = Relu(x) s = Sigmoid(r) q = Min(r, six) y = Add(q, s)", {"Relu": 1, "Sigmoid": 1, "Min": 1, "Add": 1}),
    ("y = Sum(x, x)", {"Add": 1}),
    ("y = Sum(x, x, x)", {"Sum": 1}),
]


@pytest.mark.parametrize(("nodes", "ops"), ACTIVATIONS)
def test_activations(nodes: str, ops: dict[str, int]) -> None:
    text = f"(float[batch,4] x) => (float[batch,4] y) {{ {nodes} }}"
    needed = {"zero": ZERO, "six": np.array(0.8, np.float32), "v": np.zeros(4, np.float32) + rand(1, low=0.0)}
    assert rewrite(text, **{name: array for name, array in needed.items() if name in nodes}).ops == ops


def test_integers_are_not_activated() -> None:
    text = "(int64[batch,4] x) => (int64[batch,4] y) { y = Max(x, zero) }"
    assert rewrite(text, zero=np.array(0, np.int64)).ops == {"Max": 1}
