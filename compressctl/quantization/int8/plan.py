"""Which nodes a scheme quantizes, and in which way; names, so that a plan fits every clone of the model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from compressctl.errors import UsageError
from compressctl.model.graph import all_nodes, constant
from compressctl.model.stored import computed, multiplies_activations
from compressctl.notes import Note, done, skipped, warning
from compressctl.numerics.grids import Grid
from compressctl.quantization.int8.activations import FOLDED
from compressctl.quantization.int8.bodies import observable_bodies
from compressctl.quantization.int8.dynamic import candidates
from compressctl.quantization.int8.placement import CARRIERS, COMPUTE, JOINS
from compressctl.quantization.int8.static import obstacle as static_obstacle
from compressctl.quantization.schemes import SCHEMES, FirstLast
from compressctl.quantization.weights.eight_bits import packable
from compressctl.selection import Selection, check_globs, matches

_PAYING_GROUP = 32  # channels; narrower groups win on some processors and lose on others, by the factor of 2
_HINT = "add --calibrate DATA: static quantization observes activations on samples"


@dataclass(frozen=True)
class QuantizationPlan:
    """Names of the nodes to quantize, each in graph order.

    Attributes:
        static: Conv, Gemm and MatMul that get Q/DQ pairs.
        dynamic: MatMul, Gemm and LSTM whose activations are quantized at run time, Gather that looks up int8 rows.
        in_float: the tensors that no node without weights makes or reads as integers: calibration saw no value of them
            but zero (`seen.py`), or their parts need scales of their own (`uneven.py`).
        weights: those that compute in float on weights stored in 8 bits, as far as these have such a form.
    """

    static: tuple[str, ...] = ()
    dynamic: tuple[str, ...] = ()
    in_float: frozenset[str] = frozenset()
    weights: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of those that compute on integers."""
        return self.static + self.dynamic

    def without(self, names: Collection[str]) -> QuantizationPlan:
        """The plan with some nodes left in float."""
        parts = (self.static, self.dynamic, self.weights)
        static, dynamic, weights = (tuple(name for name in part if name not in names) for part in parts)
        return QuantizationPlan(static, dynamic, self.in_float, weights)

    def dynamically(self, names: Collection[str]) -> QuantizationPlan:
        """The plan with some static nodes quantized dynamically."""
        moved = tuple(name for name in self.static if name in names)
        left = self.without(moved)
        return replace(left, dynamic=left.dynamic + moved)

    def weights_alone(self, names: Collection[str]) -> QuantizationPlan:
        """The plan with the weights of some nodes in 8 bits, and their computation in float."""
        left = self.without(names)
        return replace(left, weights=(*left.weights, *names))

    def only(self, names: Collection[str]) -> QuantizationPlan:
        """The plan of some of its nodes."""
        return self.without([other for other in (*self.layers, *self.weights) if other not in names])


def rule_of_thumb(node: ir.Node) -> str | None:
    """Return why a convolution with groups is likely to be slower on integers, where nothing can be timed; or None.

    onnxruntime has an integer kernel for depthwise convolutions with one output an input. With several outputs an input
    it takes the general one, group by group: 5 to 12 times as long as in float.
    """
    weight = constant(node.inputs[1])
    if node.op_type != "Conv" or weight is None or node.attributes.get_int("group", 1) == 1:
        return None
    outputs, inputs = weight.shape[0] // node.attributes.get_int("group", 1), weight.shape[1]
    if (inputs == 1 and outputs == 1) or inputs >= _PAYING_GROUP:
        return None
    what = f"{inputs} channels a group" if inputs > 1 else f"{outputs} outputs for each input"
    return f"a convolution with {what} is slower on integers as a rule; scheme int8 forces it"


