"""LeNet-300-100 and LeNet-5 (LeCun et al. 1998) as compressed in Deep Compression (Han et al. 2016): Caffe's shapes."""

from __future__ import annotations

from math import sqrt
from pathlib import Path

from benchmarks.models.builder import Graph

CLASSES = 10


def build_300_100(path: Path) -> None:
    """Write the untrained model, 266,610 parameters: `input` [batch, 1, 28, 28] -> `logits` [batch, 10]."""
    graph = Graph("lenet_300_100")
    x = graph.op("Flatten", graph.input("input", ("batch", 1, 28, 28)), axis=1)
    x = graph.op("Relu", _dense(graph, x, 784, 300))
    x = graph.op("Relu", _dense(graph, x, 300, 100))
    graph.save(path, _dense(graph, x, 100, CLASSES), "logits", ("batch", CLASSES))


def build_5(path: Path) -> None:
    """Write the untrained model, 431,080 parameters: `input` [batch, 1, 28, 28] -> `logits` [batch, 10]."""
    graph = Graph("lenet_5")
    x = _pooled(graph, graph.input("input", ("batch", 1, 28, 28)), 1, 20)
    x = graph.op("Flatten", _pooled(graph, x, 20, 50), axis=1)
    x = graph.op("Relu", _dense(graph, x, 800, 500))
    graph.save(path, _dense(graph, x, 500, CLASSES), "logits", ("batch", CLASSES))


def _dense(graph: Graph, x: str, inputs: int, outputs: int) -> str:
    weight = graph.normal((outputs, inputs), sqrt(2 / inputs))
    return graph.op("Gemm", x, weight, graph.normal((outputs,), 0.01), transB=1)


def _pooled(graph: Graph, x: str, inputs: int, outputs: int) -> str:
    weight = graph.normal((outputs, inputs, 5, 5), sqrt(2 / (25 * inputs)))
    x = graph.op("Conv", x, weight, graph.normal((outputs,), 0.01), kernel_shape=[5, 5])
    return graph.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
