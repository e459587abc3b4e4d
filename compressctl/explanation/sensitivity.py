"""What the original loses when one layer alone has the weights of the result."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from compressctl.data.source import Source
from compressctl.errors import ModelError
from compressctl.explanation.layers import WeightedNode
from compressctl.explanation.noise import Noise, decibels
from compressctl.explanation.schema import Sensitivity
from compressctl.explanation.sqnr import LayerNoise
from compressctl.explanation.streams import Kept, batch_size
from compressctl.explanation.weights import ResultWeights, Weights, weight_indices
from compressctl.measure.accuracy import Comparison, compare
from compressctl.measure.metric import Metric, Score
from compressctl.measure.session import Session
from compressctl.model.graph import bias_of, constant, initializer, remove_dead, replace_node
from compressctl.model.ops import RECURRENT
from compressctl.resources import Resources

_RESCALED = "channels of it, or of what it reads, carry factors of their own (equalized), which weights alone do not"
_CUT = "the result's weights have another shape"
_NONE = "the result has no such weights"


class SensitivityMeter:
    """Puts other weights into the original, one layer at a time, and measures that.

    Args:
        baseline: the original; left as it is.
        source: samples, with labels where there is a metric.
        metric: or None.
        resources: threads and work folder.
    """

    def __init__(self, baseline: ir.Model, source: Source, metric: Metric | None, resources: Resources) -> None:
        self._baseline, self._metric, self._resources = baseline, metric, resources
        self._nodes = {node.name: node for node in baseline.graph}
        session = self._open(baseline)
        folder = resources.workdir / "outputs"
        folder.mkdir()
        self._kept = Kept(session, source, batch_size(session, source), folder)
        self._score = self._measure(session)[1]

    def _open(self, model: ir.Model) -> Session:
        resources = self._resources
        return Session(model, threads=resources.threads, workdir=resources.workdir, spinning="never")

    def of(
        self, layer: WeightedNode, noise: LayerNoise, result: ResultWeights
    ) -> tuple[Sensitivity | None, str | None]:
        """Return the sensitivity to a layer's weights in a model after a pass, or why there is none.

        Args:
            layer: of the original.
            noise: what became of it after that pass.
            result: the weights of that model.

        Raises:
            ModelError: the original cannot be run with these weights.
        """
        if noise.cut:
            return None, _CUT
        if noise.rescaled:
            return None, _RESCALED
        if noise.given is None or noise.stands_for is None:
            return None, _NONE
        original = self._nodes[layer.name]
        try:
            weights = result.of(layer, layer.values[noise.given], original)
        except ModelError as error:
            return None, f"the result's weights cannot be read: {error.message}"
        if weights is None:
            return None, _NONE
        held = [constant(original.inputs[i]) for i in weight_indices(layer)]
        plain = [one for one in held if one is not None and one.dtype.kind == "f"]
        if len(plain) != len(weights.arrays):
            return None, "the original's weights are no plain floats"
        pairs = list(zip(plain, weights.arrays, strict=True))
        if any(one.shape != other.shape for one, other in pairs):
            return None, _CUT
        same = all(np.array_equal(one, other) for one, other in pairs)
        if same and not noise.stands_for and self._same_bias(layer, weights):
            return Sensitivity(math.inf, None if self._score is None else Comparison(0.0, 0.0, 0.0, 1.0)), None
        model = self._with(layer, noise, weights)
        ratio, score = self._measure(self._open(model))
        drop = None
        if score is not None and self._score is not None and self._metric is not None:
            drop = compare(self._score, score, self._metric)
        return Sensitivity(decibels(ratio), drop), None

    def _same_bias(self, layer: WeightedNode, weights: Weights) -> bool:
        node = self._nodes[layer.name]
        held = None if node.op_type in RECURRENT else constant(bias_of(node))
        if held is None or weights.bias is None:
            return weights.bias is None
        return np.array_equal(held, weights.bias)

    def _with(self, layer: WeightedNode, noise: LayerNoise, weights: Weights) -> ir.Model:
        """Return the original with these weights, which stand for the layer and what was folded into it."""
        model = self._baseline.clone()
        graph = model.graph
        node = next(node for node in graph if node.name == layer.name)
        if node.op_type in RECURRENT:
            for index, array in zip(weight_indices(layer), weights.arrays, strict=True):
                old = node.inputs[index]
                assert old is not None
                node.replace_input_with(index, initializer(graph, f"{old.name}_result", array.astype(_dtype(old))))
            return model
        values = {value.name: value for other in graph for value in other.outputs}
        last = values[layer.values[noise.stands_for or 0]].producer()
        assert last is not None
        replace_node(graph, last, _nodes(graph, node, layer.weight, weights))
        remove_dead(model)
        return model

    def _measure(self, session: Session) -> tuple[float, Score | None]:
        """Return noise over signal of the outputs, averaged over outputs, and the score."""
        metric = None if self._metric is None else self._metric.fresh()
        noises: dict[str, Noise] = {}
        for batch, expected, actual in self._kept.beside(session):
            for name, array in expected.items():
                noises.setdefault(name, Noise(-1)).add(array, actual[name])
            if metric is not None:
                metric.update(actual, batch)
        ratios = [noise.ratio for noise in noises.values()]
        return float(np.mean(ratios)) if ratios else math.nan, None if metric is None else metric.result()


def _nodes(graph: ir.Graph, node: ir.Node, index: int, weights: Weights) -> list[ir.Node]:
    """Return the nodes that do what `node` does, with other weights; its own bias stays where the result has none."""
    inputs = list(node.inputs)
    old = inputs[index]
    assert old is not None
    dtype = _dtype(old)
    inputs[index] = initializer(graph, f"{old.name}_result", weights.arrays[0].astype(dtype))
    attributes = list(node.attributes.values())
    bias = None if weights.bias is None else initializer(graph, f"{old.name}_bias", weights.bias.astype(dtype))
    if bias is not None and node.op_type != "MatMul":
        inputs[2:] = [bias]
    new = [ir.Node("", node.op_type, inputs, attributes)]
    if bias is not None and node.op_type == "MatMul":
        new.append(ir.node("Add", [new[0].outputs[0], bias]))
    return new


def _dtype(value: ir.Value) -> np.dtype[np.generic]:
    array = constant(value)
    assert array is not None
    return array.dtype
