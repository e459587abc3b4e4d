"""A small vision transformer (Dosovitskiy et al. 2020, arXiv:2010.11929): 6 blocks of 384, patches of 16x16 pixels."""

from __future__ import annotations

from math import sqrt
from pathlib import Path

from benchmarks.models.attention import STD, feed_forward, layer_norm, linear, self_attention
from benchmarks.models.builder import Graph

WIDTH, LAYERS, HEADS, PATCH, PATCHES = 384, 6, 6, 16, 196


def build(path: Path) -> None:
    """Write the model: `input` [batch, 3, 224, 224] -> `logits` [batch, 1000]."""
    graph = Graph("vit")
    x = _tokens(graph, graph.input("input", ("batch", 3, 224, 224)))
    for _ in range(LAYERS):
        x = graph.op("Add", self_attention(graph, layer_norm(graph, x, WIDTH), WIDTH, HEADS), x)
        x = graph.op("Add", feed_forward(graph, layer_norm(graph, x, WIDTH), WIDTH), x)
    first = graph.op("Gather", layer_norm(graph, x, WIDTH), graph.ints(0), axis=1)
    logits = linear(graph, graph.op("Squeeze", first, graph.ints(1)), WIDTH, 1000)
    graph.save(path, logits, "logits", ("batch", 1000))


def _tokens(graph: Graph, image: str) -> str:
    """Embed the patches, put the class token before them and add the positions."""
    weight = graph.normal((WIDTH, 3, PATCH, PATCH), sqrt(1 / (3 * PATCH * PATCH)))
    bias = graph.normal((WIDTH,), STD)
    patches = graph.op("Conv", image, weight, bias, kernel_shape=[PATCH] * 2, strides=[PATCH] * 2)
    flat = graph.op("Transpose", graph.op("Reshape", patches, graph.ints(0, WIDTH, -1)), perm=[0, 2, 1])
    batch = graph.op("Shape", flat, start=0, end=1)
    shape = graph.op("Concat", batch, graph.ints(1, WIDTH), axis=0)
    token = graph.op("Expand", graph.normal((1, 1, WIDTH), STD), shape)
    tokens = graph.op("Concat", token, flat, axis=1)
    return graph.op("Add", tokens, graph.normal((1, PATCHES + 1, WIDTH), STD))
