"""A graph cut into blocks of few layers, to be quantized one after the other with the blocks before them at hand.

A block ends where a single value that quantization changes goes on: a residual block stays whole. Source: the
granularity of BRECQ, Li et al. 2021 (arXiv:2102.05426), section 3.2.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import onnx_ir as ir

from compressctl.model.graph import constant, reads

_MOST = 8  # layers of a block where no single value goes on


@dataclass(frozen=True)
class Block:
    """A run of nodes in graph order.

    Attributes:
        layers: the names of its layers.
        inputs: names of the values that it reads and does not make; constants are not among them.
        outputs: names of the values that it makes, that quantization changes and that later nodes or the user read.
        others: names of the values that it makes, that quantization does not change and that later blocks read.
    """

    layers: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    others: tuple[str, ...]


def cut(graph: ir.Graph, layers: Collection[ir.Node], most: int = _MOST) -> list[Block]:
    """Cut the nodes of `graph` up to its last layer into blocks.

    Args:
        graph: not edited; its nodes are in topological order.
        layers: the nodes that will be quantized.
        most: a block of this many layers ends though several values go on.
    """
    nodes = list(graph)
    changed = _changed(nodes, layers)
    last_read = {value: index for index, node in enumerate(nodes) for value in reads(node)}
    made_at = {value: index for index, node in enumerate(nodes) for value in node.outputs}
    spans = [(made_at[value], last_read[value]) for value in changed if value in last_read]
    single = [sum(made <= index < read for made, read in spans) <= 1 for index in range(len(nodes))]
    last = max((index for index, node in enumerate(nodes) if node in layers), default=-1)
    blocks: list[Block] = []
    start, end, inside = 0, None, 0
    for index, node in enumerate(nodes):
        if node in layers:
            if inside and (end is not None or inside >= most):
                end = index if end is None else end
                blocks.append(_block(nodes, start, end, layers, changed, last_read))
                start, inside = end, 0
            inside, end = inside + 1, None
        if inside and single[index] and (end is None or index < last):
            end = index + 1  # the last place before the next layer; behind the last layer the first place
    if inside:
        blocks.append(_block(nodes, start, end or len(nodes), layers, changed, last_read))
    return blocks


def _changed(nodes: Iterable[ir.Node], layers: Collection[ir.Node]) -> set[ir.Value]:
    """The values that depend on a layer."""
    changed: set[ir.Value] = set()
    for node in nodes:
        if node in layers or any(value in changed for value in reads(node)):
            changed.update(node.outputs)
    return changed


def _block(
    nodes: list[ir.Node],
    start: int,
    end: int,
    layers: Collection[ir.Node],
    changed: Collection[ir.Value],
    last_read: dict[ir.Value, int],
) -> Block:
    inside = nodes[start:end]
    made = dict.fromkeys(value for node in inside for value in node.outputs)
    read = dict.fromkeys(value for node in inside for value in reads(node))
    kept = [value for value in made if last_read.get(value, -1) >= end or value.is_graph_output()]
    return Block(
        layers=tuple(node.name or "" for node in inside if node in layers),
        inputs=tuple(v.name or "" for v in read if v not in made and not v.is_initializer() and constant(v) is None),
        outputs=tuple(value.name or "" for value in kept if value in changed),
        others=tuple(v.name or "" for v in kept if v not in changed and constant(v) is None),
    )
