"""Which activations become 8-bit tensors, on graphs written as text."""

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.quantization.int8.placement import Placement, place
from tests import graphs

SHAPES = {"w": (4, 4, 1, 1), "v": (4, 4, 1, 1), "v8": (4, 8, 1, 1), "b": (4,), "k": (4, 4)}


def model(body: str, inputs: str = "float[1,4,8,8] x", outputs: str = "y") -> ir.Model:
    rng = np.random.default_rng(0)
    return graphs.model(
        body,
        {"zero": np.float32(0), "six": np.float32(6), **{n: rng.normal(size=s).astype("f") for n, s in SHAPES.items()}},
        inputs,
        f"float {outputs}",
    )


def placed(body: str, **kwargs: str) -> tuple[ir.Model, Placement]:
    m = model(body, **kwargs)
    chosen = {node for node in m.graph if node.op_type in ("Conv", "Gemm", "MatMul")}
    return m, place(m.graph, chosen)


def scales(placement: Placement) -> dict[str, str]:
    return {str(value.name): str(root.name) for value, root in placement.scale_of.items()}


def everywhere(placement: Placement) -> set[str]:
    return {str(value.name) for value in placement.everywhere}


@pytest.mark.parametrize(
    ("body", "expected", "kept"),
    [
        # Relu belongs to the convolution before it
        ("c = Conv(x, w, b) y = Relu(c)", {"x": "x", "y": "y"}, {"y"}),
        # other activations get their input quantized right behind the convolution
        *(
            (f"c = Conv(x, w) a = {name}(c) y = Conv(a, v)", {"x": "x", "c": "c", "a": "a", "y": "y"}, {"c", "y"})
            for name in ("HardSwish", "Elu", "Tanh")
        ),
        # carriers keep the scale of their input
        (
            "c = Conv(x, w) p = MaxPool<kernel_shape = [2, 2]>(c) t = Transpose<perm = [0, 1, 3, 2]>(p) y = Conv(t, v)",
            {"x": "x", "c": "c", "p": "c", "t": "c", "y": "y"},
            None,
        ),
        # a pooled head runs on integers up to a float result
        (
            "c = Conv(x, w) p = GlobalAveragePool(c) f = Flatten(p) y = Gemm(f, k)",
            {"x": "x", "c": "c", "p": "p", "f": "p"},
            None,
        ),
    ],
)
def test_which_tensors_get_which_scale(body, expected, kept):
    _, p = placed(body)
    assert scales(p) == expected and (kept is None or everywhere(p) <= kept)
    assert [value.name for value in p.observed] == list(dict.fromkeys(expected.values()))


def test_relu_that_shares_the_output_does_not():
    _, p = placed("c = Conv(x, w) r = Relu(c) y = Conv(c, v) z = Conv(r, v)", outputs="y, float z")
    assert scales(p)["c"] == "c"


def test_residual_add_has_both_inputs_quantized():
    _, p = placed("c = Conv(x, w) a = Add(c, x) r = Relu(a) y = Conv(r, v)")
    assert set(scales(p)) == {"x", "c", "r", "y"}
    assert [node.op_type for node in p.joins] == ["Add"]


def test_add_whose_result_nothing_wants_as_integers_stays_float():
    _, p = placed("c = Conv(x, w) a = Add(c, x) y = Tanh(a)")
    assert not p.joins


def test_a_transformer_residual_stays_float():
    body = "h = MatMul(x, k) s = Add(h, x) y = MatMul(s, k)"
    _, p = placed(body, inputs="float[1,8,4] x")
    assert set(scales(p)) == {"x", "s"}
    assert not everywhere(p) and not p.joins


def test_add_of_a_constant_is_no_join():
    _, p = placed("c = Conv(x, w) one = Constant<value = float {1.0}>() a = Add(c, one) y = Conv(a, v)")
    assert not p.joins and "one" not in scales(p)


def test_values_that_are_no_floats_are_left_alone():
    body = "c = Conv(x, w) s = Shape(c) r = Reshape(c, s) y = Conv(r, v)"
    _, p = placed(body)
    assert "s" not in scales(p)


