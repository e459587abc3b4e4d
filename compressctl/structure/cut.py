"""Cutting units out of a graph: constants lose positions, and nodes that state sizes state the new ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Mask
from compressctl.model.graph import remove_dead
from compressctl.structure.axes import Axis, Positions
from compressctl.structure.groups import Group
from compressctl.structure.rewrites import REWRITES, Kept
from compressctl.structure.shapes import Shapes

Removed = Mapping[str, Array]
"""The units that go, by the name of their group."""


def cut(model: ir.Model, groups: Sequence[Group], removed: Removed, shapes: Shapes | None = None) -> None:
    """Cut units out of `model`, in place.

    Constants are replaced by smaller ones, one at a time; those that nothing uses any more go.

    Args:
        model: the model that the groups were found in, or a clone of it.
        groups: all or some of its groups.
        removed: units that are not fixed, and not all of a group.
        shapes: of the model, if known: those of a model serve all its clones.

    Raises:
        ValueError: there is no group of that name, or a fixed unit, or all units, are to go.
    """
    kept = Kept(kept_positions(groups, removed), shapes or Shapes(model))
    if not kept.positions:
        return
    for node in sorted(model.graph, key=lambda node: node.op_type == "Shape"):  # last, when shapes are stated anew
        rewrite = REWRITES.get((node.domain, node.op_type))
        if rewrite is not None and any(kept.axes(value) for value in (*node.inputs, *node.outputs)):
            rewrite(node, kept)
    for value in list(model.graph.initializers.values()):
        if value.const_value is not None and (axes := kept.axes(value)):
            value.const_value = _taken(value.const_value, axes)
            value.shape = ir.Shape(value.const_value.shape.numpy())
    for node in model.graph:
        for value in node.outputs:
            if axes := kept.axes(value):
                _shrink(node, value, axes)
    remove_dead(model)


def kept_positions(groups: Sequence[Group], removed: Removed) -> dict[Axis, Positions]:
    """Return the positions that stay of every axis that loses some.

    Raises:
        ValueError: as `cut`.
    """
    by_name = {group.name: group for group in groups}
    gone: dict[Axis, Mask] = {}
    for name, units in removed.items():
        if name not in by_name:
            raise ValueError(f"there is no group {name!r}")
        group, units = by_name[name], np.unique(np.asarray(units, np.int64))
        if group.fixed[units].any() or len(units) == group.size:
            raise ValueError(f"{name!r}: fixed units, or all units, are to be removed")
        for axis, of in group.axes.items():
            gone[axis] = gone.get(axis, np.zeros(len(of), bool)) | np.isin(of, units)
    return {axis: np.flatnonzero(~mask) for axis, mask in gone.items() if mask.any()}


def _taken(tensor: ir.TensorProtocol, axes: Mapping[int, Positions]) -> ir.TensorProtocol:
    array = tensor.numpy()
    for axis, positions in axes.items():
        array = array.take(positions, axis)
    return ir.tensor(np.ascontiguousarray(array), dtype=tensor.dtype, name=tensor.name)


def _shrink(node: ir.Node, value: ir.Value, axes: Mapping[int, Positions]) -> None:
    """State the new shape of a node's output; the tensor of a Constant shrinks itself."""
    if node.op_type == "Constant" and (tensor := ir.convenience.get_const_tensor(value)) is not None:
        small = _taken(tensor, axes)
        node.attributes.clear()
        node.attributes["value"] = ir.AttrTensor("value", small)
        value.const_value = None
    if value.shape is not None:
        sizes: list[Any] = list(value.shape)
        for axis, positions in axes.items():
            sizes[axis] = len(positions) if isinstance(sizes[axis], int) else None
        value.shape = ir.Shape(sizes)