def make_plan(
    model: ir.Model,
    scheme: str,
    selection: Selection,
    *,
    calibrated: bool,
    embeddings: bool,
    dynamic: Sequence[str] = (),
    slow: Callable[[ir.Node], str | None] = rule_of_thumb,
) -> tuple[QuantizationPlan, tuple[Note, ...]]:
    """Assign each quantizable node, of the main graph and of bodies in it, to static or dynamic quantization.

    Args:
        model: not edited.
        scheme: "int8" and those of fewer bits: static, and int8 rows for embeddings; "int8-dynamic": dynamic for MatMul
            and Gemm, LSTM and embeddings, 8-bit weights for the rest; or "auto": the same, but static for convolutions
            and the layers behind them.
        selection: what the user lets us touch.
        calibrated: whether there are samples to observe activations on; without, auto plans nothing static.
        embeddings: whether to store embedding tables as int8.
        dynamic: globs of the nodes that are quantized dynamically, where they have such a form.
        slow: tells why a static node is faster in float, or None; scheme auto leaves such nodes.

    Returns:
        The plan, and a note for each node that looks quantizable and is left, with the reason.

    Raises:
        UsageError: a static scheme without calibration data, or a selection that matches nothing.
    """
    is_static = SCHEMES[scheme].kind == "static"
    if is_static and not calibrated:
        raise UsageError(f"scheme {scheme} needs calibration data", _HINT)
    selection.check(model.graph)
    check_globs(model.graph, dynamic=dynamic)

    def asked(node: ir.Node) -> bool:
        return matches(dynamic, [node.name or ""])

    reasons = dict(candidates(model))
    dynamically = {node for node, reason in reasons.items() if reason is None and asked(node)}
    static: dict[ir.Node, str | None] = {}
    fed = computed(model.graph)
    observed = {model.graph, *observable_bodies(model.graph)}
    for node in all_nodes(model.graph):
        eligible = node.op_type in COMPUTE and node.domain == "" and selection.allows(node) and node not in dynamically
        eligible = eligible and not multiplies_activations(node, fed) and node.graph in observed
        if calibrated and eligible and (is_static or (scheme == "auto" and _auto_static(node, static))):
            static[node] = static_obstacle(node) or (slow(node) if scheme == "auto" else None)
    found: list[str] = []
    notes: list[Note] = []
    alone = [] if is_static else _weights_alone(model, selection, embeddings=embeddings)

    def left(node: ir.Node, reason: str) -> Note:
        name = node.name or ""
        return done(f"8-bit weights, computed in float: {reason}", name) if name in alone else skipped(reason, name)

    for node, reason in static.items():
        if reason is not None:
            notes.append(left(node, reason))
    for node, reason in reasons.items():
        if reason is not None and asked(node) and node in static and static[node] is None:
            notes.append(skipped(f"quantized statically all the same: {reason}", node.name))
        if node in static or not selection.allows(node) or (node.op_type == "Gather" and not embeddings):
            continue
        if scheme == "auto" and node.op_type == "Conv" and node.graph is model.graph:
            continue  # said once for all, below
        if is_static and node.op_type != "Gather" and node not in dynamically:
            if node.graph not in observed:
                reason = "in such a body nothing is observed; int8-dynamic and int8-weights need no samples"
            reason = reason or f"onnxruntime has no static INT8 kernel for {node.op_type}; int8-dynamic has one"
        if reason is None:
            found.append(node.name or "")
        else:
            notes.append(left(node, reason))
    convolutions = sum(node.op_type == "Conv" and selection.allows(node) for node in model.graph)
    if scheme == "auto" and not calibrated and convolutions:
        notes.append(warning(f"{convolutions} convolutions compute in float; {_HINT}"))
    chosen = tuple(node.name or "" for node, reason in static.items() if reason is None)
    plan = QuantizationPlan(chosen, tuple(found))
    return plan.weights_alone([name for name in alone if name not in plan.layers]), tuple(notes)


def only_weights(model: ir.Model, selection: Selection, *, embeddings: bool) -> QuantizationPlan:
    """Return the plan by which all that the user lets us touch computes in float, on weights of 8 bits."""
    return QuantizationPlan(weights=tuple(_weights_alone(model, selection, embeddings=embeddings)))


def _weights_alone(model: ir.Model, selection: Selection, *, embeddings: bool) -> list[str]:
    """The names of the nodes that the user lets us touch whose weights can take 8 bits, in graph order."""
    found = packable(model.graph, embeddings=embeddings)
    return [name for node in all_nodes(model.graph) if (name := node.name or "") in found and selection.allows(node)]


def weight_grids(model: ir.Model, plan: QuantizationPlan, scheme: str, first_last: FirstLast) -> dict[str, Grid]:
    """Return the grid of each static layer of `plan` whose weights have fewer than 8 bits under `scheme`.

    Args:
        model: not edited.
        plan: made for it.
        scheme: decides the grid.
        first_last: "int8": layers before which, or after which, no other layer comes in their graph (the main one or a
            body) keep 8 bits; "same": they do not.
    """
    grid = SCHEMES[scheme].grid
    if grid is None or not grid.narrow:
        return {}
    graphs = (model.graph, *observable_bodies(model.graph)) if first_last == "int8" else ()
    kept = {name for graph in graphs for name in first_and_last_layers(graph)}
    return {name: grid for name in plan.static if name not in kept}


def first_and_last_layers(graph: ir.Graph) -> set[str]:
    """The names of the layers with weights that read no other such layer's results, or whose results none reads."""
    layers = {node for node in graph if node.op_type in COMPUTE and not node.domain and static_obstacle(node) is None}
    edges: set[str] = set()
    for nodes, sources in ((list(graph), ir.Node.predecessors), (list(reversed(graph)), ir.Node.successors)):
        beyond: set[ir.Node] = set()  # layers, and what lies beyond one in this direction
        for node in nodes:
            found = any(neighbour in beyond for neighbour in sources(node))
            if node in layers and not found:
                edges.add(node.name or "")
            if found or node in layers:
                beyond.add(node)
    return edges


def _auto_static(node: ir.Node, static: Mapping[ir.Node, str | None]) -> bool:
    """Whether it is a convolution, or reads a static node's output through what carries integers."""
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
        if producer in static and static[producer] is None:
            return True
        if producer.op_type in CARRIERS | JOINS | FOLDED:
            pending += [source for source in producer.inputs if constant(source) is None]
    return False


def named(graph: ir.Graph, names: Iterable[str]) -> Sequence[ir.Node]:
    """The nodes of `graph` and of bodies in it that bear these names, in graph order."""
    wanted = set(names)
    return [node for node in all_nodes(graph) if node.name in wanted]
