"""BERT-base (Devlin et al. 2018, arXiv:1810.04805): 12 layers of 768, vocabulary of 30,522, 109 M parameters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto

from benchmarks.models.attention import STD, feed_forward, layer_norm, self_attention
from benchmarks.models.builder import Graph

VOCABULARY, POSITIONS, WIDTH, LAYERS, HEADS = 30_522, 512, 768, 12, 12


def build(path: Path) -> None:
    """Write the model: three int64 inputs [batch, tokens] -> `last_hidden_state` [batch, tokens, 768]."""
    graph = Graph("bert_base")
    shape = ("batch", "tokens")
    ids, attention, types = (
        graph.input(name, shape, TensorProto.INT64) for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    mask = _additive_mask(graph, attention)
    x = layer_norm(graph, _embeddings(graph, ids, types), WIDTH)
    for _ in range(LAYERS):
        x = layer_norm(graph, graph.op("Add", self_attention(graph, x, WIDTH, HEADS, mask), x), WIDTH)
        x = layer_norm(graph, graph.op("Add", feed_forward(graph, x, WIDTH), x), WIDTH)
    graph.save(path, x, "last_hidden_state", (*shape, WIDTH))


def _additive_mask(graph: Graph, attention: str) -> str:
    """Turn 1 and 0 into 0 and -10,000, as the original does, shaped [batch, 1, 1, tokens]."""
    kept = graph.op("Cast", graph.op("Unsqueeze", attention, graph.ints(1, 2)), to=TensorProto.FLOAT)
    dropped = graph.op("Sub", graph.scalar(1), kept)
    return graph.op("Mul", dropped, graph.scalar(-10_000))


def _embeddings(graph: Graph, ids: str, types: str) -> str:
    tokens = graph.op("Shape", ids, start=1, end=2)
    places = graph.constant(np.arange(POSITIONS, dtype=np.int64)[None])
    positions = graph.op("Slice", places, graph.ints(0), tokens, graph.ints(1))
    words = graph.op("Gather", graph.normal((VOCABULARY, WIDTH), STD), ids)
    kinds = graph.op("Gather", graph.normal((2, WIDTH), STD), types)
    at = graph.op("Gather", graph.normal((POSITIONS, WIDTH), STD), positions)
    return graph.op("Add", graph.op("Add", words, kinds), at)
