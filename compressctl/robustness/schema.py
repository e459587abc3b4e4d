"""What a report says of robustness; JSON-able."""

from __future__ import annotations

from dataclasses import dataclass

from compressctl.measure.accuracy import Comparison
from compressctl.measure.interval import Interval
from compressctl.notes import Note


@dataclass(frozen=True)
class Condition:
    """The metric of both models on the same samples, changed in one way.

    Attributes:
        name: clean, noise, blur, brightness, contrast, fgsm, or fgsm-result (the changes were made against the result).
        strength: of the change, in the unit that `text` says; 0 where nothing is changed.
        text: what was changed, in a few words.
        baseline, result: the metric with its 95 % interval.
        drop: from baseline to result, in pairs.
    """

    name: str
    strength: float
    text: str
    baseline: Interval
    result: Interval
    drop: Comparison


@dataclass(frozen=True)
class Robustness:
    """A metric under changed inputs.

    Attributes:
        metric: as the user wrote it.
        samples: how many were judged, the first ones of the data.
        conditions: clean first.
        notes: what was left out, and why.
    """

    metric: str
    samples: int
    conditions: tuple[Condition, ...]
    notes: tuple[Note, ...]
