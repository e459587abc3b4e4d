"""What a unit of each group costs: multiply-accumulates, bytes, or measured time.

A node's work is shared among the units that its weights are cut by. Where a node both makes and reads units, removing
one saves twice; what two groups save together is not known from either, so targets are judged on the cut model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.measure.profile import node_times
from compressctl.model.size import ModelSize
from compressctl.pruning.scores import distinct, tensors
from compressctl.structure.groups import Group, Weight


def macs_saved(model: ir.Model, groups: Sequence[Group], size: ModelSize) -> dict[str, float]:
    """Return the multiply-accumulates that removing one unit saves, by group.

    Args:
        model: the model that the groups are of.
        groups: the groups.
        size: of the model, at the input sizes that count.
    """
    return _saved(model, groups, {row.node: float(row.macs or 0) for row in size.by_layer})


def bytes_saved(model: ir.Model, groups: Sequence[Group]) -> dict[str, float]:
    """Return the bytes of weights that removing one unit saves, by group."""
    stored = tensors(model)
    saved = {}
    for group in groups:
        weights = distinct(group.weights, "makes", "reads", "follows")
        saved[group.name] = sum(stored[weight.name].nbytes * _share(weight, group) for weight in weights)
    return saved


def time_saved(
    model: ir.Model,
    groups: Sequence[Group],
    size: ModelSize,
    file: Path,
    feeds: Mapping[str, Array],
    *,
    threads: int = 0,
) -> dict[str, float]:
    """Return the milliseconds that removing one unit should save, by group, from a profile of the model.

    onnxruntime profiles the graph that it optimised. The time of nodes that it made itself goes to the nodes that it
    has no time for, in proportion to their multiply-accumulates.

    Args:
        model: the model that the groups are of, saved as `file`.
        groups: the groups.
        size: of the model, at the sizes of `feeds`.
        file: what is profiled.
        feeds: what it is run on.
        threads: of onnxruntime.
    """
    names = {row.node for row in size.by_layer}
    times: dict[str, float] = {}
    unknown = 0.0
    for (name, _), milliseconds in node_times(file, feeds, threads=threads).items():
        if name in names:
            times[name] = times.get(name, 0.0) + milliseconds
        else:
            unknown += milliseconds
    work = {row.node: float(row.macs or 0) for row in size.by_layer if row.node not in times}
    total = sum(work.values())
    if total:
        times |= {node: unknown * macs / total for node, macs in work.items()}
    return _saved(model, groups, times)


def _saved(model: ir.Model, groups: Sequence[Group], costs: Mapping[str, float]) -> dict[str, float]:
    """Return how much of the costs by node removing one unit saves, by group."""
    sizes = {name: tensor.size for name, tensor in tensors(model).items()}
    matrices = {group.name: _matrices(group) for group in groups}
    elements: dict[str, dict[str, int]] = {}  # of the matrices of each node: an LSTM has two
    for weight in (weight for weights in matrices.values() for weight in weights):
        elements.setdefault(weight.node, {})[weight.name] = sizes[weight.name]
    saved = {}
    for group in groups:
        total = 0.0
        for weight in matrices[group.name]:
            part = sizes[weight.name] / sum(elements[weight.node].values())
            total += costs.get(weight.node, 0.0) * part * _share(weight, group)
        others = _touching(model, group) - {weight.node for weight in matrices[group.name]}
        saved[group.name] = total + sum(costs.get(node, 0.0) for node in sorted(others)) / group.size
    return saved


def _matrices(group: Group) -> list[Weight]:
    matrices = {(weight.node, weight.name, weight.axis): weight for weight in group.weights if weight.role != "follows"}
    return list(matrices.values())


def _touching(model: ir.Model, group: Group) -> set[str]:
    """Return the nodes that read or make an axis of the group."""
    values = {axis.of for axis in group.axes if isinstance(axis.index, int)}
    return {
        node.name or ""
        for node in model.graph
        if any(value and value.name in values for value in (*node.inputs, *node.outputs))
    }


def _share(weight: Weight, group: Group) -> float:
    """Return the mean share of a weight that one unit has."""
    return float(np.count_nonzero(weight.units >= 0)) / len(weight.units) / group.size
