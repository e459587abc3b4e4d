"""A model run step by step, each step fed the states that the step before gave."""

from __future__ import annotations

from collections.abc import Sequence

from compressctl.arrays import Array
from compressctl.data.source import Batch
from compressctl.measure.session import Session
from compressctl.tensorspec import TensorSpec


class Steps:
    """Runs a model on batches in their order; its errors add up over the steps of a sequence, as they do in use.

    Args:
        session: the model.
        inputs: its inputs, with their roles.
    """

    def __init__(self, session: Session, inputs: Sequence[TensorSpec]) -> None:
        self._session = session
        self._states = {spec.name: spec.state for spec in inputs if spec.state is not None}
        self._last: dict[str, Array] = {}

    def run(self, batch: Batch, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run the model on a batch; see `Session.run`."""
        if not self._states:
            return self._session.run(batch.feeds, outputs)
        feeds = {**batch.feeds, **self._last} if batch.follows else batch.feeds
        wanted = [spec.name for spec in self._session.outputs] if outputs is None else list(outputs)
        values = self._session.run(feeds, list(dict.fromkeys([*wanted, *self._states.values()])))
        self._last = {name: values[output] for name, output in self._states.items()}
        return {name: values[name] for name in wanted}
