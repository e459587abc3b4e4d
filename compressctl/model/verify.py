"""The invariants that hold after every pass."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx_ir as ir

from compressctl.errors import PassError
from compressctl.model.checking import check_model
from compressctl.model.graph import bodies
from compressctl.model.reasons import reason
from compressctl.model.skeleton import skeleton
from compressctl.model.soundness import quantization_faults


def verify_graph(model: ir.Model, *, where: str) -> None:
    """Check the graph's invariants; `model` is not changed, and its weights are not copied.

    Every value is defined before it is used, all names are unique, initializers hold what their values declare, scales
    and zero points are usable (see `soundness.quantization_faults`), and onnx's checker accepts the graph.

    Args:
        model: the model to check.
        where: the pass that made it.

    Raises:
        PassError: names `where`, and the node or value.
    """
    fault = next(_faults(model.graph), None)
    if fault is None:
        try:
            check_model(skeleton(model))
        except onnx.checker.ValidationError as error:
            fault = reason(error)
    if fault is not None:
        raise PassError(f"{where} left an invalid graph: {fault}")


def _faults(graph: ir.Graph) -> Iterator[str]:
    node_names: set[str] = set()
    for node in graph.all_nodes():
        if not node.name:
            yield f"a {node.op_type} node has no name"
        elif node.name in node_names:
            yield f"two nodes are named {node.name!r}"
        node_names.add(node.name or "")
    yield from _scope_faults(graph, set(), set())
    yield from quantization_faults(graph)


def _scope_faults(graph: ir.Graph, outer: set[ir.Value], outer_names: set[str | None]) -> Iterator[str]:
    """Walk `graph` in order, with the values that the graphs around it have defined so far."""
    defined, names = set(outer), set(outer_names)

    def define(value: ir.Value) -> Iterator[str]:
        if not value.name or value.name in names:
            yield f"two values are named {value.name!r}" if value.name else "a value has no name"
        defined.add(value)
        names.add(value.name)

    for value in graph.inputs:
        yield from define(value)
    for value in graph.initializers.values():
        if not value.is_graph_input():
            yield from define(value)
        yield from _initializer_faults(value)
    for node in graph:
        for used in node.inputs:
            if used is not None and used not in defined:
                yield f"node {node.name!r} uses {used.name!r} before it is defined, or it is not in the graph"
        for body in bodies(node):
            yield from _scope_faults(body, defined, names)
        for output in node.outputs:
            if output.name != "":  # an omitted optional output
                yield from define(output)
    for value in graph.outputs:
        if value not in defined:
            yield f"output {value.name!r} is produced by no node"


def _initializer_faults(value: ir.Value) -> Iterator[str]:
    tensor = value.const_value
    if tensor is None:
        yield f"initializer {value.name!r} holds no data"
    elif value.dtype != tensor.dtype or value.shape != tensor.shape:
        declared, held = f"{value.dtype}{value.shape}", f"{tensor.dtype}{tensor.shape}"
        yield f"initializer {value.name!r} is declared {declared} and holds {held}"
