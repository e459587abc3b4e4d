"""An ONNX graph as a `torch.nn.Module`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compressctl.choices import BatchNorm
from compressctl.errors import ModelError, UsageError
from compressctl.model.graph import set_constant
from compressctl.model.ops import QDQ, QUANTIZED
from compressctl.torchexec.interpreter import run
from compressctl.torchexec.parameters import running_statistics, tensor_of, trainable
from compressctl.torchexec.plan import ExecutionPlan, Step, make_plan
from compressctl.torchexec.tensors import to_numpy, to_torch
from compressctl.torchexec.trace import Recorder, ValueDependent

Mode = Literal["trace", "interpret", "compile"]
_SIGNATURES = 32  # kept at once: a sequence model that is fed every length must not fill the memory
_INTEGER_ONLY = QUANTIZED.keys() - QDQ


class GraphModule(nn.Module):
    """Executes an ONNX graph, differentiably.

    The first call with inputs of a new signature (shapes, types, training or not) interprets the graph node by node and
    records the torch functions that it calls; further calls run the record. Where the course of the computation depends
    on values (NonZero, If on data) the graph is interpreted each time; `interpreted` says why.

    Args:
        model: every node named; kept, changed by `write_back` alone.
        extra_outputs: names of further values of the main graph that `forward` returns.
        batch_norm: "train": in training mode BatchNormalization normalises with the statistics of the batch and updates
            its running ones, as torch's does; "freeze": never.
        frozen: names of initializers that are not trained.
        mode: "interpret" never records; "compile" hands the record to `torch.compile`.
        device: where to compute.

    Raises:
        ModelError: nodes that cannot be executed: all of them are listed; or a value of `extra_outputs` does not exist.
    """

    interpreted: str | None = None

    def __init__(
        self,
        model: ir.Model,
        *,
        extra_outputs: Sequence[str] = (),
        batch_norm: BatchNorm = "train",
        frozen: Collection[str] = (),
        mode: Mode = "trace",
        device: str = "cpu",
    ) -> None:
        super().__init__()
        self.model = model
        self.mode = mode
        self._values = trainable(model.graph)
        self._statistics = running_statistics(model.graph)
        plan = make_plan(model, extra_outputs)
        self._plan = _training_batch_norms(plan, self._statistics) if batch_norm == "train" else plan
        self._constants: dict[str, Tensor] = {}
        self._weight_keys: dict[str, str] = {}
        self._statistic_keys: dict[str, str] = {}
        self._functions: dict[Any, tuple[Callable[..., Any], list[str]]] = {}
        for name in [name for name in self._plan.constants if name in self._values]:
            del self._plan.constants[name]
        for name, value in {**model.graph.initializers, **self._values}.items():
            if not value.is_initializer() or value.const_value is not None:
                self._add(name, value, frozen, device)
        for name, tensor in self._plan.constants.items():
            self._plan.constants[name] = tensor.to(device)

    def _add(self, name: str, value: ir.Value, frozen: Collection[str], device: str) -> None:
        tensor = to_torch(tensor_of(value)).to(device)
        if name in self._statistics:
            key = self._statistic_keys[name] = f"statistic_{len(self._statistic_keys)}"
            self.register_buffer(key, tensor)
        elif name in self._values and name not in frozen:
            key = self._weight_keys[name] = f"weight_{len(self._weight_keys)}"
            self.register_parameter(key, nn.Parameter(tensor))
        else:
            self._constants[name] = tensor

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        """The weights that train, by the names of their initializers (of the outputs of their Constant nodes)."""
        return {name: self._parameters[key] for name, key in self._weight_keys.items()}  # type: ignore[misc]

    @property
    def statistics(self) -> dict[str, Tensor]:
        """The running means and variances of BatchNormalization, by the names of their initializers."""
        return {name: self._buffers[key] for name, key in self._statistic_keys.items()}  # type: ignore[misc]

    def forward(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run the graph on a tensor for each input, by name; return its outputs and the extra outputs, by name."""
        live: dict[str, Tensor] = {**feeds, **self.weights, **self.statistics}
        tensors = all(isinstance(feed, Tensor) for feed in feeds.values())  # else some are sequences
        if self.mode == "interpret" or self.interpreted is not None or not tensors:
            return self._interpret(live)
        signature = (self.training, tuple((name, feed.shape, feed.dtype) for name, feed in feeds.items()))
        found = self._functions.get(signature)
        if found is None:
            return self._record(signature, live)
        function, names = found
        return dict(zip(self._plan.outputs, function(*[live[name] for name in names]), strict=True))

    def write_back(self) -> None:
        """Put weights and running statistics into the model's initializers; nothing else of it changes."""
        for name, tensor in {**self.weights, **self.statistics}.items():
            value = self._values.get(name) or self._statistics[name]
            set_constant(value, to_numpy(tensor))

    def first_nonfinite(self, feeds: Mapping[str, Tensor]) -> str | None:
        """Return the name of the first node that gives NaN or infinity for these inputs, or None."""
        found: list[str] = []

        def look(step: Step, results: tuple[Any, ...]) -> None:
            tensors = [result for result in results if isinstance(result, Tensor) and result.is_floating_point()]
            if not found and not all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
                found.append(step.node)

        with torch.no_grad():
            live = {**self._constants, **feeds, **self.weights, **{k: v.clone() for k, v in self.statistics.items()}}
            run(self._plan, live, training=self.training, observe=look)
        return found[0] if found else None

    def _interpret(self, live: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return run(self._plan, {**self._constants, **live}, training=self.training)

    def _record(self, signature: Any, live: dict[str, Tensor]) -> dict[str, Tensor]:
        """Interpret once, recording; forget what was recorded for the signature that is the oldest."""
        recorder = Recorder(live)
        saved = {name: tensor.clone() for name, tensor in self.statistics.items()}
        try:
            with recorder:
                results = self._interpret(live)
            function: Callable[..., Any] = recorder.finish(results.values()).forward
        except ValueDependent as reason:
            self.interpreted = str(reason)
            with torch.no_grad():
                for name, tensor in self.statistics.items():
                    tensor.copy_(saved[name])
            return self._interpret(live)
        if self.mode == "compile":
            function = _compiled(function)
        if len(self._functions) >= _SIGNATURES:
            del self._functions[next(iter(self._functions))]
        self._functions[signature] = function, list(live)
        return results


def require_trainable(model: ir.Model) -> None:
    """Check that a graph has weights to train and that gradients reach them.

    Raises:
        ModelError: it has not, or nodes that only work on integers; all of them are listed.
    """
    require_differentiable(model)
    if not trainable(model.graph):
        raise ModelError("the graph has no float weights to train")


def require_differentiable(model: ir.Model) -> None:
    """Check that no node of a graph works on integers only, which stops gradients.

    Raises:
        ModelError: some do; all of them are listed.
    """
    integer = [f"{node.op_type} {node.name!r}" for node in model.graph if node.op_type in _INTEGER_ONLY]
    if integer:
        raise ModelError(
            f"nodes that compute with integers have no gradient: {', '.join(integer)}", "train before quantizing"
        )


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function compiled at its first call.

    Raises:
        UsageError: at a call: torch cannot compile it here.
    """
    from torch._dynamo.exc import TorchDynamoException

    compiled = torch.compile(function, dynamic=False)

    def call(*tensors: Tensor) -> Any:
        try:
            return compiled(*tensors)
        except TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            raise UsageError(f"torch.compile fails: {reason}", "leave out --compile") from error

    return call


def _training_batch_norms(plan: ExecutionPlan, statistics: Collection[str]) -> ExecutionPlan:
    """Put BatchNormalization into training mode where its running statistics are initializers."""

    def trained(step: Step) -> Step:
        if step.function.__name__ != "BatchNormalization" or step.keywords.get("training_mode", 0):
            return step
        if not {step.inputs[3], step.inputs[4]} <= set(statistics):
            return step
        keywords = {
            "momentum": step.keywords.get("momentum", 0.9),
            "epsilon": step.keywords.get("epsilon", 1e-5),
        }
        return replace(step, function=_batch_norm, keywords=keywords, trains=True)

    return replace(plan, steps=tuple(map(trained, plan.steps)))


def _batch_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    momentum: float,
    epsilon: float,
    training: bool,
) -> Tensor:
    # ONNX's momentum is what is kept of the old statistics, torch's what is taken of the new; exporters that fold or
    # freeze write 1.
    taken = 1 - momentum if momentum < 1 else 0.1
    return F.batch_norm(x, mean, variance, scale, bias, training, taken, epsilon)
