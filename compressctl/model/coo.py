"""Sparse initializers: in a graph they read as dense tensors, in the file they are ONNX's sparse ones.

The file holds the elements other than zero and their places, as linear indices of 64 bits (SparseTensorProto in
onnx.proto). onnxruntime makes them dense when it loads the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir


class CooTensor(ir.LazyTensor):
    """A tensor that is stored as values and their places; dense where it is read, and only then.

    Args:
        values: [n], the elements other than zero, in row-major order.
        places: [n], int64: the row-major index of each, ascending.
        shape: of the tensor.
        name: of the tensor.
    """

    __slots__ = ("places", "values")

    def __init__(
        self, values: ir.TensorProtocol, places: ir.TensorProtocol, shape: Sequence[int], name: str | None = None
    ) -> None:
        super().__init__(self._dense, values.dtype, ir.Shape(shape), name=name)
        self.values, self.places = values, places

    @property
    def stored_bytes(self) -> int:
        """Bytes of values and places; `nbytes` are those of the dense tensor."""
        return self.values.nbytes + self.places.nbytes

    def proto(self, name: str) -> onnx.SparseTensorProto:
        """Return the sparse tensor that a file holds."""
        values = onnx.TensorProto(
            name=name, data_type=self.dtype.value, dims=[self.values.size], raw_data=self.values.tobytes()
        )
        places = onnx.TensorProto(
            data_type=onnx.TensorProto.INT64, dims=[self.places.size], raw_data=self.places.tobytes()
        )
        return onnx.SparseTensorProto(values=values, indices=places, dims=self.shape.numpy())

    def _dense(self) -> ir.TensorProtocol:
        dense = np.zeros(self.size, self.dtype.numpy())
        dense[self.places.numpy()] = self.values.numpy()
        return ir.tensor(dense.reshape(self.shape.numpy()), dtype=self.dtype)


def stored_bytes(tensor: ir.TensorProtocol) -> int:
    """Return the bytes of a tensor's elements in the file."""
    return tensor.stored_bytes if isinstance(tensor, CooTensor) else tensor.nbytes


def from_proto(proto: onnx.SparseTensorProto) -> CooTensor:
    """Return the tensor that a sparse initializer holds.

    Raises:
        ValueError: places are not as onnx.proto wants them: of the right number, ascending, within the shape.
    """
    shape, name = tuple(proto.dims), proto.values.name
    places = onnx.numpy_helper.to_array(proto.indices)
    if places.ndim == 2:
        places = np.ravel_multi_index(tuple(places.T), shape)
    size = int(np.prod(shape, dtype=np.int64))
    values = ir.serde.deserialize_tensor(proto.values)
    if len(places) != values.size or (len(places) and not 0 <= places[0] <= places[-1] < size):
        raise ValueError(f"sparse tensor {name!r} has values or places that do not fit its shape {shape}")
    if (np.diff(places) <= 0).any():
        raise ValueError(f"the places of sparse tensor {name!r} do not ascend")
    return CooTensor(values, ir.tensor(places.astype(np.int64)), shape, name)
