"""The int8 form of constant float weights, each stored once however many nodes use it; what it saves, told before.

A rewrite can build its nodes on stand-ins (same names, no graph) and so know its price without leaving a trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Floats32, Integers8
from compressctl.model.footprint import tensor_bytes
from compressctl.model.graph import initializer
from compressctl.model.stored import why_not_constant
from compressctl.model.tensor_file import TensorFiles
from compressctl.model.tensors import drop_pages
from compressctl.numerics.grids import INT8, REDUCED
from compressctl.numerics.qparams import quantize, symmetric

Channels = Literal["rows", "columns"]
"""What shares a scale: each vector along the last axis ("rows"), or each index of the last axis ("columns")."""
Quantized = tuple[Integers8, Floats32]

FIRST_OPERAND = "its constant is the first operand, an INT8 weight must be the second"
_TINY = np.finfo(np.float32).tiny  # a smaller scale is denormal, which kernels may take for 0


def tensor_of(value: ir.Value | None) -> ir.TensorProtocol | None:
    """Return the tensor of an initializer that cannot be fed, or of a Constant node, else None; reads no data."""
    if value is None or value.is_graph_input():
        return None
    return value.const_value if value.is_initializer() else ir.convenience.get_const_tensor(value)


def shape_of(weight: ir.Value) -> tuple[int, ...]:
    """Return the shape of a value that is known to be a constant; its data is not read."""
    tensor = tensor_of(weight)
    assert tensor is not None, f"{weight.name} is no constant"
    return tuple(tensor.shape.numpy())


def obstacle_of(weight: ir.Value | None) -> str | None:
    """Return why `weight` has no int8 form, or None."""
    tensor = tensor_of(weight)
    if tensor is None:
        return why_not_constant(weight)
    if tensor.dtype != ir.DataType.FLOAT:
        return not_float32(tensor.dtype)
    return "its weight is empty" if tensor.size == 0 else None


def not_float32(dtype: ir.DataType) -> str:
    """Return why a weight of another type has no int8 form."""
    return f"its weight is {dtype.numpy().name}, only float32 has an INT8 form"


def quantize_weight(
    weight: Array, channels: Channels, *, reduced_range: bool = False, name: str = "weight"
) -> Quantized:
    """Return (values, scales) with weight ~ values * scales and zero point 0; a channel of zeros has scale 1.

    Args:
        weight: float, of two axes or more [..., K, N].
        channels: "rows": scales of shape [..., K]; "columns": scales of shape [N].
        reduced_range: values in [-64, 64], which cannot saturate on x86 without VNNI, instead of [-127, 127].
        name: the tensor, for the error message.

    Raises:
        ModelError: `weight` holds NaN or infinity.
    """
    matrix = weight.reshape(-1, weight.shape[-1])
    grid = REDUCED if reduced_range else INT8
    qparams = symmetric(matrix, 0 if channels == "rows" else 1, high=grid.high, name=f"weight {name!r}")
    scale_shape = weight.shape[:-1] if channels == "rows" else weight.shape[-1:]
    values = quantize(matrix, qparams).astype(np.int8, copy=False)
    return values.reshape(weight.shape), qparams.scale.reshape(scale_shape)


@dataclass
class Int8Weights:
    """Makes the int8 initializers of one graph and remembers them, so that a shared weight is stored once.

    Attributes:
        graph: where the initializers are registered.
        reduced_range: as in `quantize_weight`.
        files: where large integers wait until the model is saved; None: in memory.
    """

    graph: ir.Graph
    reduced_range: bool = False
    files: TensorFiles | None = None
    _scales: dict[tuple[ir.Value, Channels], Floats32] = field(default_factory=dict, init=False, repr=False)
    _unplaced: dict[tuple[ir.Value, Channels], Integers8] = field(default_factory=dict, init=False, repr=False)
    _initializers: dict[tuple[Any, ...], ir.Value] = field(default_factory=dict, init=False, repr=False)

    @property
    def weights(self) -> list[ir.Value]:
        """Those that were asked for."""
        return [weight for weight, _ in self._scales]

    def values(self, weight: ir.Value, channels: Channels, *, transposed: bool = False) -> ir.Value:
        """Return the int8 initializer of the constant `weight`, its last two axes swapped where `transposed`."""
        key = (weight, channels, transposed)
        if key not in self._initializers:
            if (weight, channels) not in self._unplaced:
                self._quantize(weight, channels)
            values = self._unplaced.pop((weight, channels))
            stored = values.swapaxes(-1, -2) if transposed else values
            made = self._initializers[key] = initializer(self.graph, f"{weight.name}_int8", stored)
            if self.files is not None:
                self.files.keep(made)
        return self._initializers[key]

    def scale(self, weight: ir.Value, channels: Channels, *, factor: float = 1.0, keepdims: bool = False) -> ir.Value:
        """Return the float32 initializer of the scales of the constant `weight`.

        Args:
            weight: a constant.
            channels: as in `quantize_weight`.
            factor: positive; multiplied into the scales.
            keepdims: whether to add a last axis of size 1.
        """
        key = (weight, channels, factor, keepdims)
        if key not in self._initializers:
            if (weight, channels) not in self._scales:
                self._quantize(weight, channels)
            scale = np.maximum(self._scales[weight, channels] * np.float32(factor), _TINY)
            scale = scale[..., np.newaxis] if keepdims else scale
            self._initializers[key] = initializer(self.graph, f"{weight.name}_scale", scale)
        return self._initializers[key]

    def _quantize(self, weight: ir.Value, channels: Channels) -> None:
        tensor, name, key = tensor_of(weight), str(weight.name), (weight, channels)
        assert tensor is not None, f"{name} is no constant"
        found = quantize_weight(tensor.numpy(), channels, reduced_range=self.reduced_range, name=name)
        self._unplaced[key], self._scales[key] = found
        drop_pages([tensor])


def make_node(
    op_type: str, inputs: Sequence[ir.Value | None], *outputs: str, domain: str = "", **attributes: int
) -> ir.Node:
    """Return a node that belongs to no graph yet; it is named as its first output ("" is an omitted one)."""
    values = [ir.Value(name=output) for output in outputs]
    return ir.node(op_type, inputs, attributes, domain=domain, outputs=values, name=next(filter(None, outputs)))


def stand_in(value: ir.Value, suffix: str = "") -> ir.Value:
    """Return a value of the same name, `suffix` added, that belongs to no graph."""
    return ir.Value(name=f"{value.name}{suffix}")


def int8_saving(weight: ir.Value, shape: Sequence[int], scale_shape: Sequence[int]) -> int:
    """Return the bytes that int8 values and scales save on the float32 `weight`, shared out among its users."""
    saved = tensor_bytes(weight.name, ir.DataType.FLOAT, shape)
    saved -= tensor_bytes(f"{weight.name}_int8", ir.DataType.INT8, shape)
    saved -= tensor_bytes(f"{weight.name}_scale", ir.DataType.FLOAT, scale_shape)
    return saved // len(weight.consumers())
