"""Walking and editing an `onnx.ModelProto` before it becomes an `ir.Model`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import chain, count, islice
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from compressctl.errors import ModelError
from compressctl.model.embedded import embedded_bytes
from compressctl.model.skeleton import LARGE

_MOST_NODES = 500_000  # several times those of the largest models that are exported
_MOST_CALLS = 100  # functions that each call the next; exporters nest as modules do
_MOST = 2**48  # elements of a tensor; no machine holds as many


def graphs(proto: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """Yield the main graph and all bodies inside it, outer ones first; not those of functions."""
    pending = [proto.graph]
    while pending:
        yield (graph := pending.pop())
        for attribute in chain.from_iterable(node.attribute for node in graph.node):
            pending.extend([attribute.g] if attribute.HasField("g") else attribute.graphs)


def check_functions(proto: onnx.ModelProto) -> None:
    """Check that the graph stays finite, and of a size that can be worked on, with its functions written out.

    Raises:
        ValueError: a function calls itself, or functions of functions multiply.
    """
    functions = {(function.domain, function.name): function.node for function in proto.functions}
    sizes: dict[tuple[str, str], int] = {}
    open_ones: dict[tuple[str, str], None] = {}

    def expanded(nodes: Iterable[onnx.NodeProto]) -> int:
        return sum(_inside(node) + size((node.domain, node.op_type)) for node in nodes)

    def _inside(node: onnx.NodeProto) -> int:
        bodies = (body for attribute in node.attribute for body in (attribute.g, *attribute.graphs) if body.node)
        return 1 + sum(expanded(body.node) for body in bodies)

    def size(called: tuple[str, str]) -> int:
        if called in open_ones or len(open_ones) > _MOST_CALLS:
            raise ValueError(f"function {called[1]!r} calls itself, or too many others, one in another")
        if called in functions and called not in sizes:
            open_ones[called] = None
            sizes[called] = expanded(functions[called])
            del open_ones[called]
        return sizes.get(called, 0)

    if proto.functions and (nodes := expanded(proto.graph.node)) > _MOST_NODES:
        raise ValueError(f"its functions written out are {nodes:,} nodes, more than {_MOST_NODES:,}")


def check_raw(proto: onnx.ModelProto) -> None:
    """Check that every tensor has a shape and holds its data once; where that is as bytes, as many as they should be.

    Raises:
        ValueError: names the tensor.
    """
    for tensor in tensors(proto):
        if tensor.dims and (min(tensor.dims) < 0 or math.prod(tensor.dims) > _MOST):
            raise ValueError(f"tensor {tensor.name!r} is of the shape {list(tensor.dims)}")
        embedded = embedded_bytes(tensor)
        held = sum(field.name.endswith("_data") for field, _ in tensor.ListFields())
        held -= bool(tensor.external_data) and embedded is None
        if held > 1:
            raise ValueError(f"tensor {tensor.name!r} holds data of {held} kinds")
        if embedded is None:
            if not tensor.HasField("raw_data") or tensor.data_location == onnx.TensorProto.EXTERNAL:
                continue
            embedded = len(tensor.raw_data)
        needed = -(-ir.DataType(tensor.data_type).bitwidth * math.prod(tensor.dims) // 8)
        if embedded != needed:
            raise ValueError(f"tensor {tensor.name!r} holds {embedded} bytes, its type and shape say {needed}")


def tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor the model stores: the main graph's initializers, parts of sparse ones, attributes; bodies'."""
    for graph in graphs(proto):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        yield from _attribute_tensors(graph.node)
    for function in proto.functions:
        yield from _attribute_tensors(function.node)


def embed_small(proto: onnx.ModelProto, folder: Path) -> None:
    """Read external data into the proto, except those of the main graph's large initializers."""
    initializers = proto.graph.initializer
    small = (tensor for tensor in initializers if _stored_bytes(tensor) <= LARGE)
    elsewhere = islice(tensors(proto), len(initializers), None)
    for tensor in chain(small, elsewhere):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensor.raw_data = ir.serde.deserialize_tensor(tensor, folder).tobytes()
            tensor.ClearField("external_data")
            tensor.data_location = onnx.TensorProto.DEFAULT


