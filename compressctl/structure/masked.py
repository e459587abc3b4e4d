"""The original with units switched off instead of cut out: what a cut must agree with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.model.graph import initializer, insert_after
from compressctl.model.ops import RECURRENT
from compressctl.model.tensors import FLOATS
from compressctl.numerics.qparams import along
from compressctl.structure.axes import Positions
from compressctl.structure.cut import Removed, kept_positions
from compressctl.structure.groups import Group
from compressctl.structure.rewrites import Kept
from compressctl.structure.shapes import Shapes, is_fixed


def masked(model: ir.Model, groups: Sequence[Group], removed: Removed, shapes: Shapes | None = None) -> ir.Model:
    """Return a copy of `model` in which removed units are zero in the output of every node.

    A cut computes the same, except for groups of kind width: their norms take statistics of what stays.

    Args:
        model: the model that the groups were found in; not changed.
        groups: all or some of its groups.
        removed: the units that are zero, by group.
        shapes: of the model, if known.

    Raises:
        ValueError: as `cut`.
    """
    copy = model.clone()
    kept = Kept(kept_positions(groups, removed), shapes or Shapes(copy))
    zeros: dict[ir.DataType, ir.Value] = {}
    for node in list(copy.graph):
        if node.op_type in RECURRENT and not node.domain:
            _stop_recurrence(copy.graph, node, kept)
        for value in node.outputs:
            axes, shape = kept.axes(value), kept.before(value)
            dtype = value.dtype or ir.DataType.FLOAT
            if axes and dtype in FLOATS and all(is_fixed(shape[axis]) for axis in axes):
                if dtype not in zeros:
                    zeros[dtype] = initializer(copy.graph, "masked_zero", np.zeros((), dtype.numpy()))
                _mask(copy.graph, node, value, axes, [size[0] for size in shape], zeros[dtype])
    return copy


def _mask(
    graph: ir.Graph, node: ir.Node, value: ir.Value, axes: dict[int, Positions], sizes: list[int], zero: ir.Value
) -> None:
    """Put zeros where `value` [sizes] loses positions, and let all its users read that."""
    stays: Array = np.ones((), bool)
    for axis, positions in axes.items():
        one = np.isin(np.arange(sizes[axis]), positions)
        stays = stays & along(one, axis, len(sizes))
    uses = list(value.uses())
    where = ir.node("Where", [initializer(graph, f"{value.name}_stays", stays), value, zero])
    insert_after(graph, node, [where])
    where.outputs[0].type, where.outputs[0].shape = value.type, value.shape
    for use in uses:
        use.node.replace_input_with(use.idx, where.outputs[0])


def _stop_recurrence(graph: ir.Graph, node: ir.Node, kept: Kept) -> None:
    """Cut-out hidden units feed nothing back: their columns of the recurrence weights are zero.

    Computed weights are masked already, as the output of a node.
    """
    recurrence = node.inputs[2]
    positions = kept.of(recurrence, 2)
    tensor = None if recurrence is None else ir.convenience.get_const_tensor(recurrence)
    if recurrence is None or positions is None or tensor is None:
        return
    array = tensor.numpy().copy()
    gone = np.setdiff1d(np.arange(array.shape[2]), positions)
    array[:, :, gone] = 0
    node.replace_input_with(2, initializer(graph, f"{recurrence.name}_stopped", array))
