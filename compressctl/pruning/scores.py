"""How much each unit of a group matters, by the importance that the user chose.

The weights that *make* a unit (the filters of a channel, the columns of a neuron, the projections of a head) speak for
it; for importances by gradients, so do the biases and norms that follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Floats
from compressctl.choices import UnitImportance
from compressctl.data.first import First
from compressctl.data.source import Source
from compressctl.numerics.importance import distances_to_others, unit_elements, unit_rows, unit_sums
from compressctl.pruning.activations import mean_magnitudes
from compressctl.resources import Resources
from compressctl.structure.axes import Axis
from compressctl.structure.groups import Group, Weight

if TYPE_CHECKING:
    from compressctl.torchexec.gradients import Loss

MEASURED = ("activation", "taylor", "hessian")  # on samples


@dataclass(frozen=True)
class Evidence:
    """What importances beyond the weights are measured on.

    Attributes:
        source: the samples.
        resources: to measure with.
        loss: on the samples' labels, or None (see `torchexec.gradients`).
        samples: how many samples at most.
    """

    source: Source
    resources: Resources
    loss: Loss | None = None
    samples: int = 128


def score(
    model: ir.Model,
    groups: Sequence[Group],
    importance: UnitImportance,
    *,
    seed: int = 0,
    evidence: Evidence | None = None,
) -> dict[str, Floats]:
    """Return a score for each unit of each group, [size] by the group's name; what matters less is smaller.

    - l1, l2: mean of |w|, root of the mean of w², over the weights that make the unit.
    - geometric-median: sum of distances to the other units' weights (He et al. 2019, arXiv:1811.00250).
    - activation: mean of |activation| where the unit is read.
    - taylor: mean over samples of (sum of g * w)², with the gradients g of the loss (Molchanov et al. 2019,
      arXiv:1906.10771).
    - hessian: mean over samples of the sum of g² * w² / 2, the increase of the loss with the Fisher matrix's diagonal
      for the Hessian's (LeCun et al. 1990, "Optimal Brain Damage").
    - random: drawn evenly from 0 to 1.

    Args:
        model: the model that the groups are of; left as it is.
        groups: with different names.
        importance: see above.
        seed: of random scores.
        evidence: the samples, for activation, taylor and hessian.

    Raises:
        DataError, ModelError: as `mean_magnitudes` and `sample_gradients`.
    """
    if importance in MEASURED:
        assert evidence is not None, f"{importance} needs samples"
        if importance == "activation":
            return _by_activation(model, groups, evidence)
        return _by_gradient(model, groups, evidence, squares=importance == "hessian")
    if importance == "random":
        return {group.name: np.random.default_rng((seed, i)).random(group.size) for i, group in enumerate(groups)}
    stored = tensors(model)
    if importance == "geometric-median":
        return {group.name: distances_to_others(_rows(stored, group)) for group in groups}
    return {group.name: _by_norm(stored, group, 1 if importance == "l1" else 2) for group in groups}


def _by_norm(stored: Mapping[str, ir.TensorProtocol], group: Group, power: int) -> Floats:
    total, elements = np.zeros(group.size), np.zeros(group.size)
    for weight in distinct(group.weights, "makes"):
        magnitudes = np.abs(np.asarray(stored[weight.name].numpy(), np.float64))
        total += unit_sums(magnitudes**power, weight.axis, weight.units, group.size)
        elements += unit_elements(magnitudes.shape, weight.axis, weight.units, group.size)
    return np.asarray((total / np.maximum(elements, 1)) ** (1 / power))


def _rows(stored: Mapping[str, ir.TensorProtocol], group: Group) -> Floats:
    parts = [
        unit_rows(stored[weight.name].numpy(), weight.axis, weight.units, group.size)
        for weight in distinct(group.weights, "makes")
    ]
    return np.concatenate(parts, axis=1)


def _by_activation(model: ir.Model, groups: Sequence[Group], evidence: Evidence) -> dict[str, Floats]:
    observed = {group.name: _read_axes(model, group) for group in groups}
    wanted = dict.fromkeys(axis for axes in observed.values() for axis in axes)
    means: dict[Axis, Floats] = {}
    while wanted:  # a value that is cut along two axes is measured along one at a time
        once = {axis.of: axis for axis in wanted}
        found = mean_magnitudes(
            model,
            {name: int(axis.index) for name, axis in once.items()},
            First(evidence.source, evidence.samples),
            evidence.resources,
        )
        for name, axis in once.items():
            means[axis] = found[name]
            del wanted[axis]
    scores = {}
    for group in groups:
        total, positions = np.zeros(group.size), np.zeros(group.size)
        for axis in observed[group.name]:
            units = group.axes[axis]
            total += unit_sums(means[axis], 0, units, group.size)
            positions += np.bincount(units[units >= 0], minlength=group.size)
        scores[group.name] = total / np.maximum(positions, 1)
    return scores


def _read_axes(model: ir.Model, group: Group) -> list[Axis]:
    """Return the axes of float activations along which the group's readers read it; else all where it appears."""
    readers = {weight.node for weight in group.weights if weight.role == "reads"}
    read = {value for node in model.graph if node.name in readers for value in node.inputs}
    computed = {
        output.name or "": output for node in model.graph if node.op_type != "Constant" for output in node.outputs
    }
    computed |= {value.name or "": value for value in model.graph.inputs}
    values = {axis: computed[axis.of] for axis in group.axes if isinstance(axis.index, int) and axis.of in computed}
    floats = [axis for axis, value in values.items() if value.dtype is None or value.dtype.is_floating_point()]
    return [axis for axis in floats if values[axis] in read] or floats


def _by_gradient(model: ir.Model, groups: Sequence[Group], evidence: Evidence, *, squares: bool) -> dict[str, Floats]:
    from compressctl.torchexec.gradients import sample_gradients

    totals = {group.name: np.zeros(group.size) for group in groups}
    weights = {group.name: distinct(group.weights, "makes", "follows") for group in groups}
    seen = 0
    samples = evidence.resources.progress.track(
        sample_gradients(model, evidence.source, evidence.resources, samples=evidence.samples, loss=evidence.loss),
        "take gradients",
        min(evidence.samples, len(evidence.source)),
    )
    for found, arrays in samples:
        seen += 1
        products = {name: np.multiply(gradient, arrays[name], dtype=np.float64) for name, gradient in found.items()}
        for group in groups:
            units = np.zeros(group.size)
            for weight in weights[group.name]:
                if weight.name in products:
                    product = products[weight.name]
                    part = np.square(product) / 2 if squares else product
                    units += unit_sums(part, weight.axis, weight.units, group.size)
            totals[group.name] += units if squares else units**2
    return {name: total / seen for name, total in totals.items()}


def tensors(model: ir.Model) -> dict[str, ir.TensorProtocol]:
    """Return the constants of the main graph, by name of the initializer or of the Constant node's output."""
    values = [*model.graph.initializers.values()]
    values += [node.outputs[0] for node in model.graph if node.op_type == "Constant" and not node.domain]
    found = ((value.name or "", ir.convenience.get_const_tensor(value)) for value in values)
    return {name: tensor for name, tensor in found if tensor is not None}


def distinct(weights: Iterable[Weight], *roles: str) -> list[Weight]:
    """Return the weights in one of the roles; the axis of a tensor once, however many nodes use it."""
    return list({(weight.name, weight.axis): weight for weight in weights if weight.role in roles}.values())
