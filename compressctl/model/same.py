"""Whether two models are the same one, whatever their files say of where they come from."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import onnx_ir as ir

from compressctl.model.coo import CooTensor
from compressctl.model.provenance import unstamp
from compressctl.model.tensors import byte_blocks
from compressctl.model.wire import encoded


def same_model(a: ir.Model, b: ir.Model) -> bool:
    """Return whether two loaded models have the same nodes, names, interface and weights, stored in the same form.

    Types of values in between, which follow, do not count, nor do provenance and the IR version, which saving decides.
    """
    weights, others = dict(_weights(a)), dict(_weights(b))
    return (
        weights.keys() == others.keys()
        and _frame(a) == _frame(b)
        and all(map(_same, weights.values(), (others[name] for name in weights)))
    )


def _weights(model: ir.Model) -> Iterator[tuple[str, ir.TensorProtocol]]:
    for name, value in model.graph.initializers.items():
        if value.const_value is not None and value.dtype != ir.DataType.STRING:
            yield name, value.const_value


def _frame(model: ir.Model) -> bytes:
    """The proto without weights and types."""
    copy = model.clone()
    unstamp(copy)
    copy.ir_version = 0
    for name, _ in list(_weights(copy)):
        del copy.graph.initializers[name]
    for value in (output for node in copy.graph for output in node.outputs if not output.is_graph_output()):
        value.type = value.shape = None
    return encoded(ir.to_proto(copy))


def _same(a: ir.TensorProtocol, b: ir.TensorProtocol) -> bool:
    if a is b:
        return True
    form, other = ((t.dtype, tuple(t.shape.numpy()), isinstance(t, CooTensor)) for t in (a, b))
    return form == other and content_hash(a) == content_hash(b)


def content_hash(tensor: ir.TensorProtocol) -> bytes:
    """Return the SHA-256 of the bytes that a tensor takes in a file."""
    digest = sha256()
    for block in byte_blocks(tensor):
        digest.update(block)
    return digest.digest()
