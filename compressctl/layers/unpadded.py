"""Batches of sequences without their padding: samples of like length together, cut to the longest of them.

Padding may be most of what there is to compute, and second moments would count what no output depends on. Where it is
shows an input that is called a mask, ones and then zeros. That the model gives the same without it is tried.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Integers
from compressctl.data.source import Feeds, Source
from compressctl.errors import CompressctlError
from compressctl.measure.session import Session
from compressctl.resources import Resources
from compressctl.tensorspec import TensorSpec

_SORTED = 256  # samples read at once and put in the order of their lengths
_TRIED = 4  # samples
_TOLERANCE = 1e-3  # of the largest value of an output


def feeds(source: Source, size: int, mask: TensorSpec | None) -> Iterator[Feeds]:
    """Yield what a model is fed for all samples.

    Args:
        source: the samples.
        size: rows of a batch; of shorter ones there are as many as take no more than so many of full length.
        mask: the input that tells padding, see `padding_mask`; None: nothing is cut.
    """
    if mask is None:
        yield from (batch.feeds for batch in source.batches(size))
        return
    for batch in source.batches(max(size, _SORTED)):
        rows = source.to_rows(batch)
        lengths = _lengths(rows[mask.name])
        room = size * rows[mask.name].shape[1]
        waiting: list[int] = []
        for number in np.argsort(lengths, kind="stable"):
            if waiting and (len(waiting) + 1) * lengths[number] > room:
                yield _cut(source, rows, waiting, mask, int(lengths[waiting[-1]]))
                waiting = []
            waiting.append(int(number))
        if waiting:
            yield _cut(source, rows, waiting, mask, int(lengths[waiting[-1]]))


def padding_mask(model: ir.Model, source: Source, resources: Resources) -> TensorSpec | None:
    """Return the input that tells where samples are padded, None where none does or where padding makes a difference.

    Args:
        model: takes the samples; left as it is.
        source: all its samples are looked at.
        resources: to run the model with.
    """
    masks = [spec for spec in source.sampled if "mask" in spec.name.lower() and len(spec.shape) == 2]
    if len(masks) != 1 or source.fixed_batch is not None or source.carries:
        return None
    (mask,) = masks
    others = {dim for spec in source.sampled for dim in spec.shape[1:] if not isinstance(dim, int)}
    if not isinstance(mask.shape[1], str) or others != {mask.shape[1]}:
        return None
    shortest: Feeds = {}
    for batch in source.batches(_SORTED):
        rows = source.to_rows(batch)
        array = rows[mask.name]
        lengths = _lengths(array)
        if not np.array_equal(array, np.arange(array.shape[1]) < lengths[:, None]) or not lengths.all():
            return None
        if not shortest and (lengths < array.shape[1]).any():
            shortest = {name: one[np.argsort(lengths, kind="stable")[:_TRIED]] for name, one in rows.items()}
    if not shortest:
        return None
    lengths = _lengths(shortest[mask.name])
    cut = _cut(source, shortest, [*range(len(lengths))], mask, int(lengths.max()))
    return mask if _same(model, source.to_feeds(shortest), cut, resources) else None


def _lengths(mask: Array) -> Integers:
    return np.asarray((mask != 0).sum(axis=1), np.int64)


def _cut(source: Source, rows: Feeds, numbers: list[int], mask: TensorSpec, length: int) -> Feeds:
    """Return what a model is fed for some rows, as long as `length`."""
    cut: Feeds = {}
    for spec in source.sampled:
        if spec.name in rows:
            places = tuple(slice(length) if dim == mask.shape[1] else slice(None) for dim in spec.shape[1:])
            cut[spec.name] = rows[spec.name][(numbers, *places)]
    return source.to_feeds(cut)


def _same(model: ir.Model, whole: Feeds, cut: Feeds, resources: Resources) -> bool:
    """Whether the outputs for `cut` are those for `whole`, but for what lies beyond the cut."""
    try:
        session = Session(model, threads=resources.threads, workdir=resources.workdir, spinning="never")
        expected, actual = session.run(whole), session.run(cut)
    except CompressctlError:
        return False
    if any(array.ndim != expected[name].ndim for name, array in actual.items()):
        return False
    return all(_close(expected[name][tuple(map(slice, array.shape))], array) for name, array in actual.items())


def _close(whole: Array, cut: Array) -> bool:
    if whole.shape != cut.shape:
        return False
    a, b = whole.astype(np.float64), cut.astype(np.float64)
    return bool((np.abs(a - b) <= _TOLERANCE * np.abs(a).max(initial=0)).all())
