"""Run a model on samples from one stage of layers to the next, while weights that come later may still change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.data.source import Feeds
from compressctl.layers.linear import LinearLayer
from compressctl.measure.captures import Captures
from compressctl.model.graph import reads
from compressctl.model.shapes import infer_shapes


class Walk:
    """A model whose layers are passed in stages; a layer reads nothing that layers of its own or a later stage make.

    Each node runs once for all samples; values that are still to be read wait on disk.

    Args:
        model: the weights of a layer may change until its stage is passed; the graph may not. Types are filled in.
        layers: of its main graph.
        batches: feeds of the graph's inputs.
        folder: an existing empty folder.
        threads: of onnxruntime.

    Attributes:
        stages: the layers of each stage.

    Raises:
        DataError: the disk is full, here and later.
    """

    def __init__(
        self, model: ir.Model, layers: Sequence[LinearLayer], batches: Iterable[Feeds], folder: Path, threads: int
    ) -> None:
        if any(value.type is None for node in model.graph for value in node.outputs if value.name):
            infer_shapes(model)  # parts of a graph must tell the types of their inputs and outputs
        self._model, self._threads = model, threads
        self._captures = Captures(folder, batches)
        self._made: dict[ir.Value, int] = {v: 0 for v in model.graph.inputs if not v.is_initializer()}
        self._read: dict[ir.Value, list[int]] = {value: [] for value in self._made}
        by_node = {layer.node: layer for layer in layers}
        stages: list[list[LinearLayer]] = []
        for node in model.graph:
            sources = [value for value in reads(node) if value in self._made]
            if not sources:
                continue  # constants, and what is made of them
            stage = max(self._made[value] for value in sources)
            if node in by_node:
                stages += [[] for _ in range(stage + 1 - len(stages))]
                stages[stage].append(by_node[node])
                stage += 1  # the node itself runs with what follows it, once its weight is settled
            for value in sources:
                self._read[value].append(stage)
            for value in node.outputs:
                if value.name:
                    self._made[value], self._read[value] = stage, []
        self.stages = tuple(map(tuple, stages))
        self._stage_of = {layer.name: stage for stage, members in enumerate(stages) for layer in members}
        self._input_of = {layer.name: layer.input for layer in layers}
        self._stored = {value for value in self._made if value.is_graph_input()}
        self._reached = -1

    def reach(self, name: str) -> None:
        """Run the model up to what the layer `name` reads; the stages before its own are passed.

        Raises:
            ModelError: onnxruntime cannot run it.
        """
        while self._reached < self._stage_of[name]:
            self._advance(self._reached + 1)

    @property
    def batches(self) -> int:
        """How many batches there are."""
        return self._captures.batches

    def value(self, name: str, batch: int) -> Array:
        """Return what a layer, reached and not yet left, reads in a batch."""
        return self._captures.get(self._input_of[name].name or "", batch)

    def leave(self, name: str) -> None:
        """Declare that what a layer reads is not needed any more."""
        del self._input_of[name]

    def _advance(self, stage: int) -> None:
        """Run the nodes of a stage on what is stored; store what later ones read, or was not left."""
        inputs = [value for value in self._made if value in self._stored and stage in self._read[value]]
        made = [v for v, at in self._made.items() if at == stage and v not in self._stored]
        outputs = [value for value in made if max(self._read[value], default=-1) > stage]
        self._captures.advance(self._model, _names(inputs), _names(outputs), self._threads)
        waited_for = set(self._input_of.values())
        self._stored.update(outputs)
        self._stored = {v for v in self._stored if v in waited_for or max(self._read[v], default=-1) > stage}
        self._captures.keep(set(_names(self._stored)))
        self._reached = stage


def _names(values: Iterable[ir.Value]) -> list[str]:
    return [value.name or "" for value in values]
