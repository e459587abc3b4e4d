"""Is every stored number usable? Weights read tensor by tensor; quantization parameters checked one by one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from compressctl.errors import ModelError
from compressctl.model.graph import constant
from compressctl.model.qops import is_blockwise, quantized_inputs
from compressctl.model.tensors import chunks, stored_tensors
from compressctl.notes import Note, warning


def check_numbers(model: ir.Model, *, about: str) -> list[Note]:
    """Read every stored tensor once, piece by piece; return a warning for each float tensor that holds Inf.

    Infinities are legal (attention masks use them), NaN is not.

    Raises:
        ModelError: begins with `about` and names the tensor that holds NaN, or whose data do not fit its shape.
    """
    notes: list[Note] = []
    for name, tensor in stored_tensors(model.graph):
        if tensor.dtype == ir.DataType.STRING:
            continue
        infinite = False
        try:
            for chunk in chunks(tensor):
                if not tensor.dtype.is_floating_point():
                    continue
                wide = chunk if chunk.dtype in (np.float32, np.float64) else chunk.astype(np.float32)
                low, high = wide.min(), wide.max()  # both are NaN if any element is
                if np.isnan(low):
                    raise ModelError(
                        f"{about}: weight {name!r} holds NaN", "the model was saved from a failed training"
                    )
                infinite |= bool(np.isinf(low) or np.isinf(high))
        except (ValueError, TypeError) as error:
            raise ModelError(f"{about}: the data of tensor {name!r} do not fit its type and shape") from error
        if infinite:
            notes.append(warning("holds infinite values", name))
    return notes


def quantization_faults(graph: ir.Graph) -> Iterator[str]:
    """Yield one sentence for each constant scale or zero point of `graph` that no kernel should be given.

    Scales must be finite and above zero (below zero is legal for block-quantized weights alone), and zero points must
    be one or as many as the scales, finite and, for int32 data, zero (ONNX operator specification, DequantizeLinear).
    """
    for node in graph.all_nodes():
        for _, scale_value, zero_value in quantized_inputs(node):
            scale, zero = constant(scale_value), constant(zero_value)
            if scale is not None:
                values = scale.astype(np.float32)
                if not np.isfinite(values).all():
                    yield f"node {node.name!r} has a scale that is not finite"
                elif not is_blockwise(node) and values.size and values.min() <= 0:
                    yield f"node {node.name!r} has a scale of {values.min():g}, scales must be above zero"
            if zero is None:
                continue
            if scale is not None and zero.size not in (1, scale.size) and not is_blockwise(node):
                yield f"node {node.name!r} has {zero.size} zero points for {scale.size} scales"
            if (zero.dtype == np.int32 and zero.any()) or not np.isfinite(zero.astype(np.float32)).all():
                yield f"node {node.name!r} has a zero point out of range"
