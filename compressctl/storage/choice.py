"""Which lossless form of a constant is the smallest, by the bytes that each takes in a file; and putting it in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from compressctl.model.coo import CooTensor
from compressctl.model.footprint import field_bytes, info_bytes, sparse_bytes, tensor_bytes
from compressctl.model.graph import set_constant
from compressctl.model.tensor_file import TensorFiles
from compressctl.numerics.delta_index import fillers, split
from compressctl.numerics.distinct import MOST, Distinct
from compressctl.storage.codebook import emit_codebook
from compressctl.storage.codes import Packed
from compressctl.storage.decoder import Decoder
from compressctl.storage.floats import emit_cast
from compressctl.storage.meter import Meter
from compressctl.storage.positions import Rows, column_type, emit_bitmask, emit_delta_index, emit_rows
from compressctl.storage.survey import Survey, bits_of

DENSE, COO = "dense", "coo"
FORMATS = (DENSE, "float16", "bfloat16", "float32", "codebook", "bitmask", "delta-index", COO, "csr")

_BITS = range(2, 9)  # of a delta

Emit = Callable[[Decoder], ir.Value]


@dataclass(frozen=True, eq=False)
class StorageForm:
    """A way to store one constant.

    Attributes:
        format: one of `FORMATS`.
        bytes: that it takes in the file, with nodes and headers.
        detail: what it is made of, in words; "" where its name says all.
        emit: appends the nodes that make the constant; None where it is one tensor (dense, coo).
    """

    format: str
    bytes: int
    detail: str = ""
    emit: Emit | None = None


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A form that is not measured yet; `emit` appends its nodes, with blank=True those for a `Meter` alone."""

    format: str
    detail: str
    emit: Callable[..., ir.Value]


def forms(graph: ir.Graph, name: str, seen: Survey) -> dict[str, StorageForm]:
    """Return the smallest form of each format that applies, in the order of `FORMATS`.

    Args:
        graph: that holds the constant.
        name: of the constant.
        seen: what it is like.
    """
    shape, dtype = seen.array.shape, ir.DataType.from_numpy(seen.array.dtype)
    best = {DENSE: StorageForm(DENSE, tensor_bytes(name, dtype, shape))}
    meter = Meter(graph)
    for candidate in _candidates(seen):
        size = meter.measure(name, partial(candidate.emit, blank=True)) + info_bytes(name, dtype, shape)
        if candidate.format not in best or size < best[candidate.format].bytes:
            emit = partial(candidate.emit, blank=False)
            best[candidate.format] = StorageForm(candidate.format, size, candidate.detail, emit)
    if seen.deltas is not None:
        size = field_bytes(sparse_bytes(name, dtype, shape, len(seen.deltas)))
        best[COO] = StorageForm(COO, size, "places of 64 bits")
    return {format_: best[format_] for format_ in FORMATS if format_ in best}


def smallest(found: dict[str, StorageForm]) -> StorageForm:
    """Return the form of fewest bytes; of equals the first."""
    return min(found.values(), key=lambda form: form.bytes)


def _candidates(seen: Survey) -> Iterator[_Candidate]:
    if seen.narrow != seen.array.dtype:
        yield _Candidate(seen.narrow.name, "", partial(_cast, seen))
    for found in (seen.distinct, *seen.vectors):
        if found is not None:
            yield _Candidate("codebook", _described(found), partial(_codebook, seen, found, max(len(found.values), 2)))
            yield _Candidate("codebook", _described(found), partial(_codebook, seen, found, MOST))  # needs no tables
    if seen.deltas is None:
        return
    for values in (None, seen.values):
        how = "" if values is None else _described(values)
        coded = values is not None
        yield _Candidate("bitmask", how, partial(_bitmask, seen, coded))
        if seen.array.ndim > 1 and seen.array.size > len(seen.array):
            yield _Candidate("csr", how, partial(_csr, seen, coded))
        for bits in _BITS:
            if seen.nonzeros(coded=coded, blank=True, count=len(seen.deltas) + fillers(seen.deltas, bits)) is not None:
                deltas = f"{bits} bits"
                yield _Candidate(
                    "delta-index", f"{deltas}, {how}" if how else deltas, partial(_deltas, seen, coded, bits)
                )
        if seen.values is None:
            return


