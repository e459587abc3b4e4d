"""Canonical Huffman codes of bytes, of at most 15 bits, in lanes that are decoded side by side.

Lane j holds the symbols from j * ceil(count / lanes) on, as one string of bits, first bits highest; the strings of all
lanes follow each other without gaps. Codes of one length are consecutive numbers in the order of their bytes, and
shorter codes are the smaller ones as fractions, so the lengths are the whole table.

Sources: Huffman 1952, "A Method for the Construction of Minimum-Redundancy Codes"; Larmore and Hirschberg 1990, "A fast
algorithm for optimal length-limited Huffman codes" (package-merge); Schwartz and Kallick 1964 (canonical form).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressctl.arrays import Array, Bytes, Integers
from compressctl.numerics.bits import BitReader, BitWriter, get_levels, put_levels
from compressctl.numerics.entropy import Counts

LONGEST = 15
"""Bits of a code."""

Lengths = Integers

_LANES = 1 << 13  # at most
_LANE_SHARE = 512  # coded bytes for each lane: where it ends costs two, 0.4 %
_AT_ONCE = 1 << 20  # symbols


class HuffmanCode(NamedTuple):
    """How data are going to be coded.

    Attributes:
        lengths: of the codes of the 256 bytes; 0 for those that do not occur.
        lanes: decoded side by side.
        bytes: of the result, but for a few.
    """

    lengths: Lengths
    lanes: int
    bytes: int


def plan(counts: Counts) -> HuffmanCode:
    """Return the best lengths for bytes that occur `counts` [256] times.

    Raises:
        ValueError: there are none.
    """
    lengths = code_lengths(counts)
    coded = int((counts * lengths).sum()) // 8 + 1
    lanes = max(1, min(_LANES, coded // _LANE_SHARE))
    return HuffmanCode(lengths, lanes, coded + len(_table(lengths)) + 2 * lanes + 4)


def code_lengths(counts: Counts, longest: int = LONGEST) -> Lengths:
    """Return code lengths of the least sum(counts * lengths) under `longest`; one symbol alone gets 1 bit.

    Raises:
        ValueError: nothing occurs, or more symbols than codes of `longest` bits.
    """
    symbols = np.flatnonzero(counts)
    symbols = symbols[np.argsort(counts[symbols], kind="stable")]
    if not 0 < symbols.size <= 1 << longest:
        raise ValueError(f"{symbols.size} symbols cannot have codes of at most {longest} bits")
    lengths = np.zeros(counts.size, np.int64)
    leaves = counts[symbols]
    row, rows = leaves[:0], []
    for _ in range(longest):  # each row: the leaves, and pairs of the row before, by weight
        packages = row[: row.size // 2 * 2].reshape(-1, 2).sum(axis=1)
        is_leaf = np.repeat([True, False], [leaves.size, packages.size])
        row = np.concatenate([leaves, packages])
        order = np.argsort(row, kind="stable")
        row = row[order]
        rows.append(is_leaf[order])
    taken = max(2 * symbols.size - 2, 1)
    for is_leaf in reversed(rows):
        chosen = int(np.count_nonzero(is_leaf[:taken]))
        lengths[symbols[:chosen]] += 1
        taken = 2 * (taken - chosen)
    return lengths


def encode(data: Bytes, plan: HuffmanCode) -> bytes:
    """Return the lengths of codes and of lanes, and the lanes, for flat `data` whose counts were planned for."""
    lengths, codes = plan.lengths, _codes(plan.lengths)
    row = -(-data.size // plan.lanes)
    lanes = -(-data.size // row)
    ends = np.empty(lanes, np.int64)
    bits = int(np.bincount(data, minlength=256) @ lengths)
    stream = np.zeros(bits // 8 + 3, np.uint8)
    at = 0
    for start in range(0, data.size, _AT_ONCE):
        symbols = data[start : start + _AT_ONCE]
        size = lengths.take(symbols)
        after = at + np.cumsum(size)
        crossed = np.arange(-(-(start + 1) // row), (start + symbols.size) // row + 1)
        ends[crossed - 1] = after[crossed * row - 1 - start]
        before = after - size
        first = at >> 3
        # A code lies within three bytes, and no two share a bit, so that sums of less than 2**24 put them together.
        shifted = codes.take(symbols) << (24 - (before & 7) - size)
        merged = np.bincount((before >> 3) - first, weights=shifted).astype(np.int64)
        for offset, shift in enumerate((16, 8, 0)):
            stream[first + offset : first + offset + merged.size] += (merged >> shift & 255).astype(np.uint8)
        at = int(after[-1])
    ends[-1] = at
    sizes = np.diff(ends, prepend=0)
    return _header(lengths, sizes) + stream[: -(-bits // 8)].tobytes()


def decode(coded: bytes, count: int) -> Bytes:
    """Return the `count` bytes that were encoded.

    Raises:
        ValueError: `coded` is damaged.
    """
    reader = BitReader(coded)
    lengths, sizes, begin = _read_header(reader, count)
    ends = np.cumsum(sizes)
    stream = np.frombuffer(coded, np.uint8, offset=begin)
    if stream.size != -(-int(ends[-1]) // 8):
        raise ValueError("the lanes are not as long as they say")
    padded = np.concatenate([stream, np.zeros(3, np.uint8)]).astype(np.uint32)
    windows = padded[:-2] << np.uint32(16) | padded[1:-1] << np.uint32(8) | padded[2:]
    symbols, steps = _lookup(lengths)
    at = (ends - sizes).astype(np.uint32)
    lanes = at.size
    row = -(-count // lanes)
    last = count - (lanes - 1) * row
    data = np.empty((row, lanes), np.uint8)
    three, seven, spare = np.uint32(3), np.uint32(7), np.uint32(24 - LONGEST)
    mask = np.uint32((1 << LONGEST) - 1)
    for step in range(row):
        if step == last:
            at, finished = at[:-1], at[-1:]
        slots = windows.take(at >> three, mode="clip")
        slots >>= spare - (at & seven)
        slots &= mask
        symbols.take(slots, out=data[step, : at.size], mode="clip")
        at += steps.take(slots)
    if last < row:
        at = np.concatenate([at, finished])
    if (at != ends).any():
        raise ValueError("the lanes do not end where they should")
    return np.ascontiguousarray(data.T).reshape(-1)[:count]


def _codes(lengths: Lengths) -> Integers:
    """Number the codes of each length consecutively, as RFC 1951, section 3.2.2 does."""
    codes = np.zeros(lengths.size, np.int64)
    code = 0
    for bits in range(1, LONGEST + 1):
        held = np.flatnonzero(lengths == bits)
        codes[held] = code + np.arange(held.size)
        code = (code + held.size) << 1
    return codes


def _lookup(lengths: Lengths) -> tuple[Bytes, NDArray[np.uint32]]:
    """Return the symbol and the length of the code that each 15 bits begin with."""
    order = np.argsort(np.where(lengths > 0, lengths, LONGEST + 1), kind="stable")[: np.count_nonzero(lengths)]
    widths = 1 << (LONGEST - lengths[order])
    if order.size == 1:
        widths = np.array([1 << LONGEST])
    if widths.sum() != 1 << LONGEST:
        raise ValueError("the lengths of codes do not fill the code space")
    return np.repeat(order.astype(np.uint8), widths), np.repeat(lengths[order].astype(np.uint32), widths)


def _table(lengths: Lengths) -> bytes:
    writer = BitWriter()
    put_levels(writer, lengths.tolist())
    return writer.to_bytes()


def _header(lengths: Lengths, sizes: Array) -> bytes:
    """Lengths of codes; how many lanes, bits of the shortest one, and how many more the others have, in equal width."""
    writer = BitWriter()
    put_levels(writer, lengths.tolist())
    least = int(sizes.min())
    width = int(sizes.max() - least).bit_length()
    for number in (sizes.size, least + 1, width + 1):
        writer.gamma(number)
    for size in sizes.tolist():
        writer.put(size - least, width)
    return writer.to_bytes()


def _read_header(reader: BitReader, count: int) -> tuple[Lengths, Integers, int]:
    lengths = np.array(get_levels(reader), np.int64)
    if lengths.max() > LONGEST:
        raise ValueError("a code is too long")
    lanes, least, width = reader.gamma(), reader.gamma() - 1, reader.gamma() - 1
    row = -(-count // lanes)
    if lanes > min(_LANES, count) or -(-count // row) != lanes or least > LONGEST * row or width > 32:
        raise ValueError("the lanes do not fit the data")
    sizes = np.array([least + reader.get(width) for _ in range(lanes)], np.int64)
    return lengths, sizes, reader.bytes_read