def take_weights(proto: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Take the main graph's large initializers out, put graph inputs in their place, and return them by name.

    What remains is light enough for onnx's C++ functions, which copy the whole model several times.
    """
    weights = {tensor.name: tensor for tensor in proto.graph.initializer if _stored_bytes(tensor) > LARGE}
    small = [tensor for tensor in proto.graph.initializer if tensor.name not in weights]
    inputs = {info.name for info in proto.graph.input}
    for name, tensor in weights.items():
        if name not in inputs:
            info = helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
            proto.graph.input.append(info)
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(small)
    return weights


def name_nodes(proto: onnx.ModelProto) -> None:
    """Name nodes that have no name `OpType_<n>`, and number those whose name an earlier node bears."""
    for nodes in chain([[node for graph in graphs(proto) for node in graph.node]], (f.node for f in proto.functions)):
        taken = {node.name for node in nodes if node.name}
        seen: set[str] = set()
        for node in nodes:
            if not node.name or node.name in seen:
                base = node.name or node.op_type
                node.name = next(name for i in count() if (name := f"{base}_{i}") not in taken)
                taken.add(node.name)
            seen.add(node.name)


def open_negative(proto: onnx.ModelProto) -> None:
    """Leave dimensions open that the file declares as negative, as some exporters write those that are dynamic."""
    for graph in graphs(proto):
        for info in (*graph.input, *graph.output, *graph.value_info):
            for dim in info.type.tensor_type.shape.dim:
                if dim.dim_value < 0:
                    dim.Clear()


def refuse_maps(proto: onnx.ModelProto, path: Path) -> None:
    """Refuse values that are maps, alone or in sequences: they are no tensors, and nothing here computes with them.

    Raises:
        ModelError: names the first one, and the node that makes it.
    """
    for graph in graphs(proto):
        makers = {name: node for node in graph.node for name in node.output}
        for info in (*graph.output, *graph.input, *graph.value_info):
            if holds_map(info.type):
                made = f", which {makers[info.name].op_type} makes," if info.name in makers else ""
                raise ModelError(
                    f"{path}: {info.name!r}{made} is a map, and only tensors are supported",
                    "export a classifier with zipmap=False, which gives its probabilities as a tensor",
                )


def holds_map(kind: onnx.TypeProto) -> bool:
    """Whether a value of this type is a map, or a sequence of maps."""
    form = kind.WhichOneof("value")
    if form in ("sequence_type", "optional_type"):
        return holds_map(getattr(kind, form).elem_type)
    return bool(form == "map_type")


def take_sparse(proto: onnx.ModelProto) -> dict[str, onnx.SparseTensorProto]:
    """Take the main graph's sparse initializers out, put graph inputs in their place, and return them by name."""
    sparse = {tensor.values.name: tensor for tensor in proto.graph.sparse_initializer}
    for name, tensor in sparse.items():
        info = helper.make_tensor_value_info(name, tensor.values.data_type, list(tensor.dims))
        proto.graph.input.append(info)
    del proto.graph.sparse_initializer[:]
    return sparse


def densify(proto: onnx.ModelProto) -> int:
    """Turn sparse initializers and sparse Constant nodes into dense ones (as onnx_ir holds them); return how many."""
    changed = 0
    for graph in graphs(proto):
        for sparse in graph.sparse_initializer:
            graph.initializer.append(_dense(sparse))
            changed += 1
        del graph.sparse_initializer[:]
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.SPARSE_TENSOR and node.op_type == "Constant":
                    attribute.CopyFrom(helper.make_attribute("value", _dense(attribute.sparse_tensor)))
                    changed += 1
    return changed


def _dense(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    """Scatter a COO tensor; indices are [NNZ] (linear) or [NNZ, rank] (SparseTensorProto in onnx.proto)."""
    values = numpy_helper.to_array(sparse.values)
    indices = numpy_helper.to_array(sparse.indices)
    shape = tuple(sparse.dims)
    try:
        dense = np.zeros(shape, values.dtype)
    except MemoryError as error:
        raise ModelError(f"sparse tensor {sparse.values.name!r} of shape {shape} does not fit in memory") from error
    position = np.unravel_index(indices, shape) if indices.ndim == 1 else tuple(indices.T)
    dense[position] = values
    return numpy_helper.from_array(dense, sparse.values.name)


def _attribute_tensors(nodes: Iterator[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for attribute in chain.from_iterable(node.attribute for node in nodes):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors


def _stored_bytes(tensor: onnx.TensorProto) -> int:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return int(math.prod(tensor.dims) * ir.DataType(tensor.data_type).bitwidth / 8)
    return int(tensor.ByteSize())
