"""The time that a search has, and what candidates will take of it, learned from those that ran."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from compressctl.passes.base import PassConfig
from compressctl.training.options import TrainingOptions

_UNKNOWN = 10.0  # a pass that never ran, over the slowest that did
_TRAINING = 30.0  # a step of training a sample, over an inference of onnxruntime
_FEWEST_STEPS = 20  # that are worth training for


class Clock:
    """Seconds since a search began, until it must end.

    Args:
        limit: seconds.
    """

    def __init__(self, limit: float) -> None:
        self._begun, self.limit = time.monotonic(), limit

    def spent(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self._begun

    def left(self) -> float:
        """Return the seconds until the end."""
        return self.limit - self.spent()


class Costs:
    """What passes take.

    Args:
        known: seconds by `kind`, from earlier trials; of training, seconds a step.
        samples: to train on.
        inference: seconds of onnxruntime a sample.
        overhead: seconds that a trial takes besides its passes.
    """

    def __init__(self, known: Mapping[str, float], samples: int, inference: float, overhead: float = 0.0) -> None:
        self._known, self._samples, self._inference = known, samples, inference
        self._overhead = overhead

    def estimate(self, passes: Sequence[PassConfig]) -> float:
        """Return the seconds that a trial of passes is expected to take, none of them cached."""
        return sum(self._of(config) for config in passes) + self._overhead

    def bounded(self, passes: Sequence[PassConfig], seconds: float) -> list[PassConfig] | None:
        """Return passes with so few steps of training that they fit; None where nothing worth running does."""
        if self.estimate(passes) <= seconds:
            return list(passes)
        training = [config for config in passes if isinstance(config, TrainingOptions)]
        rest = self.estimate([config for config in passes if config not in training])
        needed = sum(self._of(config) for config in training)
        share = (seconds - rest) / needed if needed else 0.0
        fewer = [max(int(steps(config, self._samples) * share), 0) for config in training]
        if not fewer or min(fewer) < _FEWEST_STEPS:
            return None
        left = iter(fewer)
        return [
            config.model_copy(update={"steps": next(left)}) if isinstance(config, TrainingOptions) else config
            for config in passes
        ]

    def _of(self, config: PassConfig) -> float:
        seconds = self._known.get(kind(config))
        if isinstance(config, TrainingOptions):
            step = seconds if seconds is not None else config.train_batch * self._inference * _TRAINING
            return step * steps(config, self._samples)
        if seconds is not None:
            return seconds
        others = [value for name, value in self._known.items() if not name.endswith("/step")]
        return _UNKNOWN * max(others, default=0.0) if kind(config).endswith("adaround") else max(others, default=0.0)


def kind(config: PassConfig) -> str:
    """Return under what name the time of a pass is remembered."""
    if isinstance(config, TrainingOptions):
        return f"{config.type}/step"
    return ":".join([config.type, getattr(config, "rounding", None) or ""])


def steps(config: TrainingOptions, samples: int) -> int:
    """Return how many steps a pass trains for, about."""
    return config.steps or max(1, config.epochs * int(samples * (1 - config.held_out)) // config.train_batch)


def seconds_of(config: PassConfig, seconds: float, samples: int) -> float:
    """Return what to remember of a pass that took so long; the opposite of an estimate."""
    return seconds / steps(config, samples) if isinstance(config, TrainingOptions) else seconds
