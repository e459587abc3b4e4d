"""Zero weights of a model by optimal brain surgery: layer after layer, the weights that remain make up for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Floats, Mask
from compressctl.data.source import Source
from compressctl.layers.layerwise import Fit, refit_layers
from compressctl.layers.linear import LinearLayer
from compressctl.layers.weights import channels_last
from compressctl.numerics.obs import BLOCK, Choose, damped, refit, settle, surgery
from compressctl.numerics.sparsity import n_of_m, smallest
from compressctl.resources import Resources

_DAMPING = 0.01


@dataclass(frozen=True)
class Fixed:
    """These elements of a matrix become zero: [groups, outputs, inputs]."""

    mask: Mask


@dataclass(frozen=True)
class Share:
    """This share of the elements of each group becomes zero: those that cost the output least."""

    ratios: Sequence[float]


@dataclass(frozen=True)
class Pattern:
    """Of every m channels side by side n stay, those that cost the output most."""

    n: int
    m: int


Rule = Fixed | Share | Pattern


def operate(
    model: ir.Model, rules: Sequence[tuple[LinearLayer, Rule]], source: Source, resources: Resources
) -> dict[str, float]:
    """Zero elements of layers in place, and move the others, and biases, so that each layer keeps its output.

    Elements that are zero stay so, and count.

    Args:
        model: the model.
        rules: layers of its main graph, none of which may share its weight, with what becomes zero.
        source: the samples; labels are not needed.
        resources: as `fit_layers`.

    Returns:
        the error of each layer's output, by its name: see `fit_layers`.

    Raises:
        ModelError, DataError: as `fit_layers`.
    """
    by_name = {layer.name: rule for layer, rule in rules}

    def solve(layer: LinearLayer, group: int, fit: Fit) -> Floats:
        rule = by_name[layer.name]
        order = channels_last(layer) if isinstance(rule, Pattern) else np.arange(layer.shape[2])
        zeros = (fit.weight == 0)[:, order]
        moments = damped(fit.moments, _DAMPING)[np.ix_(order, order)]
        optimum = refit(fit.target, fit.moments, fit.weight, damping=_DAMPING)[:, order]
        block = rule.m if isinstance(rule, Pattern) else BLOCK
        operated = surgery(optimum, moments, _chooser(rule, group, zeros), block=block)
        result = np.empty_like(operated)
        result[:, order] = settle(operated, optimum, moments)
        return result

    return refit_layers(model, [layer for layer, _ in rules], source, solve, resources)


def _chooser(rule: Rule, group: int, zeros: Mask) -> Choose:
    """Return the function that chooses the zeros of a group; `zeros` are there already."""

    def choose(scores: Floats, columns: slice) -> Mask:
        old = zeros[:, columns]
        if isinstance(rule, Fixed):
            fixed: Mask = rule.mask[group][:, columns] | old
            return fixed
        scores = np.where(old, -1, scores)
        if isinstance(rule, Pattern):
            return n_of_m(scores, rule.n, rule.m) | old
        before, after = (round(rule.ratios[group] * len(zeros) * end) for end in (columns.start, columns.stop))
        return smallest(scores, after - before) | old

    return choose
