"""Fused attention: the standard operator (opset 23), and onnxruntime's MultiHeadAttention and GroupQueryAttention."""

from __future__ import annotations

import onnx_ir as ir

from compressctl.model.graph import operand
from compressctl.structure.axes import Axes, UnknownShapeError
from compressctl.structure.rules.common import follow, result, tie_all


def attention(node: ir.Node, axes: Axes) -> None:
    """Attention: Q, K, V and Y are [B, S, heads * size] or [B, heads, S, size]; a K/V head serves several Q heads."""
    query, key, value = (axes.of(node.inputs[index]) for index in range(3))
    output = axes.of(node.outputs[0])
    if len(query) == 4:
        heads, shared = query[1], key[1]
        for one, other in ((query[3], key[3]), (value[3], output[3]), (value[1], shared), (output[1], heads)):
            axes.tie(one, other)
        if "scale" not in node.attributes:
            axes.freeze([query[3]], f"Attention '{node.name}' scales by the size of its heads")
        rows = [(query[0], query[2]), (key[0], key[2]), (value[0], value[2]), (output[0], output[2])]
    else:
        count = node.attributes["q_num_heads"].as_int()
        fewer = node.attributes["kv_num_heads"].as_int()
        heads = axes.virtual(node, "heads", (count, count))
        shared = axes.virtual(node, "kv heads", (fewer, fewer))
        depth = _size(node, axes, query[2], heads, "size")
        wide = _size(node, axes, value[2], shared, "value size")
        axes.factor(key[2], (shared, depth))
        axes.factor(output[2], (heads, wide))
        rows = [(each[0], each[1]) for each in (query, key, value, output)]
    _share(node, axes, heads, shared)
    for batch, _ in rows[1:]:
        axes.tie(batch, rows[0][0])
    axes.tie(rows[0][1], rows[3][1])
    axes.tie(rows[1][1], rows[2][1])
    _mask(node, axes, operand(node, 3), heads)
    if any(operand(node, index) is not None for index in (4, 5, 6)) or any(
        result(node, index) is not None for index in (1, 2, 3)
    ):
        kept = [*query[2:], *key[2:], *value[2:], *output[2:], heads, shared]
        axes.freeze(kept, f"Attention '{node.name}' keeps keys and values of past steps")


def multi_head_attention(node: ir.Node, axes: Axes) -> None:
    """com.microsoft MultiHeadAttention on query, key and value [B, S, heads * size]; one vector holds their biases."""
    inputs = [operand(node, index) for index in range(4)]
    if (
        any(value is None for value in inputs[:3])
        or any(value is not None for value in node.inputs[4:])
        or any(result(node, index) is not None for index in (1, 2))
    ):
        raise UnknownShapeError("a form of MultiHeadAttention")
    query, key, value = (axes.of(each) for each in inputs[:3])
    output = axes.of(node.outputs[0])
    if not len(query) == len(key) == len(value) == 3:
        raise UnknownShapeError("packed keys and values")
    count = node.attributes["num_heads"].as_int()
    heads = axes.virtual(node, "heads", (count, count))
    depth = _size(node, axes, query[2], heads, "size")
    wide = _size(node, axes, value[2], heads, "value size")
    axes.factor(key[2], (heads, depth))
    axes.factor(output[2], (heads, wide))
    axes.heads.add(heads)
    for each in (key, value, output):
        axes.tie(query[0], each[0])
    axes.tie(query[1], output[1])
    axes.tie(key[1], value[1])
    if inputs[3] is not None:  # query, key and value biases, one after another
        bias = axes.of(inputs[3])[0]
        start = 0
        for each in (query, key, value):
            size = axes.sizes[each[2]][0]
            axes.tie(each[2], bias, range(size), range(start, start + size))
            start += size
        follow(axes, node, inputs[3])


