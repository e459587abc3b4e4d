"""A .npy file a sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compressctl.arrays import Array
from compressctl.data.columns import reading
from compressctl.data.fit import check
from compressctl.data.npz import open_npy
from compressctl.data.opened import Files, Opened
from compressctl.errors import DataError

SUFFIXES = frozenset((".npy",))


def read_npy(path: Path) -> Array:
    """Return the array of a file.

    Raises:
        DataError: it is missing or damaged, or holds Python objects or a single number.
    """
    column = open_npy(path)
    with reading(str(path)):
        return column.whole()


def open_npy_files(files: Files) -> Opened:
    """Return arrays as samples: of the input's shape without the batch, or with a batch of 1.

    Of a model with states an array may have a dimension more, its steps, as many in each file.

    Raises:
        DataError: the first one is damaged, or fits no input.
    """
    spec = files.spec
    first = open_npy(files.paths[0]).shape
    sequences = files.stateful and len(first) == len(spec.shape)
    steps = first[0] if sequences else 1

    def load(path: Path) -> Array:
        array = read_npy(path)
        if not sequences:
            rows = array if array.ndim == len(spec.shape) and len(array) == 1 else array[None]
            check(rows.shape, rows.dtype, spec, str(path))
            return np.asarray(rows[0])
        if len(array) != steps:
            raise DataError(f"{path} has {len(array)} steps, but {files.paths[0]} has {steps}", "make them as long")
        check(array.shape, array.dtype, spec, str(path))
        return array

    return Opened(load, steps)
