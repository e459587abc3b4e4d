"""How much each single weight matters, by the importance that the user chose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.layers.weights import Weight, input_squares
from compressctl.model.tensor_file import LEAST
from compressctl.numerics.sparsity import layer_adaptive
from compressctl.pruning.scores import Evidence

Importance = Literal["magnitude", "activation", "taylor", "hessian", "random"]


class Kept(Mapping[str, Array]):
    """Arrays by name, the large ones on disk, from which they are read each time; `folder` None: all in memory."""

    def __init__(self, arrays: Iterable[tuple[str, Array]], folder: Path | None) -> None:
        self._held: dict[str, Array | Path] = {}
        number = count()
        for name, array in arrays:
            self._held[name] = array
            if folder is not None and array.nbytes >= LEAST:
                path = next(p for i in number if not (p := folder / f"scores-{i}.npy").exists())
                np.save(path, array)
                self._held[name] = path

    def __getitem__(self, name: str) -> Array:
        held = self._held[name]
        if not isinstance(held, Path):
            return held
        array: Array = np.load(held)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


def element_scores(
    model: ir.Model,
    weights: Sequence[Weight],
    importance: Importance,
    *,
    seed: int = 0,
    evidence: Evidence | None = None,
    workdir: Path | None = None,
) -> Mapping[str, Array]:
    """Return a score for each element of each weight, of its shape, by its name; what matters less is smaller.

    - magnitude: ranks as |w| within a weight, by its share in the energy of what is left between weights (LAMP).
    - activation: |w| times the root mean square of the input that it multiplies (Wanda, Sun et al. 2024,
      arXiv:2306.11695).
    - taylor: mean over samples of |g w|, with the gradient g of the loss (Molchanov et al. 2019, arXiv:1906.10771).
    - hessian: mean over samples of g² w² / 2 (LeCun et al. 1990, "Optimal Brain Damage").
    - random: drawn evenly from 0 to 1.

    A weight that the samples do not reach, and for activation a recurrent one, has no entry.

    Args:
        model: the model that the weights are of; left as it is.
        weights: with different names.
        importance: see above.
        seed: of random scores.
        evidence: the samples, for activation, taylor and hessian.
        workdir: where large scores by magnitude, or random ones, are kept; None: in memory.

    Raises:
        DataError, ModelError: as `input_squares` and `gradients`.
    """
    if importance == "magnitude":
        return Kept(((weight.name, layer_adaptive(weight.array)) for weight in weights), workdir)
    if importance == "random":
        rngs = (np.random.default_rng((seed, index)) for index in range(len(weights)))
        shapes = (weight.tensor.shape.numpy() for weight in weights)
        drawn = (rng.random(shape, np.float32) for shape, rng in zip(shapes, rngs, strict=True))
        return Kept(zip((weight.name for weight in weights), drawn, strict=True), workdir)
    assert evidence is not None, f"{importance} needs samples"
    if importance == "activation":
        return _by_activation(model, weights, evidence)
    from compressctl.torchexec.gradients import gradients

    found = gradients(model, evidence.source, evidence.resources, samples=evidence.samples, loss=evidence.loss)
    reached = [weight for weight in weights if weight.name in found and found[weight.name].second.any()]
    if importance == "taylor":
        return {weight.name: found[weight.name].first for weight in reached}
    return {w.name: found[w.name].second * np.square(w.array, dtype=np.float64) / 2 for w in reached}


def _by_activation(model: ir.Model, weights: Sequence[Weight], evidence: Evidence) -> dict[str, Array]:
    squares = input_squares(model, weights, evidence.source, evidence.resources, samples=evidence.samples)
    scores = {}
    for weight in weights:
        if weight.name in squares:
            matrix = np.abs(weight.layers[0].matrix()) * np.sqrt(squares[weight.name])[:, None, :]
            scores[weight.name] = weight.layers[0].restore(matrix).astype(np.float32)
    return scores
