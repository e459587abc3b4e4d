"""Values of models on the same samples, batch by batch; memory holds those of one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from compressctl.data.source import Batch, Source
from compressctl.measure.session import Session
from compressctl.progress import Progress

Values = Mapping[str, NDArray[Any]]
_BATCH = 16
_HELD = 64 << 20  # bytes of values of a model that are held at a time


def exposed(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """Return a clone of `model` with values of its main graph as further outputs; those that are no floats are not."""
    clone = model.clone()
    known = {output.name: output for node in clone.graph for output in node.outputs}
    given = {value.name for value in clone.graph.outputs}
    for name in dict.fromkeys(names):
        value = known.get(name)
        if value is None or name in given or not (value.dtype is None or value.dtype.is_floating_point()):
            continue
        value.type = value.type or ir.TensorType(ir.DataType.FLOAT)
        clone.graph.outputs.append(value)
    return clone


def batch_size(session: Session, source: Source) -> int:
    """Return a batch size at which the outputs of `session` keep within 64 MiB, from 1 to 16."""
    row = sum(array.nbytes for array in session.run(source.first(1)).values()) // (source.fixed_batch or 1)
    return int(np.clip(_HELD // max(1, row), 1, _BATCH))


def side_by_side(
    reference: Session, other: Session, source: Source, size: int, progress: Progress, what: str
) -> Iterator[tuple[Batch, Values, Values]]:
    """Yield each batch with the outputs of both models, without the rows that only pad it.

    Raises:
        ModelError, DataError: a model cannot be run on the samples.
    """
    total = -(-len(source) // (source.fixed_batch or size))
    for batch in progress.track(source.batches(size), what, total):
        yield batch, _counted(reference.run(batch.feeds), batch), _counted(other.run(batch.feeds), batch)


def _counted(values: Values, batch: Batch) -> dict[str, NDArray[Any]]:
    rows = len(next(iter(batch.feeds.values())))
    cut = rows != batch.count
    return {name: v[: batch.count] if cut and v.ndim and len(v) == rows else v for name, v in values.items()}


class Kept:
    """Outputs of a model on all samples, in files: each of many others is compared with them.

    Args:
        session: the model.
        source: the samples.
        size: rows a batch.
        folder: an existing folder, for these files alone.
    """

    def __init__(self, session: Session, source: Source, size: int, folder: Path) -> None:
        self._source, self._size, self._folder = source, size, folder
        self._names = [spec.name for spec in session.outputs if spec.dtype in ("float16", "float32", "float64")]
        for index, batch in enumerate(source.batches(size)):
            values = _counted(session.run(batch.feeds, self._names), batch)
            for number, name in enumerate(self._names):
                np.save(self._folder / f"{index}-{number}.npy", values[name])

    def beside(self, other: Session) -> Iterator[tuple[Batch, Values, Values]]:
        """Yield each batch with the float outputs kept and all outputs of another model."""
        for index, batch in enumerate(self._source.batches(self._size)):
            kept = {name: np.load(self._folder / f"{index}-{i}.npy") for i, name in enumerate(self._names)}
            yield batch, kept, _counted(other.run(batch.feeds), batch)
