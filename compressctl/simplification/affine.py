"""BatchNormalization and arithmetic with constants, read as y = scale * x + shift: one number a channel (axis 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Floats
from compressctl.model.graph import constant
from compressctl.model.ops import ARITHMETIC
from compressctl.simplification.edit import is_op, other_outputs_unused


@dataclass(frozen=True)
class Affine:
    """y = scale * x + shift.

    Attributes:
        source: x.
        scale: float64, [channels] or [1].
        shift: float64, of the same shape.
    """

    source: ir.Value
    scale: Floats
    shift: Floats


def batch_norm(node: ir.Node) -> Affine | str:
    """Read a BatchNormalization at inference: scale = gamma / sqrt(var + epsilon), shift = beta - mean * scale.

    Returns:
        the affine, or why there is none.
    """
    source, *parameters = node.inputs
    arrays = [_float64(constant(value)) for value in parameters]
    gamma, beta, mean, var = arrays if len(arrays) == 4 else [None] * 4
    if source is None or gamma is None or beta is None or mean is None or var is None:
        return "its parameters are not constants"
    if node.attributes.get_int("training_mode", 0) or not other_outputs_unused(node):
        return "it is in training mode"
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(var + node.attributes.get_float("epsilon", 1e-5))
        shift = beta - mean * scale
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        return "its parameters give infinity or NaN"
    return Affine(source, scale, shift)


def arithmetic(node: ir.Node, rank: int) -> Affine | None:
    """Read Add, Sub, Mul or Div with a constant that has one number, or one a channel, beside a tensor of `rank`."""
    if not is_op(node, *ARITHMETIC):
        return None
    for position in (1, 0):
        source, array = node.inputs[1 - position], constant(node.inputs[position])
        number = None if array is None else _per_channel(array, rank)
        if source is None or number is None:
            continue
        one, nought = np.ones_like(number), np.zeros_like(number)
        match node.op_type:
            case "Add":
                return Affine(source, one, number)
            case "Mul":
                return Affine(source, number, nought)
            case "Sub":
                return Affine(source, one, -number) if position == 1 else Affine(source, -one, number)
            case "Div" if position == 1 and number.all():
                return Affine(source, 1 / number, nought)
    return None


def _per_channel(array: Array, rank: int) -> Floats | None:
    """Return [channels] or [1] numbers where the array broadcasts along axis 1 of a tensor of `rank` only."""
    if array.dtype.kind == "i" or array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    return _float64(array.reshape(-1)) if array.size == shape[1] else None


def _float64(array: Array | None) -> Floats | None:
    return None if array is None else array.astype(np.float64)
