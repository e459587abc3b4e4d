"""Writing a graph as text, rewriting it, and comparing both in onnxruntime without any optimisation of its own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from compressctl.data.random import random_feeds
from compressctl.measure.session import Session
from compressctl.model.load import interface
from compressctl.model.verify import verify_graph
from compressctl.notes import Note
from compressctl.simplification.rules import RULES, apply_rules
from tests.graphs import weights as weights_of


@dataclass
class Rewritten:
    before: ir.Model
    model: ir.Model
    notes: list[Note]

    @property
    def ops(self) -> dict[str, int]:
        return dict(Counter(node.op_type for node in self.model.graph))

    @property
    def weights(self) -> dict[str, NDArray]:
        return weights_of(self.model)

    def node(self, name: str) -> ir.Node:
        return next(node for node in self.model.graph if node.name == name)

    def reasons(self) -> list[str]:
        return [note.text for note in self.notes if note.kind == "skipped"]


def parse(text: str, opset: int = 17, **weights: NDArray) -> ir.Model:
    """`text` is inputs, outputs and nodes; nodes are named after their first output."""
    graph = parser.parse_graph(f"test {text}")
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    _name_nodes(graph)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return ir.from_proto(model)


def _name_nodes(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        node.name = node.output[0]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _name_nodes(attribute.g)


def rewrite(text: str, opset: int = 17, rules: tuple[str, ...] = tuple(RULES), **weights: NDArray) -> Rewritten:
    """Rewrite the graph and assert that it is valid, has the same interface and computes the same."""
    before = parse(text, opset, **weights)
    stored = weights_of(before)
    model = before.clone()
    notes = apply_rules(model, rules)
    verify_graph(model, where="simplify")
    assert interface(model) == interface(before)
    for name, array in stored.items():  # clones share tensors: nobody may have written into them
        np.testing.assert_array_equal(before.graph.initializers[name].const_value.numpy(), array)
    assert_equal(before, model)
    return Rewritten(before, model, notes)


def assert_equal(before: ir.Model, after: ir.Model, batches: tuple[int, ...] = (1, 3), rtol: float = 2e-5) -> None:
    for batch in batches:
        feeds = random_feeds(interface(before)[0], batch, seed=batch, sizes={"sequence": 7, "side": 10, "other": 5})
        expected, actual = (Session(model, threads=1, optimize=False).run(feeds) for model in (before, after))
        for name, want in expected.items():
            have = actual[name]
            assert have.shape == want.shape and have.dtype == want.dtype, name
            if want.dtype.kind == "f":
                np.testing.assert_allclose(have, want, rtol=rtol, atol=rtol * np.abs(want).max(initial=1e-6))
            else:
                np.testing.assert_array_equal(have, want)


def rand(*shape: int, seed: int = 0, low: float | None = None, dtype: type = np.float32) -> NDArray:
    rng = np.random.default_rng([seed, *shape])
    return (rng.standard_normal(shape) if low is None else rng.uniform(low, low + 2, shape)).astype(dtype)


def ints(*numbers: int) -> NDArray:
    return np.array(numbers, np.int64)
