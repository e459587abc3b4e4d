"""Values of models on the same samples, batch by batch; memory holds those of one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.data.source import Batch, Source
from compressctl.errors import DataError
from compressctl.measure.session import Session
from compressctl.progress import Progress

Values = Mapping[str, Array]
_BATCH = 16
_HELD = 64 << 20  # bytes of values of a model that are held at a time


def exposed(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """Return a clone of `model` with values of its main graph as further outputs, but those known to be no floats."""
    clone = model.clone()
    known = {output.name: output for node in clone.graph for output in node.outputs}
    given = {value.name for value in clone.graph.outputs}
    for name in dict.fromkeys(names):
        value = known.get(name)
        if value is None or name in given or not (value.dtype is None or value.dtype.is_floating_point()):
            continue
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
        yield batch, batch.counted(reference.run(batch.feeds)), batch.counted(other.run(batch.feeds))


class Kept:
    """Samples and what a model makes of them, in files: each of many other models is compared with it.

    Args:
        session: the model.
        source: the samples, which are read (and decoded) once.
        size: rows a batch.
        folder: an existing folder, for these files alone.

    Raises:
        DataError: the disk is full.
    """

    def __init__(self, session: Session, source: Source, size: int, folder: Path) -> None:
        self._folder = folder
        self._batches: list[Batch] = []
        names = [spec.name for spec in session.outputs if spec.dtype in ("float16", "float32", "float64")]
        self._names = {"feeds": [spec.name for spec in source.inputs], "outputs": names, "labels": ["labels"]}
        for index, batch in enumerate(source.batches(size)):
            self._save("feeds", index, batch.feeds)
            self._save("outputs", index, batch.counted(session.run(batch.feeds, names)))
            if batch.labels is not None:
                self._save("labels", index, {"labels": batch.labels})
            self._batches.append(replace(batch, feeds={}, labels=None))

    def beside(self, other: Session) -> Iterator[tuple[Batch, Values, Values]]:
        """Yield each batch with the float outputs kept and all outputs of another model."""
        for index, kept in enumerate(self._batches):
            labels = self._load("labels", index).get("labels")
            batch = replace(kept, feeds=self._load("feeds", index), labels=labels)
            yield batch, self._load("outputs", index), batch.counted(other.run(batch.feeds))

    def _save(self, kind: str, index: int, arrays: Values) -> None:
        try:
            for number, name in enumerate(self._names[kind]):
                np.save(self._folder / f"{kind}-{index}-{number}.npy", arrays[name])
        except OSError as error:
            text = f"{self._folder}: samples cannot be kept: {error.strerror or error}"
            raise DataError(text, "set TMPDIR to a larger disk") from error

    def _load(self, kind: str, index: int) -> dict[str, Array]:
        paths = {n: self._folder / f"{kind}-{index}-{i}.npy" for i, n in enumerate(self._names[kind])}
        return {name: np.load(path) for name, path in paths.items() if path.exists()}
