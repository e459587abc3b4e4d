"""Outputs that are vectors of samples: of pairs to compare, of queries and documents."""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Array, Floats
from compressctl.data.source import Batch
from compressctl.measure.metric import OutputMetric, Outputs


class VectorMetric(OutputMetric):
    """A metric on vectors [N, D], compared by dot products; of unit length, these are cosines.

    Of an output of tokens [N, L, D] it takes the mean over the tokens, at unit length, as most models of
    sentence-transformers do (Reimers and Gurevych 2019); where an output [N, D] is there too, only if it is named.
    """

    def _judge(self, outputs: Outputs, batch: Batch) -> Array:
        if self.output is None and any(is_vectors(array, 2) for array in outputs.values()):
            outputs = {name: array for name, array in outputs.items() if not is_vectors(array, 3)}
        return super()._judge(outputs, batch)


def is_vectors(output: Array, rank: int) -> bool:
    """Return whether an output is vectors of samples (rank 2) or of their tokens (3)."""
    return output.ndim == rank and output.dtype.kind == "f" and output.shape[-1] > 1


def vectors(output: Array, batch: Batch) -> Floats:
    """Return the vectors of samples [N, D] of a batch.

    Args:
        output: [N, D], or [N, L, D] of tokens.
        batch: the samples; the input whose name has "mask" in it says which tokens are no padding.
    """
    if output.ndim == 2:
        return output.astype(np.float64)
    masks = (array for name, array in batch.feeds.items() if "mask" in name.lower())
    mask = next((array[: len(output)] for array in masks if array.shape[1:] == output.shape[1:2]), None)
    weights = np.ones(output.shape[:2]) if mask is None else mask.astype(np.float64)
    mean = np.einsum("nld,nl->nd", output.astype(np.float64), weights)
    return np.asarray(mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12))
