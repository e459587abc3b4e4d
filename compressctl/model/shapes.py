"""Types and shapes of values."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import onnx
import onnx_ir as ir
from onnx import helper, shape_inference

from compressctl.errors import ModelError
from compressctl.model.folding import fold_shape_arithmetic
from compressctl.model.protos import holds_map
from compressctl.model.reasons import MALFORMED, reason
from compressctl.model.skeleton import skeleton

_SHAPED_AS_INPUT = frozenset({
    ("", "GroupNormalization"),
    ("", "RotaryEmbedding"),
    ("", "SimplifiedLayerNormalization"),
    ("com.microsoft", "BiasGelu"),
    ("com.microsoft", "FastGelu"),
    ("com.microsoft", "Gelu"),
    ("com.microsoft", "MultiHeadAttention"),
    ("com.microsoft", "QuickGelu"),
    ("com.microsoft", "RotaryEmbedding"),
    ("com.microsoft", "SkipLayerNormalization"),
    ("com.microsoft", "SkipSimplifiedLayerNormalization"),
})  # fmt: skip

_SUMMING, _SUM = ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), 3  # this output is the sum they norm

# Operators whose elements onnx follows, but for Shape and Size, which read none.
_FOLLOWED = frozenset({"Add", "Cast", "Concat", "Gather", "Mul", "Slice", "Squeeze", "Sub", "Unsqueeze"})
_LONG = 1 << 16  # elements of a vector; nothing that describes a shape is near


def infer_shapes(model: ir.Model) -> None:
    """Give the main graph's values the types and shapes that follow from its inputs and operators, in place.

    Known sizes and symbolic names stay; only what is unknown is filled in. Values behind operators that onnx does not
    know keep what they have.

    Raises:
        ModelError: onnx's shape inference rejects the graph; one line.
    """
    known = inferred_types(skeleton(model))
    for value in (output for node in model.graph for output in node.outputs):
        kind = known.get(value.name or "")
        if kind is None or holds_map(kind):  # of maps onnx_ir has no type
            continue
        if value.type is None:
            value.type = ir.serde.deserialize_type_proto_for_type(kind)
        shape = ir.serde.deserialize_type_proto_for_shape(kind)
        if shape is not None:
            value.shape = _merged(value.shape, shape)


def forget_inferred(model: ir.Model, stated: Collection[str]) -> None:
    """Take from the main graph's values, in place, the types and shapes that inference finds without them.

    Args:
        model: the model.
        stated: names of values that keep theirs all the same.
    """
    proto = skeleton(model)
    kept = [info for info in proto.graph.value_info if info.name in stated]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(kept)
    try:
        found = inferred_types(proto)
    except ModelError:
        return
    for value in (output for node in model.graph for output in node.outputs):
        if value.is_graph_output() or value.name in stated or value.name not in found:
            continue
        shape = ir.serde.deserialize_type_proto_for_shape(found[value.name])
        again = None if shape is None else _merged(None, shape)
        if value.shape is None or (again is not None and _merged(again, value.shape) == again):
            value.type = value.shape = None


def inferred_types(proto: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    """Return the type of every value that follows from the inputs, by name; edits `proto`.

    Raises:
        ModelError: onnx's shape inference rejects the graph; one line.
    """
    types: dict[str, onnx.TypeProto] = {}
    _stand_in(proto)
    _cut_long(proto)
    while True:
        try:
            graph = shape_inference.infer_shapes(proto, data_prop=True).graph
        except MALFORMED as error:
            raise ModelError(f"shapes cannot be inferred: {reason(error)}") from error
        infos: Iterable[onnx.ValueInfoProto] = [*graph.input, *graph.value_info, *graph.output]
        types.update({info.name: info.type for info in infos})
        if not fold_shape_arithmetic(proto, types):
            return types


def _stand_in(proto: onnx.ModelProto) -> None:
    """Replace operators whose shapes onnx cannot infer, by Identity where they keep their first input's.

    Of MultiHeadAttention this holds where values are as wide as queries.
    """
    if not any(node.domain == "com.microsoft" or ("", node.op_type) in _SHAPED_AS_INPUT for node in proto.graph.node):
        return
    nodes: list[onnx.NodeProto] = []
    for node in proto.graph.node:
        kind, others = (node.domain, node.op_type), [place for place, name in enumerate(node.output) if place and name]
        if kind == ("com.microsoft", "GroupQueryAttention") and max(others, default=0) < 3:
            nodes += _group_query_attention(proto.graph, node)
        elif kind in _SHAPED_AS_INPUT and (not others or (others == [_SUM] and node.op_type in _SUMMING)):
            nodes += [helper.make_node("Identity", node.input[:1], [name]) for name in node.output if name]
        else:
            nodes.append(node)
    if len(nodes) != len(proto.graph.node) or any(map(operator.is_not, nodes, proto.graph.node)):
        held = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del proto.graph.node[:]
        proto.graph.node.extend(held)


def _group_query_attention(graph: onnx.GraphProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Return nodes whose outputs have the shapes of those of GroupQueryAttention: heads side by side, and states."""
    numbers = {attribute.name: attribute.i for attribute in node.attribute}
    heads, fewer = numbers["num_heads"], numbers["kv_num_heads"]
    inputs, name = [*node.input, *[""] * 5], node.output[0]
    nodes: list[onnx.NodeProto] = []

    def add(op_type: str, sources: Sequence[str | list[int]], output: str, **attributes: Any) -> str:
        given = [each if isinstance(each, str) else f"{output}_{index}" for index, each in enumerate(sources)]
        for each, source in zip(given, sources, strict=True):
            if not isinstance(source, str):
                graph.initializer.append(helper.make_tensor(each, onnx.TensorProto.INT64, [len(source)], source))
        nodes.append(helper.make_node(op_type, given, [output], **attributes))
        return output

    key = inputs[1] and add("Reshape", [inputs[1], [0, 0, fewer, -1]], f"{name}_key")
    if key:
        add("Identity", [inputs[0]], name)
    else:
        whole = add("Reshape", [inputs[0], [0, 0, heads + 2 * fewer, -1]], f"{name}_whole")
        queries = add("Slice", [whole, [0], [heads], [2]], f"{name}_queries")
        key = add("Slice", [whole, [heads], [heads + fewer], [2]], f"{name}_key")
        add("Reshape", [queries, [0, 0, -1]], name)
    for past, present in zip(inputs[3:5], node.output[1:3], strict=False):
        if present:
            new = add("Transpose", [key], f"{present}_new", perm=[0, 2, 1, 3])
            add("Concat", [past, new] if past else [new], present, axis=2)
    return nodes


