"""The metric of language models: perplexity."""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Array, Floats, Integers
from compressctl.data.decoding import token_ids, tokens_read
from compressctl.data.source import Batch
from compressctl.errors import DataError
from compressctl.measure.metric import OutputMetric
from compressctl.numerics.logits import surprise

IGNORED = -100
"""The label of a token that does not count, as torch's cross-entropy and transformers have it."""


class Perplexity(OutputMetric):
    """exp of the mean negative log-likelihood of each token after the first, given those before it; lower is better.

    What is judged is the text that is fed, so that no labels are needed. An attention mask leaves padding out. Labels
    [N, T], where there are any, are tokens as well, or `IGNORED` where none counts: windows that overlap have such
    labels where the window before counted already.
    """

    higher_is_better = False
    wanted = "logits [N, T, V] against the token ids [N, T] that are fed"

    def _labels(self, batch: Batch) -> Array:
        """Return the tokens [N, T], `IGNORED` where they do not count.

        Raises:
            DataError: the model takes no token ids.
        """
        feeds = batch.counted(batch.feeds)
        name = token_ids(feeds)
        if name is None:
            raise DataError(f"{self.name} judges models of token ids [N, T]; this one takes {', '.join(feeds)}")
        ids = feeds[name]
        given = batch.labels
        tokens: Integers = np.array(
            given if given is not None and given.shape == ids.shape and given.dtype.kind in "iu" else ids, np.int64
        )
        read = tokens_read(feeds, name)
        tokens[:, 1:][~(read[:, 1:] & read[:, :-1])] = IGNORED
        return tokens

    def _fits(self, output: Array, labels: Array, batch: Batch) -> bool:
        words = output.shape[2] if output.ndim == 3 and output.dtype.kind not in "iub" else 0
        return words > 1 and output.shape[:2] == labels.shape

    def _compare(self, output: Array, labels: Array, batch: Batch) -> Array:
        found = np.zeros((len(output), 2))
        for row, (logits, tokens) in enumerate(zip(output[:, :-1], labels[:, 1:], strict=True)):
            counted = np.flatnonzero(tokens != IGNORED)
            self._refuse(tokens[counted], logits.shape[1], row)
            whole = len(counted) == len(tokens)
            lost = surprise(logits if whole else logits[counted], tokens[counted])
            found[row] = lost.sum(), len(counted)
        return found

    def _refuse(self, tokens: Integers, words: int, row: int) -> None:
        """Refuse tokens that the model cannot tell.

        Raises:
            DataError: there is one.
        """
        outside = tokens[(tokens < 0) | (tokens >= words)]
        if len(outside):
            where = f"token {outside[0]} of sample {self.seen + row}"
            raise DataError(
                f"{self.name}: {where} is not below {words}, the size of the vocabulary of output {self.output!r}",
                "the tokenizer is another model's",
            )

    def _finish(self, per_sample: Array) -> Array:
        if not per_sample[:, 1].any():
            raise DataError(f"{self.name} has no token to judge", "samples need two tokens or more")
        return per_sample

    def statistic(self, per_sample: Array, indices: Integers) -> Floats:
        """Return the perplexity on resamples; `per_sample` is (sum of negative log-likelihoods, tokens)."""
        lost, tokens = (per_sample[:, column][indices].sum(axis=1) for column in (0, 1))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return np.asarray(np.exp(lost / tokens))
