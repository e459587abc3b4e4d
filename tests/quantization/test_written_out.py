"""Gelu in the forms that exporters write: found by what it computes, and kept whole between integers."""

from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.measure.session import Session
from compressctl.quantization.int8.written_out import written_out
from tests import graphs
from tests.quantization.test_static import executed, quantized

RNG = np.random.default_rng(3)
X = RNG.normal(size=(1, 4, 8, 8)).astype("f")
ARRAYS = {
    "w": RNG.normal(size=(16, 4, 1, 1)).astype("f"),
    "v": RNG.normal(size=(4, 16, 1, 1)).astype("f"),
    "k": RNG.normal(size=(8, 8)).astype("f"),
    "root2": np.float32(2**0.5),
    "root_half": np.full((1, 1, 1, 1), 0.5**0.5, "f"),
    "one": np.ones(1, "f"),
    "half": np.float32(0.5),
    "two": np.float32(2),
    "three": np.float32(3),
    "cubic": np.float32(0.044715),
    "steep": np.float32(0.7978846),
    "quick": np.float32(1.702),
    "rough": np.float32(1.4),
    "many": np.linspace(1, 2, 16, dtype="f").reshape(1, 16, 1, 1),
}
EXACT = {
    "half last": "d = Div(h, root2) e = Erf(d) a = Add(e, one) m = Mul(h, a) g = Mul(m, half)",
    "half first": "x2 = Mul(h, half) d = Div(h, root2) e = Erf(d) a = Add(e, one) g = Mul(x2, a)",
    "half in the distribution": "d = Mul(h, root_half) e = Erf(d) a = Add(one, e) m = Mul(half, a) g = Mul(m, h)",
    "a quotient": "d = Div(h, root2) e = Erf(d) a = Add(e, one) m = Mul(a, h) g = Div(m, two)",
}
BY_TANH = {
    "power": """p = Pow(h, three) c = Mul(p, cubic) i = Add(h, c) d = Mul(i, steep) e = Tanh(d) a = Add(e, one)
                x2 = Mul(h, half) g = Mul(x2, a)""",
    "products": """p = Mul(h, h) q = Mul(h, p) c = Mul(q, cubic) i = Add(h, c) d = Mul(i, steep) e = Tanh(d)
                   a = Add(e, one) m = Mul(h, a) g = Mul(m, half)""",
    "factored": """p = Mul(h, cubic) q = Mul(h, p) c = Add(q, one) s = Mul(h, steep) d = Mul(s, c) e = Tanh(d)
                   a = Add(e, one) x2 = Mul(h, half) g = Mul(x2, a)""",
}
BY_SIGMOID = {"quick": "d = Mul(h, quick) e = Sigmoid(d) g = Mul(h, e)"}
ALL = {
    **{f"exact, {name}": (body, "Gelu", "Gelu") for name, body in EXACT.items()},
    **{f"by tanh, {name}": (body, "FastGelu", "Gelu") for name, body in BY_TANH.items()},
    **{f"by sigmoid, {name}": (body, "QuickGelu", "QuickGelu") for name, body in BY_SIGMOID.items()},
}


def model(body: str, opset: int = 17) -> ir.Model:
    return graphs.model(body, ARRAYS, "float[1,4,8,8] x", "float[N,C,H,W] y", opset)


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("form", ALL)
def test_a_gelu_between_convolutions_is_one_kernel(form, opset, tmp_path):
    body, contributed, standard = ALL[form]
    m = model(f"h = Conv(x, w) {body} y = Conv(g, v)", opset)
    q = quantized(m, X, reduced_range=True)
    expected = contributed if opset < 20 else standard
    ops = executed(q, tmp_path)
    inside = {"Add", "Div", "Erf", "Mul", "Pow", "QLinearMul", "QLinearSigmoid", "Sigmoid", "Tanh"}
    assert ops[expected] == 1 and ops["QLinearConv"] == 2 and not inside & ops.keys()
    assert Counter(node.op_type for node in q.graph)["QuantizeLinear"] == 4  # x, h, g, y
    wanted, got = (Session(one).run({"x": X})["y"] for one in (m, q))
    assert np.square(got - wanted).sum() < 3e-3 * np.square(wanted).sum()


@pytest.mark.parametrize("form", ALL)
def test_a_gelu_that_reads_floats_is_left_to_onnxruntime(form, tmp_path):
    body, *_ = ALL[form]
    m = model(f"h = MatMul(x, k) {body} y = MatMul(g, k)")
    q = quantized(m, X)
    assert not set(q.opset_imports) & {"com.microsoft"}
    before, after = executed(m, tmp_path), executed(q, tmp_path)
    for fused in ("Gelu", "FastGelu", "QuickGelu"):
        assert after[fused] == before[fused]


@pytest.mark.parametrize(
    "body",
    [
        EXACT["half last"].replace("root2", "rough"),  # another function
        EXACT["half last"].replace("half", "many"),  # of another factor for each channel
        EXACT["half last"].replace("Mul(h, a)", "Mul(x, a)"),  # of two tensors
        EXACT["half last"] + " y = Tanh(a)",  # read inside
        "e = Sigmoid(h) g = Mul(h, e)",  # has integer kernels
        "e = Tanh(h) g = Mul(e, half)",
    ],
)
def test_what_is_none_is_not_found(body):
    end = "" if " y = " in body else " y = Identity(g)"
    assert not written_out(model(f"h = Relu(x) {body}{end}").graph)