def group_query_attention(node: ir.Node, axes: Axes) -> None:
    """com.microsoft GroupQueryAttention on [B, S, heads * size], query, key and value apart or side by side.

    A key and value head serves several heads of queries, and is a unit with them. Those of past steps, which are
    [B, heads, S, size], go with it.
    """
    query, output = axes.of(node.inputs[0]), axes.of(node.outputs[0])
    count, fewer = node.attributes["num_heads"].as_int(), node.attributes["kv_num_heads"].as_int()
    heads = axes.virtual(node, "heads", (count, count))
    shared = axes.virtual(node, "kv heads", (fewer, fewer))
    if operand(node, 1) is not None:
        parts = [query[2], axes.of(node.inputs[1])[2], axes.of(node.inputs[2])[2]]
    else:
        size = axes.sizes[query[2]][0] // (count + 2 * fewer)
        parts, start = [], 0
        for label, many in (("queries", count), ("keys", fewer), ("values", fewer)):
            parts.append(axes.virtual(node, label, (many * size, many * size)))
            axes.tie(parts[-1], query[2], range(many * size), range(start, start + many * size))
            start += many * size
    depth = _size(node, axes, parts[0], heads, "size")
    axes.factor(parts[1], (shared, depth))
    axes.factor(parts[2], (shared, depth))
    axes.factor(output[2], (heads, depth))
    _share(node, axes, heads, shared)
    axes.tie(query[0], output[0])
    axes.tie(query[1], output[1])
    for state in (operand(node, 3), operand(node, 4), result(node, 1), result(node, 2)):
        if state is not None:
            places = axes.of(state)
            axes.tie(places[1], shared)
            axes.freeze([places[3]], f"GroupQueryAttention '{node.name}' keeps heads of past steps whole")
    for value in map(node.inputs.__getitem__, range(5, min(len(node.inputs), 10))):  # lengths, places, tables of angles
        axes.freeze(axes.of(value), f"GroupQueryAttention '{node.name}' places its steps by it")
    _mask(node, axes, operand(node, 10), heads)
    if (sinks := operand(node, 11)) is not None:
        axes.tie(axes.of(sinks)[0], heads)
        follow(axes, node, sinks)
    others = [*node.inputs[12:], result(node, 3)]
    if any(value is not None for value in others):
        axes.freeze([heads, shared], f"GroupQueryAttention '{node.name}' reads or gives more than is understood")


def rotary_embedding(node: ir.Node, axes: Axes) -> None:
    """RotaryEmbedding of [B, heads, S, size] or [B, S, heads * size]: it turns pairs of a head's channels."""
    source, output = axes.of(node.inputs[0]), axes.of(node.outputs[0])
    tie_all(axes, source, output)
    turned = f"RotaryEmbedding '{node.name}' turns pairs of it"
    for value in node.inputs[1:]:
        axes.freeze(axes.of(value), turned)
    if len(source) == 4:
        axes.freeze([source[3]], turned)
        return
    count = node.attributes.get_int("num_heads", 0)
    if not count:  # onnxruntime's: as many as the angles leave
        count = axes.sizes[source[2]][0] // (2 * axes.sizes[axes.of(node.inputs[2])[1]][0])
    _size(node, axes, source[2], axes.virtual(node, "heads", (count, count)), "size")


def _share(node: ir.Node, axes: Axes, heads: int, shared: int) -> None:
    """Declare heads of queries and of keys, each of which serves as many of the former, units of attention."""
    axes.heads.add(heads)
    if axes.sizes[heads] == axes.sizes[shared]:
        axes.tie(heads, shared)
        return
    repeats = axes.sizes[heads][0] // axes.sizes[shared][0]
    repeat = axes.virtual(node, "queries a kv head", (repeats, repeats))
    axes.freeze([repeat], f"{node.op_type} '{node.name}' shares a key between them")
    axes.factor(heads, (shared, repeat))
    axes.heads.add(shared)


def _mask(node: ir.Node, axes: Axes, mask: ir.Value | None, heads: int) -> None:
    """Tie what is added to the scores [..., heads or 1, S, S] to the heads."""
    if mask is not None:
        places = axes.of(mask)
        if len(places) > 2 and axes.sizes[places[-3]] != (1, 1):
            axes.tie(places[-3], heads)
        follow(axes, node, mask)


def _size(node: ir.Node, axes: Axes, whole: int, heads: int, label: str) -> int:
    """Return a new axis for the channels of a head; they stay whole, as the scale depends on their number."""
    each = axes.sizes[whole][0] // axes.sizes[heads][0]
    size = axes.virtual(node, label, (each, each))
    axes.freeze([size], f"{node.op_type} '{node.name}' scales by the size of its heads")
    axes.factor(whole, (heads, size))
    return size
