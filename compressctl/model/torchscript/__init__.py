"""TorchScript at the door: a ScriptModule becomes an ONNX graph with its parameters' names and BatchNorm kept.

The module is exported by `torch.export` through an interpreter of its graph, with the batch as a dynamic dimension.
Where control flow depends on data, torch's older exporter takes over, which knows If and Loop. Only this package
imports torch, and only when a file is converted.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir

from compressctl.errors import MissingExtraError, ModelError
from compressctl.model import read
from compressctl.model.torchscript.checks import Check, verify_checks
from compressctl.notes import Note
from compressctl.tensorspec import TensorSpec

__all__ = ["Check", "convert", "verify_checks"]


def convert(
    path: Path, inputs: Mapping[str, TensorSpec], workdir: Path
) -> tuple[ir.Model, tuple[Note, ...], tuple[Check, ...]]:
    """Convert a TorchScript file to an ONNX model in memory.

    Args:
        path: a file of `torch.jit.save`.
        inputs: a spec for each tensor that forward takes, by name where all names are forward's own, else in its order.
            The first dimension is the batch, and dynamic, as are named and unknown (`?`) dimensions.
        workdir: an existing folder for temporary files; the model needs none of them.

    Returns:
        the model, what the user should know, and two batches for `verify_checks`, which the caller runs in onnxruntime.

    Raises:
        MissingExtraError: torch or onnxscript is not installed.
        UsageError: the inputs are not what forward takes.
        ModelError: the file is damaged, no TorchScript, does more than compute, was saved in training mode, or cannot
            be expressed in ONNX.
    """
    if not read.is_torchscript(path):
        raise ModelError(f"{path} is not TorchScript", "make it with torch.jit.script or torch.jit.trace, and save it")
    with zipfile.ZipFile(path) as archive:  # torch does not look at the checksums
        if (member := archive.testzip()) is not None:
            raise ModelError(f"{path} is damaged: its member {member} does not match its checksum")
    try:
        from compressctl.model.torchscript.convert import to_onnx
    except ImportError as error:
        raise MissingExtraError("TorchScript input", "torch") from error
    return to_onnx(path, inputs, workdir)