def _described(found: Distinct) -> str:
    if found.values.ndim > 1:
        return f"{len(found.values)} vectors of {found.values.shape[1]}"
    return f"{len(found.values)} values" if len(found.values) > 1 else "one value"


def _cast(seen: Survey, decoder: Decoder, *, blank: bool) -> ir.Value:
    array = np.broadcast_to(np.zeros((), seen.narrow), seen.array.shape) if blank else seen.array.astype(seen.narrow)
    return emit_cast(decoder, array, ir.DataType.from_numpy(seen.array.dtype))


def _codebook(seen: Survey, found: Distinct, levels: int, decoder: Decoder, *, blank: bool) -> ir.Value:
    codes = Packed.blank(found.codes.size, levels) if blank else Packed.of(found.codes, levels)
    return emit_codebook(decoder, codes, found.values, seen.array.shape)


def _bitmask(seen: Survey, coded: bool, decoder: Decoder, *, blank: bool) -> ir.Value:
    assert seen.deltas is not None
    bits = Packed.blank(seen.array.size, 2) if blank else Packed.of(seen.mask, 2)
    values = seen.nonzeros(coded=coded, blank=blank, count=len(seen.deltas))
    assert values is not None
    return emit_bitmask(decoder, bits, values, seen.array.shape)


def _deltas(seen: Survey, coded: bool, bits: int, decoder: Decoder, *, blank: bool) -> ir.Value:
    assert seen.deltas is not None
    count, real = len(seen.deltas) + fillers(seen.deltas, bits), None
    if blank:
        deltas = Packed.blank(count, 1 << bits)
    else:
        short, real = split(seen.deltas, bits)
        deltas = Packed.of(short, 1 << bits)
    values = seen.nonzeros(coded=coded, blank=blank, count=count, real=real)
    assert values is not None
    return emit_delta_index(decoder, deltas, values, seen.array.shape)


def _csr(seen: Survey, coded: bool, decoder: Decoder, *, blank: bool) -> ir.Value:
    assert seen.deltas is not None
    shape, count = seen.array.shape, len(seen.deltas)
    width = seen.array.size // shape[0]
    if blank:
        used = np.broadcast_to(np.int32(0), int(seen.mask.reshape(shape[0], width).any(axis=1).sum()))
        rows = Rows(np.broadcast_to(column_type(width).type(0), count), used, used)
    else:
        rows = Rows.of(np.cumsum(seen.deltas, dtype=np.int32), width)
    values = seen.nonzeros(coded=coded, blank=blank, count=count)
    assert values is not None
    return emit_rows(decoder, rows, values, shape)


def place(graph: ir.Graph, value: ir.Value, form: StorageForm, seen: Survey, files: TensorFiles | None = None) -> None:
    """Store a constant in `form`, under its name.

    Args:
        graph: the main graph.
        value: an initializer that is no graph input, or the output of a Constant node.
        form: of the constant.
        seen: what the form was chosen by.
        files: keeps large arrays on disk until the model is saved.
    """
    if form.format == COO:
        places = np.flatnonzero(bits_of(seen.array))
        values, indices = (_kept(part, files) for part in (seen.array.reshape(-1)[places], places))
        value.const_value = CooTensor(values, indices, seen.array.shape, value.name)
    elif form.emit is not None:
        decoder = Decoder(graph, value.name or "", files)
        decoder.replace(value, form.emit(decoder))
    elif value.const_value is not None and isinstance(value.const_value, CooTensor):
        set_constant(value, seen.array)


def _kept(array: NDArray[np.generic], files: TensorFiles | None) -> ir.TensorProtocol:
    holder = ir.Value(name="part", const_value=ir.tensor(array))
    if files is not None:
        files.keep(holder)
    tensor = holder.const_value
    assert tensor is not None
    return tensor
