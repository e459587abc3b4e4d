"""Samples of a model with states: at each step it is fed what it computed at the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from compressctl.arrays import Array
from compressctl.data.source import Batch, Feeds, Source, as_rows

Run = Callable[[Feeds, Sequence[str]], dict[str, Array]]
"""Runs a model on feeds and returns the outputs that are named."""


class CarriedStates(Source):
    """The samples of `source` with the states that the model itself comes to; each step is a sample of its own.

    Sequences are read side by side, as many as a batch has rows, and fed step by step.

    Args:
        source: sequences, without the states.
        run: the model as it came.
    """

    def __init__(self, source: Source, run: Run) -> None:
        super().__init__(source.notation, source.inputs, source.notes)
        self.judgeable, self.steps, self.judged_last = source.judgeable, source.steps, source.judged_last
        self.vocabulary = source.vocabulary
        self.fed, self._states_given = source.fed, True
        self._source, self._run = source, run
        self._states = {spec.name: spec for spec in source.inputs if spec.state is not None}

    def __len__(self) -> int:
        return len(self._source)

    @property
    def has_labels(self) -> bool:
        """Say whether steps or sequences have labels."""
        return self._source.has_labels

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield all samples, as `Source.batches` does: the first steps of some sequences, their second steps, ….

        The labels of sequences come with their last steps.
        """
        size = self.fixed_batch or max(1, batch_size)
        outputs = [spec.state or "" for spec in self._states.values()]
        for together, labels in self._source.checked(size * self.steps):
            rows = {name: array.reshape(-1, self.steps, *array.shape[1:]) for name, array in together.items()}
            told = None if labels is None else labels.reshape(-1, self.steps, *labels.shape[1:])
            states: Feeds = {}
            for step in range(self.steps):
                now = {name: array[:, step] for name, array in rows.items()} | states
                feeds, count = self._source.to_feeds(now), len(next(iter(now.values())))
                judged = step == self.steps - 1 or not self.judged_last
                labels_now = told[:, step] if told is not None and judged else None
                yield Batch(
                    *(feeds, labels_now, count, False, self.fixed_batch, judged, step > 0), vocabulary=self.vocabulary
                )
                if step + 1 < self.steps:
                    computed = self._run(feeds, outputs)
                    states = {
                        name: as_rows(spec, computed[output])[:count]
                        for (name, spec), output in zip(self._states.items(), outputs, strict=True)
                    }

    def _read(self, size: int) -> Iterator[tuple[Feeds, Array | None]]:
        for batch in self.batches(size):
            yield self.to_rows(batch), batch.labels
