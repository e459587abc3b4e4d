"""Weights in 8 bits under layers that compute in float: for what has no integer kernel, or a slower one.

onnxruntime makes them float as it loads the file, so that the file is smaller and the model as fast as before.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from compressctl.model.tensor_file import TensorFiles
from compressctl.notes import Note, done
from compressctl.numerics.grids import INT8
from compressctl.quantization.weights.rounding import Style
from compressctl.quantization.weights.storage import store
from compressctl.quantization.weights.targets import Target, targets

STYLE = Style(INT8, "channel", offsets=False)


def packable(graph: ir.Graph, *, embeddings: bool = False) -> set[str]:
    """The names of the nodes of `graph` whose weights become smaller in 8 bits.

    Args:
        graph: the main graph.
        embeddings: whether tables that are looked up may take part; those that have a form as rows of int8 do not.
    """
    found = [target for target in _saving(graph, embeddings=embeddings) if not target.lookups]
    return {node.name or "" for target in found for node in target.nodes}


def pack_weights(graph: ir.Graph, names: Collection[str], files: TensorFiles | None = None) -> list[Note]:
    """Store the weights that only nodes of these names use in 8 bits, to nearest, a scale a channel.

    Args:
        graph: the main graph, edited.
        names: of nodes; those without such weights are left alone.
        files: where large integers wait until the model is saved; None: in memory.

    Raises:
        ModelError: a weight holds NaN or infinity.
    """
    chosen = [one for one in _saving(graph, embeddings=True) if all(node.name in names for node in one.nodes)]
    for target in chosen:
        store(graph, target, STYLE.round(target), files)
    if not chosen:
        return []
    layers = len({node.name for target in chosen for node in target.nodes})
    return [done(f"{layers} layers compute in float, on weights stored in 8 bits")]


def _saving(graph: ir.Graph, *, embeddings: bool) -> list[Target]:
    found, _ = targets(graph, embeddings=embeddings)
    return [one for one in found if STYLE.bytes(one) < one.tensor.nbytes]
