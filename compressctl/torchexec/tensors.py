"""Tensors of the graph as torch tensors, and back."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from compressctl.arrays import Array
from compressctl.errors import ModelError

_AS_BITS = {  # numpy has no such types of its own: ml_dtypes' arrays are handed over as bits
    "bfloat16": (np.uint16, torch.bfloat16),
    "float8_e4m3fn": (np.uint8, torch.float8_e4m3fn),
    "float8_e4m3fnuz": (np.uint8, torch.float8_e4m3fnuz),
    "float8_e5m2": (np.uint8, torch.float8_e5m2),
    "float8_e5m2fnuz": (np.uint8, torch.float8_e5m2fnuz),
}
_WIDENED = {"int4": np.int8, "uint4": np.uint8, "int2": np.int8, "uint2": np.uint8}


def to_torch(tensor: ir.TensorProtocol) -> Tensor:
    """Return a copy of a tensor of the graph; integers of less than 8 bits are widened.

    Raises:
        ModelError: torch has no such type.
    """
    return from_numpy(tensor.numpy(), tensor.name or "a tensor")


def from_numpy(array: Array, name: str) -> Tensor:
    """Return a copy of an array; see `to_torch`."""
    kind = array.dtype.name
    if kind in _AS_BITS:
        bits, dtype = _AS_BITS[kind]
        return torch.from_numpy(np.array(array.view(bits))).view(dtype)
    array = array.astype(_WIDENED[kind]) if kind in _WIDENED else np.array(array)
    try:
        return torch.from_numpy(array)
    except TypeError:
        raise ModelError(f"{name} is of type {kind}, which torch does not have") from None


def to_numpy(tensor: Tensor) -> Array:
    """Return a copy of a tensor as an array of the type that ONNX knows."""
    tensor = tensor.detach().to("cpu", copy=True).contiguous()
    for name, (bits, dtype) in _AS_BITS.items():
        if tensor.dtype == dtype:
            return (
                tensor.view(torch.uint16 if bits is np.uint16 else torch.uint8).numpy().view(getattr(ml_dtypes, name))
            )
    array: Array = tensor.numpy()
    return array
