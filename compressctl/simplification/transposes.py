"""Transposes in a row are composed, or cancel; a Transpose moves down through what does not mind it to its inverse.

Converters from channels-last frameworks wrap each convolution in a pair of Transposes, with biases, activations and
pads in between. A Transpose moves below an element-wise node (or Pad, or Concat) only where it pays: where it then
cancels with another one, or several merge into one. Source: onnxruntime's transpose optimizer, as a local rule.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compressctl.model.graph import Names, constant, initializer, is_only_use, names_in, operand
from compressctl.model.ops import BROADCAST, UNARY
from compressctl.notes import Note, done
from compressctl.simplification.edit import add_after, bypass, is_op, producer
from compressctl.simplification.facts import Facts

Perm = tuple[int, ...]

_DEPTH = 4  # nodes between a Transpose and the place where several meet
_PERMUTABLE = UNARY | BROADCAST | {"Pad", "Concat"}


def cancel_transposes(model: ir.Model, facts: Facts) -> list[Note]:
    """Apply the rule to the main graph of `model`."""
    graph, notes = model.graph, []
    taken = names_in(graph)
    for node in tuple(graph):
        if node.graph is not graph:
            continue
        if is_op(node, "Transpose"):
            if _compose(node, facts):
                notes.append(done("Transposes in a row composed", node.name))
        elif is_op(node, *_PERMUTABLE) and _sink(graph, node, facts, taken):
            notes.append(done("Transpose moved down to meet its inverse", node.name))
    return notes


def _perm(node: ir.Node, facts: Facts) -> Perm | None:
    rank = facts.rank(node.inputs[0])
    default = None if rank is None else tuple(reversed(range(rank)))
    perm = node.attributes.get_ints("perm", None)
    return default if perm is None else tuple(perm)


def _compose(node: ir.Node, facts: Facts) -> bool:
    inner = producer(node.inputs[0], "Transpose")
    first, second = None if inner is None else _perm(inner, facts), _perm(node, facts)
    if inner is None or first is None or second is None or inner.inputs[0] is None or len(first) != len(second):
        return False
    both = [first[axis] for axis in second]
    if both == sorted(both) and bypass(node, inner.inputs[0]):
        return True
    node.replace_input_with(0, inner.inputs[0])
    node.attributes["perm"] = ir.AttrInt64s("perm", both)
    return True


def _sink(graph: ir.Graph, node: ir.Node, facts: Facts, taken: Names) -> bool:
    """Move the Transposes above `node` below it, as one."""
    perm = _moved_perm(node, facts)
    if perm is None or not _pays(node, perm, facts, seen=set()):
        return False
    rank, inverse = len(perm), tuple(np.argsort(perm))
    if node.op_type == "Concat":
        axis = node.attributes.get_int("axis", 0)
        node.attributes["axis"] = ir.AttrInt64("axis", perm[axis])
    for index, value in enumerate(node.inputs):
        above = producer(value, "Transpose")
        if above is not None and above.inputs[0] is not None and _data_input(node, index):
            node.replace_input_with(index, above.inputs[0])
        elif value is not None and (array := constant(value)) is not None:
            if node.op_type == "Pad" and index == 1:
                pads = np.array([side[axis] for side in array.reshape(2, rank) for axis in inverse], array.dtype)
                node.replace_input_with(index, initializer(graph, f"{node.name}_pads", pads, taken[1]))
            elif node.op_type in BROADCAST and array.ndim:
                full = array.reshape((1,) * (rank - array.ndim) + array.shape).transpose(inverse)
                node.replace_input_with(index, initializer(graph, value.name or "constant", full, taken[1]))
    add_after(node, "Transpose", f"{node.name}_transpose", taken, perm=perm)
    facts.forget(node.outputs[0])  # permuted now
    return True


def _data_input(node: ir.Node, index: int) -> bool:
    return index == 0 or node.op_type in BROADCAST or node.op_type == "Concat"


def _moved_perm(node: ir.Node, facts: Facts) -> Perm | None:
    """Return the permutation that can move through `node`: all its data inputs bring it, or are constants."""
    above = (producer(value, "Transpose") for index, value in enumerate(node.inputs) if _data_input(node, index))
    perms = {_perm(transpose, facts) for transpose in above if transpose is not None}
    perm = perms.pop() if len(perms) == 1 else None
    if perm is None or (node.op_type == "Pad" and operand(node, 3) is not None):
        return None
    return perm if all(_comes_along(node, index, perm, facts, depth=1) for index in range(len(node.inputs))) else None


def _comes_along(node: ir.Node, index: int, perm: Perm, facts: Facts, depth: int) -> bool:
    """Whether `perm` can move below `node` for all that this input minds, after at most `depth` moves above it."""
    value = node.inputs[index]
    array = constant(value)
    if value is None or array is not None:
        return array is None or (node.op_type != "Concat" and array.ndim <= len(perm))
    above = value.producer()
    if depth == 0 or above is None or not _data_input(node, index):
        return False
    if is_op(above, "Transpose"):
        return _perm(above, facts) == perm
    return is_op(above, *_PERMUTABLE) and all(
        _comes_along(above, position, perm, facts, depth - 1) for position in range(len(above.inputs))
    )


def _pays(node: ir.Node, perm: Perm, facts: Facts, seen: set[ir.Node]) -> bool:
    """Whether a Transpose below `node` cancels with another, or is one instead of several.

    `seen` are the nodes that were looked at on the way from where the Transpose is.
    """
    arriving = 1 if seen else 0
    seen.add(node)
    above = {producer(value, "Transpose") for value in node.inputs}
    if arriving + sum(one is not None and is_only_use(one.outputs[0], node) for one in above) > 1:
        return True
    for user in node.outputs[0].consumers():
        if user.graph is not node.graph or user in seen:
            continue
        if is_op(user, "Transpose"):
            second = _perm(user, facts) or ()
            if [perm[axis] for axis in second] == list(range(len(perm))):
                return True
        elif is_op(user, *_PERMUTABLE):
            others = [index for index, value in enumerate(user.inputs) if value is not node.outputs[0]]
            ready = all(_comes_along(user, index, perm, facts, _DEPTH) for index in others)
            if ready and _pays(user, perm, facts, seen):
                return True
    return False
