"""Saturation of 16-bit pair sums, against a plain loop and against exact products."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from compressctl.data.random import RandomSource
from compressctl.measure.session import Session
from compressctl.model.load import interface
from compressctl.numerics.qparams import affine, dequantize, quantize, symmetric
from compressctl.numerics.saturation import saturation
from compressctl.quantization.int8.saturation import _unfolded, saturation_notes, simulate
from tests import graphs


@given(
    arrays(np.uint8, (3, 7), elements=st.integers(0, 255)),
    arrays(np.int8, (7, 18), elements=st.integers(-127, 127)),
    st.integers(0, 255),
)
def test_equals_a_plain_loop(x, w, zero_point):
    saturated, error, signal = 0, 0.0, 0.0
    for row in x.astype(int).tolist():
        for column in w.astype(int).T.tolist():
            products = [a * b for a, b in zip(row, column, strict=True)] + [0]
            sums = [a + b for a, b in zip(products[::2], products[1::2], strict=True)]
            clipped = [max(-32768, min(32767, one)) for one in sums]
            saturated += sum(a != b for a, b in zip(sums, clipped, strict=True))
            error += (sum(clipped) - sum(sums)) ** 2
            signal += (sum(sums) - zero_point * sum(column)) ** 2
    found = saturation(x, w, zero_point)
    assert found.share == saturated / (3 * 18 * 4)
    assert np.isclose(found.noise, np.sqrt(error / signal) if signal else 0.0)


@given(arrays(np.uint8, (4, 8)), arrays(np.int8, (8, 5), elements=st.integers(-64, 64)))
def test_reduced_range_cannot_saturate(x, w):
    assert saturation(x, w, 0).share == 0


def test_unfolded_convolution_equals_onnxruntime():
    rng = np.random.default_rng(1)
    w = rng.normal(size=(6, 2, 3, 3)).astype(np.float32)
    x = rng.normal(size=(2, 4, 9, 9)).astype(np.float32)
    body = "y = Conv<group=2, pads=[1,0,1,2], strides=[2,1], dilations=[1,2]>(x, w)"
    m = graphs.model(body, {"w": w}, "float[N,4,9,9] x", "float[N,C,H,W] y")
    qx, qw = affine(x.min(), x.max()), symmetric(w, 0)
    zero_point = int(qx.zero_point)
    xi, wi = quantize(x, qx), quantize(w, qw)
    m.graph.initializers["w"].const_value = ir.tensor(dequantize(wi, qw), name="w")
    y = Session(m, optimize=False).run({"x": dequantize(xi, qx)})["y"]
    rows, columns = _unfolded(m.graph[0], xi, wi, zero_point, np.random.default_rng(0))
    products = (rows.astype(int) - zero_point) @ columns.astype(int)
    integers = y / qx.scale
    # Every patch is one of the positions of the true result, up to the weights' scales and rounding of the reference.
    group = int(np.random.default_rng(0).integers(2))
    true = np.moveaxis(integers[:, 3 * group : 3 * group + 3], 1, -1).reshape(-1, 3)
    scaled = products * qw.scale[3 * group : 3 * group + 3]
    distance = np.abs(scaled[:, None] - true[None]).max(axis=-1).min(axis=1)
    assert distance.max() < 1e-2


def test_layers_that_saturate_are_named(resources: Path):
    arrays_ = {"k": np.ones((16, 8), np.float32)}
    m = graphs.model(
        "h = Gemm(x, k) y = MatMul(h, z)",
        {**arrays_, "z": np.eye(8, dtype=np.float32)},
        "float[N,16] x",
        "float[N,8] y",
    )
    source = RandomSource("random:4", interface(m)[0], 4, 0, {})
    ranges = {"x": (0.0, 0.1), "h": (-1.0, 1.0)}  # x is far beyond its range: all of it at 255 or 0
    found = simulate(m, list(m.graph), ranges, source, resources, per_channel=True)
    assert found["Gemm_0"].share > 0.1
    assert found["MatMul_1"].share == 0  # one weight a column is not zero: no pair has two products
    assert [note.node for note in saturation_notes(found)] == ["Gemm_0"]
