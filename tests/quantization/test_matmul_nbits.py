"""Weights that stay packed: MatMulNBits against numpy."""

import numpy as np
import pytest

from compressctl.numerics.grids import INT4, INT8
from compressctl.numerics.levels import fit_levels
from tests import graphs
from tests.quantization import reference
from tests.quantization.weight_only import compress, texts, weights

BODIES = {
    "MatMul": ("y = MatMul(x, w)", lambda w: w.T),
    "Gemm": ("y = Gemm<transB = 1>(x, w, b)", lambda w: w),
    "Gemm untransposed": ("y = Gemm(x, w, b)", lambda w: w.T),
}


@pytest.mark.parametrize("size", [16, 32, 64, 128])
@pytest.mark.parametrize("case", BODIES)
def test_products_compute_on_packed_weights(tmp_path, case, size):
    body, rows = BODIES[case]
    weight, bias, x = weights(128, 128), weights(128, seed=1), weights(2, 128, seed=2)
    model = graphs.model(f"[layer] {body}", {"w": weight, "b": bias}, "float[n, 128] x", "float[n, 128] y")
    compress(model, "int4", tmp_path, target_rows=1, group_size=size)
    levels = fit_levels(np.ascontiguousarray(rows(weight)).reshape(-1, size), INT4)
    rounded = levels.values(levels.codes(rows(weight).reshape(-1, size))).reshape(128, 128)
    step = np.abs(x).max(axis=1, keepdims=True) / 127  # x is rounded to 8 bits, block by block
    limit = step / 2 * np.abs(rounded).sum(axis=1)
    (y,) = reference.run(model, {"x": x})
    assert (np.abs(y - (x @ rounded.T + (bias if "Gemm" in case else 0))) <= limit).all()
    ops = reference.executed(model, tmp_path)
    assert ops["MatMulNBits"] == 1 and sum(ops.values()) <= 2
    assert next(node.name for node in model.graph) == "layer"
    assert model.opset_imports["com.microsoft"] == 1
    assert max(value.const_value.nbytes for value in model.graph.initializers.values()) == 128 * 64


def test_products_compute_on_packed_weights_of_8_bits(tmp_path):
    weight, x = weights(128, 96), weights(2, 128, seed=2)
    model = graphs.model("y = MatMul(x, w)", {"w": weight}, "float[n, 128] x", "float[n, 96] y")
    compress(model, "int8-weights", tmp_path, target_rows=1)
    rows = np.ascontiguousarray(weight.T).reshape(-1, 32)
    levels = fit_levels(rows, INT8)
    rounded = levels.values(levels.codes(rows)).reshape(96, 128)
    step = np.abs(x).max(axis=1, keepdims=True) / 127
    (y,) = reference.run(model, {"x": x})
    assert (np.abs(y - x @ rounded.T) <= step / 2 * np.abs(rounded).sum(axis=1)).all()
    assert reference.executed(model, tmp_path) == {"MatMulNBits": 1}


def test_what_cannot_is_decoded_at_load_and_said(tmp_path):
    body = "a = MatMul(w, x) b = Conv(x, k) y = Identity(a) z = Identity(b)"
    arrays = {"w": weights(64, 64), "k": weights(64, 64, 1)}
    model = graphs.model(body, arrays, "float[1, 64, 64] x", "float[1, 64, 64] y, float[1, 64, 64] z")
    outcome = compress(model, "int4", tmp_path, target_rows=4)
    assert texts(outcome).count("does not compute on packed weights") == 2
    assert "MatMulNBits" not in reference.executed(model, tmp_path)


def test_more_rows_do_not_pay_and_that_is_said(tmp_path):
    model = graphs.model("y = MatMul(x, w)", {"w": weights(64, 64)}, "float[n, 64] x", "float[n, 64] y")
    assert "that pays up to 8 rows only" in texts(compress(model, "int4", tmp_path, target_rows=128))
    assert reference.executed(model, tmp_path) == {"MatMul": 1}
