"""Packed models where a model file is expected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from compressctl.container.signature import is_packed
from compressctl.container.unpack import unpack
from compressctl.errors import CompressctlError
from compressctl.measure.measurement import Measurement
from compressctl.model import provenance, read, size
from compressctl.model.load import load_model
from compressctl.model.provenance import Provenance
from compressctl.model.same import same_model
from compressctl.scratch import temporary_folder


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
    with temporary_folder() as folder:
        model = folder / "model.onnx"
        unpack(path, model)
        try:
            yield model
        except CompressctlError as error:
            error.message = error.message.replace(str(model), str(path))
            raise


def read_provenance(path: Path) -> Provenance | None:
    """Return the provenance in a model file, packed or not; None where it has none, or is no model."""
    try:
        with opened(path) as model:
            return provenance.read(model)
    except CompressctlError:
        return None


def holds(path: Path, model: ir.Model) -> bool:
    """Return whether a model file, packed or not, holds just this model as loaded: nothing is lost with it."""
    if not path.is_file():
        return False
    try:
        with opened(path) as file:
            return same_model(load_model(file).model, model)
    except CompressctlError:
        return False


def as_stored(measurements: Sequence[Measurement], paths: Sequence[Path]) -> tuple[Measurement, ...]:
    """Return measurements under the names and with the sizes of the files that they were unpacked from.

    Args:
        measurements: of the baseline and of what is compared with it.
        paths: the same models as they are stored, packed or not.

    Raises:
        ModelError: a file cannot be read.
    """
    sizes = [path.stat().st_size if is_packed(path) else size.file_bytes(path) for path in paths]
    return tuple(
        replace(measured, path=str(path), bytes=stored, size_ratio=stored / sizes[0] if index else None)
        for index, (measured, path, stored) in enumerate(zip(measurements, paths, sizes, strict=True))
    )
