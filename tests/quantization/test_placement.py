"""Which activations become 8-bit tensors, on graphs written as text."""

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.quantization.int8.placement import Placement, place
from tests.quantization import graphs

SHAPES = {"w": (4, 4, 1, 1), "v": (4, 4, 1, 1), "b": (4,), "k": (4, 4)}


def model(body: str, inputs: str = "float[1,4,8,8] x", outputs: str = "y") -> ir.Model:
    rng = np.random.default_rng(0)
    return graphs.model(
        body, {name: rng.normal(size=s).astype("f") for name, s in SHAPES.items()}, inputs, f"float {outputs}"
    )


def placed(body: str, **kwargs: str) -> tuple[ir.Model, Placement]:
    m = model(body, **kwargs)
    chosen = {node for node in m.graph if node.op_type in ("Conv", "Gemm", "MatMul")}
    return m, place(m.graph, chosen)


def scales(placement: Placement) -> dict[str, str]:
    return {str(value.name): str(root.name) for value, root in placement.scale_of.items()}


def everywhere(placement: Placement) -> set[str]:
    return {str(value.name) for value in placement.everywhere}


def test_relu_belongs_to_the_convolution_before_it():
    _, p = placed("c = Conv(x, w, b) y = Relu(c)")
    assert scales(p) == {"x": "x", "y": "y"}
    assert everywhere(p) == {"y"}


def test_relu_that_shares_the_output_does_not():
    _, p = placed("c = Conv(x, w) r = Relu(c) y = Conv(c, v) z = Conv(r, v)", outputs="y, float z")
    assert scales(p)["c"] == "c"


@pytest.mark.parametrize("activation", ["HardSwish", "Elu", "Tanh"])
def test_other_activations_get_their_input_quantized_right_behind_the_convolution(activation):
    _, p = placed(f"c = Conv(x, w) a = {activation}(c) y = Conv(a, v)")
    assert scales(p) == {"x": "x", "c": "c", "a": "a", "y": "y"}
    assert "a" not in everywhere(p)


def test_residual_add_has_both_inputs_quantized():
    _, p = placed("c = Conv(x, w) a = Add(c, x) r = Relu(a) y = Conv(r, v)")
    assert set(scales(p)) == {"x", "c", "r", "y"}
    assert [node.op_type for node in p.joins] == ["Add"]


def test_add_whose_result_nothing_wants_as_integers_stays_float():
    _, p = placed("c = Conv(x, w) a = Add(c, x) y = Tanh(a)")
    assert not p.joins


def test_carriers_keep_the_scale_of_their_input():
    body = "c = Conv(x, w) p = MaxPool<kernel_shape = [2, 2]>(c) t = Transpose<perm = [0, 1, 3, 2]>(p) y = Conv(t, v)"
    _, p = placed(body)
    assert scales(p) == {"x": "x", "c": "c", "p": "c", "t": "c", "y": "y"}
    assert [value.name for value in p.observed] == ["x", "c", "y"]


def test_pooled_head_runs_on_integers_up_to_a_float_result():
    body = "c = Conv(x, w) p = GlobalAveragePool(c) f = Flatten(p) y = Gemm(f, k)"
    _, p = placed(body)
    assert scales(p) == {"x": "x", "c": "c", "p": "p", "f": "p"}


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
