"""How the loss of a model depends on what it reads."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
import torch

from compressctl.arrays import Array
from compressctl.data.source import Batch
from compressctl.errors import ModelError
from compressctl.torchexec.determinism import deterministic
from compressctl.torchexec.gradients import Loss
from compressctl.torchexec.module import GraphModule, require_differentiable
from compressctl.torchexec.tensors import from_numpy


class InputGradients:
    """Gradients of a loss towards float inputs. BatchNormalization uses its running statistics.

    Args:
        model: every node named; left as it is. Quantization passes gradients straight through within its range.
        inputs: names of the float inputs to differentiate towards.
        loss: on labels.
        threads: for torch; 0 for its default.

    Raises:
        ModelError: nodes that cannot be executed, or that compute with integers.
    """

    def __init__(self, model: ir.Model, inputs: Sequence[str], loss: Loss, *, threads: int = 0) -> None:
        require_differentiable(model)
        self._module = GraphModule(model.clone(), extra_outputs=loss.extra_outputs, batch_norm="freeze").eval()
        self._inputs, self._loss, self._threads = tuple(inputs), loss, threads

    def __call__(self, batch: Batch) -> dict[str, Array]:
        """Return the gradient of the loss on one batch, which has labels, towards each input, of its shape.

        Raises:
            ModelError: the loss does not depend on an input by a gradient, or a gradient is not finite.
        """
        with deterministic(self._threads, "cpu"):
            tensors = {name: from_numpy(feed, name) for name, feed in batch.feeds.items()}
            for name in self._inputs:
                tensors[name].requires_grad_(True)
            values = self._module(tensors)
            assert batch.labels is not None
            scalar = self._loss.value(batch.counted(values), from_numpy(batch.labels, "the labels"))
            read = [tensors[name] for name in self._inputs]
            found = torch.autograd.grad(scalar, read, allow_unused=True) if scalar.requires_grad else [None] * len(read)
        gradients = {}
        for name, gradient in zip(self._inputs, found, strict=True):
            if gradient is None:
                raise ModelError(f"the loss does not depend on the input {name!r} by a gradient")
            if not bool(torch.isfinite(gradient).all()):
                raise ModelError(f"the gradient towards the input {name!r} is not finite")
            gradients[name] = gradient.numpy()
        return gradients
