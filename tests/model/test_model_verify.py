from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.errors import PassError
from compressctl.model.save import serialize
from compressctl.model.verify import verify_graph
from tests.graphs import parsed
from tests.model.texts import BRANCHES, CNN, cnn_weights, node

QDQ = """
<ir_version: 10, opset_import: ["" : 21]>
qdq (float[2, 3] x) => (float[2, 3] y) {
    [q] a = QuantizeLinear <axis = 1> (x, scale, zero)
    [dq] y = DequantizeLinear <axis = 1> (a, scale, zero)
}
"""
SCALE = np.array([0.5, 1, 2], np.float32)
ZERO = np.zeros(3, np.int8)


def cnn() -> ir.Model:
    return parsed(CNN, **cnn_weights())


@pytest.mark.parametrize("model", [cnn(), parsed(BRANCHES), parsed(QDQ, scale=SCALE, zero=ZERO)])
def test_sound_models_pass_and_are_not_touched(model: ir.Model) -> None:
    before = serialize(model, Path())
    verify_graph(model, where="test")
    assert serialize(model, Path()) == before


def test_weights_are_not_read() -> None:
    model = cnn()

    def read() -> ir.TensorProtocol:
        raise AssertionError("a weight was read")

    value = model.graph.initializers["kernel"]
    value.const_value = ir.LazyTensor(read, value.const_value.dtype, shape=value.const_value.shape, name="kernel")
    verify_graph(model, where="test")


def dangling(model: ir.Model) -> None:
    node(model, "relu").replace_input_with(0, ir.Value(name="nowhere"))


def attributed(model: ir.Model) -> None:
    node(model, "relu").attributes["frobnicate"] = ir.AttrInt64("frobnicate", 1)


def bias(model: ir.Model, array: np.ndarray) -> None:
    model.graph.initializers["bias"].const_value = ir.tensor(array, name="bias")


def unsorted(model: ir.Model) -> None:
    relu = node(model, "relu")
    model.graph.remove(relu)
    model.graph.insert_after(node(model, "pool"), relu)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (unsorted, "node 'pool' uses 'b' before it is defined"),
        (
            dangling,
            "node 'relu' uses 'nowhere' before it is defined, or it is not in the graph",
        ),
        (lambda m: m.graph.remove(node(m, "fc")), "output 'logits' is produced by no node"),
        (lambda m: setattr(node(m, "relu"), "name", "conv"), "two nodes are named 'conv'"),
        (lambda m: setattr(node(m, "relu").outputs[0], "name", "a"), "two values are named 'a'"),
        (lambda m: setattr(node(m, "relu"), "name", ""), "a Relu node has no name"),
        (lambda m: bias(m, np.int8([0] * 16)), r"initializer 'bias' is declared FLOAT\[16\] and holds INT8\[16\]"),
        (
            lambda m: bias(m, np.float32([0] * 8)),
            r"initializer 'bias' is declared FLOAT\[16\] and holds FLOAT\[8\]",
        ),
        (
            attributed,
            "node 'relu': Unrecognized attribute: frobnicate",
        ),
        (lambda m: setattr(node(m, "relu"), "op_type", "Frobnicate"), "node 'relu': No Op registered for Frobnicate"),
    ],
)
def test_broken_graphs_are_told_with_their_pass(harm: Callable[[ir.Model], None], message: str) -> None:
    model = cnn()
    harm(model)
    with pytest.raises(PassError, match=f"^prune left an invalid graph: {message}"):
        verify_graph(model, where="prune")


def test_a_body_may_use_only_what_is_defined_before_it() -> None:
    model = parsed(BRANCHES)
    spare = node(model, "spare")
    model.graph.remove(spare)
    model.graph.append(spare)
    with pytest.raises(PassError, match="node 'add' uses 'k' before it is defined"):
        verify_graph(model, where="test")


@pytest.mark.parametrize(
    ("scale", "zero", "message"),
    [
        ([0.5, 0, 2], ZERO, "node 'q' has a scale of 0, scales must be above zero"),
        ([0.5, -1, 2], ZERO, "node 'q' has a scale of -1"),
        ([0.5, np.nan, 2], ZERO, "node 'q' has a scale that is not finite"),
        ([0.5, np.inf, 2], ZERO, "node 'q' has a scale that is not finite"),
        ([0.5, 1, 2], np.zeros(2, np.int8), "node 'q' has 2 zero points for 3 scales"),
    ],
)
def test_unusable_quantization_parameters(scale: list[float], zero: np.ndarray, message: str) -> None:
    model = parsed(QDQ, scale=np.array(scale, np.float32), zero=zero)
    with pytest.raises(PassError, match=message):
        verify_graph(model, where="test")


def test_zero_points_of_int32_data_must_be_zero() -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]>
    m (int32[2] x) => (float[2] y) { [dq] y = DequantizeLinear (x, scale, zero) }"""
    verify_graph(parsed(text, scale=np.float32(1), zero=np.int32(0)), where="test")
    with pytest.raises(PassError, match="node 'dq' has a zero point out of range"):
        verify_graph(parsed(text, scale=np.float32(1), zero=np.int32(3)), where="test")


BLOCKS = """
<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
m (float[1, 32] x) => (float[1, 2] y) {
    [mm] y = com.microsoft.MatMulNBits <K = 32, N = 2, bits = 4, block_size = 32> (x, w, scale)
}
"""


def test_block_quantized_weights_may_have_negative_scales() -> None:
    packed = np.zeros((2, 1, 16), np.uint8)
    verify_graph(parsed(BLOCKS, w=packed, scale=np.array([-1, 1], np.float32)), where="test")
    with pytest.raises(PassError, match="node 'mm' has a scale that is not finite"):
        verify_graph(parsed(BLOCKS, w=packed, scale=np.array([np.nan, 1], np.float32)), where="test")
