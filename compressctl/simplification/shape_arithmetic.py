"""Shapes that exporters compute at run time become constants.

- A small integer tensor whose elements are all known (Gather a fixed dimension from a Shape) becomes an initializer.
- The target of a Reshape becomes a constant: 0 for a dimension that stays where it is, -1 for one that is left then.
- The target of an Expand becomes a constant: 1 for a dimension that the input has already.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from compressctl.model.graph import constant, initializer, names_in
from compressctl.notes import Note, done
from compressctl.simplification.contents import Contents
from compressctl.simplification.edit import is_op
from compressctl.simplification.facts import Facts
from compressctl.tensorspec import Dim


def fold_shape_arithmetic(model: ir.Model, facts: Facts) -> list[Note]:
    """Apply the rule to the main graph of `model`."""
    graph, notes = model.graph, []
    targets: dict[tuple[int, ...], ir.Value] = {}  # the nodes of a model's layers share theirs
    taken = names_in(graph)[1]
    for node in tuple(graph):
        target = (
            _reshape(node, facts) if is_op(node, "Reshape") else _expand(node, facts) if is_op(node, "Expand") else None
        )
        if target is not None:
            if target not in targets:
                targets[target] = initializer(graph, f"{node.name}_shape", np.array(target, np.int64), taken)
            node.attributes.pop("allowzero", None)
            node.replace_input_with(1, targets[target])
            notes.append(done(f"target shape of {node.op_type} made constant", node.name))
        elif _is_known(node.outputs[0], facts) and _fix_value(graph, node, facts, taken):
            notes.append(done("shape arithmetic with a known result made constant", node.name))
    return notes


def reshape_target(elements: Sequence[Dim], shape: Sequence[Dim] | None) -> list[int] | None:
    """Express a target of Reshape in constants: exactly the same result for an input of `shape`, or None.

    Args:
        elements: the wanted target: sizes, symbols, None for unknown ones; 0 and -1 as Reshape has them.
        shape: the input's shape, where its rank is known.
    """
    shape = shape or ()
    target: list[int | None] = [
        element if isinstance(element, int) else 0 if element and shape[i : i + 1] == (element,) else None
        for i, element in enumerate(elements)
    ]
    unknown = [i for i, element in enumerate(target) if element is None]
    if not unknown:
        return [element for element in target if element is not None]
    if len(unknown) > 1 or -1 in target:
        return None
    place = unknown[0]
    target[place] = 0 if _rest_is_equal(elements, shape, place) else -1
    return [element for element in target if element is not None]


def _rest_is_equal(elements: Sequence[Dim], shape: Sequence[Dim], place: int) -> bool:
    """Whether the sizes but the one at `place` have the same product on both sides: then that one is the same, too."""
    if place >= len(shape):
        return False
    rest = [[*dims[:place], *dims[place + 1 :]] for dims in (tuple(shape), tuple(elements))]
    if None in rest[0] or None in rest[1] or 0 in rest[1]:
        return False
    products = [math.prod(dim for dim in dims if isinstance(dim, int)) for dims in rest]
    symbols = [sorted(dim for dim in dims if isinstance(dim, str)) for dims in rest]
    return products[0] == products[1] and symbols[0] == symbols[1]


def _reshape(node: ir.Node, facts: Facts) -> tuple[int, ...] | None:
    """Return a better target for a Reshape, or None."""
    elements, shape = facts.contents(node.inputs[1]), facts.shape(node.inputs[0])
    if elements is None or (node.attributes.get_int("allowzero", 0) == 1 and 0 in elements):
        return None
    known = constant(node.inputs[1])
    if known is None:
        target = reshape_target(list(elements), shape)
        return None if target is None else tuple(target)
    if -1 not in known or shape is None:
        return None
    # 0 instead of -1 tells shape inference more
    exact = [shape[i] if size == 0 else None if size == -1 else int(size) for i, size in enumerate(known)]
    place = int(np.flatnonzero(known == -1)[0])
    if not _rest_is_equal(exact, shape, place):
        return None
    return tuple(0 if i == place else int(size) for i, size in enumerate(known))


def _expand(node: ir.Node, facts: Facts) -> tuple[int, ...] | None:
    """Return a constant target for an Expand that has none, or None."""
    elements, shape = facts.contents(node.inputs[1]), facts.shape(node.inputs[0])
    if elements is None or shape is None or constant(node.inputs[1]) is not None:
        return None
    missing = len(elements) - len(shape)
    aligned = [None] * missing + list(shape[max(0, -missing) :])
    target = [1 if e is not None and e == dim else e for e, dim in zip(elements, aligned, strict=True)]
    return tuple(target) if all(isinstance(element, int) for element in target) else None


def _fix_value(graph: ir.Graph, node: ir.Node, facts: Facts, taken: set[str | None]) -> bool:
    """Replace the output of `node` where it leaves the part of the graph that is known."""
    output = node.outputs[0]
    leaves = any(user.graph is not graph or not _is_known(user.outputs[0], facts) for user in output.consumers())
    dtype = facts.dtype(output)
    if output.is_graph_output() or not leaves or dtype is None:
        return False
    contents: Contents | None = facts.contents(output)
    assert contents is not None
    name, output.name = output.name, None  # so that the initializer can bear it
    taken.discard(name)
    output.replace_all_uses_with(initializer(graph, name or "shape", contents.astype(dtype.numpy()), taken))
    graph.remove(node, safe=True)
    return True


def _is_known(value: ir.Value, facts: Facts) -> bool:
    contents = facts.contents(value)
    return contents is not None and all(isinstance(element, int) for element in contents.flat)
