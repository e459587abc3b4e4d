"""A model as it came, opened and run once: what every run asks of it before any work on it begins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from compressctl.arrays import Array
from compressctl.errors import CompressctlError, ModelError
from compressctl.measure.session import Session
from compressctl.probation import on_probation


def prove(path: Path, feeds: Mapping[str, Array], *, threads: int = 0, file: Path | None = None) -> None:
    """Open a model in onnxruntime and run it once, on probation.

    Args:
        path: the file, as the user named it; errors name it.
        feeds: an array for every input.
        threads: of onnxruntime.
        file: what onnxruntime opens, where `path` is packed or TorchScript.

    Raises:
        ModelError: onnxruntime cannot open or run it.
        DataError: the feeds do not fit the model.
    """
    with on_probation(path):
        for name, feed in feeds.items():
            if feed.ndim and not len(feed):
                raise ModelError(f"{path}: input {name!r} takes batches of 0 samples", "export it with another size")
        try:
            Session(file or path, threads=threads).run(feeds)
        except CompressctlError as error:
            error.message = error.message.replace(str(file or path), str(path))
            raise
