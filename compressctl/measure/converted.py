"""Files that onnxruntime does not open itself: what TorchScript was converted to, proven and as a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from compressctl.errors import ModelError
from compressctl.measure.session import Session
from compressctl.model.load import Loaded, load_model
from compressctl.model.save import save_model
from compressctl.model.torchscript import verify_checks
from compressctl.tensorspec import TensorSpec


def load_proven(path: Path, inputs: Mapping[str, TensorSpec], *, threads: int, workdir: Path | None = None) -> Loaded:
    """Load a model; one that was TorchScript is run beside what torch returned.

    Raises:
        UsageError, ModelError: as `load_model`; or onnxruntime computes something else than torch.
    """
    loaded = load_model(path, inputs)
    if loaded.checks:
        try:
            session = Session(loaded.model, threads=threads, workdir=workdir)
        except ModelError as error:
            what = f"{path} cannot be converted to ONNX: what torch makes of it does not load: {error.message}"
            raise ModelError(what, "export it to ONNX from Python") from error
        verify_checks(loaded.checks, session.run, path)
    return loaded


def onnx_file(loaded: Loaded, path: Path) -> Path:
    """Return the file that onnxruntime opens: the model's own, or `path`, to which the converted one is written."""
    if not loaded.checks:
        return loaded.path
    save_model(loaded.model, path, overwrite=True, stated=loaded.stated)
    return path
