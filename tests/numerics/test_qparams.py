"""quantize and dequantize against onnxruntime, bit for bit; parameters against their definition."""

import functools

import numpy as np
import onnx.parser
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compressctl.errors import ModelError
from compressctl.numerics.qparams import QParams, affine, dequantize, least_weight_scale, quantize, symmetric

FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)


@functools.cache
def _session(dtype: str, per_channel: bool) -> ort.InferenceSession:
    params = "c" if per_channel else ""
    shape = f"[{params}]" if per_channel else ""
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    g (float[c, k] x, float{shape} s, {dtype}{shape} z) => ({dtype}[c, k] q, float[c, k] y)
    {{ q = QuantizeLinear<axis = 0>(x, s, z)
       y = DequantizeLinear<axis = 0>(q, s, z) }}"""
    model = onnx.parser.parse_model(text)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options)


def _assert_as_onnxruntime(x: np.ndarray, p: QParams) -> None:
    q, y = _session(p.dtype, p.axis is not None).run(None, {"x": x, "s": p.scale, "z": p.zero_point})
    ours = quantize(x, p)
    np.testing.assert_array_equal(ours, q)
    np.testing.assert_array_equal(dequantize(ours, p), y)


@settings(max_examples=200, deadline=None)
@given(
    x=hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 40)), elements=FLOATS),
    ends=st.tuples(FLOATS, FLOATS),
)
def test_affine_rounds_as_onnxruntime(x, ends):
    _assert_as_onnxruntime(x, affine(min(ends), max(ends)))


@settings(max_examples=200, deadline=None)
@given(
    x=hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 40)), elements=FLOATS),
    axis=st.sampled_from([0, None]),
    limit=st.sampled_from([1, 3, 7, 15, 31, 63, 64, 127]),
)
def test_symmetric_rounds_as_onnxruntime_and_covers_the_tensor(x, axis, limit):
    p = symmetric(x, axis, high=limit)
    _assert_as_onnxruntime(x, p)
    q = quantize(x, p).astype(int)
    assert np.abs(q).max() <= limit
    assert not p.zero_point.any()
    rows = x.reshape(x.shape[0], -1) if axis == 0 else x.reshape(1, -1)
    for row, largest in zip(rows, np.abs(q.reshape(rows.shape)).max(axis=1), strict=True):
        if np.abs(row).max() > 2 * limit * np.finfo(np.float32).tiny:
            assert largest == limit


@settings(max_examples=200, deadline=None)
@given(values=hnp.arrays(np.float32, 64, elements=st.floats(-1000, 1000, width=32)))
def test_error_inside_the_range_is_at_most_half_a_step(values):
    p = affine(float(values.min()), float(values.max()))
    error = np.abs(dequantize(quantize(values, p), p).astype(np.float64) - values)
    # The zero point is rounded too, so one end may lie half a step outside the grid.
    assert np.all(error <= float(p.scale) * 0.5 * (1 + 1e-5) + 1e-30)


@settings(max_examples=300, deadline=None)
@given(ends=st.tuples(FLOATS, FLOATS))
def test_affine_parameters_are_sound(ends):
    p = affine(min(ends), max(ends))
    assert np.isfinite(p.scale) and p.scale >= np.finfo(np.float32).tiny
    assert p.scale.dtype == np.float32 and p.zero_point.dtype == np.uint8
    zero = quantize(np.zeros(1, np.float32), p)
    assert dequantize(zero, p)[0] == 0.0
    assert zero[0] == p.zero_point


def test_half_way_cases_round_to_even():
    p = QParams(np.asarray(np.float32(1)), np.asarray(0, np.int8), "int8")
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.5, -128.5, 1e30, -np.inf], np.float32)
    assert quantize(x, p).tolist() == [0, 2, 2, 0, -2, 126, 127, -128, 127, -128]


def test_known_parameters():
    relu = affine(0.0, 25.5)
    assert relu.scale == np.float32(0.1) and relu.zero_point == 0 and relu.dtype == "uint8"
    assert affine(1.0, 25.5).zero_point == 0, "the range includes 0"
    both = affine(-1.0, 1.55)
    assert both.scale == np.float32(0.01) and both.zero_point == 100
    weight = np.array([[1.27, -0.5], [0.0, 0.0], [-2.54, 1.0]], np.float32)
    np.testing.assert_array_equal(symmetric(weight, 0).scale, np.array([0.01, 0.02, 0.02], np.float32))
    np.testing.assert_array_equal(symmetric(weight, -1).scale, np.array([0.02, 1 / 127], np.float32))
    assert symmetric(weight, -1).axis == 1
    assert symmetric(weight, None).scale == np.float32(0.02)
    assert symmetric(weight, None, high=64).scale == np.float32(2.54 / 64)
    assert symmetric(np.zeros((0, 3), np.float32), 1).scale.tolist() == [1, 1, 1]


@pytest.mark.parametrize("low, high", [(0.0, 0.0), (-0.0, 0.0)])
def test_constant_zero_has_scale_one(low, high):
    assert affine(low, high).scale == 1.0
    assert affine(low, high).zero_point == 0


def test_denormal_ranges_get_a_normal_scale():
    assert affine(0.0, 1e-44).scale == np.finfo(np.float32).tiny
    assert symmetric(np.full((2, 2), 1e-44, np.float32), 0).scale.tolist() == [np.finfo(np.float32).tiny] * 2


@pytest.mark.parametrize("low, high", [(np.nan, 1), (0, np.nan), (0, np.inf), (-np.inf, 0), (2, 1)])
def test_affine_refuses_what_is_no_range(low, high):
    with pytest.raises(ModelError, match="layer1 has no finite range"):
        affine(low, high, name="layer1")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_symmetric_refuses_nan_and_infinity(bad):
    weight = np.ones((2, 3), np.float32)
    weight[1, 1] = bad
    with pytest.raises(ModelError, match=r"conv1\.weight holds NaN"):
        symmetric(weight, 0, name="conv1.weight")


@settings(max_examples=100, deadline=None)
@given(
    bias=hnp.arrays(np.float32, 3, elements=st.floats(-1e4, 1e4, width=32)),
    input_scale=st.floats(1e-6, 1e3),
    exponent=st.integers(-30, 0),
)
def test_least_scale_lets_the_bias_fit_32_bits(bias, input_scale, exponent):
    weight = np.array([[1.0, -0.5], [1.0, 0.3], [0.0, 0.0]], np.float32)
    weight[1] *= 10.0**exponent
    least = least_weight_scale(bias, input_scale)
    p = symmetric(weight, 0, least=least)
    unbounded = symmetric(weight, 0)
    np.testing.assert_array_less(np.abs(bias / (p.scale.astype(np.float64) * input_scale)), 2**29 * (1 + 1e-6))
    np.testing.assert_array_equal(p.scale, np.maximum(unbounded.scale, least.astype("f")))
    whole = symmetric(weight, None, least=least).scale
    assert whole == max(unbounded.scale.max(), np.float32(least.max()))
