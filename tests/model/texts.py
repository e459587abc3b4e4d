"""Two graphs of the tests of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from tests.graphs import parse, run

CNN = """
cnn (float[batch, 3, 8, 8] image) => (float[batch, 5] logits) {
    [conv] a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (image, kernel, bias)
    [relu] b = Relu (a)
    [pool] c = GlobalAveragePool (b)
    [flat] d = Flatten (c)
    [fc] logits = Gemm <transB = 1> (d, weight, offset)
}
"""

BRANCHES = """
branches (float[batch, 4] x, bool flag) => (float[batch, 4] y) {
    [outer] h = Relu (x)
    [spare] k = Abs (x)
    [choice] y = If (flag) <
        then_branch = yes () => (float[batch, 4] t) { [add] t = Add (h, k) },
        else_branch = no () => (float[batch, 4] e) { [neg] e = Neg (h) }
    >
}
"""


def cnn_weights(seed: int = 0) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    shapes = {"kernel": (16, 3, 3, 3), "bias": (16,), "weight": (5, 16), "offset": (5,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def cnn() -> onnx.ModelProto:
    return parse(CNN, **cnn_weights())


def answer(model: ir.Model | onnx.ModelProto | bytes | Path, **feeds: NDArray[Any]) -> list[NDArray[Any]]:
    return run(model, feeds)


def image(batch: int = 2) -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((batch, 3, 8, 8)).astype(np.float32)


def node(model: ir.Model, name: str) -> ir.Node:
    """Return a node of the graph or of its bodies."""
    return next(node for node in model.graph.all_nodes() if node.name == name)
