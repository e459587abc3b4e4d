"""Metrics of texts that a model hears or reads, by jiwer: wer, cer."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from compressctl.arrays import Array, Floats, Integers
from compressctl.data.source import Batch
from compressctl.data.transcripts import decode
from compressctl.data.vocabulary import Vocabulary
from compressctl.errors import DataError, MissingExtraError
from compressctl.measure.metric import OutputMetric, Outputs
from compressctl.numerics.ctc import greedy


class ErrorRate(OutputMetric):
    """Substitutions, deletions and insertions of all samples, by the length of all transcripts; lower is better.

    An output [N, T, V] scores, at each step, the V tokens of the vocabulary (or one more, which is the blank), and is
    decoded greedily as CTC's best path. What is NaN says nothing. Of each sample two numbers are kept: errors, length.

    Raises:
        MissingExtraError: jiwer is not installed.
    """

    higher_is_better = False
    unit = "%"
    transcribes = True
    wanted = "scores [N, T, V] of the tokens of a vocabulary"

    def __init__(self, name: str, output: str | None) -> None:
        super().__init__(name, output)
        try:
            import jiwer  # noqa: F401 - said before a model runs
        except ImportError:
            raise MissingExtraError(f"the metric {name}", "audio") from None

    @classmethod
    def usual_drop(cls, name: str, samples: int) -> tuple[float, str]:
        """Return a point."""
        return 0.01, f"{name} may rise by a point."

    def _judge(self, outputs: Outputs, batch: Batch) -> Array:
        if batch.vocabulary is not None:
            count, file = len(batch.vocabulary.tokens), batch.vocabulary.file
            self.wanted = (
                f"scores [N, T, V] of the {count} tokens of {file} (V is {count}, or {count + 1} with a blank)"
            )
        return super()._judge(outputs, batch)

    def _fits(self, output: Array, labels: Array, batch: Batch) -> bool:
        if batch.vocabulary is None or output.ndim != 3 or output.dtype.kind != "f":
            return False
        return output.shape[1] > 0 and output.shape[2] - len(batch.vocabulary.tokens) in (0, 1)

    def _compare(self, output: Array, labels: Array, batch: Batch) -> Array:
        vocabulary = batch.vocabulary
        if vocabulary is None:
            raise DataError(f"{self.name} needs transcripts")
        heard = [_heard(scores, vocabulary) for scores in output]
        return np.array([self._counted(decode(label), text) for label, text in zip(labels, heard, strict=True)])

    def _counted(self, told: str, heard: str) -> tuple[int, int]:
        found = self._aligned(told, heard)
        missed = found.substitutions + found.deletions
        return missed + found.insertions, missed + found.hits

    @staticmethod
    @abstractmethod
    def _aligned(told: str, heard: str) -> Any:
        """Return jiwer's counts of a transcript and what was heard."""

    def statistic(self, per_sample: Array, indices: Integers) -> Floats:
        """Return errors by length on resamples; `per_sample` is [N, 2]."""
        errors, lengths = np.moveaxis(per_sample.astype(np.float64)[indices].sum(axis=1), -1, 0)
        return np.asarray(errors / lengths)


class WordErrorRate(ErrorRate):
    """Of words."""

    @staticmethod
    def _aligned(told: str, heard: str) -> Any:
        import jiwer

        return jiwer.process_words([told], [heard])


class CharacterErrorRate(ErrorRate):
    """Of characters, spaces among them."""

    @staticmethod
    def _aligned(told: str, heard: str) -> Any:
        import jiwer

        return jiwer.process_characters([told], [heard])


def _heard(scores: Array, vocabulary: Vocabulary) -> str:
    if np.isnan(scores).any():
        return ""
    classes = scores.shape[1]
    return vocabulary.spell(greedy(scores, vocabulary.blank_of(classes)), classes)