def _cut_long(proto: onnx.ModelProto) -> None:
    """Put graph inputs in the place of what is made of long vectors, such as packed weights, where its type is known.

    onnx follows the elements of vectors, known or not, in case they are shapes: at over 100 bytes an element.
    """
    graph = proto.graph
    declared: list[onnx.ValueInfoProto] = [*graph.input, *graph.value_info]
    if not any(map(_is_long, (info.type for info in declared))):
        return
    try:
        inferred = shape_inference.infer_shapes(proto).graph
    except MALFORMED:  # said where elements are followed
        return
    types = {info.name: info.type for info in (*inferred.input, *inferred.value_info, *inferred.output)}
    outputs = {info.name for info in graph.output}
    cut = [
        index
        for index, node in enumerate(graph.node)
        if not node.domain
        and node.op_type in _FOLLOWED
        and node.output[0] not in outputs
        and any(name in types and _is_long(types[name]) for name in node.input)
        and _is_static(types.get(node.output[0]))
    ]
    made = {graph.node[index].output[0] for index in cut}
    for index in reversed(cut):
        del graph.node[index]
    stated = [info for info in graph.value_info if info.name not in made]
    del graph.value_info[:]
    graph.value_info.extend(stated)
    for name in made:
        graph.input.add(name=name, type=types[name])


def _is_long(kind: onnx.TypeProto) -> bool:
    dims = kind.tensor_type.shape.dim
    return len(dims) == 1 and dims[0].dim_value > _LONG


def _is_static(kind: onnx.TypeProto | None) -> bool:
    if kind is None or not kind.tensor_type.HasField("shape"):
        return False
    return all(dim.HasField("dim_value") for dim in kind.tensor_type.shape.dim)


def _merged(old: ir.Shape | None, new: ir.Shape) -> ir.Shape:
    if old is None:
        return ir.Shape([_named(dim) for dim in new])
    if len(old) != len(new):  # the file contradicts itself; what its author wrote stays
        return old
    return ir.Shape([a if isinstance(a, int) else _named(b, a) for a, b in zip(old, new, strict=True)])


def _named(inferred: int | ir.SymbolicDim, known: ir.SymbolicDim | None = None) -> int | str | None:
    """Return the inferred size, else the name it is known by, else the inferred name.

    Inference makes up names `unk__0`, …, anew each time it runs; those are dropped.
    """
    if isinstance(inferred, int):
        return inferred
    if known is not None and known.value is not None:
        return known.value
    return None if inferred.value is None or inferred.value.startswith("unk__") else inferred.value


def concrete_shapes(model: ir.Model, dims: Mapping[str, int]) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Infer the shapes that values have at given input sizes; `model` is not changed.

    Args:
        model: the model.
        dims: sizes of symbolic input dimensions by name; those left out, and unnamed ones, are taken as 1.

    Returns:
        the shapes that are known in full, by value name (none where inference finds a contradiction), and the sizes
        that input dimensions were given, by their names or as `input[axis]`.
    """
    proto = skeleton(model)
    used: dict[str, int] = {}
    for info in proto.graph.input:
        for axis, dim in enumerate(info.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                name = dim.dim_param or f"{info.name}[{axis}]"
                dim.dim_value = used[name] = dims.get(name, 1)
    for info in (*proto.graph.value_info, *proto.graph.output):
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_param in used:
                dim.dim_value = used[dim.dim_param]
            elif not dim.HasField("dim_value"):
                dim.Clear()
    try:
        types = inferred_types(proto)
    except ModelError:
        types = {}
    shapes = {}
    for name, kind in types.items():
        tensor = kind.tensor_type
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            shapes[name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    return shapes, used