@pytest.mark.parametrize(
    ("before", "shared"),
    [
        ("p = Conv(x, w) q = Conv(x, v) a = Concat<axis = 1>(p, q)", "pq"),
        ("c = Conv(x, w) d = Conv(x, v) p = Relu(c) q = Relu(d) a = Concat<axis = 1>(p, q)", "pq"),
        # Saturation stands for the Relu only where nothing that shares its scale is negative.
        ("c = Conv(x, w) p = Relu(c) q = Conv(x, v) a = Concat<axis = 1>(p, q)", "q"),
        ("c = Conv(x, w) p = Relu(c) q = Conv(x, v) r = Concat<axis = 1>(p, q) a = Relu(r)", "pq"),
        ("c = Conv(x, w) p = Clip(c, zero, six) d = Conv(x, v) q = Relu(d) a = Concat<axis = 1>(p, q)", "q"),
        ("c = Conv(x, w) p = Clip(c, zero, six) d = Conv(x, v) q = Sigmoid(d) a = Concat<axis = 1>(p, q)", "pq"),
        # A HardSigmoid as well: see static.add_hard_sigmoids.
        ("c = Conv(x, w) p = HardSigmoid(c) q = Conv(x, v) a = Concat<axis = 1>(p, q)", "q"),
        # What other nodes read keeps its own.
        ("p = Conv(x, w) q = Conv(p, v) a = Concat<axis = 1>(p, q)", "q"),
        ("p = Conv(x, w) c = Conv(p, v) q = Add(p, c) a = Concat<axis = 1>(p, q)", "q"),
        # What is carried goes back to where it comes from.
        ("c = Conv(x, w) p = Transpose<perm = [0, 1, 3, 2]>(c) q = Conv(x, v) a = Concat<axis = 1>(p, q)", "cpq"),
        ("c = Conv(x, w) p = Transpose<perm = [0, 1, 3, 2]>(c) q = Conv(c, v) a = Concat<axis = 1>(p, q)", "q"),
        ("c = Conv(x, w) p, q = Split<axis = 1>(c) r = Concat<axis = 1>(q, p) a = Concat<axis = 1>(r, r)", "cpqr"),
    ],
)  # fmt: skip
def test_what_feeds_a_concat_alone_shares_its_scale(before, shared):
    _, p = placed(f"{before} y = Conv(a, v8)")
    assert {value for value, root in scales(p).items() if root == "a"} == {"a", *shared}


def test_a_concat_in_float_shares_nothing():
    _, p = placed("p = Conv(x, w) q = Conv(x, v) a = Concat<axis = 1>(p, q) y = Tanh(a)")
    assert scales(p) == {"x": "x", "p": "p", "q": "q"}


def test_a_tensor_that_is_an_output_as_well_keeps_its_scale():
    _, p = placed("p = Conv(x, w) q = Conv(x, v) a = Concat<axis = 1>(p, q) y = Conv(a, v8)", outputs="y, float p")
    assert scales(p)["p"] == "p" and scales(p)["q"] == "a"


@pytest.mark.parametrize("pool", ["GlobalAveragePool", "AveragePool<kernel_shape = [8, 8]>"])
@pytest.mark.parametrize("end", ["y = Flatten(p)", "f = Flatten(p) y = Softmax(f)", "y = Identity(p)"])
def test_pooling_that_only_the_output_follows_runs_on_integers(pool, end):
    _, p = placed(f"c = Conv(x, w) d = Add(c, x) p = {pool}(d) {end}")
    assert [node.op_type for node in p.joins] == ["Add", pool.split("<")[0]]
    assert scales(p)["p"] == "p" and "p" in everywhere(p)


@pytest.mark.parametrize("end", ["y = Tanh(p)", "f = Flatten(p) t = Tanh(f) y = Softmax(f)"])
def test_pooling_that_something_else_follows_stays_float(end):
    _, p = placed(f"c = Conv(x, w) p = GlobalAveragePool(c) {end}", outputs="y, float t" if " t = " in end else "y")
    assert not p.joins
