"""Whether an array fits a model's input, and the casts that lose nothing that matters."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from compressctl.arrays import Array
from compressctl.errors import DataError
from compressctl.tensorspec import TensorSpec

RATE = re.compile(r"^sr$|sampl\w*_?rate|^rate$|^fs$", re.IGNORECASE)
"""Names of inputs that are told how many samples a second a sound has."""


def fits(shape: tuple[int, ...], spec: TensorSpec) -> bool:
    """Return whether an array of this shape fits an input; along the samples it may have any size."""
    return len(shape) == len(spec.shape) and all(
        not isinstance(want, int) or want == have or axis == spec.axis
        for axis, (have, want) in enumerate(zip(shape, spec.shape, strict=True))
    )


def check(shape: tuple[int, ...], dtype: np.dtype[Any], spec: TensorSpec, where: str) -> None:
    """Check that an array fits an input in rank, shape and type; along the samples it may have any size.

    Floats fit any float input; integers fit integer inputs and floats that hold them exactly; bool fits numbers.

    Raises:
        DataError: they do not; the message names `where` and both sides.
    """
    if not fits(shape, spec):
        have = "x".join(map(str, shape)) or "scalar"
        raise DataError(f"{where} has shape {have}, which does not fit the model's input {spec}")
    if not _castable(dtype, numpy_dtype(spec)):
        raise DataError(f"{where} has type {dtype}, which does not fit the model's input {spec}", "convert it first")


def cast(array: Array, spec: TensorSpec, where: str) -> Array:
    """Cast an array that passed `check` to the input's type.

    Raises:
        DataError: an integer that the input's type cannot hold.
    """
    target = numpy_dtype(spec)
    if array.dtype.kind in "iu" and target.kind in "iub" and not np.can_cast(array.dtype, target) and array.size:
        low, high = (0, 1) if target.kind == "b" else (np.iinfo(target).min, np.iinfo(target).max)
        least, most = int(array.min()), int(array.max())
        if least < low or most > high:
            outside = least if least < low else most
            raise DataError(f"{where}: input {spec.name!r} is {target} and cannot hold {outside}")
    with np.errstate(over="ignore"):  # an overflow to infinity is reported by its row later
        return np.ascontiguousarray(array, dtype=target).reshape(array.shape)  # a single number stays one


def nonfinite_row(array: Array) -> tuple[int, float] | None:
    """Return the first row of an array [rows, …] that holds NaN or infinity, with that value; None if all is finite."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return None
    rows = array.reshape(len(array), -1)
    row = int(np.argmin(np.isfinite(rows).all(axis=1)))
    return row, float(rows[row][~np.isfinite(rows[row])][0])


def numpy_dtype(spec: TensorSpec) -> np.dtype[Any]:
    """Return the numpy type of an input.

    Raises:
        DataError: numpy has no such type, or it is text.
    """
    try:
        dtype = np.dtype(spec.dtype)
    except TypeError:
        raise DataError(f"input {spec.name!r} has type {spec.dtype}, which no data source can feed") from None
    if dtype.kind not in "fiub":
        raise DataError(f"input {spec.name!r} has type {spec.dtype}, which no data source can feed")
    return dtype


def whole(spec: TensorSpec) -> Array:
    """Return what an input is fed that takes no samples: its value, or one that seldom does harm.

    That is False of a flag, 16,000 of a sampling rate, and 1 of any other number, such as a factor or a count.
    """
    shape = tuple(dim if isinstance(dim, int) else 1 for dim in spec.shape)
    if spec.value is not None:
        return np.array(spec.value, numpy_dtype(spec))
    return np.full(shape, 16000 if RATE.search(spec.name) else spec.dtype != "bool", numpy_dtype(spec))


def zeros(spec: TensorSpec, rows: int) -> Array:
    """Return a state [rows, …] before the first step; a dimension of unknown size has the size 1, or of a cache 0."""
    sizes = (dim if isinstance(dim, int) else int(axis != spec.grows) for axis, dim in enumerate(spec.shape[1:], 1))
    return np.zeros((rows, *sizes), numpy_dtype(spec))


def _castable(have: np.dtype[Any], want: np.dtype[Any]) -> bool:
    if have.kind == "f":
        return want.kind == "f"
    if have.kind in "iu":
        return want.kind in "iub" or np.can_cast(have, want)
    return have.kind == "b"
