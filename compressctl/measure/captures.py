"""Values of a model on calibration samples, kept in files; part after part of the graph runs on those before it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.data.source import Feeds
from compressctl.errors import DataError
from compressctl.measure.session import Session


class Captures:
    """Arrays by name and batch; memory holds one batch at a time.

    Args:
        folder: an existing folder, which these files alone are in.
        batches: the feeds of the graph's inputs.

    Raises:
        DataError: the disk is full, here and in `advance`.
    """

    def __init__(self, folder: Path, batches: Iterable[Feeds]) -> None:
        self._folder = folder
        self._numbers: dict[str, int] = {}
        self._taken = 0
        self.batches = 0
        for feeds in batches:
            for name, array in feeds.items():
                self._put(name, self.batches, array)
            self.batches += 1

    def get(self, name: str, batch: int) -> Array:
        """Read a value of a batch."""
        return np.asarray(np.load(self._path(name, batch)))

    def advance(self, model: ir.Model, inputs: Sequence[str], outputs: Sequence[str], threads: int) -> None:
        """Run the part of `model` between `inputs`, which were kept, and `outputs` on every batch; keep its outputs.

        Raises:
            ModelError: onnxruntime cannot run it.
        """
        if not outputs:
            return
        part = section(model, inputs, outputs, self.dtypes(inputs))
        session = Session(part, threads=threads, workdir=self._folder, optimize=False, spinning="never")
        for batch in range(self.batches):
            for name, array in session.run({name: self.get(name, batch) for name in inputs}).items():
                self._put(name, batch, array)

    def keep(self, names: Collection[str]) -> None:
        """Delete all values but these."""
        for name in [name for name in self._numbers if name not in names]:
            for batch in range(self.batches):
                self._path(name, batch).unlink()
            del self._numbers[name]

    def dtypes(self, names: Iterable[str]) -> dict[str, ir.DataType]:
        """Return the types of values."""
        return {name: ir.DataType.from_numpy(self.get(name, 0).dtype) for name in names}

    def _put(self, name: str, batch: int, array: Array) -> None:
        if name not in self._numbers:
            self._numbers[name] = self._taken
            self._taken += 1
        try:
            np.save(self._path(name, batch), array)
        except OSError as error:
            text = f"{self._folder}: activations cannot be kept: {error.strerror or error}"
            raise DataError(text, "calibrate on fewer samples, or set TMPDIR to a larger disk") from error

    def _path(self, name: str, batch: int) -> Path:
        return self._folder / f"{self._numbers[name]}-{batch}.npy"


def section(
    model: ir.Model, inputs: Sequence[str], outputs: Sequence[str], dtypes: dict[str, ir.DataType] | None = None
) -> ir.Model:
    """Return the part of `model` that computes `outputs` from `inputs`, as a model; values of the main graph, by name.

    Args:
        model: left as it is.
        inputs: every path from an input of the graph to `outputs` leads through one of them.
        outputs: what the part computes.
        dtypes: of the inputs, for those whose type the graph does not tell.
    """
    part = ir.Model(ir.convenience.extract(model.graph, inputs, outputs), ir_version=model.ir_version)
    for value in part.graph.inputs:
        value.type = value.type or ir.TensorType((dtypes or {}).get(value.name or "", ir.DataType.FLOAT))
    for value in part.graph.outputs:
        value.type = value.type or ir.TensorType(ir.DataType.FLOAT)
    return part
