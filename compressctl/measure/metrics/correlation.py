"""Metrics of whether answers rise with labels: spearman, pearson."""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Array, Floats, Integers
from compressctl.data.source import Batch
from compressctl.measure.metric import squeeze
from compressctl.measure.metrics.vectors import VectorMetric, is_vectors, vectors
from compressctl.numerics.statistics import pearson, spearman


class Spearman(VectorMetric):
    """Rank correlation with the labels, of one number a sample, or of the dot product of a pair's two vectors."""

    wanted = "an output [N] (of pairs [N, D] or [N, L, D]) against labels [N]"

    @classmethod
    def usual_drop(cls, name: str, samples: int) -> tuple[float, str]:
        """Return a hundredth."""
        return 0.01, "The metric may fall by this much, in its own unit (a correlation)."

    def reset(self) -> None:
        """Forget what was fed."""
        super().reset()
        self._waiting: Array | None = None  # a pair's first vector, while its second comes with the next batch

    def _fits(self, output: Array, labels: Array, batch: Batch) -> bool:
        if batch.pairs:
            return (is_vectors(output, 2) or is_vectors(output, 3)) and squeeze(labels).ndim == 1
        return squeeze(output).shape == squeeze(labels).shape == (batch.count,)

    def _compare(self, output: Array, labels: Array, batch: Batch) -> Array:
        answers = self._dot_products(vectors(output, batch)) if batch.pairs else output.reshape(-1)
        return np.stack([answers.astype(np.float64), labels.reshape(-1).astype(np.float64)], axis=1)

    def _dot_products(self, members: Array) -> Floats:
        if self._waiting is not None:
            members = np.concatenate([self._waiting, members])
        whole = len(members) // 2 * 2
        self._waiting = members[whole:] if whole < len(members) else None
        return np.asarray((members[0:whole:2] * members[1:whole:2]).sum(axis=1))

    def statistic(self, per_sample: Array, indices: Integers) -> Floats:
        """Return the correlation on resamples; `per_sample` is (answer, label)."""
        return spearman(per_sample[:, 0], per_sample[:, 1], indices)


class Pearson(Spearman):
    """Linear correlation with the labels, of the same."""

    def statistic(self, per_sample: Array, indices: Integers) -> Floats:
        """Return the correlation on resamples; `per_sample` is (answer, label)."""
        return pearson(per_sample[:, 0], per_sample[:, 1], indices)
