"""What can be known of a graph's values without running it: types, shapes, and the contents of small integer tensors.

Everything is inferred afresh from the graph's inputs and weights; the shapes that exporters wrote beside intermediate
values are not trusted.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.errors import ModelError
from compressctl.model.shapes import inferred_types
from compressctl.model.skeleton import skeleton
from compressctl.simplification.contents import infer_contents
from compressctl.tensorspec import Dim

Shape = tuple[Dim, ...]


class Facts:
    """Facts about the values of `model.graph`, as it is now.

    They stay true for a value as long as rewrites keep what it holds (else they `forget` it); values made later are
    unknown here. Dimensions of one symbolic name are equal.

    Attributes:
        problem: why shapes could not be inferred, or None.
    """

    problem: str | None = None

    def __init__(self, model: ir.Model) -> None:
        self._shapes: dict[ir.Value, Shape] = {}
        self._dtypes: dict[ir.Value, ir.DataType] = {}
        self._infer(model)
        self._contents: dict[ir.Value, Array] = infer_contents(model.graph, self.shape)

    def shape(self, value: ir.Value | None) -> Shape | None:
        """Return the shape: a size, a symbolic name, or None for each dimension; None where the rank is unknown."""
        if value is None or value.const_value is None or value.is_graph_input():
            return None if value is None else self._shapes.get(value)
        return tuple(value.const_value.shape.numpy())

    def static_shape(self, value: ir.Value | None) -> tuple[int, ...] | None:
        """Return the shape where all its dimensions are fixed, else None."""
        shape = self.shape(value)
        sizes = tuple(dim for dim in shape or () if isinstance(dim, int))
        return None if shape is None or len(sizes) < len(shape) else sizes

    def rank(self, value: ir.Value | None) -> int | None:
        """Return the number of dimensions, or None where unknown."""
        shape = self.shape(value)
        return None if shape is None else len(shape)

    def same_shape(self, a: ir.Value | None, b: ir.Value | None) -> bool:
        """Return whether the two shapes are provably equal."""
        return self.rank(a) is not None and None not in (self.shape(a) or ()) and self.shape(a) == self.shape(b)

    def dtype(self, value: ir.Value | None) -> ir.DataType | None:
        """Return the element type, or None where unknown."""
        if value is not None and value.const_value is not None:
            return value.const_value.dtype
        return None if value is None else self._dtypes.get(value)

    def contents(self, value: ir.Value | None) -> Array | None:
        """Return the elements of a small integer or bool tensor (an array of objects: int, bool, symbol, None)."""
        return None if value is None else self._contents.get(value)

    def forget(self, value: ir.Value) -> None:
        """Drop what is known of a value that a rewrite made hold something else."""
        for known in (self._shapes, self._contents):
            known.pop(value, None)

    def _infer(self, model: ir.Model) -> None:
        try:
            types = inferred_types(_without_hearsay(skeleton(model)))
        except ModelError as error:
            self.problem = error.message
            return
        for value in (*model.graph.inputs, *(output for node in model.graph for output in node.outputs)):
            kind = types.get(value.name or "")
            if kind is None or not kind.HasField("tensor_type"):
                continue
            if kind.tensor_type.elem_type:
                self._dtypes[value] = ir.DataType(kind.tensor_type.elem_type)
            if kind.tensor_type.HasField("shape"):
                self._shapes[value] = tuple(_dim(dim) for dim in kind.tensor_type.shape.dim)


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    return int(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param or None


def _without_hearsay(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Drop what the file says of its intermediate values and outputs; name the unknown dimensions of its inputs."""
    del proto.graph.value_info[:]
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")
    for value in proto.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value") and not dim.dim_param:
                dim.dim_param = f"{value.name}[{axis}]"  # unknown, but the same all through the graph
    return proto
