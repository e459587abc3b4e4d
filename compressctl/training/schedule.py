"""The learning rate over the steps."""

from __future__ import annotations

import math

from compressctl.training.options import TrainingOptions


def factor(step: int, steps: int, options: TrainingOptions) -> float:
    """Return the learning rate of step number `step` (from 0) of `steps`, as a share of `options.learning_rate`.

    It rises in equal steps to 1 over the warm-up, then falls as the schedule says; the step after the last would be 0.
    Source of the cosine: Loshchilov and Hutter 2017 (arXiv:1608.03983), equation 5, without restarts.
    """
    warm = round(options.warmup * steps)
    if step < warm:
        return (step + 1) / (warm + 1)
    done = (step - warm) / (steps - warm)
    if options.schedule == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    return 1 - done if options.schedule == "linear" else 1.0
