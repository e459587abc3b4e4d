"""How good the weights are on the held-out samples: by the metric where there are labels, else by the loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from compressctl.arrays import Array, Integers
from compressctl.data.source import Batch
from compressctl.distributed import Process
from compressctl.measure.metric import Metric
from compressctl.torchexec.module import GraphModule
from compressctl.torchexec.tensors import to_numpy
from compressctl.training.distributed import gather
from compressctl.training.objective import Objective
from compressctl.training.samples import TrainingSamples
from compressctl.training.teacher import Teachers

K = TypeVar("K")

_INTERVAL = 3.92  # standard errors that a 95 % interval is wide


class Judgement(NamedTuple):
    """How good some weights are.

    Attributes:
        score: the metric; the loss where no metric decides.
        loss: the mean loss.
        error: the standard error of the score; 0 where the loss decides.
    """

    score: float
    loss: float
    error: float


class HeldOut:
    """The held-out samples as a judge.

    Args:
        samples, teachers, objective: those of the training.
        metric: what decides; without it, or without labels, the loss does.
        size: rows of a batch.
        place: this process; all of them evaluate a part each, and all get the same score.
        device: where to compute.
    """

    def __init__(
        self,
        samples: TrainingSamples,
        teachers: Teachers,
        objective: Objective,
        metric: Metric | None,
        size: int,
        place: Process,
        device: str,
    ) -> None:
        self._samples, self._teachers, self._objective = samples, teachers, objective
        self._metric = metric if samples.label_shape is not None else None
        self._size, self._place, self._device = size, place, device

    def evaluate(self) -> Judgement:
        """Judge the weights as they are."""
        metric = None if self._metric is None else self._metric.fresh()
        total, count = 0.0, 0
        for batch, (outputs, loss) in self._answers():
            if metric is not None:
                metric.update(outputs, batch)
            total, count = total + loss * batch.count, count + batch.count
        loss = total / count
        if metric is None:
            return Judgement(loss, loss, 0.0)
        score = metric.result()
        return Judgement(score.value, loss, (score.high - score.low) / _INTERVAL)

    def better(self, new: Judgement, kept: tuple[float, float], before: Sequence[float]) -> bool:
        """Say whether weights are better than those that are kept.

        On few samples the highest score is luck. Scores within one standard error of it are taken for equal, and of
        those the smallest loss is best (Breiman et al. 1984, section 3.4.3). A score below that of the weights that
        came in is never good enough, and neither is NaN.

        Args:
            new: of the weights in question.
            kept: score and loss of those that are kept.
            before: all scores so far, that of the weights that came in first.
        """
        worth = [self._worth(score) for score in (*before, new.score)]
        enough = max(worth[0], max(worth) - (new.error if math.isfinite(new.error) else 0.0))
        if worth[-1] < enough or worth[-1] == -math.inf:
            return False
        return self._worth(kept[0]) < enough or new.loss < kept[1]

    def shown(self, score: float) -> str:
        """Return a score in words."""
        if self._metric is None:
            return f"held-out loss {score:.4g}"
        if self._metric.unit == "%":
            return f"held-out {self._metric.name} {score * 100:.2f} %"
        return f"held-out {self._metric.name} {score:.4g} {self._metric.unit}".rstrip()

    def _worth(self, score: float) -> float:
        good = score if self._metric is not None and self._metric.higher_is_better else -score
        return -math.inf if math.isnan(score) else good

    def _answers(self) -> Iterator[tuple[Batch, tuple[dict[str, Array], float]]]:
        """Yield the batches in order, each with the outputs and the loss that some process computed for it."""
        self._objective.eval()
        batches = self._samples.held_batches(self._size)
        while together := list(islice(batches, self._place.size)):
            mine = together[self._place.rank] if self._place.rank < len(together) else None
            answers = gather(self._place, None if mine is None else self._answer(*mine))
            yield from zip((batch for _, batch in together), answers, strict=False)

    @torch.no_grad()
    def _answer(self, rows: Integers, batch: Batch) -> tuple[dict[str, Array], float]:
        targets = self._teachers.targets(rows, batch.feeds)
        feeds = to_tensors(batch.feeds, self._device)
        values = self._objective.student(feeds)
        labels = batch.labels if self._samples.labelled else None
        loss = self._objective.loss(
            batch.counted(values),
            batch.counted(feeds),
            batch.counted(to_tensors(targets, self._device)),
            None if labels is None else torch.from_numpy(labels).to(self._device),
        )
        return {} if self._metric is None else model_outputs(self._objective.student, values), float(loss)


def to_tensors(arrays: Mapping[K, Array], device: str) -> dict[K, Tensor]:
    """Return arrays as tensors on a device; on the CPU they share their memory."""
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def model_outputs(module: GraphModule, values: Mapping[str, Tensor]) -> dict[str, Array]:
    """Return the graph's outputs among the values that the module gave, as arrays for a metric."""
    return {value.name or "": to_numpy(values[value.name or ""]) for value in module.model.graph.outputs}
