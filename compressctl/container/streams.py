"""A stream of bytes of one kind in its shortest form: as it is, or by range ANS, Huffman's codes, Zstandard or LZMA.

LZMA (of Python's own library) tells bytes by those before them: neighbours in the kernels of convolutions are alike.
Zstandard (level 19) takes what repeats: graphs, names, weights that several tensors share. The python package is 5 MB,
BSD-licensed, kept up with the library by one maintainer and used by conda, among others; the format is RFC 8878. The
package `constriction` has faster entropy coders, but its models are cut from floating-point densities, so that files
decode as long as its conversion stays the same: that is too little for an archive. Ours are integers throughout.
"""

from __future__ import annotations

import lzma
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import zstandard

from compressctl.arrays import Bytes
from compressctl.numerics import huffman, rans
from compressctl.numerics.entropy import entropy_bits, histogram

MOST_RATIO = 1 << 16
"""How many times its own bytes a stream may decode to, so that small files cannot claim any amount of memory."""

_LEVEL = 19
_WINDOW = 1 << 24  # bytes that a frame may look back
_SAMPLE = 1 << 15  # bytes
_PROMISE = 0.97  # Zstandard is slow: it is tried where less of it, or of the data, promises to save 3 %
_SLOWER_PROMISE = 0.99  # as is LZMA, which comes last
_LZMA = {"id": lzma.FILTER_LZMA2, "dict_size": 1 << 23, "lc": 3, "lp": 0, "pb": 0}


class Coder(IntEnum):
    """How a stream is coded; the numbers stand in files."""

    RAW = 0
    ZSTD = 1
    RANS = 2
    HUFFMAN = 3
    LZMA = 4


class Stream(NamedTuple):
    """A coded stream.

    Attributes:
        entropy: of its bytes, one by one, in bits.
    """

    coder: Coder
    coded: bytes
    entropy: float


def encode(data: Bytes, only: Coder | None = None) -> Stream:
    """Return flat `data` in the shortest form, or by the one coder `only` where that is shorter than as it is."""
    counts = histogram(data)
    entropy = entropy_bits(counts)
    by_rans, by_huffman = rans.plan(counts), huffman.plan(counts)
    planned = {Coder.RAW: data.size, Coder.RANS: by_rans.bytes, Coder.HUFFMAN: by_huffman.bytes}
    able = {coder: size for coder, size in planned.items() if size * MOST_RATIO >= data.size}
    if only in planned and only not in able:
        only = Coder.ZSTD
    best = min((coder for coder in able if only in (None, coder) or coder is Coder.RAW), key=lambda coder: able[coder])
    size, coded = able[best], None
    if only is Coder.ZSTD or (only is None and zstd_promises(data, size)):
        tried = zstd(data.data)
        if len(tried) < size:
            best, size, coded = Coder.ZSTD, len(tried), tried
    if only is Coder.LZMA or (only is None and _lzma_promises(data, size)):
        tried = _lzma(data.data)
        if len(tried) < size:
            best, coded = Coder.LZMA, tried
    if coded is not None:
        return Stream(best, coded, entropy)
    if best is Coder.RANS:
        return Stream(best, rans.encode(data, by_rans), entropy)
    if best is Coder.HUFFMAN:
        return Stream(best, huffman.encode(data, by_huffman), entropy)
    return Stream(Coder.RAW, data.tobytes(), entropy)


def decode(coder: Coder, coded: bytes, count: int) -> Bytes:
    """Return the `count` bytes of a stream.

    Raises:
        ValueError: `coded` is damaged.
    """
    match coder:
        case Coder.RAW:
            data = np.frombuffer(coded, np.uint8)
        case Coder.ZSTD:
            data = np.frombuffer(unzstd(coded, count), np.uint8)
        case Coder.RANS:
            data = rans.decode(coded, count)
        case Coder.HUFFMAN:
            data = huffman.decode(coded, count)
        case Coder.LZMA:
            data = np.frombuffer(_unlzma(coded, count), np.uint8)
    if data.size != count:
        raise ValueError(f"a stream holds {data.size} bytes, not {count}")
    return data


def zstd(data: bytes | memoryview, level: int = _LEVEL) -> bytes:
    """Return a Zstandard frame without the size of its content, which the directory has."""
    return zstandard.ZstdCompressor(level=level, write_content_size=False).compress(data)


def unzstd(coded: bytes, most: int) -> bytes:
    """Return what a frame holds.

    Raises:
        ValueError: it is damaged, tells a size, or holds more than `most` bytes.
    """
    try:
        if zstandard.get_frame_parameters(coded).content_size != zstandard.CONTENTSIZE_UNKNOWN:
            raise ValueError("a frame of Zstandard tells a size")
        # One byte more than allowed, because a limit of 0 would be none.
        decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        data = decompressor.decompress(coded, max_output_size=most + 1, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(f"a frame of Zstandard is damaged ({error})") from error
    if len(data) > most:
        raise ValueError("a frame of Zstandard holds too much")
    return data


def zstd_promises(data: Bytes, planned: int) -> bool:
    """Return whether Zstandard may save much of the `planned` bytes: told by its fastest level and by a sample."""
    if len(zstd(data.data, level=1)) < _PROMISE * planned:
        return True
    if planned >= _PROMISE * data.size:  # of bytes that are equally frequent slow levels make no more than fast ones
        return False
    if data.size <= _SAMPLE:
        return True
    middle = (data.size - _SAMPLE) // 2
    sample = data[middle : middle + _SAMPLE]
    return len(zstd(sample.data)) < _PROMISE * planned * _SAMPLE / data.size


def _lzma(data: bytes | memoryview) -> bytes:
    return lzma.compress(data, lzma.FORMAT_RAW, filters=[{**_LZMA, "preset": 9 | lzma.PRESET_EXTREME}])


def _unlzma(coded: bytes, most: int) -> bytes:
    """Return what raw LZMA2 chunks hold.

    Raises:
        ValueError: they are damaged, or hold more than `most` bytes.
    """
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[_LZMA])
    try:
        data = decompressor.decompress(coded, max_length=most + 1)
    except lzma.LZMAError as error:
        raise ValueError(f"a stream of LZMA is damaged ({error})") from error
    if len(data) > most or not decompressor.eof or decompressor.unused_data:
        raise ValueError("a stream of LZMA holds too much, or is cut off")
    return data


def _lzma_promises(data: Bytes, planned: int) -> bool:
    """Return whether LZMA may save something of the `planned` bytes, told by a sample."""
    if planned >= _PROMISE * data.size:
        return False
    middle = max(data.size - _SAMPLE, 0) // 2
    sample = data[middle : middle + _SAMPLE]
    return len(_lzma(sample.data)) < _SLOWER_PROMISE * planned * sample.size / data.size
