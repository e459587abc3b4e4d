"""Which weights can be factored: those of plain linear layers, each with all the layers that share it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.layers.linear import LinearLayer, linear_layers, other_layers
from compressctl.notes import Note, skipped


@dataclass(frozen=True, eq=False)
class Unit:
    """A weight and all layers that use it.

    Attributes:
        layers: in graph order; they use it in one way.
    """

    layers: tuple[LinearLayer, ...]

    @property
    def name(self) -> str:
        """The name of the first layer."""
        return self.layers[0].name


def units(graph: ir.Graph, allowed: Callable[[ir.Node], bool]) -> tuple[list[Unit], list[Note]]:
    """Return the weights that can be factored, in graph order, and a note for each layer that is left.

    Args:
        graph: the main graph.
        allowed: which nodes the user lets us touch; the others get no note.
    """
    sharing: dict[ir.Value, list[LinearLayer]] = {}
    for layer in linear_layers(graph):
        sharing.setdefault(layer.weight, []).append(layer)
    found: list[Unit] = []
    notes: list[Note] = []
    for weight, layers in sharing.items():
        wanted = [layer for layer in layers if allowed(layer.node)]
        reason = _obstacle(weight, layers, wanted) if wanted else None
        if reason is not None:
            notes += [skipped(f"not factored: {reason}", layer.name) for layer in wanted]
        elif wanted:
            found.append(Unit(tuple(layers)))
    for node, reason in other_layers(graph):
        if allowed(node):
            hint = "; factor first, then quantize" if "quantized" in reason else ""
            notes.append(skipped(f"not factored: {reason}{hint}", node.name))
    return found, notes


def _obstacle(weight: ir.Value, layers: list[LinearLayer], wanted: list[LinearLayer]) -> str | None:
    first = layers[0]
    others = [node for node in weight.consumers() if node not in [layer.node for layer in wanted]]
    if others or weight.is_graph_output():
        user = f"{others[0].op_type} {others[0].name}" if others else "an output"
        return f"{user} uses its weight too, which would be stored as well as the factors"
    if first.node.op_type == "ConvTranspose":
        return "no low-rank form of a ConvTranspose pays"
    if first.groups > 1:
        return f"it is a convolution of {first.groups} groups, whose matrices are small"
    if any(_use(layer) != _use(first) for layer in layers):
        return "layers that share its weight use it in different ways"
    if not np.isfinite(first.matrix()).all():
        return "its weight holds NaN or infinity"
    return None


def _use(layer: LinearLayer) -> tuple[object, ...]:
    return layer.node.op_type, layer.weight_index, layer.inputs_first, layer.groups
