"""Finding groups takes effort that grows as the graph does."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from compressctl.structure.closure import Closure
from compressctl.structure.groups import find_groups


def _residual(blocks: int) -> ir.Model:
    """Return blocks x + reshape(reshape(conv(x))) at a fixed size: each Reshape joins height and width anew."""
    rng = np.random.default_rng(0)
    constants = {"flat": np.array([1, 8, 30]), "square": np.array([1, 8, 5, 6])}
    nodes, value = [], "x"
    for block in range(blocks):
        constants[f"w{block}"] = rng.standard_normal((8, 8, 1, 1), np.float32)
        names = [f"{kind}{block}" for kind in ("conv", "flat", "relu", "square", "sum")]
        nodes += [
            helper.make_node("Conv", [value, f"w{block}"], [names[0]]),
            helper.make_node("Reshape", [names[0], "flat"], [names[1]]),
            helper.make_node("Relu", [names[1]], [names[2]]),
            helper.make_node("Reshape", [names[2], "square"], [names[3]]),
            helper.make_node("Add", [value, names[3]], [names[4]]),
        ]
        value = names[4]
    for number, node in enumerate(nodes):
        node.name = f"node{number}"
    shape = [1, 8, 5, 6]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", value))
    weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto))


def _followed(blocks: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how often units were added to the map of an axis."""
    calls = 0
    merge = Closure._merge

    def counted(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        merge(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Closure, "_merge", counted)
        find_groups(_residual(blocks))
    return calls


def test_effort_grows_as_the_graph_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _followed(40, monkeypatch) < 2.5 * _followed(20, monkeypatch)
