"""The files that a model consists of."""

from __future__ import annotations

from pathlib import Path

from compressctl.errors import ModelError
from compressctl.model import protos, read
from compressctl.model.external import external_files
from compressctl.model.reasons import MALFORMED, reason


def model_files(path: Path) -> tuple[Path, ...]:
    """Return an ONNX file and the files of its external data, in the order of their locations; TorchScript is one file.

    Raises:
        ModelError: the file is missing, or is no model.
    """
    read.require_file(path)
    if read.is_torchscript(path):
        return (path,)
    proto = read.read_proto(path)
    try:
        return (path, *external_files(protos.tensors(proto), path))
    except MALFORMED as error:
        raise ModelError(f"{path} is not a valid ONNX model: {reason(error)}") from error
