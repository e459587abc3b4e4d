"""Running a model as far as its linear layers, to see what they read."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.data.source import Feeds
from compressctl.layers.linear import LinearLayer, linear_layers
from compressctl.measure.session import Session
from compressctl.model.graph import remove_dead, unique_name
from compressctl.resources import Resources


class LayerInputs:
    """A session that returns what layers read.

    Args:
        model: left as it is; what the layers do not depend on is not run.
        layers: of its main graph.
        resources: threads and work folder of onnxruntime.

    Raises:
        ModelError: onnxruntime cannot run the model.
    """

    def __init__(self, model: ir.Model, layers: Sequence[LinearLayer], resources: Resources) -> None:
        clone = model.clone()
        copies = {layer.name: layer for layer in linear_layers(clone.graph)}
        clone.graph.outputs.clear()
        outputs: dict[ir.Value, ir.Value] = {}
        for copy in (copies[layer.name] for layer in layers):
            if copy.input not in outputs:
                outputs[copy.input] = _output(clone.graph, copy)
        self._names = {layer: outputs[copies[layer.name].input].name or "" for layer in layers}
        remove_dead(clone)  # the layers themselves, too
        self._session = Session(clone, threads=resources.threads, workdir=resources.workdir, spinning="never")

    def read(self, feeds: Feeds) -> dict[LinearLayer, Array]:
        """Return what each layer reads; layers that read the same get the same array."""
        values = self._session.run(feeds)
        return {layer: values[name] for layer, name in self._names.items()}


def _output(graph: ir.Graph, layer: LinearLayer) -> ir.Value:
    """Make an output of what `layer` reads."""
    value = layer.input
    if value.is_graph_input():  # onnxruntime wants a node, and a name of its own
        graph.append(ir.node("Identity", [value]))
        value = graph[-1].outputs[0]
        value.name = unique_name(graph, f"{layer.name}_input")
    value.type = value.type or layer.weight.type
    graph.outputs.append(value)
    return value
