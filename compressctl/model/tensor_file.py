"""Large new constants wait on disk, not in memory, until the model is saved."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx_ir as ir

from compressctl.errors import DataError

LEAST = 1 << 20  # bytes; smaller constants stay in memory


def _write(tensor: ir.TensorProtocol, file: BinaryIO) -> None:
    """Write the bytes of a tensor in memory, without a copy where its elements are whole bytes."""
    if tensor.dtype.bitwidth < 8 or sys.byteorder == "big":
        file.write(tensor.tobytes())
    else:
        np.ascontiguousarray(tensor.numpy()).tofile(file)


class TensorFiles:
    """A folder of tensors; it must outlive the models that hold them.

    Args:
        folder: an existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, value: ir.Value) -> None:
        """Move the array of an initializer to disk where it is large.

        Raises:
            DataError: the disk is full.
        """
        tensor = value.const_value
        if tensor is None or tensor.nbytes < LEAST or isinstance(tensor, ir.ExternalTensor):
            return
        path = next(p for number in count() if not (p := self._folder / f"tensor-{number}.bin").exists())
        try:
            with path.open("xb") as file:
                _write(tensor, file)
        except OSError as error:
            raise DataError(f"{self._folder}: cannot hold {tensor.nbytes:,} bytes: {error.strerror}") from error
        shape = ir.Shape(tensor.shape.numpy())
        value.const_value = ir.ExternalTensor(
            path.name, 0, tensor.nbytes, tensor.dtype, shape=shape, name=value.name or "", base_dir=self._folder
        )
