"""Range asymmetric numeral systems: bytes in as many bits as their entropy, by one static table.

A state x in [2**16, 2**32) takes a symbol of frequency f and cumulative frequency c, out of M = 2**precision, by
x -> (x // f) * M + c + x % f, after it has given its low 16 bits to the output where it would grow too large. Symbol i
belongs to lane i % lanes; the words of all lanes stand in one sequence, in the order in which decoding asks for them.
All arithmetic that decoding depends on is that of integers.

Sources: Duda 2013, "Asymmetric numeral systems" (arXiv:1311.2540); Giesen 2014, "Interleaved entropy coders"
(arXiv:1402.3392).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressctl.arrays import Array, Bytes
from compressctl.numerics.bits import BitReader, BitWriter, get_levels, put_levels
from compressctl.numerics.entropy import Counts

_LOW = 1 << 16  # least state
_WORD = 16  # bits that a state gives or takes at a time
_PRECISIONS = range(9, 16, 2)
_LANES = 1 << 14  # at most
_LANE_SHARE = 512  # coded bytes for each lane: its state costs three, 0.6 %
_LANE_STEPS = 1 << 14  # symbols of a lane at most, however few bytes they take: each is a step of Python
_AT_ONCE = 1 << 16  # symbols whose table entries are looked up together


class Table(NamedTuple):
    """A static model.

    Attributes:
        precision: frequencies sum to 2**precision.
        frequencies: of the 256 bytes; 0 for those that do not occur.
    """

    precision: int
    frequencies: NDArray[np.uint32]


class RansCode(NamedTuple):
    """How data are going to be coded.

    Attributes:
        table: the static model.
        lanes: states side by side.
        bytes: of the result, but for one or two.
    """

    table: Table
    lanes: int
    bytes: int


def plan(counts: Counts) -> RansCode:
    """Return the precision that makes table and data smallest, for bytes that occur `counts` [256] times.

    Raises:
        ValueError: there are none.
    """
    if not counts.any():
        raise ValueError("there is nothing to code")
    plans = []
    steps = _changing(counts, int(counts.sum()))
    for precision in _PRECISIONS:
        table = Table(precision, quantized(counts, precision))
        present = counts > 0
        bits = (counts[present] * (precision - np.log2(table.frequencies[present]))).sum()
        lanes = max(1, min(_LANES, max(int(bits / 8) // _LANE_SHARE, steps // _LANE_STEPS)))
        plans.append(RansCode(table, lanes, len(_header(table, lanes)) + 3 * lanes + int(bits / 8) + 1))
    return min(plans, key=lambda plan: plan.bytes)


def quantized(counts: Counts, precision: int) -> NDArray[np.uint32]:
    """Return frequencies that sum to 2**precision, in proportion to `counts`, and at least 1 for what occurs."""
    total, wanted = int(counts.sum()), 1 << precision
    frequencies = np.where(counts > 0, np.maximum(counts * wanted // total, 1), 0)
    weights = counts.astype(np.float64)
    while missing := wanted - int(frequencies.sum()):
        if missing > 0:  # where one more saves most bits
            gain = weights * np.log2((frequencies + 1) / np.maximum(frequencies, 1))
            frequencies[np.argsort(-gain, kind="stable")[: min(missing, np.count_nonzero(counts))]] += 1
        else:  # where one less costs least
            loss = np.full(256, np.inf)
            able = frequencies > 1
            loss[able] = weights[able] * np.log2(frequencies[able] / (frequencies[able] - 1))
            frequencies[np.argmin(loss)] -= 1
    return frequencies.astype(np.uint32)


def encode(data: Bytes, plan: RansCode) -> bytes:
    """Return the table, the lanes' states and their words, for flat `data` whose counts were planned for."""
    precision, frequencies = plan.table
    starts = (np.cumsum(frequencies) - frequencies).astype(np.uint32)
    rests = np.uint32(1 << precision) - frequencies  # (x // f) * M + x % f is x + (x // f) * (M - f)
    most = (frequencies << np.uint32(32 - precision)) - np.uint32(1)  # without giving a word; wraps rightly for f = M
    lanes, block = plan.lanes, _block(plan.lanes)
    states = np.full(lanes, _LOW, np.uint32)
    words: list[Array] = []
    for begin in range((_changing(frequencies, data.size) - 1) // block * block, -1, -block):
        symbols = data[begin : begin + block]
        f, c, rest, limit = (table.take(symbols) for table in (frequencies, starts, rests, most))
        for start in range((symbols.size - 1) // lanes * lanes, -1, -lanes):
            row = slice(start, start + lanes)
            x = states[: symbols.size - start]
            full = (x > limit[row]).nonzero()[0]
            if full.size:
                given = x.take(full)
                words.append(given.astype(np.uint16))
                x[full] = given >> np.uint32(_WORD)
            quotient = x // f[row]
            quotient *= rest[row]
            quotient += c[row]
            x += quotient
    stream = np.concatenate([np.empty(0, np.uint16), *words[::-1]]).astype("<u2")
    return _header(plan.table, lanes) + states.astype("<u4").tobytes() + stream.tobytes()


def decode(coded: bytes, count: int) -> Bytes:
    """Return the `count` bytes that were encoded.

    Raises:
        ValueError: `coded` is damaged.
    """
    reader = BitReader(coded)
    table, lanes = _read_header(reader)
    precision, frequencies = table
    body = coded[reader.bytes_read :]
    if not 1 <= lanes <= min(_LANES, count) or len(body) < 4 * lanes or len(body) % 2:
        raise ValueError("the states of the lanes are incomplete")
    states = np.frombuffer(body, "<u4", lanes).astype(np.uint32)
    words = np.frombuffer(body, "<u2", offset=4 * lanes).astype(np.uint32)
    symbols = np.repeat(np.arange(256, dtype=np.uint8), frequencies)
    starts = np.cumsum(frequencies) - frequencies
    factors = frequencies[symbols]
    offsets = (np.arange(symbols.size) - starts[symbols]).astype(np.uint32)
    mask, shift, low = np.uint32(symbols.size - 1), np.uint32(precision), np.uint32(_LOW)
    data = np.full(count, symbols[0])
    block = _block(lanes)
    slots = np.empty(min(block, count), np.intp)
    used = 0
    for begin in range(0, _changing(frequencies, count), block):
        held = slots[: count - begin]
        for start in range(0, held.size, lanes):
            slot = held[start : start + lanes]
            x = states[: slot.size]
            np.bitwise_and(x, mask, out=slot)
            x >>= shift
            x *= factors.take(slot)
            x += offsets.take(slot)
            empty = (x < low).nonzero()[0]
            if empty.size:
                given = words[used : used + empty.size]
                if given.size < empty.size:
                    raise ValueError("the words of the lanes end too early")
                x[empty] = x.take(empty) << np.uint32(_WORD) | given
                used += empty.size
        symbols.take(held, out=data[begin : begin + block], mode="clip")
    if used < words.size or (states != low).any():
        raise ValueError("the lanes do not end as they began")
    return data


def _changing(frequencies: Array, symbols: int) -> int:
    """Return how many of the symbols change a state: all, or none where there is one of them alone."""
    return symbols if np.count_nonzero(frequencies) > 1 else 0


def _block(lanes: int) -> int:
    """Return a whole number of symbols for each lane, about `_AT_ONCE` together."""
    return max(_AT_ONCE // lanes, 1) * lanes


def _header(table: Table, lanes: int) -> bytes:
    """Precision, lanes, the frequencies' numbers of digits, and the digits after the first."""
    writer = BitWriter()
    writer.put(_PRECISIONS.index(table.precision), 2)
    writer.gamma(lanes)
    frequencies = table.frequencies.tolist()
    put_levels(writer, [frequency.bit_length() for frequency in frequencies])
    for frequency in frequencies:
        if frequency:
            writer.put(frequency, frequency.bit_length() - 1)
    return writer.to_bytes()


def _read_header(reader: BitReader) -> tuple[Table, int]:
    precision = _PRECISIONS[reader.get(2)]
    lanes = reader.gamma()
    levels = get_levels(reader)
    if max(levels) > precision + 1:
        raise ValueError("a table of frequencies goes too far")
    frequencies = [1 << level - 1 | reader.get(level - 1) if level else 0 for level in levels]
    if sum(frequencies) != 1 << precision:
        raise ValueError("a table of frequencies has the wrong sum")
    return Table(precision, np.array(frequencies, np.uint32)), lanes
