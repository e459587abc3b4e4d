"""BatchNormalization and arithmetic by channel become part of their neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import Rewritten, rand, rewrite

BN = "BatchNormalization(c, gamma, beta, mean, var)"


def norm(channels: int, seed: int = 1) -> dict[str, np.ndarray]:
    return {
        "gamma": rand(channels, seed=seed),
        "beta": rand(channels, seed=seed + 1),
        "mean": rand(channels, seed=seed + 2),
        "var": rand(channels, seed=seed + 3, low=0.1),
    }


LAYERS = {
    "Conv": ("Conv <pads = [1,1,1,1]> (x, w_weight)", (8, 4, 3, 3), 8),
    "grouped Conv": ("Conv <group = 2, strides = [2,2]> (x, w_weight)", (6, 2, 3, 3), 6),
    "depthwise Conv": ("Conv <group = 4> (x, w_weight)", (4, 1, 3, 3), 4),
    "ConvTranspose": ("ConvTranspose <strides = [2,2]> (x, w_weight)", (4, 5, 2, 2), 5),
    "grouped ConvTranspose": ("ConvTranspose <group = 2> (x, w_weight)", (4, 3, 2, 2), 6),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("biased", [False, True])
def test_batch_norm_goes_into_the_convolution_before_it(layer: str, biased: bool) -> None:
    call, shape, channels = LAYERS[layer]
    weights = {"w_weight": rand(*shape), **norm(channels)}
    if biased:
        call, weights["w_bias"] = call[:-1] + ", w_bias)", rand(channels, seed=9)
    text = f"(float[batch,4,8,8] x) => (float[batch,{channels},h,w] y) {{ c = {call} y = {BN} }}"
    result = rewrite(text, **weights)
    assert result.ops == {call.split(" ")[0]: 1}
    assert set(result.weights) == {"w_weight", "w_bias"}


def test_the_folded_weights_are_those_of_the_formula_in_float64() -> None:
    weights = {"w_weight": rand(8, 4, 3, 3), **norm(8)}
    text = f"(float[batch,4,8,8] x) => (float[batch,8,6,6] y) {{ c = Conv(x, w_weight) y = {BN} }}"
    result = rewrite(text, **weights)
    scale = weights["gamma"].astype(np.float64) / np.sqrt(
        weights["var"].astype(np.float64) + np.float64(np.float32(1e-5))
    )
    expected = (weights["w_weight"] * scale[:, None, None, None]).astype(np.float32)
    np.testing.assert_allclose(result.weights["w_weight"], expected, rtol=1e-6)
    np.testing.assert_allclose(
        result.weights["w_bias"], weights["beta"] - weights["mean"] * scale, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("call", "shape", "ops"),
    [
        ("Gemm <alpha = 0.5, beta = 2.0, transB = 1> (x, w, b)", (6, 5), {"Gemm": 1}),
        ("Gemm (x, w, b)", (5, 6), {"Gemm": 1}),
        ("Gemm (x, w)", (5, 6), {"Gemm": 1}),
        ("MatMul (x, w)", (5, 6), {"Gemm": 1}),
    ],
)
def test_batch_norm_goes_into_the_dense_layer_before_it(call: str, shape: tuple[int, int], ops: dict[str, int]) -> None:
    weights = {"w": rand(*shape), **norm(6), **({"b": rand(6)} if "b)" in call else {})}
    assert rewrite(f"(float[batch,5] x) => (float[batch,6] y) {{ c = {call} y = {BN} }}", **weights).ops == ops


@pytest.mark.parametrize("bias", [(6,), (1, 6), (1,), ()])
def test_batch_norm_behind_matmul_and_add(bias: tuple[int, ...]) -> None:
    text = f"(float[batch,5] x) => (float[batch,6] y) {{ m = MatMul(x, w) c = Add(b, m) y = {BN} }}"
    result = rewrite(text, w=rand(5, 6), b=rand(*bias), **norm(6))
    assert result.ops == {"Gemm": 1}


def test_batch_norm_goes_into_the_layer_after_it() -> None:
    dense = "(float[batch,5] x) => (float[batch,4] y) { c = Relu(x) n = " + BN + " y = Gemm <transB = 1> (n, w, b) }"
    assert rewrite(dense, w=rand(4, 5), b=rand(4), **norm(5)).ops == {"Relu": 1, "Gemm": 1}
    conv = "(float[batch,4,8,8] x) => (float[batch,6,6,6] y) { c = Relu(x) n = " + BN + " y = Conv <group = 2> (n, w) }"
    assert rewrite(conv, w=rand(6, 2, 3, 3), **norm(4)).ops == {"Relu": 1, "Conv": 1}


def kept(result: Rewritten, reason: str) -> bool:
    return result.ops["BatchNormalization"] == 1 and any(reason in text for text in result.reasons())


def test_batch_norm_is_kept_before_a_convolution_that_pads_unless_it_shifts_nothing() -> None:
    text = (
        "(float[batch,4,8,8] x) => (float[batch,6,8,8] y) { c = Relu(x) n = "
        + BN
        + " y = Conv <pads = [1,1,1,1]> (n, w) }"
    )
    assert kept(rewrite(text, w=rand(6, 4, 3, 3), **norm(4)), "Relu")
    zero = np.zeros(4, np.float32)
    assert rewrite(text, w=rand(6, 4, 3, 3), **{**norm(4), "beta": zero, "mean": zero}).ops == {"Relu": 1, "Conv": 1}


def test_batch_norm_is_kept_where_the_convolution_has_other_users() -> None:
    text = (
        "(float[batch,4,8,8] x) => (float[batch,8,6,6] y, float[batch,8,6,6] z) { c = Conv(x, w) y = "
        + BN
        + " z = Relu(c) }"
    )
    assert kept(rewrite(text, w=rand(8, 4, 3, 3), **norm(8)), "other users")
    text = "(float[batch,4,8,8] x) => (float[batch,8,6,6] y, float[batch,8,6,6] c) { c = Conv(x, w) y = " + BN + " }"
    assert kept(rewrite(text, w=rand(8, 4, 3, 3), **norm(8)), "other users")


def test_batch_norm_is_kept_where_weights_are_computed_or_scales_are_not_numbers() -> None:
    text = "(float[batch,4,8,8] x, float[8,4,3,3] w) => (float[batch,8,6,6] y) { c = Conv(x, w) y = " + BN + " }"
    assert kept(rewrite(text, **norm(8)), "not stored constants")
    text = "(float[batch,4,8,8] x) => (float[batch,8,6,6] y) { c = Conv(x, w) y = " + BN + " }"
    negative = {**norm(8), "var": np.full(8, -1.0, np.float32)}
    assert kept(rewrite(text, w=rand(8, 4, 3, 3), **negative), "infinity or NaN")


def test_a_shared_weight_is_copied_not_changed() -> None:
    text = """(float[batch,4,8,8] x) => (float[batch,4,4,4] y)
    { c = Conv(x, w) n = BatchNormalization(c, gamma, beta, mean, var) y = Conv(n, w) }"""
    result = rewrite(text, w=rand(4, 4, 3, 3), **norm(4))
    assert result.ops == {"Conv": 2}
    np.testing.assert_array_equal(result.weights["w"], rand(4, 4, 3, 3))
    assert "w_1" in result.weights


ARITHMETIC = {
    "Add": "Add(c, v)",
    "Add, constant first": "Add(v, c)",
    "Sub": "Sub(c, v)",
    "Sub from": "Sub(v, c)",
    "Mul": "Mul(c, v)",
    "Div": "Div(c, v)",
}


@pytest.mark.parametrize("node", ARITHMETIC)
@pytest.mark.parametrize("shape", [(1, 6, 1, 1), (6, 1, 1), (1,), ()])
def test_arithmetic_by_channel_goes_into_the_convolution(node: str, shape: tuple[int, ...]) -> None:
    text = f"(float[batch,4,8,8] x) => (float[batch,6,6,6] y) {{ c = Conv(x, w, b) y = {ARITHMETIC[node]} }}"
    assert rewrite(text, w=rand(6, 4, 3, 3), b=rand(6), v=rand(*shape, low=0.5)).ops == {"Conv": 1}


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((6,), "1,6,6,6"),
        ((1, 1, 1, 6), "1,6,6,6"),
        ((1, 1, 6, 6), "1,6,6,6"),
        ((2, 6, 1, 1), "2,6,6,6"),
        ((1, 1, 6, 1, 1), "1,1,6,6,6"),
    ],
)
def test_arithmetic_along_other_axes_is_kept(shape: tuple[int, ...], dims: str) -> None:
    text = f"(float[1,4,8,8] x) => (float[{dims}] y) {{ c = Conv(x, w) y = Add(c, v) }}"
    assert rewrite(text, w=rand(6, 4, 3, 3), v=rand(*shape)).ops == {"Conv": 1, "Add": 1}


def test_a_constant_with_more_channels_than_the_layer_broadcasts_and_is_kept() -> None:
    text = "(float[batch,4,8,8] x) => (float[batch,6,6,6] y) { c = Conv(x, w) y = Mul(c, v) }"
    result = rewrite(text, w=rand(1, 4, 3, 3), v=rand(6, 1, 1))
    assert result.ops == {"Conv": 1, "Mul": 1}
    assert any("number of channels" in text for text in result.reasons())


def test_division_of_a_constant_and_by_zero_are_kept() -> None:
    text = "(float[batch,4,8,8] x) => (float[batch,6,6,6] y) { c = Conv(x, w, b) y = Div(v, c) }"
    assert rewrite(text, w=rand(6, 4, 3, 3), b=np.full(6, 99, np.float32), v=rand(1)).ops == {"Conv": 1, "Div": 1}
    text = "(float[batch,4,8,8] x) => (float[batch,6,6,6] y) { c = Conv(x, w) y = Div(c, v) }"
    assert rewrite(text, w=rand(6, 4, 3, 3), v=np.zeros(1, np.float32)).ops == {"Conv": 1, "Div": 1}


def test_arithmetic_behind_a_batch_norm_that_stays() -> None:
    text = f"(float[batch,4,8,8] x) => (float[batch,4,8,8] y) {{ c = Relu(x) n = {BN} s = Mul(n, v) y = Add(s, v) }}"
    assert rewrite(text, v=rand(4, 1, 1), **norm(4)).ops == {"Relu": 1, "BatchNormalization": 1}


@settings(max_examples=15, deadline=None)
@given(
    group=st.integers(1, 3),
    inner=st.integers(1, 3),
    outer=st.integers(1, 3),
    transposed=st.booleans(),
    epsilon=st.floats(1e-6, 1e-1),
    seed=st.integers(0, 99),
)
def test_batch_norm_and_arithmetic_for_any_shape(
    group: int, inner: int, outer: int, transposed: bool, epsilon: float, seed: int
) -> None:
    op = "ConvTranspose" if transposed else "Conv"
    shape = (group * inner, outer, 2, 2) if transposed else (group * outer, inner, 2, 2)
    text = f"""(float[batch,{group * inner},5,5] x) => (float[batch,{group * outer},h,w] y)
    {{ c = {op} <group = {group}> (x, w)
       n = BatchNormalization <epsilon = {epsilon:.8f}> (c, gamma, beta, mean, var)
       m = Mul(n, a) y = Sub(m, s) }}"""
    channels = group * outer
    weights = {"a": rand(channels, 1, 1, seed=seed), "s": rand(channels, 1, 1, seed=seed + 1), **norm(channels, seed)}
    assert rewrite(text, w=rand(*shape, seed=seed), **weights).ops == {op: 1}
