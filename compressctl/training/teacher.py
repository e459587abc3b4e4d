"""The teachers: what onnxruntime computes with them for the samples, kept on disk where samples come again.

Only values that do not depend on the other rows of a batch can be kept by row. Scores of each image for each text
of a batch, or what is normalised over a batch, are computed for the very batch that the student sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Integers
from compressctl.data.source import Feeds
from compressctl.errors import ModelError
from compressctl.measure.session import Session
from compressctl.notes import Note, done
from compressctl.progress import Progress
from compressctl.resources import Resources
from compressctl.training.samples import DiskArray, TrainingSamples, free_bytes

Names = tuple[str, ...]
"""The value that a loss compares with, by its name in each teacher."""
Targets = dict[Names, Array]
_CACHE_BYTES = 4 << 30
_SAME = 1e-3  # of a value's largest magnitude; kernels for other batch sizes differ by less, in half precision, too


class Teachers:
    """Models whose values are a target; of several, the mean over them of each value (of scores before a softmax).

    Args:
        models: the teachers; not changed.
        wanted: the values to return, each by its name in every teacher; any values of the main graphs.
        resources: threads and work folder.

    Attributes:
        coupled: a value, by its name in the first teacher, of which `keep` found that the rows depend on their batch.

    Raises:
        ModelError: onnxruntime cannot open a teacher.
    """

    def __init__(self, models: Sequence[ir.Model], wanted: Iterable[Names], resources: Resources) -> None:
        self.wanted = tuple(dict.fromkeys(wanted))
        self._folder = resources.workdir
        self._names = [list(dict.fromkeys(names[i] for names in self.wanted)) for i in range(len(models))]
        self._sessions = [
            Session(_with_outputs(model, names), threads=resources.threads, workdir=resources.workdir)
            for model, names in zip(models, self._names, strict=True)
            if self.wanted
        ]
        self.coupled: str | None = None
        self._kept: dict[Names, Array] = {}
        self._place: Integers | None = None  # row of the source -> its place in the kept values, or -1

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

    def targets(self, rows: Integers, feeds: Feeds) -> Targets:
        """Return the values for rows of the source: those kept, or else those that `run` gives for `feeds`."""
        if self._place is not None and (places := self._place[rows]).min() >= 0:
            return {names: array[places] for names, array in self._kept.items()}
        return self.run(feeds)

    def keep(self, samples: TrainingSamples, rows: Integers, progress: Progress) -> Note | None:
        """Compute the values of rows of the source now, and keep them on disk if there is space (4 GiB at most).

        They are computed in the same batches each time, so that a resumed training meets the same numbers.
        """
        if not self.wanted or not len(rows):
            return None
        self.coupled = self._find_coupled(samples)
        anew = "the teacher's values are computed anew at every step"
        if self.coupled is not None:
            return done(f"{anew}: the rows of {self.coupled!r} are not the samples, or depend on their batch")
        size = samples.source.fixed_batch or min(samples.batch, len(rows))
        first = self.run(samples.at(np.resize(rows, size)).feeds)
        needed = sum(array[:1].nbytes for array in first.values()) * len(rows)
        if needed > min(_CACHE_BYTES, free_bytes(self._folder) // 2):
            return done(f"{anew}: they take {needed / 2**30:.1f} GiB")
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

    def _find_coupled(self, samples: TrainingSamples) -> str | None:
        """Return a value that changes for the same rows in another batch, tried on half of one batch.

        A fixed batch is filled up with these rows again, any other one is half as large.
        """
        fixed = samples.source.fixed_batch
        size = fixed or max(2, samples.batch)
        rows = np.resize(np.concatenate([samples.train, samples.held]), size)
        half = rows[: size // 2]
        if not len(half):
            return None  # a row is always alone
        whole = self.run(samples.at(rows).feeds)
        other = self.run(samples.at(np.resize(half, fixed) if fixed else half).feeds)
        apart = (names for names in whole if not _alike(whole[names], other[names], size, len(half)))
        return next((names[0] for names in apart), None)


def _alike(whole: Array, other: Array, size: int, half: int) -> bool:
    """Say whether values of a batch of `size` are one row a sample, whose first half is what the other batch gave."""
    if whole.ndim == 0 or len(whole) != size or other.shape[1:] != whole.shape[1:] or len(other) not in (half, size):
        return False
    finite = np.abs(whole[np.isfinite(whole)], dtype=np.float64) if whole.dtype.kind == "f" else np.zeros(0)
    return np.allclose(other[:half], whole[:half], rtol=0, atol=_SAME * finite.max(initial=0), equal_nan=True)


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
