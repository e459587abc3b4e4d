"""How much the loss of a model depends on each of its weights: gradients, sample by sample.

Where samples have labels the loss is the caller's. Without labels it is v·z for the float outputs z and signs v drawn
anew for each sample: the expectation of the squared gradient over v is the diagonal of JᵀJ, the Gauss-Newton matrix of
the squared error of the outputs, so that weights count by what they change in the outputs.

Sources: LeCun, Denker and Solla 1990, "Optimal Brain Damage" (second order); Molchanov et al. 2019 (arXiv:1906.10771,
first order, and the squared gradient as the Hessian's diagonal).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from compressctl.arrays import Array, Floats, Floats32
from compressctl.data.source import Source
from compressctl.errors import DataError, ModelError
from compressctl.resources import Resources
from compressctl.torchexec.determinism import deterministic
from compressctl.torchexec.module import GraphModule, require_trainable
from compressctl.torchexec.tensors import from_numpy


@dataclass(frozen=True)
class Loss:
    """A loss on labels.

    Attributes:
        value: maps the outputs and extra outputs by name, and the labels, to a scalar.
        extra_outputs: values of the main graph that it reads beside the outputs.
    """

    value: Callable[[Mapping[str, Tensor], Tensor], Tensor]
    extra_outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gradients:
    """What the gradients g of a weight w add up to; arrays of the weight's shape, float64.

    Attributes:
        first: mean over samples of |g * w|, by how much the loss changes if the weight becomes zero, to first order.
        second: mean over samples of g², the diagonal of the empirical Fisher (or Gauss-Newton) matrix.
    """

    first: Floats
    second: Floats


def gradients(
    model: ir.Model, source: Source, resources: Resources, *, samples: int, loss: Loss | None = None
) -> dict[str, Gradients]:
    """Return, by name of the weight, what the gradients of the first `samples` samples add up to.

    Takes what `sample_gradients` takes, and raises what it raises.
    """
    first: dict[str, Floats] = {}
    second: dict[str, Floats] = {}
    weights: dict[str, Floats] = {}
    seen = 0
    for found, arrays in sample_gradients(model, source, resources, samples=samples, loss=loss):
        for name, gradient in found.items():
            if name not in first:
                weights[name] = np.abs(arrays[name].astype(np.float64))
                first[name], second[name] = np.zeros((2, *gradient.shape))
            first[name] += np.abs(gradient) * weights[name]
            second[name] += np.square(gradient, dtype=np.float64)
        seen += 1
    return {name: Gradients(first[name] / seen, second[name] / seen) for name in first}


def sample_gradients(
    model: ir.Model, source: Source, resources: Resources, *, samples: int, loss: Loss | None = None
) -> Iterator[tuple[dict[str, Floats32], dict[str, Floats32]]]:
    """Yield the gradients of one sample after the other, and the weights: both by name, of the weights' shapes.

    A sample is one row, or a batch of a model whose batch is fixed. BatchNormalization uses its running statistics.
    Weights that the loss does not reach have no entry.

    Args:
        model: every node named; left as it is.
        source: the samples.
        resources: threads and device ("cpu" or "cuda") of torch, and the seed of the signs v where there is no loss.
        samples: how many rows at most.
        loss: on the labels of the samples, which must have some; None for v·z of the outputs.

    Raises:
        ModelError: nodes that cannot be executed or that compute with integers, a graph without float weights, a
            gradient that is not finite.
        DataError: the samples have no labels for the loss, or there are no samples.
    """
    require_trainable(model)
    device = resources.device
    with deterministic(resources.threads, device):
        outputs = [value.name or "" for value in model.graph.outputs]
        extra = loss.extra_outputs if loss is not None else ()
        module = GraphModule(model.clone(), extra_outputs=extra, batch_norm="freeze", device=device).eval()
        weights = {name: _array(weight) for name, weight in module.weights.items()}
        rng = np.random.default_rng(resources.seed)
        empty = True
        for batch in source.some(1, samples):
            empty = False
            values = module({name: from_numpy(feed, name).to(device) for name, feed in batch.feeds.items()})
            if loss is None:
                scalar = _signed_sum([values[name] for name in outputs], rng)
            elif batch.labels is None:
                raise DataError(f"{source.notation}: the samples have no labels to take gradients of a loss on")
            else:
                scalar = loss.value(batch.counted(values), torch.from_numpy(batch.labels).to(device))
            yield _gradients(module, scalar), weights
        if empty:
            raise DataError(f"{source.notation}: no samples to take gradients on")


def _gradients(module: GraphModule, scalar: Tensor) -> dict[str, Floats32]:
    names, tensors = zip(*module.weights.items(), strict=True)
    if not scalar.requires_grad:
        raise ModelError("the outputs depend on no weight by a gradient", "choose an importance of weights alone: l2")
    found = {}
    for name, gradient in zip(names, torch.autograd.grad(scalar, tensors, allow_unused=True), strict=True):
        if gradient is None:
            continue
        found[name] = _array(gradient)
        if not np.isfinite(found[name]).all():
            raise ModelError(f"the gradient of weight {name!r} is not finite", "choose an importance of weights alone")
    return found


def _signed_sum(outputs: list[Tensor], rng: np.random.Generator) -> Tensor:
    """Return v·z over all float outputs z."""
    parts = []
    for output in outputs:
        if output.is_floating_point():
            signs = torch.from_numpy(rng.choice(np.array([-1, 1], np.float32), size=tuple(output.shape)))
            parts.append((output.float() * signs.to(output.device)).sum())
    if not parts:
        raise ModelError("the model has no float outputs to take gradients of")
    return torch.stack(parts).sum()


def _array(tensor: Tensor) -> Floats32:
    array: Array = tensor.detach().float().cpu().numpy()
    return array
