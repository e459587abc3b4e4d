"""What a training works with, and what it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from torch import Tensor

from compressctl.data.source import Source
from compressctl.measure.metric import Metric
from compressctl.notes import Note
from compressctl.resources import Resources
from compressctl.training.checkpoint_paths import CheckpointPath


@dataclass(frozen=True)
class Job:
    """What a training works with, beside model and options.

    Attributes:
        source: the samples; a share of them is held out.
        resources: to train with; device "auto" is a GPU where there is one.
        metric: what decides on the held-out samples, where they have labels; else the loss does.
        teachers: models to come close to.
        checkpoint: where to keep the state, or None.
        constraint: called with the weights by name after every step, without gradients: may edit them in place.
    """

    source: Source
    resources: Resources
    metric: Metric | None = None
    teachers: tuple[ir.Model, ...] = ()
    checkpoint: CheckpointPath | None = None
    constraint: Callable[[Mapping[str, Tensor]], None] | None = None


@dataclass(frozen=True)
class Training:
    """What a training did.

    Attributes:
        steps: steps made.
        best_step: the steps after which the weights that were kept were reached; 0: those that came in.
        best: their held-out score: the metric's, or the loss.
        initial: that of the weights that came in.
        history: one dict an evaluation: `step`, `loss` (mean of training since the last one, None at first),
            `held_out` (the score).
        notes: what the user should know.
    """

    steps: int
    best_step: int
    best: float | None
    initial: float | None
    history: tuple[dict[str, Any], ...]
    notes: tuple[Note, ...]
