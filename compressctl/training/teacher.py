"""The teachers: what onnxruntime computes with them for the samples, kept on disk where samples come again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from compressctl.data.source import Feeds
from compressctl.errors import ModelError
from compressctl.measure.session import Session
from compressctl.notes import Note, done
from compressctl.progress import Progress
from compressctl.training.samples import DiskArray, Samples, free_bytes

Array = NDArray[Any]
Names = tuple[str, ...]
"""The value that a loss compares with, by its name in each teacher."""
Targets = dict[Names, Array]
_CACHE_BYTES = 4 << 30


class Teachers:
    """Models whose values are a target; of several, the mean over them of each value (of scores before a softmax).

    Args:
        models: the teachers; not changed.
        wanted: the values to return, each by its name in every teacher; any values of the main graphs.
        threads: threads for onnxruntime.
        folder: an existing folder for temporary files.

    Raises:
        ModelError: onnxruntime cannot open a teacher.
    """

    def __init__(self, models: Sequence[ir.Model], wanted: Iterable[Names], threads: int, folder: Path) -> None:
        self.wanted = tuple(dict.fromkeys(wanted))
        self._folder = folder
        self._names = [list(dict.fromkeys(names[i] for names in self.wanted)) for i in range(len(models))]
        self._sessions = [
            Session(_with_outputs(model, names), threads=threads, workdir=folder)
            for model, names in zip(models, self._names, strict=True)
            if self.wanted
        ]
        self._kept: dict[Names, Array] = {}
        self._place: NDArray[np.int64] | None = None  # row of the source -> its place in the kept values, or -1

    def run(self, feeds: Feeds) -> Targets:
        """Run the teachers on a batch.

        Raises:
            DataError: the feeds, which fit the trained model, do not fit a teacher.
            ModelError: teachers' values differ in shape.
        """
        answers = []
        for session, names in zip(self._sessions, self._names, strict=False):
            own = {spec.name: feeds[spec.name] for spec in session.inputs if spec.name in feeds}
            answers.append(session.run(own, names))
        return {names: _mean(names, answers) for names in self.wanted}

    def targets(self, rows: NDArray[np.int64], feeds: Feeds) -> Targets:
        """Return the values for rows of the source: those kept, or else those that `run` gives for `feeds`."""
        if self._place is not None and (places := self._place[rows]).min() >= 0:
            return {names: array[places] for names, array in self._kept.items()}
        return self.run(feeds)

    def keep(self, samples: Samples, rows: NDArray[np.int64], progress: Progress) -> Note | None:
        """Compute the values of rows of the source now, and keep them on disk if there is space (4 GiB at most).

        They are computed in the same batches each time, so that a resumed training meets the same numbers.
        """
        if not self.wanted or not len(rows):
            return None
        size = samples.source.fixed_batch or min(samples.batch, len(rows))
        first = self.run(samples.at(np.resize(rows, size)).feeds)
        rowwise = all(array.ndim and len(array) == size for array in first.values())
        needed = sum(array[:1].nbytes for array in first.values()) * len(rows) if rowwise else 0
        if not rowwise or needed > min(_CACHE_BYTES, free_bytes(self._folder) // 2):
            why = f"they take {needed / 2**30:.1f} GiB" if rowwise else "their rows are not the samples"
            return done(f"the teacher's values are computed anew at every step: {why}")
        files = [DiskArray(self._folder / f"teacher{i}", len(rows), a) for i, a in enumerate(first.values())]
        for start in progress.track(range(0, len(rows), size), "run the teacher", -(-len(rows) // size)):
            chosen = rows[start : start + size]
            values = self.run(samples.at(np.resize(chosen, size)).feeds)
            for file, array in zip(files, values.values(), strict=True):
                file.append(array[: len(chosen)])
        for file in files:
            file.close()
        self._kept = {names: file.mapped() for names, file in zip(first, files, strict=True)}
        self._place = np.full(len(samples.source), -1)
        self._place[rows] = np.arange(len(rows))
        return None


def _with_outputs(model: ir.Model, names: Iterable[str]) -> ir.Model:
    """Return a clone that has these values as its only outputs."""
    clone = model.clone()
    values = {value.name: value for node in clone.graph for value in node.outputs}
    values.update({value.name: value for value in clone.graph.inputs})
    outputs = [values[name] for name in names]
    for value in outputs:
        value.type = value.type or ir.TensorType(ir.DataType.FLOAT)
    clone.graph.outputs[:] = outputs
    return clone


def _mean(names: Names, answers: Sequence[Mapping[str, Array]]) -> Array:
    arrays = [answer[name] for name, answer in zip(names, answers, strict=True)]
    if len(arrays) == 1:
        return arrays[0]
    if len({array.shape for array in arrays}) > 1:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in zip(names, arrays, strict=True))
        raise ModelError(f"the teachers' values differ in shape: {shapes}", "train with one of them")
    return np.asarray(np.mean(arrays, axis=0, dtype=np.float64).astype(arrays[0].dtype))
