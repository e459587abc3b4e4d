"""What the passes that cut judge weights on: samples, and a loss on their labels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import onnx_ir as ir

from compressctl.data.source import Source
from compressctl.distributed import this_process
from compressctl.errors import UsageError
from compressctl.passes.base import Context
from compressctl.passes.training import require_torch
from compressctl.pruning.scores import Evidence

if TYPE_CHECKING:
    from compressctl.torchexec.gradients import Loss


def evidence(model: ir.Model, context: Context, importance: str) -> Evidence:
    """Return what an importance is measured on: activation by running samples, taylor and hessian by gradients.

    Raises:
        UsageError: there are no samples, or no such device.
        MissingExtraError: gradients without torch.
    """
    what = f"importance {importance}"
    loss, source, resources = None, context.calibration or context.training, context
    if importance != "activation":
        source, loss = gradient_samples(model, context, what)
        resources = replace(context, device=_device(context))
    if source is None:
        raise _no_samples(what)
    return Evidence(source, resources, loss)


def gradient_samples(model: ir.Model, context: Context, what: str) -> tuple[Source, Loss | None]:
    """Return samples, and the loss on their labels; None where they have no label each.

    Samples with labels go before samples without: those to train on, then those to calibrate on.

    Raises:
        UsageError: there are no samples.
        MissingExtraError: torch is not installed.
    """
    require_torch(what)
    from compressctl.training.label_loss import label_loss

    sources = [source for source in (context.training, context.calibration) if source is not None]
    if not sources:
        raise _no_samples(what)
    for source in sources:
        if source.labels_rows:
            return source, label_loss(model, source, context, context.metric)
    return sources[0], None


def _device(context: Context) -> str:
    """Return torch's name of the device that the user wants."""
    from compressctl.training.distributed import torch_device

    return torch_device(context.device, this_process())


def _no_samples(what: str) -> UsageError:
    return UsageError(f"{what} needs samples", "add --calibrate DATA")
