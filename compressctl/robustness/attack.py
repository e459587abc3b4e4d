"""Adversarial samples by the gradient of a model's loss, where torch can execute the model."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten

from compressctl.data.source import Batch, Feeds, Source
from compressctl.errors import CompressctlError
from compressctl.measure.metric import Metric
from compressctl.model.load import load_model
from compressctl.notes import Note, skipped
from compressctl.resources import Resources
from compressctl.robustness.changed import Change
from compressctl.robustness.changes import adversarial
from compressctl.robustness.inputs import InputSpread

_LONGEST = 160  # characters of a reason: it may list all nodes of a model


def fgsm(
    path: Path,
    source: Source,
    metric: Metric,
    spreads: dict[str, InputSpread],
    strength: float,
    resources: Resources,
) -> Change | Note:
    """Return the fast gradient sign method against a model, or a note on why it cannot be used.

    Args:
        path: the model.
        source: samples with labels; a batch of them is attacked to see whether that works.
        metric: names the output where labels fit several.
        spreads: of the float inputs, which are changed.
        strength: in standard deviations of each input.
        resources: threads and work folder.
    """
    obstacle = _obstacle(source, spreads)
    if obstacle is not None:
        return skipped(f"no adversarial samples: {obstacle}")
    from compressctl.torchexec.input_gradients import InputGradients
    from compressctl.training.label_loss import label_loss

    def change(batch: Batch, _: int) -> Feeds:
        found = gradients(batch)
        return {
            name: adversarial(batch.feeds[name], spreads[name], gradient, strength) for name, gradient in found.items()
        }

    model = load_model(path).model
    try:
        loss = label_loss(model, source, resources, metric.fresh())
        gradients = InputGradients(model, list(spreads), loss, threads=resources.threads)
        change(next(source.batches(1)), 0)
    except CompressctlError as error:
        return skipped(f"no adversarial samples: {shorten(error.message, _LONGEST, placeholder=' …')}", path.name)
    return change


def _obstacle(source: Source, inputs: dict[str, InputSpread]) -> str | None:
    if not inputs:
        return "the model has no float inputs, and integers cannot be changed by a little"
    if not source.has_labels:
        return "the samples have no labels"
    if source.pairs:
        return "samples that are pairs have no loss of their own"
    if find_spec("torch") is None:
        return "they need torch: pip install 'compressctl[torch]'"
    return None
