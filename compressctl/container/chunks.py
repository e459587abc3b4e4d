"""A chunk of numbers as streams of bytes: as it is, one plane for each byte of a number, or a palette and its indices.

Planes part the exponents of floats, which tell much about each other, from mantissas, which do not. A palette serves
weights that were clustered or rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from compressctl.arrays import Array, Bytes
from compressctl.container import streams
from compressctl.container.streams import Coder, Stream

_MOST = 256  # entries of a palette
_SAMPLE = 4096  # numbers that are looked at before all are


class ChunkForm(IntEnum):
    """What the streams of a chunk are; the numbers stand in files."""

    PLAIN = 0
    PLANES = 1
    PALETTE = 2


class Chunk(NamedTuple):
    """A coded chunk.

    Attributes:
        form: what the streams are.
        palette: entries of the palette; 0 where there is none.
        streams: coded.
    """

    form: ChunkForm
    palette: int
    streams: tuple[Stream, ...]

    @property
    def bytes(self) -> int:
        """Of all streams."""
        return sum(len(stream.coded) for stream in self.streams)


def encode(data: bytes, width: int, only: Coder | None = None) -> Chunk:
    """Return `data`, numbers of `width` bytes each, in the shortest form; `only` names the one coder to use."""
    plain = np.frombuffer(data, np.uint8)
    if width == 1:
        return Chunk(ChunkForm.PLAIN, 0, (streams.encode(plain, only),))
    best = None
    if (palette := _palette(plain, width)) is not None:
        entries, indices = palette
        coded = (streams.encode(entries.reshape(-1), only), streams.encode(indices, only))
        best = Chunk(ChunkForm.PALETTE, entries.shape[1], coded)
    planes = Chunk(ChunkForm.PLANES, 0, ())
    for plane in _planes(plain, width):
        planes = planes._replace(streams=(*planes.streams, streams.encode(plane, only)))
        if best is not None and planes.bytes > best.bytes:  # the other planes need not be coded
            break
    else:
        best = planes
    if only in (None, Coder.ZSTD) and streams.zstd_promises(plain, best.bytes):
        stream = streams.encode(plain, Coder.ZSTD)
        if len(stream.coded) < best.bytes:
            return Chunk(ChunkForm.PLAIN, 0, (stream,))
    return best


def sizes(form: ChunkForm, palette: int, width: int, length: int) -> tuple[int, ...]:
    """Return the bytes of each stream of a chunk of `length` bytes, before it was coded.

    Raises:
        ValueError: such a chunk cannot be.
    """
    if form is ChunkForm.PLAIN:
        return (length,)
    if width == 1 or length % width:
        raise ValueError("a chunk ends within a number")
    if form is ChunkForm.PLANES:
        return (length // width,) * width
    if not 1 <= palette <= min(_MOST, length // width):
        raise ValueError("a palette has the wrong size")
    return palette * width, length // width


def decode(form: ChunkForm, palette: int, width: int, parts: Sequence[Bytes]) -> bytes:
    """Return the bytes of a chunk from its decoded streams.

    Raises:
        ValueError: an index points behind the palette.
    """
    if form is ChunkForm.PLAIN:
        return parts[0].tobytes()
    if form is ChunkForm.PLANES:
        return np.stack(parts, axis=1).tobytes()
    entries, indices = parts
    if indices.size and int(indices.max()) >= palette:
        raise ValueError("an index points behind its palette")
    numbers = np.ascontiguousarray(entries.reshape(width, palette).T).view(f"<u{width}").reshape(-1)
    return numbers.take(indices).tobytes()


def _planes(plain: Bytes, width: int) -> Bytes:
    """Return [width, numbers]: the lowest byte of every number, the second one, and so on."""
    return np.ascontiguousarray(plain.reshape(-1, width).T)


def _palette(plain: Bytes, width: int) -> tuple[Bytes, Bytes] | None:
    """Return the planes of the distinct numbers, [width, entries], and the index of each number; None if too many."""
    numbers: Array = plain.view(f"<u{width}")
    if np.unique(numbers[:_SAMPLE]).size > _MOST:
        return None
    entries = np.unique(numbers)
    if entries.size > _MOST:
        return None
    indices = np.searchsorted(entries, numbers).astype(np.uint8)
    return _planes(entries.view(np.uint8), width), indices
