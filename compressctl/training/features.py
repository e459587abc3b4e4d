"""Which value of a graph a loss reads: the output of a node, or the scores before a final Softmax or Sigmoid."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass

import onnx_ir as ir

from compressctl.errors import ModelError
from compressctl.model.ops import SOFTMAX


@dataclass(frozen=True)
class Scores:
    """The scores behind an output.

    Attributes:
        value: the name of their value.
        axis: the axis of the Softmax that makes probabilities of them (may be negative); None where there is none.
    """

    value: str
    axis: int | None = None


def scores(model: ir.Model, output: str, activations: Collection[str]) -> Scores:
    """Return what goes into the activation that gives `output`, or the output itself where none of these does.

    Losses on scores have gradients where probabilities are rounded to 0 or 1.
    """
    value = next(value for value in model.graph.outputs if value.name == output)
    node = value.producer()
    while node is not None and node.op_type == "Identity" and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    if node is None or node.domain != "" or node.op_type not in activations or node.inputs[0] is None:
        return Scores(output)
    if node.inputs[0].producer() is None:  # the graph's own input
        return Scores(output)
    axis = node.attributes.get_int("axis", -1) if node.op_type in SOFTMAX else None
    return Scores(node.inputs[0].name or "", axis)


def node_named(model: ir.Model, name: str, whose: str) -> ir.Node:
    """Return a node of the main graph.

    Raises:
        ModelError: there is none of that name; the message names the nearest ones and `whose` graph it is.
    """
    nodes = {node.name: node for node in model.graph if node.name}
    if name not in nodes:
        close = difflib.get_close_matches(name, nodes, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(map(repr, close))}?" if close else "compressctl inspect lists the nodes"
        raise ModelError(f"{whose} has no node {name!r}", hint)
    return nodes[name]


def node_value(node: ir.Node) -> str:
    """Return the name of a node's first output."""
    return node.outputs[0].name or ""


def is_softmax(node: ir.Node) -> bool:
    """Say whether a node gives attention maps: probabilities along its last axis or another one."""
    return node.op_type == "Softmax" and node.domain == ""
