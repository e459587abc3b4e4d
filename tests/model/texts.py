"""Small graphs as ONNX text, and onnxruntime as the reference that runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import parser

from compressctl.model.save import serialize

ort.set_default_logger_severity(4)

CNN = """
<ir_version: 8, opset_import: ["" : 17]>
cnn (float[batch, 3, 8, 8] image) => (float[batch, 5] logits) {
    [conv] a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (image, kernel, bias)
    [relu] b = Relu (a)
    [pool] c = GlobalAveragePool (b)
    [flat] d = Flatten (c)
    [fc] logits = Gemm <transB = 1> (d, weight, offset)
}
"""

BRANCHES = """
<ir_version: 8, opset_import: ["" : 17]>
branches (float[batch, 4] x, bool flag) => (float[batch, 4] y) {
    [outer] h = Relu (x)
    [spare] k = Abs (x)
    [choice] y = If (flag) <
        then_branch = yes () => (float[batch, 4] t) { [add] t = Add (h, k) },
        else_branch = no () => (float[batch, 4] e) { [neg] e = Neg (h) }
    >
}
"""


def proto(text: str, **weights: NDArray[Any]) -> onnx.ModelProto:
    """Parse a model; its free names become initializers."""
    model = parser.parse_model(text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


def cnn_weights(seed: int = 0) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    shapes = {"kernel": (16, 3, 3, 3), "bias": (16,), "weight": (5, 16), "offset": (5,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def cnn() -> onnx.ModelProto:
    return proto(CNN, **cnn_weights())


def ir_model(text: str, **weights: NDArray[Any]) -> ir.Model:
    return ir.serde.deserialize_model(proto(text, **weights))


def run(model: onnx.ModelProto | bytes | Path, **feeds: NDArray[Any]) -> list[NDArray[Any]]:
    """Run a model in onnxruntime, unoptimised."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def answer(model: ir.Model, **feeds: NDArray[Any]) -> list[NDArray[Any]]:
    """Run a model that is held in memory."""
    return run(serialize(model, Path()), **feeds)


def image(batch: int = 2) -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((batch, 3, 8, 8)).astype(np.float32)
