"""A shallower model from a deep one: whole residual blocks are taken out.

A residual block is an Add of a value v and of a branch that starts from v, of the same shape: `v + f(v)`. Without the
block the Add's users read v, which is what they would read if f gave zeros. What follows the Add (the Relu of a
residual CNN, the norm of a post-norm transformer) stays.

Source: Huang et al. 2016, "Deep Networks with Stochastic Depth" (arXiv:1603.09382), which drops blocks this way;
Sanh et al. 2019, "DistilBERT" (arXiv:1910.01108), which starts a student from every other layer of its teacher.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from compressctl.errors import ModelError, UsageError
from compressctl.model.graph import constant, remove_dead, replace_node
from compressctl.model.ops import LAYERS
from compressctl.notes import Note, done


@dataclass(frozen=True)
class Block:
    """A residual block `shortcut + branch(shortcut)` that nothing else looks into.

    Attributes:
        add: the node that joins both.
        shortcut: the value that remains without the block.
        end: what the branch adds to it.
        branch: the nodes from `shortcut` to `add`, in topological order.
    """

    add: ir.Node
    shortcut: ir.Value
    end: ir.Value
    branch: tuple[ir.Node, ...]

    @property
    def is_attention(self) -> bool:
        """Say whether the branch holds a Softmax."""
        return any(node.op_type == "Softmax" for node in self.branch)


def cut_depth(model: ir.Model, keep: float) -> tuple[ir.Model, tuple[Note, ...]]:
    """Return a copy of `model` with only the share `keep` of its removable residual blocks.

    An attention block and the block that follows it, the feed-forward part of its layer, stay or go together. Of n such
    units round(keep * n) stay: at least one goes, and at least one stays where there are two. Those that stay are
    evenly spaced from the first unit to the last; a single one is the first.

    Args:
        model: the model, which is not changed; the copy shares its tensors.
        keep: between 0 and 1, both excluded.

    Raises:
        UsageError: `keep` is not between 0 and 1.
        ModelError: there is no removable block; says why.
    """
    if not 0 < keep < 1:
        raise UsageError(f"depth={keep:g} is not between 0 and 1", "depth=0.5 keeps half of the residual blocks")
    model = model.clone()
    blocks, reasons = _find(model.graph)
    if not blocks:
        why = "; ".join(f"{reason} ({number})" for reason, number in Counter(reasons).items())
        raise ModelError(
            f"the depth cannot be cut: no residual block can be removed: {why or 'no Add joins two computed values'}"
        )
    units = _units(blocks)
    kept = _evenly(len(units), keep)
    removed = [block for index, unit in enumerate(units) if index not in kept for block in unit]
    for block in reversed(removed):
        replace_node(model.graph, block.add, [], [block.shortcut])
    remove_dead(model)
    notes = [done(f"residual block removed: {len(block.branch)} nodes", block.add.name) for block in removed]
    return model, (*notes, done(f"residual blocks kept: {len(blocks) - len(removed)} of {len(blocks)}"))


def _find(graph: ir.Graph) -> tuple[tuple[Block, ...], list[str]]:
    """Return the blocks, and why each other Add of two computed values ends none."""
    order = {node: index for index, node in enumerate(graph)}
    found: list[Block] = []
    reasons: list[str] = []
    for add in graph:
        operands = [value for value in add.inputs if value is not None and constant(value) is None]
        if add.op_type != "Add" or add.domain or len(operands) != 2:
            continue
        block = _block(add, operands[0], operands[1], order) or _block(add, operands[1], operands[0], order)
        if block is None:
            reasons.append("an Add without a plain shortcut")
        elif (fault := _fault(block)) is not None:
            reasons.append(fault)
        elif not any(inner.add in block.branch for inner in found):
            found.append(block)
    return tuple(found), reasons


def _block(add: ir.Node, shortcut: ir.Value, end: ir.Value, order: dict[ir.Node, int]) -> Block | None:
    """Return the block, where `end` is computed from `shortcut`."""
    start = shortcut.producer()
    first = -1 if start is None else order[start]
    behind: set[ir.Node] = set()
    waiting = [end]
    while waiting:
        node = waiting.pop().producer()
        if node is not None and node not in behind and order[node] > first:
            behind.add(node)
            waiting.extend(value for value in node.inputs if value is not None)
    reached = {shortcut}
    branch = []
    for node in sorted(behind, key=order.__getitem__):
        if not reached.isdisjoint(node.inputs):
            branch.append(node)
            reached.update(node.outputs)
    return Block(add, shortcut, end, tuple(branch)) if branch and end in reached else None


def _fault(block: Block) -> str | None:
    """Return why the block cannot be removed, or None."""
    if not any(node.op_type in LAYERS for node in block.branch):
        return "a branch without a layer"  # the tanh form of Gelu is x + 0.044715 * x**3 somewhere
    if not _same_shape(block.shortcut, block.end):
        return "a branch of another shape than its shortcut"
    inside = {*block.branch, block.add}
    if any(_used_outside(value, inside) for node in block.branch for value in node.outputs):
        return "a branch that is used elsewhere too"
    return None


def _same_shape(shortcut: ir.Value, end: ir.Value) -> bool:
    """Say whether the sum has the shape of `shortcut`; a dimension that is not known agrees with any but a fixed 1."""
    if shortcut.shape is None or end.shape is None or len(shortcut.shape) != len(end.shape):
        return False
    return all(
        a == b if isinstance(a, int) and isinstance(b, int) else a != 1
        for a, b in zip(shortcut.shape, end.shape, strict=True)
    )


def _used_outside(value: ir.Value, inside: Collection[ir.Node]) -> bool:
    """Say whether another node uses `value`; integers (sizes that reshapes share) may be."""
    if value.is_graph_output():
        return True
    return not (value.dtype is not None and value.dtype.is_integer()) and any(
        node not in inside for node in value.consumers()
    )


def _units(blocks: Sequence[Block]) -> list[list[Block]]:
    """Pair each attention block with the block that follows it, where that is no attention itself."""
    units: list[list[Block]] = []
    for block in blocks:
        if units and len(units[-1]) == 1 and units[-1][0].is_attention and not block.is_attention:
            units[-1].append(block)
        else:
            units.append([block])
    return units


def _evenly(n: int, keep: float) -> set[int]:
    count = min(n - 1, max(1, round(keep * n)))
    return {round(index * (n - 1) / (count - 1)) if count > 1 else 0 for index in range(count)}
