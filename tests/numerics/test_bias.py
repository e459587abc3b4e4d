"""Bias correction against the mean shift measured in onnxruntime on random data."""

import numpy as np
import pytest

from compressctl.numerics.bias import bias_shift
from compressctl.numerics.qparams import dequantize, quantize, symmetric
from tests.graphs import parse, run

RNG = np.random.default_rng(11)


def _outputs(node: str, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    model = parse(f"g (float{list(x.shape)} x, float{list(weight.shape)} w) => (float y) {{ y = {node} }}")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return run(model, {"x": x, "w": weight})[0]


def _rounded(weight: np.ndarray, axis: int) -> np.ndarray:
    qparams = symmetric(weight, axis, high=7)
    return dequantize(quantize(weight, qparams), qparams)


@pytest.mark.parametrize(
    ("node", "x_shape", "w_shape", "axis"),
    [
        ("Conv(x, w)", (6, 8, 9, 7), (12, 8, 3, 2), 0),
        ("Conv<group = 4>(x, w)", (6, 8, 9, 7), (12, 2, 3, 3), 0),
        ("Conv<group = 8>(x, w)", (6, 8, 9, 7), (16, 1, 3, 1), 0),
        ("Conv(x, w)", (6, 8, 20), (5, 8, 1), 0),
        ("Gemm(x, w)", (40, 8), (8, 8), 1),
        ("Gemm<transB = 1>(x, w)", (40, 8), (8, 8), 0),
        ("MatMul(x, w)", (4, 10, 8), (8, 5), 1),
    ],
)
def test_shift_is_the_measured_one(node, x_shape, w_shape, axis):
    channel = 1 if "Conv" in node else -1
    # Data that are constant over the positions of a sample make the means seen by every kernel element equal.
    x = RNG.exponential(1, x_shape).astype(np.float32)
    if "Conv" in node:
        x = np.broadcast_to(x.mean(axis=tuple(range(2, x.ndim)), keepdims=True), x_shape).astype(np.float32)
    weight = RNG.standard_normal(w_shape).astype(np.float32)
    rounded = _rounded(weight, axis)
    y = _outputs(node, x, rounded) - _outputs(node, x, weight).astype(np.float64)
    measured = y.mean(axis=tuple(d for d in range(y.ndim) if d != channel % y.ndim))
    means = x.mean(axis=tuple(d for d in range(x.ndim) if d != channel % x.ndim), dtype=np.float64)
    shift = bias_shift(rounded - weight, means, axis)
    np.testing.assert_allclose(shift, measured, rtol=0, atol=1e-4 * np.abs(measured).max())
    assert np.abs(measured).max() > 1e-2


def test_correction_shrinks_the_mean_error_of_a_padded_convolution():
    x = np.maximum(RNG.standard_normal((16, 8, 16, 16)), 0).astype(np.float32)
    weight = (RNG.standard_normal((8, 8, 3, 3)) + 0.5).astype(np.float32)
    rounded = _rounded(weight, 0)
    node = "Conv<pads = [1, 1, 1, 1]>(x, w)"
    error = (_outputs(node, x, rounded) - _outputs(node, x, weight)).mean(axis=(0, 2, 3))
    shift = bias_shift(rounded - weight, x.mean(axis=(0, 2, 3)), 0)
    assert np.abs(error - shift).max() < 0.15 * np.abs(error).max()


@pytest.mark.parametrize("means", [np.zeros(7), np.zeros((8, 1)), np.zeros(0), np.zeros(24)])
def test_shapes_that_do_not_fit(means):
    with pytest.raises(ValueError, match="do not fit"):
        bias_shift(np.zeros((4, 8, 3, 3)), means, 0)
