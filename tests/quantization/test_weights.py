"""Int8 weights against the definition of symmetric quantization."""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from compressctl.errors import ModelError
from compressctl.quantization.int8.weights import Int8Weights, obstacle_of, quantize_weight

floats = st.floats(-(2.0**100), 2.0**100, width=32)
weights = arrays(np.float32, array_shapes(min_dims=2, max_dims=3, max_side=6), elements=floats)


@given(weights, st.booleans(), st.booleans())
def test_every_weight_is_rounded_to_the_nearest_integer_multiple_of_its_scale(w, by_rows, reduced):
    values, scale = quantize_weight(w, "rows" if by_rows else "columns", reduced_range=reduced)
    levels = 64 if reduced else 127
    assert values.dtype == np.int8 and values.shape == w.shape and np.abs(values.astype(int)).max() <= levels
    assert scale.dtype == np.float32 and scale.shape == (w.shape[:-1] if by_rows else w.shape[-1:])
    assert np.all(scale >= np.finfo(np.float32).tiny) and np.all(np.isfinite(scale))
    spread = scale.astype(np.float64)[..., np.newaxis] if by_rows else scale.astype(np.float64)
    assert np.all(np.abs(values * spread - w) <= spread * (0.5 + 1e-4))


@given(weights, st.booleans())
def test_the_largest_weight_of_a_channel_takes_the_last_level(w, by_rows):
    values, _ = quantize_weight(w, "rows" if by_rows else "columns")
    axes = -1 if by_rows else tuple(range(w.ndim - 1))
    largest, level = np.abs(w).max(axis=axes), np.abs(values.astype(int)).max(axis=axes)
    assert np.all(level[largest > 1e-30] == 127) and np.all(level[largest == 0] == 0)


def test_a_channel_of_zeros_has_scale_one_and_a_denormal_one_a_normal_scale():
    _, scale = quantize_weight(np.array([[0, 1e-44], [0, 0]], np.float32), "columns")
    assert scale.tolist() == [1.0, float(np.finfo(np.float32).tiny)]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_by_name(bad):
    with pytest.raises(ModelError, match=r"'layer\.weight'"):
        quantize_weight(np.array([[1, bad]], np.float32), "rows", name="layer.weight")


def constant(array: np.ndarray) -> ir.Value:
    """An initializer `w` of a graph of its own."""
    value = ir.val("w", const_value=ir.tensor(array, name="w"))
    ir.Graph([], [], nodes=[], initializers=[value], name="g")
    return value


def test_each_form_of_a_weight_is_stored_once():
    weight = constant(np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32))
    graph = weight.graph
    int8 = Int8Weights(graph)
    rows, columns = int8.values(weight, "rows"), int8.values(weight, "columns")
    assert rows is int8.values(weight, "rows") and columns is int8.values(weight, "columns") and rows is not columns
    assert int8.scale(weight, "rows") is int8.scale(weight, "rows")
    transposed = int8.values(weight, "rows", transposed=True)
    np.testing.assert_array_equal(transposed.const_value.numpy(), rows.const_value.numpy().T)
    scale, column = int8.scale(weight, "rows"), int8.scale(weight, "rows", keepdims=True)
    np.testing.assert_array_equal(column.const_value.numpy(), scale.const_value.numpy()[:, np.newaxis])
    twice = int8.scale(weight, "rows", factor=2.0)
    np.testing.assert_array_equal(twice.const_value.numpy(), 2 * scale.const_value.numpy())
    assert len({value.name for value in graph.initializers.values()}) == len(graph.initializers) == 7
    assert int8.weights == [weight, weight]


def test_a_tiny_factor_cannot_make_a_scale_zero():
    weight = constant(np.full((2, 2), 1e-30, np.float32))
    scale = Int8Weights(weight.graph).scale(weight, "columns", factor=1e-30)
    assert np.all(scale.const_value.numpy() >= np.finfo(np.float32).tiny)


def test_what_has_no_int8_form_says_why():
    assert obstacle_of(constant(np.ones((2, 2), np.float32))) is None
    assert "float16" in obstacle_of(constant(np.ones((2, 2), np.float16)))
    assert "empty" in obstacle_of(constant(np.ones((0, 2), np.float32)))
    assert "an input" in obstacle_of(ir.val("w"))
    made, dequantized = (ir.node(op, [ir.val("q")]).outputs[0] for op in ("Relu", "DequantizeLinear"))
    assert "made by Relu" in obstacle_of(made)
    assert obstacle_of(dequantized) == "its weight is quantized already"
