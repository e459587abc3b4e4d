"""Normalisations: which axes they take statistics across."""

from __future__ import annotations

import onnx_ir as ir

from compressctl.model.graph import operand
from compressctl.structure.axes import Axes
from compressctl.structure.rules.common import follow, result, tie_all, tie_broadcast


def batch_normalization(node: ir.Node, axes: Axes) -> None:
    """BatchNormalization in inference: a scale and a shift for each channel, axis 1."""
    source = axes.of(node.inputs[0])
    tie_all(axes, source, axes.of(node.outputs[0]))
    for value in node.inputs[1:]:
        axes.tie(axes.of(value)[0], source[1])
        follow(axes, node, value)
    if node.attributes.get_int("training_mode", 0):
        axes.freeze(source, f"BatchNormalization '{node.name}' is in training mode")


def instance_normalization(node: ir.Node, axes: Axes) -> None:
    """InstanceNormalization: statistics over each channel's positions."""
    batch_normalization(node, axes)
    axes.freeze(axes.of(node.inputs[0])[2:], f"InstanceNormalization '{node.name}' takes its mean along it")


def layer_normalization(node: ir.Node, axes: Axes) -> None:
    """LayerNormalization, RMSNormalization and their Skip forms: statistics across the axes from `axis` on."""
    source, output = axes.of(node.inputs[0]), axes.of(node.outputs[0])
    tie_all(axes, source, output)
    start = node.attributes.get_int("axis", -1) % len(source)
    axes.statistics.update(output[start:])
    for value in node.inputs[1:]:
        if value is not None:
            tie_broadcast(axes, axes.of(value), output)
            follow(axes, node, value)
    for index in range(1, len(node.outputs)):
        extra = result(node, index)
        if extra is not None:  # mean, inverse deviation (axes of size 1), or the sum before the norm
            tie_broadcast(axes, axes.of(extra), output)


def group_normalization(node: ir.Node, axes: Axes) -> None:
    """GroupNormalization: statistics across the channels of each group; scale and bias by channel, or by group."""
    source, output = axes.of(node.inputs[0]), axes.of(node.outputs[0])
    tie_all(axes, source, output)
    axes.freeze(source[2:], f"GroupNormalization '{node.name}' takes its mean along it")
    groups = node.attributes["num_groups"].as_int()
    each = axes.sizes[source[1]][0] // groups
    group = axes.virtual(node, "group", (groups, groups))
    member = axes.virtual(node, "member", (each, each))
    if each > 1:
        axes.statistics.add(member)
    axes.factor(source[1], (group, member))
    for value in (operand(node, 1), operand(node, 2)):
        vector = axes.of(value)[0]
        axes.tie(vector, group if axes.sizes[vector] != axes.sizes[source[1]] else source[1])
        follow(axes, node, value)


def lp_normalization(node: ir.Node, axes: Axes) -> None:
    """LpNormalization: a norm along `axis`."""
    output = axes.of(node.outputs[0])
    tie_all(axes, axes.of(node.inputs[0]), output)
    axes.statistics.add(output[node.attributes.get_int("axis", -1)])


def lrn(node: ir.Node, axes: Axes) -> None:
    """LRN: sums over neighbouring channels."""
    output = axes.of(node.outputs[0])
    tie_all(axes, axes.of(node.inputs[0]), output)
    axes.freeze(output[1:2], f"LRN '{node.name}' adds up neighbouring channels")
