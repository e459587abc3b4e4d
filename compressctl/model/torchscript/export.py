"""The two ways from a ScriptModule to ONNX: torch.export through the interpreter, and the older exporter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from onnxscript.optimizer import fold_constants

from compressctl.errors import ModelError
from compressctl.model.graph import remove_dead
from compressctl.model.torchscript import tidy
from compressctl.model.torchscript.checks import Check, verify_checks
from compressctl.model.torchscript.interface import Argument, Arrays, Axes, call
from compressctl.model.torchscript.interpreter import Interpreter
from compressctl.model.torchscript.states import State

_OPSET = 20


@dataclass(frozen=True)
class Task:
    """What to export.

    Attributes:
        path: the file, for messages.
        script: the module, in inference mode.
        arguments: of its forward.
        states: what the module keeps, further inputs and outputs.
        axes: the dynamic dimensions of each input.
        samples: inputs with what the module returns for them; the first is the example to export with, and where there
            are states the second the call that follows it.
        workdir: an existing folder for temporary files.
    """

    path: Path
    script: torch.jit.ScriptModule
    arguments: tuple[Argument, ...]
    states: tuple[State, ...]
    axes: tuple[Axes, ...]
    samples: tuple[Check, ...]
    workdir: Path

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs."""
        return list(self.samples[0].feeds)

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs."""
        return list(self.samples[0].outputs)

    @property
    def example(self) -> tuple[torch.Tensor, ...]:
        """A tensor for each input."""
        return tuple(map(torch.from_numpy, self.samples[0].feeds.values()))


class Interpreted(torch.nn.Module):
    """A module that torch.export can trace: the interpreter, and the parameters under the names they had."""

    def __init__(
        self, script: torch.jit.ScriptModule, arguments: Sequence[Argument], states: Sequence[State] = ()
    ) -> None:
        super().__init__()
        self.arguments, self.states = arguments, states
        self.names: dict[Any, str] = {}
        for name, tensor in _state(script).items():
            if tensor.is_complex():  # the interpreter holds its parts
                continue
            # Attributes may alias parameters: an LSTM's `_flat_weights`, tied embeddings.
            if self.names.setdefault(_identity(tensor), name) == name:
                *scopes, own = name.split(".")
                owner: torch.nn.Module = self
                for scope in scopes:
                    if scope not in owner._modules:
                        owner.add_module(scope, torch.nn.Module())
                    owner = owner._modules[scope]  # type: ignore[assignment]
                owner.register_buffer(own, tensor.detach())
        self.interpreter = Interpreter(script, self._own)

    def _own(self, tensor: torch.Tensor) -> torch.Tensor:
        name = self.names.get(_identity(tensor))
        return self.get_buffer(name) if name else tensor

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return all tensors that the module returns, in order, and what it keeps."""
        given = len(inputs) - len(self.states)
        kept = {state.attribute: x.clone() for state, x in zip(self.states, inputs[given:], strict=True)}
        results = call(lambda *values: self.interpreter.run(values, kept), self.arguments, inputs[:given])
        values = [*inputs, *results.values(), *(kept[state.attribute] for state in self.states)]
        first = {id(value): index for index, value in reversed(list(enumerate(values)))}
        # One tensor may be several outputs, or an input too; values of a graph have one name.
        distinct = (value if first[id(value)] == index else value.clone() for index, value in enumerate(values))
        return tuple(distinct)[len(inputs) :]


def export_interpreted(task: Task) -> ir.Model:
    """Export through torch.export.

    Raises:
        Exception: of many kinds, where control flow depends on data or on a dynamic size, or an operator is not known.
    """
    module = Interpreted(task.script, task.arguments, task.states).eval()
    shapes = tuple(dict.fromkeys(axes, torch.export.Dim.DYNAMIC) for axes in task.axes)
    program = torch.export.export(module, task.example, dynamic_shapes=(shapes,), strict=False)

    def run(feeds: Arrays) -> Arrays:
        results = program.module()(*map(torch.from_numpy, feeds.values()))
        return dict(zip(task.outputs, (tensor.numpy() for tensor in results), strict=True))

    for index, sample in enumerate(task.samples):
        try:
            verify_checks([sample], run, task.path)
        except ModelError:
            raise ValueError(_cause(task.states, index)) from None
    converted = torch.onnx.export(
        program,
        dynamo=True,
        optimize=False,  # it would fold BatchNorm and lose names
        opset_version=_OPSET,
        input_names=task.inputs,
        output_names=task.outputs,
        dynamic_shapes=(task.axes,),
        verbose=False,
    )
    assert converted is not None
    return _tidied(converted.model, task.script)


