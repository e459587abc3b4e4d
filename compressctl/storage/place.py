"""Putting a stored form in the place of a constant."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from compressctl.model.coo import CooTensor
from compressctl.model.graph import set_constant
from compressctl.model.tensor_file import TensorFiles
from compressctl.storage.choice import COO, StorageForm
from compressctl.storage.decoder import Decoder
from compressctl.storage.survey import Survey, bits_of


def place(graph: ir.Graph, value: ir.Value, form: StorageForm, seen: Survey, files: TensorFiles | None = None) -> None:
    """Let `form` stand for a constant, under its name.

    Args:
        graph: the main graph.
        value: an initializer that is no graph input, or the output of a Constant node.
        form: of the constant.
        seen: what the form was chosen by.
        files: keeps large arrays on disk until the model is saved.
    """
    if form.format == COO:
        places = np.flatnonzero(bits_of(seen.array))
        values, indices = (_kept(part, files) for part in (seen.array.reshape(-1)[places], places))
        value.const_value = CooTensor(values, indices, seen.array.shape, value.name)
    elif form.emit is not None:
        decoder = Decoder(graph, value.name or "", files)
        decoder.replace(value, form.emit(decoder))
    elif value.const_value is not None and isinstance(value.const_value, CooTensor):
        set_constant(value, seen.array)


def _kept(array: NDArray[np.generic], files: TensorFiles | None) -> ir.TensorProtocol:
    holder = ir.Value(name="part", const_value=ir.tensor(array))
    if files is not None:
        files.keep(holder)
    tensor = holder.const_value
    assert tensor is not None
    return tensor
