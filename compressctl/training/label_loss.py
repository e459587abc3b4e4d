"""The loss that a model has on labels, for whoever wants its gradients without training."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir
from torch import Tensor

from compressctl.data.source import Source
from compressctl.measure.metric import Metric
from compressctl.resources import Resources
from compressctl.torchexec.gradients import Loss
from compressctl.training import losses
from compressctl.training.binding import bind, watched
from compressctl.training.defaults import default_losses
from compressctl.training.objective import require_classes


def label_loss(model: ir.Model, source: Source, resources: Resources, metric: Metric | None = None) -> Loss:
    """Return the cross-entropy of the output that fits class labels, or the mean squared error with other labels.

    Args:
        model: the model; it is run on a few samples to see its outputs.
        source: samples with a label each.
        resources: threads and work folder of onnxruntime.
        metric: names the output where labels fit several.

    Raises:
        DataError: the labels fit no output.
        UsageError: the labels fit several outputs, and the metric does not say which is meant.
    """
    terms = default_losses(model, source, resources, metric, teacher=False)

    def value(values: Mapping[str, Tensor], labels: Tensor) -> Tensor:
        (found,) = bind(terms, model, (), values, labels)
        output = values[found.student].float()
        if found.axis is None:
            return losses.mse(output, labels)
        require_classes(found.term, labels, output.shape[found.axis])
        return losses.cross_entropy(output, labels, found.axis)

    return Loss(value, tuple(watched(model, terms)))
