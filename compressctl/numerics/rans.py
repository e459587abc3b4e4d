"""Range asymmetric numeral systems: bytes in as many bits as their entropy, by one static table.

A state x in [2**16, 2**32) takes a symbol of frequency f and cumulative frequency c, out of M = 2**precision, by
x -> (x // f) * M + c + x % f, after it has given its low 16 bits to the output where it would grow too large. Symbol i
belongs to lane i % lanes; the words of all lanes stand in one sequence, in the order in which decoding asks for them.
All arithmetic that decoding depends on is that of integers.

Sources: Duda 2013, "Asymmetric numeral systems" (arXiv:1311.2540); Giesen 2014, "Interleaved entropy coders"
(arXiv:1402.3392).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressctl.numerics.bits import BitReader, BitWriter, get_levels, put_levels
from compressctl.numerics.entropy import Bytes, Counts

_LOW = 1 << 16  # least state
_WORD = 16  # bits that a state gives or takes at a time
_PRECISIONS = range(9, 16, 2)
_LANES = 1 << 14  # at most
_LANE_SHARE = 512  # coded bytes for each lane: its state costs three, 0.6 %


class Table(NamedTuple):
    """A static model.

    Attributes:
        precision: frequencies sum to 2**precision.
        frequencies: of the 256 bytes; 0 for those that do not occur.
    """

    precision: int
    frequencies: NDArray[np.uint32]


class Plan(NamedTuple):
    """How data are going to be coded, and in how many bytes, but for one or two."""

    table: Table
    lanes: int
    bytes: int


def plan(counts: Counts) -> Plan:
    """Return the precision that makes table and data smallest, for bytes that occur `counts` [256] times.

    Raises:
        ValueError: there are none.
    """
    if not counts.any():
        raise ValueError("there is nothing to code")
    plans = []
    for precision in _PRECISIONS:
        table = Table(precision, quantized(counts, precision))
        present = counts > 0
        bits = (counts[present] * (precision - np.log2(table.frequencies[present]))).sum()
        lanes = max(1, min(_LANES, int(bits / 8) // _LANE_SHARE))
        plans.append(Plan(table, lanes, len(_header(table, lanes)) + 3 * lanes + int(bits / 8) + 1))
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


def encode(data: Bytes, plan: Plan) -> bytes:
    """Return the table, the lanes' states and their words, for flat `data` whose counts were planned for."""
    precision, frequencies = plan.table
    starts = (np.cumsum(frequencies) - frequencies).astype(np.uint32)
    lanes, shift, unit = plan.lanes, np.uint32(precision), np.uint32(32 - precision)
    states = np.full(lanes, _LOW, np.uint32)
    words: list[NDArray[Any]] = []
    for start in range((data.size - 1) // lanes * lanes, -1, -lanes):
        symbols = data[start : start + lanes]
        x = states[: symbols.size]
        f = frequencies.take(symbols)
        full = np.flatnonzero((x >> unit) >= f)
        given = x.take(full)
        words.append(given.astype(np.uint16))
        x[full] = given >> np.uint32(_WORD)
        quotient = x // f
        x += (quotient << shift) - quotient * f + starts.take(symbols)
    stream = np.concatenate(words[::-1]).astype("<u2")
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
    data = np.empty(count, np.uint8)
    used = 0
    for start in range(0, count, lanes):
        x = states[: count - start]
        slots = x & mask
        symbols.take(slots, out=data[start : start + lanes], mode="clip")
        x >>= shift
        x *= factors.take(slots)
        x += offsets.take(slots)
        empty = np.flatnonzero(x < low)
        given = words[used : used + empty.size]
        if given.size < empty.size:
            raise ValueError("the words of the lanes end too early")
        x[empty] = x.take(empty) << np.uint32(_WORD) | given
        used += empty.size
    if used < words.size or (states != low).any():
        raise ValueError("the lanes do not end as they began")
    return data


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
