"""Concats that must not become 8-bit tensors: one scale for all that they join would leave a part of it too few bits.

Detectors join boxes in pixels and scores below 1, and take them apart again: of 640 pixels in 255 steps, every score is
less than half a step, and all become zero. A layer that reads the joined tensor itself has one scale for it anyway.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from compressctl.model import ops
from compressctl.numerics.ranges import Range
from compressctl.quantization.int8.activations import after_activation
from compressctl.quantization.int8.placement import CARRIERS, Placement

_COARSER = 4
"""How much larger than a part's own the step that it shares may be: two of its eight bits."""

_APART = {"Split", "Slice", "Gather"}


def taken_apart(placement: Placement) -> list[ir.Node]:
    """Return the placed Concats whose result is taken apart again, or is an output, without a layer between."""
    return [node for node in placement.joins if node.op_type == "Concat" and _ends_apart(after_activation(node))]


def uneven(concats: list[ir.Node], ranges: Mapping[str, Range]) -> frozenset[str]:
    """Return the names of the results of Concats that cost a part more than two of its eight bits.

    Args:
        concats: of `taken_apart`.
        ranges: by name, of what they read and of their results, each its own.
    """
    found = set()
    for node in concats:
        result = after_activation(node).name or ""
        spans = [_span(ranges[value.name or ""]) for value in node.inputs if value is not None]
        if any(0 < span * _COARSER < _span(ranges[result]) for span in spans):
            found.add(result)
    return frozenset(found)


def _ends_apart(value: ir.Value) -> bool:
    if value.is_graph_output():
        return True
    return any(
        node.op_type in _APART or (node.op_type in CARRIERS | ops.VIEWS and any(map(_ends_apart, node.outputs)))
        for node in value.consumers()
    )


def _span(bounds: Range) -> float:
    low, high = bounds
    return high - low
