"""All weights of a model that can be factored, with what deciding on them needs; and carrying decisions out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Floats
from compressctl.choices import FactorMethodOrAuto, FactorWhere
from compressctl.data.source import Feeds, Source
from compressctl.errors import DataError
from compressctl.factorization import rewrite
from compressctl.factorization.choice import Aim, ChosenFactors, Measure, choose
from compressctl.factorization.costs import latency_ratio
from compressctl.factorization.forms import Factorization, Factors, Shape, forms
from compressctl.factorization.units import Unit
from compressctl.layers.inputs import LayerInputs
from compressctl.layers.linear import linear_layers
from compressctl.layers.moments import input_statistics, observable
from compressctl.measure.latency import LatencyRatio
from compressctl.model.graph import remove_dead
from compressctl.numerics.low_rank import RowMoments
from compressctl.resources import Resources

Reasons = list[tuple[Unit, str]]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A weight with all that choosing its factors needs.

    Attributes:
        unit: the weight.
        input: shape of what its first layer reads.
        forms: what it may become.
    """

    unit: Unit
    input: Shape
    forms: tuple[Factorization, ...]


def input_shapes(model: ir.Model, units: Sequence[Unit], feeds: Feeds, resources: Resources) -> list[Shape]:
    """Return the shape of what the first layer of each unit reads when `model` runs on `feeds`; 1 for sizes of 0."""
    layers = [unit.layers[0] for unit in units]
    read = LayerInputs(model, layers, resources).read(feeds)
    return [tuple(max(size, 1) for size in read[layer].shape) for layer in layers]


def observe(
    model: ir.Model, units: Sequence[Unit], source: Source, resources: Resources, *, samples: int
) -> list[RowMoments | None]:
    """Return the moments of each unit's inputs, the mean over its layers; on disk, mapped into memory.

    None for layers with too many inputs to be observed, and for those that no sample reaches.

    Raises:
        DataError: the disk is full; and as `input_statistics`.
    """
    layers = [layer for unit in units for layer in unit.layers if observable(layer)]
    mapped: dict[str, RowMoments] = {}
    last: tuple[RowMoments, RowMoments] | None = None
    for layer, moments in input_statistics(model, layers, source, resources, samples=samples):
        if moments.silent:
            continue
        if last is None or last[0] is not moments:  # layers that read the same rows share a file
            kept = RowMoments(moments.second[0], moments.mean[0], moments.rows).shrunk()
            last = (
                moments,
                replace(kept, second=_spilled(kept.second, resources.workdir / f"moments_{len(mapped)}.npy")),
            )
        mapped[layer.name] = last[1]
    seen = [[mapped[layer.name] for layer in unit.layers if layer.name in mapped] for unit in units]
    return [_mean(found) if found else None for found in seen]


def _spilled(array: Floats, path: Path) -> Floats:
    """Return `array` as a memory map of a file that is made of it."""
    try:
        np.save(path, array)
    except OSError as error:
        text = f"{path.parent}: moments cannot be kept: {error.strerror or error}"
        raise DataError(text, "set TMPDIR to a larger disk") from error
    return np.asarray(np.load(path, mmap_mode="r"))


def prepare(
    units: Sequence[Unit],
    shapes: Sequence[Shape],
    moments: Sequence[RowMoments | None] | None,
    method: FactorMethodOrAuto,
) -> Iterator[Prepared]:
    """Yield each unit with its forms, which decompose its weight when they are first asked; drop them to free memory.

    Args:
        units: the weights.
        shapes: of `input_shapes`.
        moments: of `observe`, None for plain decompositions.
        method: the form that convolutions take, or "auto".
    """
    for i, (unit, shape) in enumerate(zip(units, shapes, strict=True)):
        yield Prepared(unit, shape, forms(unit.layers[0], None if moments is None else moments[i], method))


def plan(
    prepared: Iterable[Prepared], aim: Aim, where: FactorWhere, measure: Measure | None
) -> tuple[list[ChosenFactors], Reasons]:
    """Return the weights to factor, and those to leave with the reason; arguments as `choose`."""
    choices: list[ChosenFactors] = []
    reasons: Reasons = []
    for one in prepared:
        found = choose(one.unit, one.forms, one.input, aim, where, measure)
        if isinstance(found, ChosenFactors):
            choices.append(found)
        else:
            reasons.append((one.unit, found))
    return choices, reasons


def put_factors(model: ir.Model, choices: Iterable[ChosenFactors]) -> None:
    """Put the factors into `model`, in place: the model that the choices were made for, or a clone of it."""
    layers = {layer.name: layer for layer in linear_layers(model.graph)}
    for choice in choices:
        rewrite.replace(model.graph, [layers[layer.name] for layer in choice.unit.layers], choice.factors)
    remove_dead(model)


class Stopwatch:
    """Measures factored layers; those that are alike, once."""

    def __init__(self, model: ir.Model, resources: Resources) -> None:
        self._model, self._resources = model, resources
        self._known: dict[tuple[object, ...], LatencyRatio] = {}

    def __call__(self, unit: Unit, x: Shape, factors: Factors) -> LatencyRatio:
        """Return the latency of `factors` over that of the unit's first layer, which reads an input of shape `x`."""
        layer = unit.layers[0]
        attributes = sorted((key, str(value.value)) for key, value in layer.node.attributes.items())
        shapes = tuple(weight.shape for weight in factors.weights)
        key = (layer.node.op_type, layer.weight_index, layer.weight_shape, str(attributes), x, factors.method, shapes)
        if key not in self._known:
            self._known[key] = latency_ratio(self._model, layer, factors, x, self._resources)
        return self._known[key]


def _mean(moments: Sequence[RowMoments]) -> RowMoments:
    if len(moments) == 1:
        return moments[0]
    second = np.mean([one.second for one in moments], axis=0)
    return RowMoments(second, np.mean([one.mean for one in moments], axis=0), sum(one.rows for one in moments))
