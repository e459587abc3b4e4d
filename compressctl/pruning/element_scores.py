"""How much each single weight matters, by the importance that the user chose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.layers.weights import Weight, input_squares
from compressctl.numerics.sparsity import layer_adaptive
from compressctl.pruning.scores import Evidence

Importance = Literal["magnitude", "activation", "taylor", "hessian", "random"]


def element_scores(
    model: ir.Model,
    weights: Sequence[Weight],
    importance: Importance,
    *,
    seed: int = 0,
    evidence: Evidence | None = None,
) -> dict[str, Array]:
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

    Raises:
        DataError, ModelError: as `input_squares` and `gradients`.
    """
    if importance == "magnitude":
        return {weight.name: layer_adaptive(weight.array) for weight in weights}
    if importance == "random":
        rngs = (np.random.default_rng((seed, index)) for index in range(len(weights)))
        return {w.name: rng.random(w.array.shape, np.float32) for w, rng in zip(weights, rngs, strict=True)}
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
