"""After units were cut, fit the layers that are left to what they gave before: least squares, without labels.

Every layer whose inputs changed, because they were cut or because earlier layers give something else, gets the weight
and bias by which its output, of the units that remain, comes closest to the original's. Layers are fitted in graph
order, each on what the fitted ones before it give.

Source: He et al. 2017 (arXiv:1707.06168), section 3.1.2, where a layer's input comes from the pruned model, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Floats, Integers, Mask
from compressctl.data.source import Source
from compressctl.layers.layerwise import Fit, Pair, fit_layers
from compressctl.layers.linear import LinearLayer, linear_layers
from compressctl.layers.moments import observable
from compressctl.layers.unseen import unseen
from compressctl.model.graph import is_only_use
from compressctl.notes import Note, done, skipped
from compressctl.numerics.obs import refit
from compressctl.pruning.selection import Removed
from compressctl.resources import Resources
from compressctl.structure.groups import Group

_SAME = 1e-6  # share of the outputs' energy below which an error is rounding


def reconstruct(
    original: ir.Model,
    cut: ir.Model,
    groups: Sequence[Group],
    removed: Removed,
    source: Source,
    resources: Resources,
) -> tuple[dict[str, float], tuple[Note, ...]]:
    """Fit the layers of `cut` in place.

    A layer whose weight other nodes use too, and a ConvTranspose that lost outputs, keep what they have.

    Args:
        original: left as it is.
        cut: `original` without some units.
        groups, removed: which ones, as `structure.cut.cut` takes them.
        source: the samples; labels are not needed.
        resources: as `fit_layers`.

    Returns:
        by name, the squared error of the outputs of each layer over their energy; and notes.

    Raises:
        ModelError, DataError: as `fit_layers`.
    """
    gone = _gone(groups, removed)
    olds = {layer.name: layer for layer in linear_layers(original.graph)}
    pairs, wide = [], []
    for new in linear_layers(cut.graph):
        if not observable(new):
            wide.append(skipped(f"not fitted: it reads {new.shape[2]} inputs, too many to solve for", new.name))
            continue
        outputs = _outputs(olds[new.name], gone) if new.name in olds else None
        fits = outputs is not None and len(outputs) == new.shape[0] * new.shape[1]
        if outputs is not None and fits and is_only_use(new.weight, new.node):
            pairs.append(Pair(olds[new.name], new, outputs))
    errors = fit_layers(original, cut, pairs, source, _solve, resources)
    told = (*wide, *(unseen(pair.new.name, "not fitted") for pair in pairs if pair.new.name not in errors))
    worst = max(errors, key=lambda name: errors[name], default=None)
    if worst is None:
        return errors, told
    text = (
        f"{len(errors)} layers were fitted to the original's outputs; the largest error is {errors[worst]:.2g} of them"
    )
    return errors, (done(text, worst), *told)


def _solve(layer: LinearLayer, group: int, fit: Fit) -> Floats:
    if fit.error(fit.weight) <= _SAME * fit.energy:
        return fit.weight
    return refit(fit.target, fit.moments, fit.weight)


def _gone(groups: Sequence[Group], removed: Removed) -> dict[tuple[str, int], Mask]:
    """Return which positions go, by weight and axis."""
    gone: dict[tuple[str, int], Mask] = {}
    for group in groups:
        for weight in group.weights if group.name in removed else ():
            key = weight.name, weight.axis
            mask = np.isin(weight.units, removed[group.name])
            gone[key] = gone[key] | mask if key in gone else mask
    return gone


def _outputs(layer: LinearLayer, gone: dict[tuple[str, int], Mask]) -> Integers | None:
    """Return the rows of a layer's matrix that stay; None where they are not known."""
    if layer.node.op_type == "ConvTranspose":
        groups, outputs, _ = layer.shape
        cut = any((layer.weight.name, axis) in gone for axis in (0, 1))
        return None if cut else np.arange(groups * outputs)
    if layer.node.op_type == "Conv":
        axis = 0
    elif layer.node.op_type == "Gemm":
        axis = 0 if layer.node.attributes.get_int("transB", 0) else 1
    else:
        axis = layer.weight_index
    mask = gone.get((layer.weight.name or "", axis))
    return np.arange(layer.weight_shape[axis]) if mask is None else np.flatnonzero(~mask)
