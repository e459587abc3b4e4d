"""Gelu of several nodes, found by what they compute, and made one node where its input comes from integers.

onnxruntime fuses such nodes into one kernel only where all read the same tensor, and nothing is rounded among them.
Behind a QuantizeLinear each of them gets a DequantizeLinear of its own, so there the one operator has to be written.

x * sigmoid(x) is left as it is: it has integer kernels, which take less time than the fused one in float.

Sources: Gaussian Error Linear Units, Hendrycks and Gimpel 2016 (arXiv:1606.08415): exact, by tanh, and by sigmoid;
onnxruntime's ContribOperators.md: Gelu, FastGelu, QuickGelu.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Floats
from compressctl.model.graph import constant, holder_of, replace_node

DOMAIN = "com.microsoft"
_MOST = 12  # nodes: Gelu by tanh with the third power as products has 10
_POINTS = np.concatenate([np.linspace(-8.0, 8.0, 161), [0.01, -0.01]])
_TOLERANCE = 1e-5  # of constants written with float32's digits; Gelu and Gelu by tanh differ by 5e-4
_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


_FUNCTIONS: dict[str, Callable[..., Floats]] = {
    "Add": np.add,
    "Div": np.divide,
    "Erf": _erf,
    "Identity": np.positive,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Pow": np.power,
    "Sigmoid": _sigmoid,
    "Sub": np.subtract,
    "Tanh": np.tanh,
}
_CURVES = {"Erf", "Sigmoid", "Tanh"}


@dataclass(frozen=True)
class WrittenOut:
    """Nodes that compute one activation of one tensor, and of which nothing else reads anything but the result.

    Attributes:
        source: what they read.
        nodes: in graph order; the last one makes the result.
        op_type: the operator that computes the same.
        alpha: of QuickGelu, x * sigmoid(alpha * x).
    """

    source: ir.Value
    nodes: tuple[ir.Node, ...]
    op_type: str
    alpha: float | None = None


def written_out(graph: ir.Graph) -> list[WrittenOut]:
    """Return the Gelus of several nodes in a graph, in graph order."""
    place = {node: index for index, node in enumerate(graph)}
    ends = {end for node in graph if node.op_type in _CURVES for end in _ends(node)}
    found = [_ending_in(end, place) for end in sorted(ends, key=place.__getitem__)]
    return [one for one in found if one is not None]


def write_in_one(model: ir.Model, activation: WrittenOut) -> None:
    """Replace the nodes of an activation, which may read `source` by way of a Q/DQ pair, by one operator, in place."""
    graph, last = model.graph, activation.nodes[-1]
    holder = holder_of(last)
    inside = {value for node in activation.nodes for value in node.outputs}
    source = next(
        value
        for node in activation.nodes
        for value in node.inputs
        if value is not None and value not in inside and constant(value) is None
    )
    standard = model.opset_imports.get("", 0) >= 20 and activation.op_type != "QuickGelu"
    attributes: dict[str, str | float] = {} if activation.alpha is None else {"alpha": activation.alpha}
    if standard and activation.op_type == "FastGelu":
        attributes["approximate"] = "tanh"
    if not standard:
        model.opset_imports.setdefault(DOMAIN, 1)
    domain, op_type = ("", "Gelu") if standard else (DOMAIN, activation.op_type)
    replace_node(graph, last, [ir.node(op_type, [source], attributes, domain=domain, name=last.name)])
    holder.remove(reversed(activation.nodes[:-1]), safe=True)


def _ends(curve: ir.Node) -> set[ir.Node]:
    """The products, and quotients, that an activation around `curve` may end in."""
    ends: set[ir.Node] = set()
    near = [curve]
    for _ in range(4):  # + 1, * x, * 0.5
        near = [user for node in near for user in node.outputs[0].consumers() if user.op_type in _FUNCTIONS]
        ends.update(node for node in near if node.op_type in ("Mul", "Div") and node.graph is curve.graph)
    return ends


def _ending_in(end: ir.Node, place: dict[ir.Node, int]) -> WrittenOut | None:
    """Return the activation that ends in a node: of the tensor where all that it reads meets. None if it is none."""
    nodes = {end}
    while len(nodes) <= _MOST:
        made = {node.outputs[0] for node in nodes}
        reads = {v for node in nodes for v in node.inputs if v is not None and v not in made and constant(v) is None}
        if len(reads) == 1 and any(node.op_type in _CURVES for node in nodes):
            ordered = tuple(sorted(nodes, key=place.__getitem__))
            (source,) = reads
            named = _function(ordered, source)
            if named is not None and _closed(ordered):
                return WrittenOut(source, ordered, *named)
        makers = [maker for value in reads if (maker := value.producer()) in place and maker is not None]
        if not makers or len(makers) < len(reads) - 1:
            return None
        latest = max(makers, key=place.__getitem__)
        if latest.op_type not in _FUNCTIONS or latest.domain or len(latest.outputs) != 1:
            return None
        nodes.add(latest)
    return None


def _closed(nodes: tuple[ir.Node, ...]) -> bool:
    """Whether only the last one's result is read elsewhere."""
    inside = set(nodes)
    values = [node.outputs[0] for node in nodes[:-1]]
    return all(not v.is_graph_output() and all(user in inside for user in v.consumers()) for v in values)


def _function(nodes: tuple[ir.Node, ...], source: ir.Value) -> tuple[str, float | None] | None:
    """Return the operator, and its alpha, that computes what the nodes compute of `source`, or None."""
    values: dict[ir.Value, Floats] = {source: _POINTS}
    for node in nodes:
        operands = [_operand(value, values, source) for value in node.inputs]
        given = [operand for operand in operands if operand is not None]
        if node.domain or len(given) != len(operands):
            return None
        with np.errstate(all="ignore"):
            values[node.outputs[0]] = _FUNCTIONS[node.op_type](*given)
    result = values[nodes[-1].outputs[0]]
    one = float(result[np.argmin(np.abs(_POINTS - 1))])  # of x = 1, where x * sigmoid(alpha * x) is sigmoid(alpha)
    alpha = round(math.log(one / (1 - one)), 5) if 0 < one < 1 else 0.0
    forms: dict[tuple[str, float | None], Floats] = {
        ("Gelu", None): _POINTS * 0.5 * (1 + _erf(_POINTS / math.sqrt(2))),
        ("FastGelu", None): _POINTS * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (_POINTS + 0.044715 * _POINTS**3))),
        ("QuickGelu", alpha): _POINTS * _sigmoid(alpha * _POINTS),
    }
    for name, expected in forms.items():
        if np.allclose(result, expected, rtol=_TOLERANCE, atol=_TOLERANCE) and name[1] != 1.0:
            return name
    return None


def _operand(value: ir.Value | None, values: dict[ir.Value, Floats], source: ir.Value) -> Floats | None:
    """What a node reads: a function of the source, or a constant of one element that adds no axis to it."""
    if value in values:
        return values[value]
    array = constant(value)
    rank = 1 if source.shape is None else source.shape.rank()
    fits = array is not None and array.size == 1 and array.ndim <= rank
    return array.reshape(()).astype(np.float64) if array is not None and fits else None
