"""What goes with token ids [N, T], by the names of inputs: where tokens are read, and their positions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from compressctl.arrays import Array, Integers, Mask
from compressctl.data.fit import numpy_dtype
from compressctl.tensorspec import TensorSpec

_MASKS = ("attention_mask", "input_mask")  # as exports of BERT, GPT and their kin call them: 0 at padding
_NO_IDS = ("mask", "position", "pos_id", "type", "segment")


def token_ids(feeds: Mapping[str, Array]) -> str | None:
    """Return the name of the input that takes the tokens whose successors a model tells; None where it is not clear.

    Of an encoder and a decoder, it is the decoder's.
    """
    return _ids((name, array.ndim, array.dtype.kind in "iu") for name, array in feeds.items())


def ids_input(inputs: Sequence[TensorSpec]) -> TensorSpec | None:
    """Return the same of a model's inputs."""
    found = _ids((spec.name, len(spec.shape), spec.dtype.startswith(("int", "uint"))) for spec in inputs)
    return next((spec for spec in inputs if spec.name == found), None)


def _ids(inputs: Iterable[tuple[str, int, bool]]) -> str | None:
    found = [name for name, rank, whole in inputs if rank == 2 and whole and not _is(name, _NO_IDS)]
    for part in ("decoder", "input_ids"):
        found = [name for name in found if part in name.lower()] or found
    return found[0] if len(found) == 1 else None


def is_mask(name: str) -> bool:
    """Return whether an input says which tokens are read, by its name."""
    return _is(name, _MASKS)


def is_positions(name: str) -> bool:
    """Return whether an input takes the positions of tokens, by its name."""
    return _is(name, ("position", "pos_id"))


def _is(name: str, words: tuple[str, ...]) -> bool:
    return any(word in name.lower() for word in words)


def attended(feeds: Mapping[str, Array]) -> Mask | None:
    """Return where texts have tokens, [N, T], of feeds that pad some of them; else None."""
    for name, array in feeds.items():
        if array.ndim == 2 and is_mask(name) and not array.all():
            marked: Mask = array != 0
            return marked
    return None


def tokens_read(feeds: Mapping[str, Array], name: str) -> Mask:
    """Return where the input `name` [N, T] has tokens that are no padding, by the mask that goes with it."""
    ids = feeds[name]
    for other, array in feeds.items():
        belongs = is_mask(other) and ("decoder" in other.lower()) == ("decoder" in name.lower())
        if belongs and array.ndim == 2 and len(array) == len(ids) and array.shape[1] >= ids.shape[1]:
            return np.asarray(array[:, array.shape[1] - ids.shape[1] :] != 0)  # it begins with the past
    return np.ones(ids.shape, bool)


def implied(inputs: Sequence[TensorSpec]) -> frozenset[str]:
    """Return the inputs that data need not have: masks and positions, which follow from token ids."""
    if ids_input(inputs) is None:
        return frozenset()
    names = [spec.name for spec in inputs if len(spec.shape) == 2 and spec.dtype.startswith(("int", "uint", "bool"))]
    return frozenset(name for name in names if is_mask(name) or is_positions(name))


def follow(spec: TensorSpec, rows: Mapping[str, Array], past: int = 0) -> Array:
    """Return the mask or the positions [N, …] that follow from the token ids in `rows` [N, T] after `past` others.

    All tokens are read, unless a mask among the rows says otherwise; positions count those that are.
    """
    name = token_ids(rows)
    assert name is not None
    count, length = rows[name].shape
    mask = next((array for other, array in rows.items() if is_mask(other) and array.ndim == 2), None)
    if is_mask(spec.name):
        return np.ones((count, past + length), numpy_dtype(spec))
    if mask is None:
        positions: Integers = np.broadcast_to(np.arange(past, past + length), (count, length))
    else:
        positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)[:, -length:]
    return positions.astype(numpy_dtype(spec))
