"""Small sound models, one for each way in which a model can hold its parts; what is damaged starts from these."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
)

_RNG = np.random.default_rng(0)


def _weight(name: str, *shape: int) -> TensorProto:
    return numpy_helper.from_array(_RNG.standard_normal(shape).astype(np.float32), name)


def _ints(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def _model(
    nodes: Sequence[NodeProto],
    weights: Sequence[TensorProto],
    shape: Sequence[int | str],
    out: Sequence[int | str],
    opset: int = 17,
    **more: object,
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", more.pop("kind", TensorProto.FLOAT), shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        weights,
    )
    opsets = [helper.make_opsetid("", opset), *more.pop("opsets", [])]  # type: ignore[misc]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, **more)


def _perceptron() -> ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "b"], ["s"]),
        helper.make_node("Relu", ["s"], ["r"]),
        helper.make_node("Gemm", ["r", "v", "c"], ["y"], transB=1),
    ]
    return _model(
        nodes, [_weight("w", 8, 16), _weight("b", 16), _weight("v", 4, 16), _weight("c", 4)], ["N", 8], ["N", 4]
    )


def _convolution() -> ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["h", "g", "b", "m", "v"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["p"], ["a"]),
        helper.make_node("Flatten", ["a"], ["f"]),
        helper.make_node("Gemm", ["f", "k"], ["y"]),
    ]
    variance = numpy_helper.from_array(np.ones(8, np.float32), "v")
    weights = [_weight("w", 8, 3, 3, 3), *(_weight(name, 8) for name in "gbm"), variance, _weight("k", 8, 4)]
    return _model(nodes, weights, ["N", 3, 8, 8], ["N", 4])


def _recurrent() -> ModelProto:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["t", "w", "r", "b"], ["", "h"], hidden_size=4),
        helper.make_node("Squeeze", ["h", "zero"], ["y"]),
    ]
    weights = [_weight("w", 1, 16, 3), _weight("r", 1, 16, 4), _weight("b", 1, 32), _ints("zero", 0)]
    return _model(nodes, weights, ["N", 5, 3], ["N", 4])


def _shapes() -> ModelProto:
    """Shape arithmetic, a table that is looked up, and a slice."""
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["e"]),
        helper.make_node("Shape", ["e"], ["s"]),
        helper.make_node("Slice", ["s", "zero", "one"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["e", "to"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    weights = [_weight("table", 20, 4), _ints("zero", 0), _ints("one", 1), _ints("rest", 12), _weight("w", 12, 4)]
    return _model(nodes, weights, ["N", 3], ["N", 4], kind=TensorProto.INT64)


def _bodies() -> ModelProto:
    """A Loop of two steps around an If."""
    value, flag, count = (
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in (("v", 1, ["N", 4]), ("go", 9, []), ("i", 7, []))
    )
    branches: list[GraphProto] = [
        helper.make_graph([helper.make_node(op, ["v"], [op])], op, [], [helper.make_tensor_value_info(op, 1, ["N", 4])])
        for op in ("Relu", "Neg")
    ]
    inner = [
        helper.make_node("If", ["go"], ["w"], then_branch=branches[0], else_branch=branches[1]),
        helper.make_node("Identity", ["go"], ["on"]),
    ]
    outs = [
        helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in (("on", 9, []), ("w", 1, ["N", 4]))
    ]
    body = helper.make_graph(inner, "body", [count, flag, value], outs)
    nodes = [
        helper.make_node("Loop", ["trip", "yes", "x"], ["z"], body=body),
        helper.make_node("MatMul", ["z", "k"], ["y"]),
    ]
    weights = [numpy_helper.from_array(np.array(value), name) for name, value in (("trip", 2), ("yes", True))]
    return _model(nodes, [*weights, _weight("k", 4, 4)], ["N", 4], ["N", 4])


def _functions() -> ModelProto:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
    inner = helper.make_function("my", "Twice", ["a"], ["o"], [helper.make_node("Add", ["a", "a"], ["o"])], opsets)
    outer = helper.make_function(
        "my", "Layer", ["a", "w"], ["o"],
        [helper.make_node("MatMul", ["a", "w"], ["m"]), helper.make_node("Twice", ["m"], ["o"], domain="my")], opsets,
    )  # fmt: skip
    node = helper.make_node("Layer", ["x", "w"], ["y"], domain="my")
    return _model([node], [_weight("w", 4, 4)], ["N", 4], ["N", 4], opsets=opsets[1:], functions=[inner, outer])


def _quantized() -> ModelProto:
    scale = numpy_helper.from_array(np.array(0.1, np.float32), "s")
    zero = numpy_helper.from_array(np.array(3, np.uint8), "z")
    weight = numpy_helper.from_array(_RNG.integers(-9, 9, (4, 4)).astype(np.int8), "w")
    still = numpy_helper.from_array(np.array(0, np.int8), "o")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "s", "o"], ["dw"]),
        helper.make_node("MatMul", ["d", "dw"], ["y"]),
    ]
    return _model(nodes, [scale, zero, weight, still], ["N", 4], ["N", 4])


def _stored() -> ModelProto:
    """Weights that are sparse, of four bits, of half precision, in a Constant, or unpacked as the model is loaded."""
    sparse = helper.make_sparse_tensor(_weight("sp", 3), _ints("places", 0, 5, 9), [4, 4])
    codes = numpy_helper.from_array(np.arange(16, dtype=np.uint8).reshape(4, 4) % 3, "codes")
    halves = numpy_helper.from_array(np.ones((4, 4), np.float16), "half")
    four = helper.make_tensor("four", TensorProto.INT4, [4, 4], [1] * 16)
    scale = numpy_helper.from_array(np.array(0.5, np.float32), "s")
    nodes = [
        helper.make_node("Gather", ["book", "codes"], ["w"]),
        helper.make_node("Cast", ["half"], ["h"], to=1),
        helper.make_node("DequantizeLinear", ["four", "s"], ["f"]),
        helper.make_node("Constant", [], ["c"], value=_weight("", 4, 4)),
    ]
    names = ["x", "w", "h", "f", "c", "sp"]
    for index, name in enumerate(names[1:]):
        source, target = ("x" if not index else f"m{index - 1}"), ("y" if name == names[-1] else f"m{index}")
        nodes.append(helper.make_node("MatMul", [source, name], [target]))
    model = _model(nodes, [_weight("book", 3), codes, halves, four, scale], ["N", 4], ["N", 4], opset=21)
    model.graph.sparse_initializer.append(sparse)
    return model


def _external() -> ModelProto:
    """A weight in `data.bin` beside the model, which holds zeros."""
    weight = TensorProto(name="w", data_type=1, dims=[16, 32], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "data.bin"), ("offset", "0"), ("length", "2048")):
        weight.external_data.add(key=key, value=value)
    return _model([helper.make_node("MatMul", ["x", "w"], ["y"])], [weight], ["N", 16], ["N", 32])


def _attributes() -> ModelProto:
    """Attributes of many types."""
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"], mode="constant"),
        helper.make_node("Resize", ["p", "", "scales"], ["r"], mode="nearest"),
        helper.make_node("ReduceMean", ["r"], ["m"], axes=[2, 3], keepdims=1),
        helper.make_node("ConstantOfShape", ["four"], ["o"], value=numpy_helper.from_array(np.ones(1, np.float32))),
        helper.make_node("Add", ["m", "o"], ["y"]),
    ]
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    weights = [_ints("pads", 0, 0, 1, 1, 0, 0, 1, 1), scales, _ints("four", 1, 2, 1, 1)]
    assert nodes[2].attribute[0].type == AttributeProto.INTS
    return _model(nodes, weights, ["N", 2, 4, 4], ["N", 2, 1, 1])


MODELS: tuple[Callable[[], ModelProto], ...] = (
    _perceptron, _convolution, _recurrent, _shapes, _bodies, _functions, _quantized, _stored, _external, _attributes,
)  # fmt: skip
