"""Which outputs of a graph may be scores of classes, along which axis, and whether the classes are the next tokens.

An output may be scores where, behind nodes that only move, cast, shift or scale values, it comes from

- a Softmax or LogSoftmax, or a classifier of ai.onnx.ml;
- a last layer (Gemm, MatMul, Conv, or a mean over places of one) or a Sigmoid, where it is [N, C] or [N, C, 1, 1];
- the same where it is [N, T, V] or [N, C, …], if its name says so: logits, scores, classes, segmentation;
- the same where it is logits [N, T, V] over the vocabulary of a model of token ids: V is the number of rows of the
  table in which the ids are looked up, or V is above 1000 and it is called logits.

Outputs with names of embeddings, features, boxes, coordinates or attention are none, whatever they come from; nor are
those of a normalisation or an activation. The graph cannot tell a regression of several numbers, or an embedding from
a last layer, from scores: `measure.fidelity` looks at how sure the values are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import onnx_ir as ir

from compressctl.model import ops
from compressctl.model.graph import is_plain_constant
from compressctl.model.lookups import lookup_limits

_MOVES = ops.VIEWS | ops.ARITHMETIC | ops.CASTS | ops.QDQ | {"Identity", "Dropout"}
_POOLS = ops.AVERAGES | {"ReduceMean"}
_LAYERS = ops.CONV_FORMS | ops.GEMM_FORMS | ops.MATMUL_FORMS | {"Resize", "Sigmoid"}
_SCORES = re.compile(r"logit|score|class|cls|seg|prob|vocab")
_OTHERS = re.compile(
    r"embed|pool|feat|hidden|state|represent|vector|box|coord|landmark|keypoint|kpt|pose|offset|delta|regress|attn|attention"
    r"|image_out|depth|flow"
)
_WORDS = 1000  # classes, above which logits of each token are over a vocabulary, not over tags


@dataclass(frozen=True)
class Classes:
    """What an output is that may be scores of classes.

    Attributes:
        axis: along which the classes lie.
        words: whether they are a vocabulary: the output is logits of a token at each place, of a language model.
    """

    axis: int = -1
    words: bool = False


def score_outputs(model: ir.Model) -> dict[str, Classes]:
    """Return the outputs that may be scores of classes, by name."""
    found, rows = {}, _rows(model)
    for value in model.graph.outputs:
        words = bool(rows) and _over_words(value, rows)
        axis = -1 if words else _axis(value)
        if value.name is not None and axis is not None:
            found[value.name] = Classes(axis, words)
    return found


def gives_words(model: ir.Model) -> bool:
    """Return whether an output is the logits of next tokens: whether it is a language model."""
    return any(classes.words for classes in score_outputs(model).values())


def _rows(model: ir.Model) -> set[int]:
    """Return the rows of the tables in which a model looks up token ids [N, T]; empty where it takes none."""
    limits = lookup_limits(model)
    return {
        limits[v.name] for v in model.graph.inputs if v.name in limits and v.shape is not None and len(v.shape) == 2
    }


def _over_words(output: ir.Value, rows: set[int]) -> bool:
    """Whether an output is logits [N, T, V] over a vocabulary."""
    name, shape = (output.name or "").lower(), output.shape
    if shape is None or len(shape) != 3 or not isinstance(shape[2], int) or _OTHERS.search(name):
        return False
    node, _ = _origin(output)
    if node is None or node.op_type not in ops.GEMM_FORMS | ops.MATMUL_FORMS:
        return False
    return shape[2] in rows or (shape[2] > _WORDS and "logit" in name)


def _axis(output: ir.Value) -> int | None:
    name = (output.name or "").lower()
    rank = None if output.shape is None else len(output.shape)
    if _OTHERS.search(name) or rank in (0, 1):
        return None
    node, moved = _origin(output)
    if node is None:
        return None
    if node.op_type in ops.SOFTMAX:
        return _usual(rank) if moved else node.attributes.get_int("axis", -1)
    if node.op_type in ops.CLASSIFIERS:
        return 1
    flat = rank == 2 or (rank == 4 and output.shape is not None and tuple(output.shape[2:]) == (1, 1))
    if node.op_type in _LAYERS and (flat or (_SCORES.search(name) and node.op_type != "Sigmoid")):
        return _usual(rank)
    return None


def _usual(rank: int | None) -> int:
    """The last axis of [N, C] and [N, T, V], the second of images."""
    return -1 if rank is None or rank <= 3 else 1


def _origin(value: ir.Value) -> tuple[ir.Node | None, bool]:
    """Return the node whose values an output shows, and whether they were moved since; None where it is not clear."""
    moved, seen_pool = False, False
    while (node := value.producer()) is not None:
        if node.op_type in _POOLS and not seen_pool:
            seen_pool = True
        elif node.op_type == "Relu" and seen_pool:  # SqueezeNet: a mean of what its last convolution fires
            pass
        elif node.op_type not in _MOVES:
            return node, moved
        computed = [one for one in node.inputs if one is not None and not is_plain_constant(one)]
        if not computed or (len(computed) > 1 and node.op_type in ops.ARITHMETIC):
            return None, moved
        moved = moved or node.op_type in ops.VIEWS
        value = computed[0]
    return None, moved
