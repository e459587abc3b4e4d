"""LSTM, GRU and RNN: hidden units, each with a row in every gate."""

from __future__ import annotations

import onnx_ir as ir

from compressctl.model.graph import operand
from compressctl.model.ops import GATES
from compressctl.structure.axes import Axes, UnknownShapeError
from compressctl.structure.rules.common import follow, result, weigh

_PEEPHOLES = 3


def recurrent(node: ir.Node, axes: Axes) -> None:
    """X [S, B, I], W [D, gates * H, I], R [D, gates * H, H], B [D, 2 * gates * H]; outputs [.., H]."""
    if node.attributes.get_int("layout", 0):
        raise UnknownShapeError("layout 1")
    gates = GATES[node.op_type]
    source, weight, recurrence = (axes.of(node.inputs[index]) for index in range(3))
    hidden = recurrence[2]
    axes.tie(source[2], weight[2])
    _gates(node, axes, weight[1], hidden, gates)
    _gates(node, axes, recurrence[1], hidden, gates)
    for index in (1, 2):
        weigh(axes, node, node.inputs[index], 1, "makes")
        weigh(axes, node, node.inputs[index], 2, "reads")
    bias, peepholes = operand(node, 3), operand(node, 7)
    if bias is not None:
        _gates(node, axes, axes.of(bias)[1], hidden, 2 * gates)
        follow(axes, node, bias)
    if peepholes is not None:
        _gates(node, axes, axes.of(peepholes)[1], hidden, _PEEPHOLES)
        follow(axes, node, peepholes)
    directions = weight[0]
    axes.freeze([directions], "a direction of a recurrent layer")
    states = [operand(node, 5), operand(node, 6), result(node, 1), result(node, 2)]
    for state in states:  # [D, B, H]
        if state is not None:
            places = axes.of(state)
            axes.tie(places[0], directions)
            axes.tie(places[1], source[1])
            axes.tie(places[2], hidden)
            follow(axes, node, state)
    every = result(node, 0)
    if every is not None:  # [S, D, B, H]
        places = axes.of(every)
        for a, b in zip(places, (source[0], directions, source[1], hidden), strict=True):
            axes.tie(a, b)
    lengths = operand(node, 4)
    if lengths is not None:
        axes.tie(axes.of(lengths)[0], source[1])


def _gates(node: ir.Node, axes: Axes, whole: int, hidden: int, gates: int) -> None:
    if gates == 1:
        axes.tie(whole, hidden)
        return
    gate = axes.virtual(node, f"gate of {axes.axes[whole].of}", (gates, gates))
    axes.freeze([gate], "a gate of a recurrent layer")
    axes.factor(whole, (gate, hidden))
