"""Going through a tensor's elements without holding all of them."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array

FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE})
"""The floats in which models compute; smaller ones are storage forms."""

_ELEMENTS = 1 << 22  # or bytes, that are read at once


def stored_tensors(graph: ir.Graph) -> Iterator[tuple[str, ir.TensorProtocol]]:
    """Yield (name, tensor) for each initializer and node attribute of `graph` and of the bodies inside it."""
    for inner in (graph, *graph.subgraphs()):
        for name, value in inner.initializers.items():
            if value.const_value is not None:
                yield name, value.const_value
    for node in graph.all_nodes():
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                yield node.outputs[0].name or node.name or "", attribute.value


def drop_pages(tensors: Iterable[ir.TensorProtocol]) -> None:
    """Let the system take back the memory of external tensors that were mapped, until they are used again."""
    for tensor in tensors:
        if isinstance(tensor, ir.ExternalTensor) and tensor.raw is not None and hasattr(mmap, "MADV_DONTNEED"):
            tensor.raw.madvise(mmap.MADV_DONTNEED)


def chunks(tensor: ir.TensorProtocol) -> Iterator[Array]:
    """Yield the tensor's elements in order as flat arrays of at most 4,194,304.

    External tensors are read piece by piece, not mapped, so that no pages of theirs stay in memory.
    """
    if not isinstance(tensor, ir.ExternalTensor) or tensor.dtype.bitwidth < 8:
        flat = tensor.numpy().reshape(-1)
        for start in range(0, flat.size, _ELEMENTS):
            yield flat[start : start + _ELEMENTS]
        return
    dtype, left = np.dtype(tensor.dtype.numpy()), tensor.size
    with open(tensor.path, "rb") as file:  # noqa: PTH123 (onnx_ir gives a string)
        file.seek(tensor.offset or 0)
        while left:
            block = file.read(min(left, _ELEMENTS) * dtype.itemsize)
            yield np.frombuffer(block, dtype)
            left -= min(left, _ELEMENTS)


def byte_blocks(tensor: ir.TensorProtocol) -> Iterator[bytes]:
    """Yield the tensor's bytes as a file holds them; those of an external tensor are read piece by piece."""
    if not isinstance(tensor, ir.ExternalTensor):
        yield tensor.tobytes()
        return
    left = tensor.nbytes
    with open(tensor.path, "rb") as file:  # noqa: PTH123 (onnx_ir gives a string)
        file.seek(tensor.offset or 0)
        while left and (block := file.read(min(left, _ELEMENTS))):
            left -= len(block)
            yield block


def read_array(tensor: ir.TensorProtocol) -> Array:
    """Return the tensor's elements, not to be written into; those of an external tensor are read, and not kept."""
    if not isinstance(tensor, ir.ExternalTensor) or tensor.dtype.bitwidth < 8:
        return tensor.numpy()
    data = np.fromfile(tensor.path, np.uint8, tensor.nbytes, offset=tensor.offset or 0)
    return data.view(tensor.dtype.numpy()).reshape(tensor.shape.numpy())
