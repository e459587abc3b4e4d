"""Packed models where a model file is expected."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compressctl.container.signature import is_packed
from compressctl.container.unpack import unpack
from compressctl.errors import CompressctlError
from compressctl.model import read, size


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """Give the model file that `path` is, or holds where it is packed: unpacked into a folder until the block ends.

    Errors within the block name `path`.

    Raises:
        ModelError: the file cannot be read, or is packed and damaged.
        OutputError: there is no room to unpack it.
    """
    read.require_file(path)
    if not is_packed(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="compressctl-") as folder:
        model = Path(folder) / "model.onnx"
        unpack(path, model)
        try:
            yield model
        except CompressctlError as error:
            error.message = error.message.replace(str(model), str(path))
            raise


def stored_bytes(path: Path) -> int:
    """Return the size of a model as it is stored: of a .ccz file, or of another with its external data.

    Raises:
        ModelError: the file or its external data cannot be read.
    """
    read.require_file(path)
    return path.stat().st_size if is_packed(path) else size.file_bytes(path)
