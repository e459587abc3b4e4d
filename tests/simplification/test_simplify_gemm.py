"""MatMul and Add become Gemm where that is the same."""

import numpy as np
import pytest
from rewriting import rewrite

RNG = np.random.default_rng(3)
W = RNG.normal(size=(6, 5)).astype(np.float32)
B = RNG.normal(size=5).astype(np.float32)


@pytest.mark.parametrize("add", ["y = Add(m, b)", "y = Add(b, m)"])
@pytest.mark.parametrize("bias", [B, B[None]])
def test_a_matrix_product_and_a_row(add, bias):
    result = rewrite(f"(float[N,6] x) => (float[N,5] y) {{ m = MatMul(x, w) {add} }}", w=W, b=bias)
    assert result.ops == {"Gemm": 1} and [node.name for node in result.model.graph] == ["m"]


@pytest.mark.parametrize(
    "text",
    [
        "(float[N,3,6] x) => (float[N,3,5] y) { m = MatMul(x, w) y = Add(m, b) }",
        "(float[N,6] x) => (float[N,5] y, float[N,5] m) { m = MatMul(x, w) y = Add(m, b) }",
        "(float[4,6] x) => (float[4,5] y) { m = MatMul(x, w) y = Add(m, c) }",
        "(float[N,6] x, float[5] z) => (float[N,5] y) { m = MatMul(x, w) y = Add(m, z) }",
    ],
)
def test_left_alone(text):
    result = rewrite(text, w=W, b=B, c=RNG.normal(size=(4, 5)).astype(np.float32))
    assert result.ops == {"MatMul": 1, "Add": 1}
