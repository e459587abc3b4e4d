"""What a starter recipe needs to know of samples: how many, with labels or without, and which metric judges them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from compressctl.data.decoding import token_ids
from compressctl.data.notation import open_source
from compressctl.data.parse import parse_notation
from compressctl.data.source import Batch
from compressctl.measure.fitting import fitting_metrics
from compressctl.measure.metrics import parse_metric
from compressctl.measure.session import Session
from compressctl.model.load import Loaded, described_inputs
from compressctl.model.lookups import lookup_limits
from compressctl.tensorspec import TensorSpec

_CALIBRATION = 256  # samples are enough for ranges and for rounding
_ROWS = 8  # that are looked at


@dataclass(frozen=True)
class DataFacts:
    """Samples as a recipe sees them.

    Attributes:
        notation: as it was given.
        count: samples, or pairs of them.
        labels: whether they have labels.
        judgeable: False for random numbers.
        metrics: that fit outputs and labels, the one to use first; empty where nothing judges these samples.
    """

    notation: str
    count: int
    labels: bool
    judgeable: bool
    metrics: tuple[str, ...] = ()

    @property
    def some(self) -> str:
        """The notation of as many of these samples as calibration needs."""
        parsed = parse_notation(self.notation)
        if not self.judgeable or parsed.slice != slice(None) or self.count <= _CALIBRATION:
            return self.notation
        options = self.notation.strip()[len(parsed.source) :]
        return f"{parsed.source}[:{_CALIBRATION}]{options}"


@dataclass(frozen=True)
class Calibration:
    """Samples to calibrate on.

    Attributes:
        notation: of a few hundred.
        origin: given; judges: some of those that judge the result; stand-in: there are none, random numbers.
    """

    notation: str
    origin: Literal["given", "judges", "stand-in"]


def data_facts(
    notation: str, loaded: Loaded, sized: Mapping[str, TensorSpec], *, allow_python: bool = False
) -> DataFacts:
    """Open samples for a model and look at the first ones.

    Args:
        notation: the samples, see `open_source`.
        loaded: the model.
        sized: sizes of its dynamic inputs by name.
        allow_python: let `python:` data run code.

    Raises:
        DataError, UsageError: the samples cannot be used, or do not fit the model.
    """
    return _look(notation, loaded, sized, allow_python)[0]


def judged_facts(
    notation: str,
    loaded: Loaded,
    sized: Mapping[str, TensorSpec],
    *,
    metric: str | None = None,
    allow_python: bool = False,
) -> DataFacts:
    """Do as `data_facts`, and find the metrics that can judge the model, which runs on a few samples for that.

    Args:
        notation: the samples, see `open_source`.
        loaded: the model.
        sized: sizes of its dynamic inputs by name.
        metric: the one that the user asks for, which comes first; None where it is to be found.
        allow_python: let `python:` data and metrics run code.

    Raises:
        DataError, UsageError: the samples cannot be used, or do not fit the model or the metric.
        ModelError: the model does not run.
    """
    facts, batch = _look(notation, loaded, sized, allow_python)
    if not facts.judgeable or (metric is None and not facts.labels and token_ids(batch.feeds) is None):
        return facts
    outputs = Session(loaded.model).run(batch.feeds)
    if metric is not None:
        parse_metric(metric, allow_python=allow_python).update(outputs, batch)
    found = fitting_metrics(outputs, batch)
    return replace(facts, metrics=tuple(dict.fromkeys([*([metric] if metric else []), *found])))


def _look(
    notation: str, loaded: Loaded, sized: Mapping[str, TensorSpec], allow_python: bool
) -> tuple[DataFacts, Batch]:
    """Return the facts that need no model to run, and the first samples."""
    source = open_source(
        notation,
        described_inputs(loaded, sized, {}),
        allow_python=allow_python,
        limits=lookup_limits(loaded.model),
        beside=loaded.path,
    )
    batch = next(source.batches(_ROWS))  # whatever is wrong with them is said now
    count = len(source) // 2 if source.pairs else len(source)
    return DataFacts(notation, count, source.has_labels, source.judgeable), batch
