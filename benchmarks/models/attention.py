"""What the transformers share: linear layers, Erf-Gelu, LayerNormalization and attention as exporters write them."""

from __future__ import annotations

from math import sqrt

import numpy as np

from benchmarks.models.builder import Graph

STD = 0.02  # of random weights, as in BERT (Devlin et al. 2018, arXiv:1810.04805)


def linear(graph: Graph, x: str, inputs: int, outputs: int) -> str:
    """Add MatMul and Add."""
    product = graph.op("MatMul", x, graph.normal((inputs, outputs), STD))
    return graph.op("Add", graph.normal((outputs,), STD), product)


def gelu(graph: Graph, x: str) -> str:
    """Add the five nodes of x * (1 + erf(x / sqrt 2)) / 2."""
    erf = graph.op("Erf", graph.op("Div", x, graph.scalar(sqrt(2))))
    return graph.op("Mul", graph.op("Mul", x, graph.op("Add", erf, graph.scalar(1))), graph.scalar(0.5))


def layer_norm(graph: Graph, x: str, width: int) -> str:
    """Add a LayerNormalization over the last axis."""
    scale, bias = graph.normal((width,), 0.1, mean=1.0), graph.normal((width,), 0.1)
    return graph.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-12)


def feed_forward(graph: Graph, x: str, width: int) -> str:
    """Add two linear layers with a Gelu between; the inner one is four times as wide."""
    return linear(graph, gelu(graph, linear(graph, x, width, 4 * width)), 4 * width, width)


def self_attention(graph: Graph, x: str, width: int, heads: int, mask: str | None = None) -> str:
    """Add multi-head attention of [batch, tokens, width]; `mask` is added to the scores."""
    size = width // heads
    shape = graph.constant(np.array([0, 0, heads, size], np.int64))

    def split(perm: list[int]) -> str:
        return graph.op("Transpose", graph.op("Reshape", linear(graph, x, width, width), shape), perm=perm)

    query, key, value = split([0, 2, 1, 3]), split([0, 2, 3, 1]), split([0, 2, 1, 3])
    scores = graph.op("Div", graph.op("MatMul", query, key), graph.scalar(sqrt(size)))
    if mask is not None:
        scores = graph.op("Add", scores, mask)
    mixed = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), value)
    joined = graph.op("Reshape", graph.op("Transpose", mixed, perm=[0, 2, 1, 3]), graph.ints(0, 0, width))
    return linear(graph, joined, width, width)
