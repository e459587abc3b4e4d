"""Give the layers of a changed model new weights, stage after stage, so that each comes close to its old output.

A layer reads what the changed model gives it, the layers before it being done, and aims at what it gave in the
original: so it also makes up for the errors that reach it. Needs samples, but no labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Floats, Integers
from compressctl.data.source import Source
from compressctl.errors import DataError
from compressctl.layers.bias import find_bias
from compressctl.layers.linear import LinearLayer, linear_layers
from compressctl.layers.moments import fitting_batch, spread
from compressctl.layers.rows import Rows, input_rows, rows_key
from compressctl.layers.unpadded import feeds, padding_mask
from compressctl.layers.unseen import picked
from compressctl.layers.walk import Walk
from compressctl.model.graph import set_constant
from compressctl.resources import Resources

_ROWS = 2**15  # of a layer, over all samples
_CHUNK = 2**23  # elements of rows copied out at once
_NOISE = 1e-6  # of the mean square: sums in float32 tell no variance below it


@dataclass(frozen=True, eq=False)
class Pair:
    """A layer of the original and what became of it.

    Attributes:
        old, new: the layer in the original and in the changed model.
        outputs: which rows of the old matrix (all groups in one) the new one has.
        bias: whether the bias, where there is one, is fitted as well.
    """

    old: LinearLayer
    new: LinearLayer
    outputs: Integers
    bias: bool = True


@dataclass(frozen=True, eq=False)
class Fit:
    """What one group of a layer reads in the changed model and what it gave in the original, as means over rows.

    Where the bias is fitted, too, these are moments of the deviations from the mean: the bias does the rest.

    Attributes:
        moments: Z^T Z, [inputs, inputs].
        target: Y^T Z, [outputs, inputs].
        energy: of the outputs, y² summed over them.
        weight: as it is in the changed model, [outputs, inputs].
    """

    moments: Floats
    target: Floats
    energy: float
    weight: Floats

    def error(self, weight: Floats) -> float:
        """Return the squared error of the outputs with this weight, in the unit of `energy`."""
        cross, square = float((weight * self.target).sum()), float(((weight @ self.moments) * weight).sum())
        return max(self.energy - 2 * cross + square, 0.0)


Solve = Callable[[LinearLayer, int, Fit], Floats]
"""Returns the new weight [outputs, inputs] of a group, by its number, of a layer of the changed model."""


def fit_layers(
    original: ir.Model,
    changed: ir.Model,
    pairs: Sequence[Pair],
    source: Source,
    solve: Solve,
    resources: Resources,
) -> dict[str, float]:
    """Give the layers of `changed` new weights, and new biases where they have some, in place.

    At most 32,768 of a layer's rows are used, spread evenly over all samples, without the padding of sequences. For a
    layer that reads no row, or zeros alone, `solve` gets moments and targets of zero. A layer whose rows are picked by
    what layers before it give aims at what its old weight makes of its new rows, as the old rows may be other ones;
    where it lost inputs, too, it counts as one that reads no row.

    Args:
        original: left as it is.
        changed: fed with the same samples.
        pairs: the layers; none may share its weight.
        source: the samples.
        solve: decides the weights.
        resources: threads, progress (one tick a group of layers), and a work folder that holds the activations of all
            samples at a few places of both graphs.

    Returns:
        by name of the layer, the squared error of its outputs over their energy (their variance, with a bias); without
        the layers that samples tell nothing of (`layers.unseen`).

    Raises:
        ModelError: onnxruntime cannot run a model.
        DataError: a layer reads NaN or infinity; the disk is too small; no samples.
    """
    if not len(source):
        raise DataError(f"{source.notation}: no samples to reconstruct layers on")
    errors = {}
    by_name = {pair.new.name: pair for pair in pairs}
    moving = picked(original.graph)
    with TemporaryDirectory(prefix="layers-", dir=resources.workdir) as folder:
        theirs, ours = Path(folder, "original"), Path(folder, "changed")
        theirs.mkdir()
        ours.mkdir()
        size, mask = fitting_batch(source), padding_mask(original, source, resources)
        old = Walk(original, [p.old for p in pairs], feeds(source, size, mask), theirs, resources.threads)
        new = Walk(changed, [p.new for p in pairs], feeds(source, size, mask), ours, resources.threads)
        order = [by_name[layer.name] for stage in new.stages for layer in stage]
        for group in resources.progress.track(_readers(order), "reconstruct layers"):
            for pair in group:
                old.reach(pair.old.name)
                new.reach(pair.new.name)
            sums = _Sums(group, new.batches, [pair.old.input in moving for pair in group])
            for batch in range(new.batches):
                sums.add(new.value(group[0].new.name, batch), [old.value(p.old.name, batch) for p in group], batch)
            for index, pair in enumerate(group):
                error = _settle(pair, sums, index, solve)
                if sums.squares.any():
                    errors[pair.new.name] = error
                old.leave(pair.old.name)
                new.leave(pair.new.name)
    return errors


def refit_layers(
    model: ir.Model, layers: Sequence[LinearLayer], source: Source, solve: Solve, resources: Resources
) -> dict[str, float]:
    """Give layers of a model new weights in place, so that each comes close to the output that it has now.

    Args, result and errors are those of `fit_layers`.
    """
    original = model.clone()
    olds = {layer.name: layer for layer in linear_layers(original.graph)}
    pairs = [Pair(olds[layer.name], layer, np.arange(layer.shape[0] * layer.shape[1])) for layer in layers]
    return fit_layers(original, model, pairs, source, solve, resources)


class _Sums:
    """Sums over the rows of layers that read the same; for those that are `moving` the old rows are no guide."""

    def __init__(self, group: Sequence[Pair], batches: int, moving: Sequence[bool]) -> None:
        self._group, self._wanted, self._moving = group, _ROWS / batches, moving
        groups, _, inputs = group[0].new.shape
        self.rows = 0
        self.squares, self.inputs = np.zeros((groups, inputs, inputs)), np.zeros((groups, inputs))
        self._matrices = [pair.old.matrix() for pair in group]
        shapes = [pair.new.shape for pair in group]
        self.targets = [np.zeros(shape) for shape in shapes]
        self.outputs = [np.zeros((groups, outputs)) for _, outputs, _ in shapes]
        self.energies = [np.zeros((groups, outputs)) for _, outputs, _ in shapes]

    def add(self, new: Array, old: Sequence[Array], batch: int) -> None:
        rows = input_rows(self._group[0].new, new)
        before = [input_rows(pair.old, array) for pair, array in zip(self._group, old, strict=True)]
        for index, pair in enumerate(self._group):
            if self._moving[index] or len(before[index]) != len(rows):
                if pair.old.shape[2] != pair.new.shape[2]:
                    return  # neither model has rows of the other
                before[index] = rows
        numbers = spread(len(rows), self._wanted, batch)
        widest = max(layer.groups * layer.shape[2] for pair in self._group for layer in (pair.old, pair.new))
        chunk = max(1, _CHUNK // widest)
        for start in range(0, len(numbers), chunk):
            with np.errstate(over="ignore", invalid="ignore"):  # said in one line at the end
                self._add(rows, before, numbers[start : start + chunk])
        self.rows += len(numbers)

    def _add(self, rows: Rows, before: Sequence[Rows], numbers: Integers) -> None:
        z = rows.take(numbers)
        self.squares += z.swapaxes(1, 2) @ z
        self.inputs += z.sum(axis=1, dtype=np.float64)
        for index, pair in enumerate(self._group):
            y = before[index].take(numbers) @ self._matrices[index].swapaxes(1, 2)
            kept = y.swapaxes(0, 1).reshape(len(numbers), -1)[:, pair.outputs]
            y = kept.reshape(len(numbers), len(z), -1).swapaxes(0, 1)
            self.targets[index] += y.swapaxes(1, 2) @ z
            self.outputs[index] += y.sum(axis=1, dtype=np.float64)
            self.energies[index] += np.square(y, dtype=np.float64).sum(axis=1)


def _settle(pair: Pair, sums: _Sums, index: int, solve: Solve) -> float:
    """Let `solve` decide the weight of a layer, put it and the bias that fits into the graph; return the error."""
    if not (np.isfinite(sums.squares).all() and np.isfinite(sums.targets[index]).all()):
        raise DataError(f"the layer {pair.new.name!r} reads NaN, infinity or values near it on a sample")
    old, new = find_bias(pair.old), find_bias(pair.new)
    centred = pair.bias and old is not None and new is not None
    rows = max(sums.rows, 1)  # without rows all sums are zero
    reads, gives = sums.inputs / rows, sums.outputs[index] / rows
    if not centred:
        reads, gives = np.zeros_like(reads), np.zeros_like(gives)
    weights, errors, energy = [], 0.0, 0.0
    for group, weight in enumerate(pair.new.matrix().astype(np.float64)):
        squares, powers = sums.squares[group] / rows, sums.energies[index][group] / rows
        moments = squares - np.outer(reads[group], reads[group])
        target = sums.targets[index][group] / rows - np.outer(gives[group], reads[group])
        fixed = np.diag(moments) <= _NOISE * np.diag(squares)  # what always reads the same is up to the bias
        moments[fixed], moments[:, fixed], target[:, fixed] = 0, 0, 0
        variances = powers - gives[group] ** 2
        spread = float(variances[variances > _NOISE * powers].sum())
        fit = Fit(moments=moments, target=target, energy=spread, weight=weight)
        weights.append(solve(pair.new, group, fit))
        errors, energy = errors + fit.error(weights[-1]), energy + fit.energy
    if np.array_equal(weights, pair.new.matrix()):
        return errors / energy if energy > 0 else 0.0
    set_constant(pair.new.weight, pair.new.restore(np.stack(weights)))
    if centred and old is not None and new is not None:
        shift = gives - np.einsum("goi,gi->go", np.stack(weights), reads)
        new.replace(old.array[pair.outputs] + shift.reshape(-1))
    return errors / energy if energy > 0 else 0.0


def _readers(pairs: Iterable[Pair]) -> list[list[Pair]]:
    """Put those together that follow each other and read the same rows."""
    return [list(group) for _, group in groupby(pairs, lambda pair: rows_key(pair.new))]
