"""The work of the pass `clip`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.layers.linear import linear_layers, other_layers
from compressctl.model.graph import all_nodes, constant, set_constant
from compressctl.model.ops import OPERANDS, RECURRENT
from compressctl.notes import Note, done, skipped, warning
from compressctl.numerics.clipping import clip, percentile_threshold, sigma_threshold
from compressctl.passes.base import Context, Outcome
from compressctl.passes.clip import Config
from compressctl.selection import Selection

_FLOATS = ("float16", "bfloat16", "float32", "float64")


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Clip the weights of `model` in place.

    Raises:
        UsageError: a glob matches nothing.
    """
    selection = config.selection
    selection.check(model.graph)
    notes: list[Note] = []
    rows: list[dict[str, Any]] = []
    weights = _weights(model.graph, selection, everything=bool(config.include))
    for weight, (node, array) in weights.items():
        if reason := _obstacle(weight, array, selection):
            notes.append(skipped(f"not clipped: {reason}", node.name))
            continue
        threshold = _threshold(config, array)
        if threshold == 0:
            notes.append(skipped("not clipped: its threshold is 0, nothing would be left", node.name))
            continue
        clipped = clip(array, threshold, config.value)
        rows.append({"layer": node.name, "weight": weight.name, "elements": array.size, "threshold": threshold})
        rows[-1] |= {"clipped": clipped.count, "mse": clipped.mse}
        if clipped.count:
            set_constant(weight, clipped.array)
            told = f"{clipped.count} of {array.size} weights clipped at {threshold:.4g}, mean squared error"
            notes.append(done(f"{told} {clipped.mse:.3g}", node.name))
    touched = {node for node, _ in weights.values()}
    for node, reason in other_layers(model.graph, inner=True):
        if selection.allows(node) and node not in touched:
            notes.append(skipped(f"not clipped: {reason}", node.name))
    if not any(row["clipped"] for row in rows):
        notes.append(warning("no weight lies beyond the threshold: nothing was clipped"))
    return Outcome(model, tuple(notes), {"layers": rows})


def _threshold(config: Config, array: Array) -> float:
    if config.percentile is not None:
        return percentile_threshold(array, config.percentile)
    if config.sigma is not None:
        return sigma_threshold(array, config.sigma)
    assert config.threshold is not None
    return config.threshold


def _weights(graph: ir.Graph, selection: Selection, *, everything: bool) -> dict[ir.Value, tuple[ir.Node, Array]]:
    """Return the weights to clip, each with the first node that uses it."""
    linear = {layer.node: layer.weight for layer in linear_layers(graph, inner=True)}
    found: dict[ir.Value, tuple[ir.Node, Array]] = {}
    for node in all_nodes(graph):
        values = [linear[node]] if node in linear else list(_others(node)) if everything else []
        for value in values if selection.allows(node) else []:
            array = constant(value)
            if array is not None and array.dtype.name in _FLOATS:
                found.setdefault(value, (node, array))
    return found


def _others(node: ir.Node) -> Iterator[ir.Value]:
    """Yield the weights of a recurrent layer, or the table of a Gather."""
    if node.op_type in RECURRENT | {"Gather"} and not node.domain:
        indices = OPERANDS[node.op_type].weights + OPERANDS[node.op_type].tables
        yield from (value for index in indices if (value := node.inputs[index]) is not None)


def _obstacle(weight: ir.Value, array: Array, selection: Selection) -> str | None:
    if not selection.allows(*weight.consumers()):
        excluded = next(user for user in weight.consumers() if not selection.allows(user))
        return f"{excluded.op_type} {excluded.name}, which is left, shares its weight"
    return None if np.isfinite(array).all() else "its weight holds NaN or infinity"
