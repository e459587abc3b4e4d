"""Which nodes a scheme quantizes, and in which way; names, so that a plan fits every clone of the model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

import onnx_ir as ir

from compressctl.errors import UsageError
from compressctl.model.graph import constant, walk_subgraphs
from compressctl.notes import Note, skipped, warning
from compressctl.quantization import dynamic
from compressctl.quantization.placement import CARRIERS, JOINS
from compressctl.quantization.static import obstacle as static_obstacle

Scheme = Literal["auto", "int8", "int8-dynamic"]

_STATIC = ("Conv", "Gemm", "MatMul")
_HINT = "add --calibrate DATA: static quantization observes activations on samples"


@dataclass(frozen=True)
class Selection:
    """Which nodes the user lets us touch, by name glob and operator type."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    include_op: tuple[str, ...] = ()
    exclude_op: tuple[str, ...] = ()

    def allows(self, node: ir.Node) -> bool:
        """Whether a node may be quantized."""
        name = node.name or ""
        return (
            (not self.include or any(fnmatchcase(name, glob) for glob in self.include))
            and not any(fnmatchcase(name, glob) for glob in self.exclude)
            and (not self.include_op or node.op_type in self.include_op)
            and node.op_type not in self.exclude_op
        )

    def check(self, graph: ir.Graph) -> None:
        """Refuse globs and operator types that match nothing: they are typing errors.

        Raises:
            UsageError: names the first that matches nothing.
        """
        names = [node.name or "" for node in graph]
        for key, globs in (("--include", self.include), ("--exclude", self.exclude)):
            for glob in globs:
                if not any(fnmatchcase(name, glob) for name in names):
                    raise UsageError(f"{key} {glob!r} matches no node", "list the names with `compressctl inspect`")
        ops = {node.op_type for node in graph}
        for key, types in (("--include-op", self.include_op), ("--exclude-op", self.exclude_op)):
            for op in types:
                if op not in ops:
                    raise UsageError(f"{key} {op!r} matches no node", f"the model has {', '.join(sorted(ops))}")


@dataclass(frozen=True)
class Plan:
    """Names of the nodes to quantize, each in graph order.

    Attributes:
        static: Conv, Gemm and MatMul that get Q/DQ pairs.
        dynamic: MatMul and Gemm whose activations are quantized as they come.
        lstm: LSTM nodes.
        embedding: Gather nodes that look up rows.
    """

    static: tuple[str, ...] = ()
    dynamic: tuple[str, ...] = ()
    lstm: tuple[str, ...] = ()
    embedding: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """All names."""
        return self.static + self.dynamic + self.lstm + self.embedding

    def without(self, names: Collection[str]) -> Plan:
        """The plan with some nodes left in float."""
        return self._filtered(lambda name: name not in names)

    def only(self, name: str) -> Plan:
        """The plan of a single node."""
        return self._filtered(lambda other: other == name)

    def _filtered(self, keep: object) -> Plan:
        assert callable(keep)
        parts = ("static", "dynamic", "lstm", "embedding")
        return replace(self, **{part: tuple(filter(keep, getattr(self, part))) for part in parts})


def make_plan(
    model: ir.Model, scheme: Scheme, selection: Selection, *, calibrated: bool, embeddings: bool
) -> tuple[Plan, tuple[Note, ...]]:
    """Assign each quantizable node of the main graph to static or dynamic quantization.

    Args:
        model: not edited.
        scheme: "int8" (static), "int8-dynamic", or "auto": static for convolutions and what hangs on them, dynamic
            for the other MatMul and Gemm, for LSTM and embeddings.
        selection: what the user lets us touch.
        calibrated: whether there are samples to observe activations on; without, auto plans nothing static.
        embeddings: whether to store embedding tables as int8.

    Raises:
        UsageError: scheme int8 without calibration data, or a selection that matches nothing.
    """
    if scheme == "int8" and not calibrated:
        raise UsageError("scheme int8 needs calibration data", _HINT)
    selection.check(model.graph)
    notes = _hidden(model)
    static: dict[ir.Node, None] = {}
    parts: dict[str, list[str]] = {"dynamic": [], "lstm": [], "embedding": []}
    left: list[ir.Node] = []
    for node in model.graph:
        if not selection.allows(node):
            continue
        if node.op_type in _STATIC and node.domain == "" and (scheme == "int8" or _hangs_on(node, static, scheme)):
            if (reason := static_obstacle(node)) is not None:
                notes.append(skipped(reason, node.name))
            elif not calibrated:
                left.append(node)
            else:
                static[node] = None
            if calibrated or node.op_type == "Conv":
                continue
        if scheme == "int8" and node.op_type != "Gather":
            notes += _no_static_kernel(node)
            continue
        kind = dynamic.kind(node)
        if kind is None or (kind == "embedding" and not embeddings):
            continue
        if (reason := dynamic.obstacle(node)) is not None:
            notes.append(skipped(reason, node.name))
        else:
            parts[kind].append(node.name or "")
    convolutions = [node for node in left if node.op_type == "Conv"]
    if convolutions:
        notes.append(warning(f"{len(convolutions)} convolutions stay float; {_HINT}"))
    plan = Plan(tuple(node.name or "" for node in static), **{key: tuple(names) for key, names in parts.items()})
    return plan, tuple(notes)


def _hangs_on(node: ir.Node, static: Collection[ir.Node], scheme: Scheme) -> bool:
    """In auto: a convolution, or a Gemm or MatMul that reads a static node's output through what carries integers."""
    if scheme != "auto":
        return False
    if node.op_type == "Conv":
        return True
    pending: list[ir.Value | None] = [node.inputs[0]]
    seen: set[ir.Value] = set()
    while pending:
        value = pending.pop()
        if value is None or value in seen:
            continue
        seen.add(value)
        producer = value.producer()
        if producer is None:
            continue
        if producer in static:
            return True
        if producer.op_type in CARRIERS | JOINS | {"Relu", "Clip"}:
            pending += [source for source in producer.inputs if constant(source) is None]
    return False


def _hidden(model: ir.Model) -> list[Note]:
    """Name the weights inside If, Loop and Scan bodies, which stay as they are."""
    found = []
    for owner, _, body in walk_subgraphs(model.graph):
        layers = [node.name or node.op_type for node in body if node.op_type in (*_STATIC, "LSTM", "GRU")]
        if layers:
            listed = ", ".join(layers[:4]) + (" …" if len(layers) > 4 else "")
            found.append(skipped(f"{len(layers)} layers inside the {owner.op_type} stay float: {listed}", owner.name))
    return found


def _no_static_kernel(node: ir.Node) -> list[Note]:
    if node.op_type in ("LSTM", "GRU", "RNN", "ConvTranspose") and node.domain == "":
        hint = "; scheme int8-dynamic quantizes it" if node.op_type == "LSTM" else ""
        return [skipped(f"onnxruntime has no static INT8 kernel for {node.op_type}{hint}", node.name)]
    return []


def named(graph: ir.Graph, names: Iterable[str]) -> Sequence[ir.Node]:
    """The nodes of `graph` that bear these names, in graph order."""
    wanted = set(names)
    return [node for node in graph if node.name in wanted]
