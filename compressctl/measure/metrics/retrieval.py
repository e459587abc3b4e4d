"""Metrics of retrieval: recall@k, ndcg@k."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np

from compressctl.arrays import Array, Floats, Integers
from compressctl.data.relevance import Relevance
from compressctl.data.source import Batch
from compressctl.errors import DataError
from compressctl.measure.metrics.vectors import VectorMetric, is_vectors, vectors

_SCORES = 1 << 24  # of queries by documents, that are held at a time
_SURE = 1000  # queries from which a point is more than chance


class RetrievalMetric(VectorMetric):
    """The mean over queries of how well the k documents rank whose vectors have the highest dot products with theirs.

    What is kept of samples is their vectors, [N, D] float32, until all are seen. Of equal documents, those that come
    first in their table rank first. Queries without a relevant document do not count, as in trec_eval.
    """

    unit = "%"
    wanted = "an output of vectors [N, D] or [N, L, D] of queries and documents"
    retrieves = True

    def __init__(self, name: str, output: str | None) -> None:
        super().__init__(name, output)
        self.k = int(name.partition(":")[0].partition("@")[2])

    @classmethod
    def usual_drop(cls, name: str, samples: int) -> tuple[float, str]:
        """Return what is more than chance."""
        drop = 0.01 if samples >= _SURE else 0.02
        return drop, f"{100 * drop:g} points of {name} at most."

    def reset(self) -> None:
        """Forget what was fed."""
        super().reset()
        self._numbers: list[Array] = []
        self._relevance: Relevance | None = None

    def _fits(self, output: Array, labels: Array, batch: Batch) -> bool:
        return is_vectors(output, 2) or is_vectors(output, 3)

    def _compare(self, output: Array, labels: Array, batch: Batch) -> Array:
        self._numbers.append(labels)
        self._relevance = batch.relevance
        return vectors(output, batch).astype(np.float32)

    def _finish(self, per_sample: Array) -> Array:
        """Return the score of each query, [queries], in their order."""
        numbers, relevance = np.concatenate(self._numbers), self._relevance
        order = np.argsort(numbers, kind="stable")
        numbers, members = numbers[order], per_sample[order]
        first = int(np.searchsorted(numbers, relevance.queries)) if relevance is not None else 0
        scores = []
        for query, found in _nearest(members[:first], members[first:], self.k):
            grades = relevance.grades.get(int(numbers[query]), {}) if relevance is not None else {}
            seen = [grade for number, grade in grades.items() if _is_in(numbers, number)]
            if seen:
                got = [grades.get(int(number), 0.0) for number in numbers[first:][found]]
                scores.append(self._score(np.array(got), np.sort(seen)[::-1]))
        if not scores:
            raise DataError(f"{self.name}: no query has a relevant document among the samples", "take more of them")
        return np.array(scores)

    @abstractmethod
    def _score(self, found: Floats, relevant: Floats) -> float:
        """Return the score of a query.

        Args:
            found: the grades of the first k documents, the nearest first, 0 of those that are not relevant.
            relevant: the grades of all relevant documents, falling.
        """


class Recall(RetrievalMetric):
    """The share of the relevant documents that are among the first k."""

    def _score(self, found: Floats, relevant: Floats) -> float:
        return float((found > 0).sum() / len(relevant))


class Ndcg(RetrievalMetric):
    """Normalized discounted cumulative gain: the sum of grade / log2(rank + 1) of the first k, over the most possible.

    Jarvelin and Kekalainen 2002, with linear gains as trec_eval and BEIR have them.
    """

    def _score(self, found: Floats, relevant: Floats) -> float:
        return _gain(found) / _gain(relevant[: self.k])


def _gain(grades: Floats) -> float:
    return float((grades / np.log2(np.arange(len(grades)) + 2)).sum())


def _is_in(numbers: Array, number: int) -> bool:
    place = int(np.searchsorted(numbers, number))
    return place < len(numbers) and int(numbers[place]) == number


def _nearest(queries: Array, documents: Array, k: int) -> Iterator[tuple[int, Integers]]:
    """Yield each query's row and the rows of its k documents, the nearest first. NaN is farthest."""
    if not len(documents):
        return
    some, last = max(1, _SCORES // len(documents)), min(k, len(documents)) - 1
    for start in range(0, len(queries), some):
        distances = -(queries[start : start + some] @ documents.T)
        distances[np.isnan(distances)] = np.inf
        for query, row in enumerate(distances, start):
            near = np.flatnonzero(row <= np.partition(row, last)[last])
            yield query, near[np.argsort(row[near], kind="stable")][:k]
