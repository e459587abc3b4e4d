"""A graph as a list of steps: which function runs on which values, with its attributes bound."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import onnx_ir as ir
from torch import Tensor

from compressctl.errors import ModelError
from compressctl.model.graph import operand
from compressctl.torchexec.fusion import Fused, find_fused
from compressctl.torchexec.ops import OPS
from compressctl.torchexec.tensors import to_torch

_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class Step:
    """One call.

    Attributes:
        node: the name of the node that it carries out (of the last one, where several are fused).
        function: what to call.
        inputs: names of the values that it takes, in order; None for an optional input left out.
        outputs: names of the values that it gives; None for an output left out.
        keywords: its attributes.
        bodies: its graph attributes.
        trains: whether it is told, as keyword `training`, that the module is in training mode.
        releases: names of values that are not needed after it.
    """

    node: str
    function: Callable[..., Any]
    inputs: tuple[str | None, ...]
    outputs: tuple[str | None, ...]
    keywords: Mapping[str, Any]
    bodies: Mapping[str, ExecutionPlan]
    trains: bool
    releases: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExecutionPlan:
    """The steps of a graph.

    Attributes:
        inputs: names of the graph's inputs.
        outputs: names of the values to return.
        constants: values that are known: those of Constant nodes, and initializers of bodies.
        steps: in the order of the graph.
        captures: names of outer values that a body uses.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: dict[str, Tensor]
    steps: tuple[Step, ...]
    captures: tuple[str, ...] = ()


@dataclass
class _Problems:
    lines: list[str] = field(default_factory=list)

    def add(self, node: ir.Node, why: str) -> None:
        self.lines.append(f"{node.op_type} {node.name!r}: {why}")


def make_plan(model: ir.Model, extra_outputs: Sequence[str] = ()) -> ExecutionPlan:
    """Bind every node of a model to its function.

    Args:
        model: of opset 13 or newer, every node named; left as it is.
        extra_outputs: names of further values of the main graph to return.

    Raises:
        ModelError: nodes that cannot be executed: all of them are listed.
    """
    graph = model.graph
    problems = _Problems()
    values = {value.name: value for value in (*graph.inputs, *graph.initializers.values())}
    values.update((output.name, output) for node in graph for output in node.outputs)
    for name in extra_outputs:
        if name not in values:
            raise ModelError(f"there is no value {name!r} in the graph")
    outputs = [*dict.fromkeys([*(value.name or "" for value in graph.outputs), *extra_outputs])]
    plan = _plan(graph, outputs, model.opset_imports.get("", 13), problems)
    if problems.lines:
        count = len(problems.lines)
        raise ModelError(
            f"{count} node{'s' if count > 1 else ''} of the graph cannot be executed for training: "
            + "; ".join(problems.lines),
            "train before the step that made them, or exchange them",
        )
    return plan


def _plan(graph: ir.Graph, outputs: Sequence[str], opset: int, problems: _Problems) -> ExecutionPlan:
    fused, idle = find_fused(graph, set(outputs))
    constants: dict[str, Tensor] = {}
    steps: list[Step] = []
    for node in graph:
        if node in idle:
            continue
        if node in fused:
            steps.append(_fused_step(node, fused[node]))
        elif node.op_type == "Constant" and node.domain in _DOMAINS:
            tensor = ir.convenience.get_const_tensor(node.outputs[0])
            if tensor is None or tensor.dtype == ir.DataType.STRING:
                problems.add(node, "its value is no tensor of numbers")
                continue
            constants[node.outputs[0].name or ""] = to_torch(tensor)
        else:
            step = _step(node, opset, problems)
            if step is not None:
                steps.append(step)
    captures = tuple(sorted(set(_used(steps, outputs)) - _defined(graph, steps, constants)))
    names = tuple(value.name or "" for value in graph.inputs)
    return ExecutionPlan(names, tuple(outputs), constants, _with_releases(steps, outputs), captures)


def _fused_step(node: ir.Node, fused: Fused) -> Step:
    inputs = tuple(None if value is None else value.name for value in fused.inputs)
    return Step(node.name or "", fused.function, inputs, (node.outputs[0].name,), fused.keywords, {}, False)


def _step(node: ir.Node, opset: int, problems: _Problems) -> Step | None:
    if node.domain not in _DOMAINS:
        problems.add(node, f"it is of the domain {node.domain!r}")
        return None
    function = OPS.get(node.op_type)
    if function is None:
        problems.add(node, "there is no such operator for training")
        return None
    accepted = inspect.signature(function).parameters
    keywords: dict[str, Any] = {}
    bodies: dict[str, ExecutionPlan] = {}
    for name, attribute in node.attributes.items():
        if name not in accepted:
            problems.add(node, f"its attribute {name!r} is not supported")
            return None
        if attribute.type == ir.AttributeType.GRAPH:
            bodies[name] = _body(attribute.as_graph(), opset, problems)
        elif attribute.type == ir.AttributeType.TENSOR:
            keywords[name] = to_torch(attribute.as_tensor())
        elif attribute.type in _PLAIN:
            keywords[name] = attribute.value
        else:
            problems.add(node, f"its attribute {name!r} is of the type {attribute.type.name}")
            return None
    given: dict[str, Any] = {"opset": opset, "outputs": len(node.outputs)}
    if node.op_type == "QuantizeLinear" and not keywords.get("output_dtype"):
        given["output_dtype"] = _narrow_type(node)
    keywords |= {name: value for name, value in given.items() if name in accepted}
    inputs = tuple(None if value is None else value.name for value in node.inputs)
    return Step(
        node.name or "",
        function,
        inputs,
        tuple(output.name or None for output in node.outputs),
        keywords,
        bodies,
        "training" in accepted,
    )


def _narrow_type(node: ir.Node) -> int:
    """Return the ONNX number of a zero point's type of fewer than 8 bits, which torch holds in 8; 0 for others."""
    zero_point = operand(node, 2)
    dtype = zero_point.dtype if zero_point is not None else None
    return int(dtype) if dtype is not None and dtype.bitwidth < 8 else 0


_PLAIN = frozenset(getattr(ir.AttributeType, name) for name in ("INT", "FLOAT", "STRING", "INTS", "FLOATS", "STRINGS"))


def _body(graph: ir.Graph, opset: int, problems: _Problems) -> ExecutionPlan:
    plan = _plan(graph, [value.name or "" for value in graph.outputs], opset, problems)
    for name, value in graph.initializers.items():
        if value.const_value is not None:
            plan.constants[name] = to_torch(value.const_value)
    return plan


def _defined(graph: ir.Graph, steps: Sequence[Step], constants: Collection[str]) -> set[str]:
    names = {value.name or "" for value in graph.inputs} | set(graph.initializers) | set(constants)
    return names | {name for step in steps for name in step.outputs if name}


def _used(steps: Sequence[Step], outputs: Sequence[str]) -> Iterator[str]:
    yield from outputs
    for step in steps:
        yield from _reads(step)


def _reads(step: Step) -> Iterator[str]:
    yield from (name for name in step.inputs if name)
    for body in step.bodies.values():
        yield from body.captures


def _with_releases(steps: Sequence[Step], outputs: Sequence[str]) -> tuple[Step, ...]:
    last: dict[str, int] = {}
    for index, step in enumerate(steps):
        made = (name for name in step.outputs if name)
        last.update(dict.fromkeys((*_reads(step), *made), index))
    releases: dict[int, list[str]] = {}
    for name, index in last.items():
        if name not in outputs:
            releases.setdefault(index, []).append(name)
    return tuple(replace(step, releases=tuple(releases.get(index, ()))) for index, step in enumerate(steps))
