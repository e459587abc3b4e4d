"""What a linear layer multiplies: the rows of its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compressctl.arrays import Array, Floats32, Integers
from compressctl.layers.linear import LinearLayer
from compressctl.numerics.im2col import same_pads, windows


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows that a layer multiplies, not yet copied out of its input.

    Attributes:
        view: [*places, *inputs of all groups], a view of the input.
        places: how many axes of `view` are places.
        groups: of the layer.
    """

    view: Array
    places: int
    groups: int

    def __len__(self) -> int:
        return int(np.prod(self.view.shape[: self.places]))

    def take(self, numbers: Integers) -> Floats32:
        """Return the rows of these numbers as [groups, rows, inputs]; times `matrix`^T they are the layer's outputs."""
        rows = self.view[np.unravel_index(numbers, self.view.shape[: self.places])]
        return rows.reshape(len(numbers), self.groups, -1).swapaxes(0, 1).astype(np.float32, copy=False)


def rows_key(layer: LinearLayer) -> tuple[Any, ...]:
    """Return what the rows of `layer` depend on: layers with one key read the same rows."""
    if layer.node.op_type != "Conv":
        return layer.input, layer.groups, _axis(layer)
    attributes = layer.node.attributes
    pads = (attributes.get_string("auto_pad", "NOTSET"), *attributes.get_ints("pads", ()))
    return layer.input, layer.groups, *_geometry(layer), pads


def input_rows(layer: LinearLayer, x: Array) -> Rows:
    """Return the rows of `layer` where it reads `x`."""
    if layer.node.op_type != "Conv":
        matrix = x[None] if x.ndim == 1 else np.moveaxis(x, _axis(layer), -1)  # MatMul takes vectors too
        return Rows(matrix, matrix.ndim - 1, layer.groups)
    kernel, strides, dilations = _geometry(layer)
    attributes = layer.node.attributes
    auto_pad = attributes.get_string("auto_pad", "NOTSET")
    if auto_pad.startswith("SAME"):
        pads = same_pads(x.shape[2:], kernel, strides, dilations, upper=auto_pad == "SAME_UPPER")
    else:
        pads = tuple(attributes.get_ints("pads", ())) if auto_pad == "NOTSET" else ()
    zeros = (0,) * 2 * len(kernel)
    return Rows(windows(x, kernel, strides, dilations, pads or zeros), 1 + len(kernel), layer.groups)


def _geometry(layer: LinearLayer) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return kernel, strides and dilations of a convolution."""
    kernel, attributes = layer.weight_shape[2:], layer.node.attributes
    ones = (1,) * len(kernel)
    return kernel, tuple(attributes.get_ints("strides", ones)), tuple(attributes.get_ints("dilations", ones))


def _axis(layer: LinearLayer) -> int:
    """The axis of the input of any layer but a Conv along which a row lies."""
    if layer.node.op_type == "ConvTranspose":
        return 1
    if layer.node.op_type == "Gemm":
        return 0 if layer.node.attributes.get_int("transA", 0) else 1
    return -1 if layer.weight_index == 1 else -2
