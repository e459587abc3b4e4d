"""Random access to the samples of a source, which only streams: they are decoded once into files and mapped."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from compressctl.arrays import Array, Integers
from compressctl.data.source import Batch, Source
from compressctl.errors import DataError
from compressctl.progress import Progress
from compressctl.resources import Resources

_DECODED_AT_ONCE = 64


class TrainingSamples:
    """The samples of a source in two parts: those that train, in a new order each epoch, and those held out.

    Args:
        source: the samples.
        resources: the seed of split and order, progress of the decoding, and a work folder of the training's own, for
            files as big as the decoded samples.
        held_out: share of the samples that is held out; two rows that are a pair stay together.
        batch: rows of a training step, unless the model's batch is fixed: then that, times `processes`.
        processes: number of processes that share every step in equal parts.

    Attributes:
        batch: rows of every training step.
        held: the rows held out, in the order of the source.
        steps_per_epoch: training steps in which every row is seen once; an incomplete last batch is left out.

    Raises:
        DataError: too few samples to hold some out, samples of several sizes, not enough space on disk, or as the
            source raises.
    """

    def __init__(
        self,
        source: Source,
        resources: Resources,
        *,
        held_out: float,
        batch: int,
        processes: int = 1,
    ) -> None:
        if source.judged_last and source.has_labels:
            hint = "give labels [sequences, steps], or leave them out to train on a teacher"
            raise DataError(f"{source.notation}: each step is trained, but labels are of sequences", hint)
        source = source.of_one_size()
        self.source, self._seed = source, resources.seed
        self._members = 2 if source.pairs else 1
        units = len(source) // self._members
        if units < 2:
            raise DataError(f"{source.notation} holds a single sample, but some are to be held out", "give more")
        order = np.random.default_rng((self._seed, 0)).permutation(units)
        held = min(max(1, round(held_out * units)), units - 1)
        self._held_units = np.sort(order[:held])
        self.held = self._rows_of(self._held_units)
        self.train = self._rows_of(np.sort(order[held:]))
        if source.fixed_batch is not None:
            self.batch = source.fixed_batch * processes
        else:
            together = processes * self._members  # the two of a pair stay in one process's part
            self.batch = min(batch, len(self.train)) // together * together
        if not self.batch:
            raise DataError(
                f"{source.notation}: batches of {min(batch, len(self.train))} samples cannot be shared by {processes} "
                "processes"
            )
        self.steps_per_epoch = max(1, len(self.train) // self.batch)
        self._epoch: tuple[int, Integers] | None = None
        self._feeds, self._labels = _decode(source, resources.workdir, resources.progress)

    @property
    def labelled(self) -> bool:
        """Whether every row has a label of its own (the label of a pair belongs to no row)."""
        return self._labels is not None and self.source.labels_rows

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Input name -> shape of a sample, without the batch."""
        return {name: array.shape[1:] for name, array in self._feeds.items()}

    @property
    def label_shape(self) -> tuple[int, ...] | None:
        """The shape of a label, or None."""
        return None if self._labels is None else self._labels.shape[1:]

    def rows(self, step: int) -> Integers:
        """Return the rows of training step number `step`, [batch]; a fixed batch repeats rows of too few."""
        epoch, index = divmod(step, self.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            units = self.train.reshape(-1, self._members)
            self._epoch = epoch, np.random.default_rng((self._seed, 1, epoch)).permutation(units).reshape(-1)
        order = self._epoch[1]
        return np.resize(order[index * self.batch : (index + 1) * self.batch], self.batch)

    def at(self, rows: Integers) -> Batch:
        """Return copies of some rows, with their labels where rows have labels of their own."""
        labels = None if self._labels is None or self.source.pairs else self._labels[rows]
        feeds = self.source.to_feeds({name: array[rows] for name, array in self._feeds.items()})
        return Batch(feeds, labels, len(rows))

    def held_batches(self, size: int) -> Iterator[tuple[Integers, Batch]]:
        """Yield the held-out rows in order with their batches, as `Source.batches` does: padded to a fixed batch."""
        size = self.source.fixed_batch or max(size // self._members, 1) * self._members
        for start in range(0, len(self.held), size):
            chosen = self.held[start : start + size]
            rows = np.pad(chosen, (0, (self.source.fixed_batch or len(chosen)) - len(chosen)), mode="edge")
            units = self._held_units[start // self._members : (start + len(chosen)) // self._members]
            labels = None if self._labels is None else self._labels[units]
            yield rows, Batch(self.at(rows).feeds, labels, len(chosen), self.source.pairs, len(rows))

    def _rows_of(self, units: Integers) -> Integers:
        return (units[:, None] * self._members + np.arange(self._members)).reshape(-1)


class DiskArray:
    """An array that is written once, rows in order, then mapped; memory holds what is in use.

    Args:
        path: the file to write.
        rows: how many there will be.
        row: an array [n, …] like those to come.
    """

    def __init__(self, path: Path, rows: int, row: Array) -> None:
        self.dtype, self.shape = row.dtype, (rows, *row.shape[1:])
        self.nbytes = math.prod(self.shape) * self.dtype.itemsize
        self._path = path
        self._file = path.open("wb")

    def append(self, array: Array) -> None:
        """Write further rows."""
        self._file.write(np.ascontiguousarray(array, self.dtype).tobytes())

    def close(self) -> None:
        """Close the file, which can then be mapped."""
        self._file.close()

    def mapped(self) -> Array:
        """Return the array, read from the file as it is used."""
        if not self.nbytes:
            return np.empty(self.shape, self.dtype)
        return np.memmap(self._path, self.dtype, "r", shape=self.shape)


def free_bytes(folder: Path) -> int:
    """Return the space that is left on the disk of a folder."""
    return shutil.disk_usage(folder).free


def _decode(source: Source, folder: Path, progress: Progress) -> tuple[dict[str, Array], Array | None]:
    """Write all samples to files; return feeds by input name and labels (one a pair, where rows are pairs), mapped."""
    rows, size = len(source), source.fixed_batch or _DECODED_AT_ONCE
    files: dict[str, DiskArray] = {}
    labels: DiskArray | None = None
    batches = progress.track(source.batches(size), "decode samples", -(-rows // size))
    with ExitStack() as stack:

        def start(name: str, count: int, like: Array) -> DiskArray:
            file = DiskArray(folder / name, count, like)
            stack.callback(file.close)
            return file

        try:
            for batch in batches:
                samples = source.to_rows(batch)
                if not files:
                    files = {name: start(f"feed{i}", rows, a) for i, (name, a) in enumerate(samples.items())}
                    _require_space(source, folder, [*files.values()])
                if labels is None and batch.labels is not None:
                    labels = start("labels", rows // 2 if source.pairs else rows, batch.labels)
                for name, file in files.items():
                    _require_shape(source, f"input {name!r}", samples[name], file)
                    file.append(samples[name])
                if labels is not None and batch.labels is not None:
                    _require_shape(source, "labels", batch.labels, labels)
                    labels.append(batch.labels)
        except OSError as error:
            raise DataError(f"{source.notation}: decoded samples cannot be written: {error.strerror}") from error
    return {name: file.mapped() for name, file in files.items()}, None if labels is None else labels.mapped()


def _require_space(source: Source, folder: Path, files: list[DiskArray]) -> None:
    needed, free = sum(file.nbytes for file in files), free_bytes(folder)
    if needed > free:
        gib = f"{needed / 2**30:.1f} GiB of disk in {folder}, where {free / 2**30:.1f} GiB are free"
        raise DataError(
            f"{source.notation}: {len(source)} decoded samples take {gib}", "train on a slice, e.g. [:10000]"
        )


def _require_shape(source: Source, what: str, array: Array, file: DiskArray) -> None:
    if array.shape[1:] != file.shape[1:]:
        sizes = " and ".join("x".join(map(str, shape)) for shape in (file.shape[1:], array.shape[1:]))
        raise DataError(f"{source.notation}: {what}: samples of {sizes} cannot be trained on together", "make them one")