def _cause(states: Sequence[State], index: int) -> str:
    """Say why the exported program may differ from the module on the sample of this index."""
    names = ", ".join(state.attribute for state in states)
    if names and index == 0:
        return f"what forward keeps in {names} does not begin as zeros"
    if names and index == 1:
        return f"what forward returns depends on the calls before it by more than the tensors in {names}"
    return "a branch is taken by the size of the batch"


def export_scripted(task: Task) -> ir.Model:
    """Export through the TorchScript-based exporter, which knows If and Loop.

    Raises:
        Exception: of many kinds, where it cannot.
    """
    if task.states:
        raise NotImplementedError("it does not know modules that keep something from call to call")
    path = task.workdir / "scripted.onnx"
    axes = [*task.axes, *(_batch_axes(task, name) for name in task.outputs)]
    torch.onnx.export(
        task.script,
        task.example,
        str(path),
        dynamo=False,
        training=torch.onnx.TrainingMode.PRESERVE,  # else it folds BatchNorm and loses names
        do_constant_folding=False,
        opset_version=_OPSET,
        input_names=task.inputs,
        output_names=task.outputs,
        dynamic_axes=dict(zip([*task.inputs, *task.outputs], axes, strict=True)),
        external_data=sum(tensor.nbytes for tensor in _state(task.script).values()) > 2**30,
    )
    model = ir.load(path)
    ir.external_data.load_to_model(model)
    groups: dict[Any, set[str]] = {}
    for name, tensor in _state(task.script).items():
        groups.setdefault(_identity(tensor), set()).add(name)
    tidy.untie(model.graph, map(frozenset, groups.values()))
    return _tidied(model, task.script)


def _batch_axes(task: Task, output: str) -> Axes:
    """Return the dimensions of an output that are as long as the batch in every sample."""
    batch = next((axes[0] for axes in task.axes if 0 in axes), None)
    if batch is None:
        return {}
    name = next(name for name, axes in zip(task.inputs, task.axes, strict=True) if axes.get(0) == batch)
    sizes = [sample.feeds[name].shape[0] for sample in task.samples]
    shapes = zip(*(sample.outputs[output].shape for sample in task.samples), strict=True)
    return {axis: batch for axis, lengths in enumerate(shapes) if list(lengths) == sizes}


def _state(script: torch.jit.ScriptModule) -> dict[str, torch.Tensor]:
    """Return the parameters and buffers by name, those too that are one tensor under several names."""
    return dict(chain(script.named_parameters(remove_duplicate=False), script.named_buffers(remove_duplicate=False)))


def _identity(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def _tidied(model: ir.Model, script: torch.jit.ScriptModule) -> ir.Model:
    """Fold shape arithmetic and weight layouts, restore names, and hold all tensors as plain numpy arrays."""
    graph = model.graph
    tidy.strip_metadata(model)
    parameters = _state(script).keys() & graph.initializers.keys()
    weights = {graph.initializers[name] for name in parameters}
    fold_constants(
        model, onnx_shape_inference=True, should_fold=lambda node: None if weights.isdisjoint(node.inputs) else False
    )
    layouts = {value.name: name for value, name in tidy.weight_layouts(graph, sorted(parameters)).items()}
    fold_constants(model, should_fold=lambda node: node.outputs[0].name in layouts)
    remove_dead(model)
    for value in list(graph.initializers.values()):
        assert value.const_value is not None and value.name is not None
        value.const_value = ir.tensor(value.const_value.numpy(), name=value.name)
        if value.name in layouts:
            tidy.rename_initializer(graph, value.name, layouts[value.name])
    tidy.name_nodes(graph)
    tidy.strip_metadata(model)
    return model
