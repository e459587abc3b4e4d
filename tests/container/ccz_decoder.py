"""A decoder written from docs/ccz.md alone: one symbol after the other, in Python's integers."""

from __future__ import annotations

import hashlib
import lzma
from collections.abc import Iterator

import zstandard


class Reader:
    """Takes integers, bytes and bits from a string of bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.bit = data, 0, 0

    def varint(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self.bytes(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def bytes(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def bits(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = 2 * value + (self.data[self.bit // 8] >> (7 - self.bit % 8) & 1)
            self.bit += 1
        return value

    def gamma(self) -> int:
        zeros = 0
        while self.bits(1) == 0:
            zeros += 1
        return (1 << zeros) + self.bits(zeros)

    def levels(self) -> list[int]:
        row: list[int] = []
        last = 0
        while len(row) < 256:
            code = self.gamma()
            if code == 1:
                row += [0] * self.gamma()
            else:
                u = code - 2
                last += u // 2 if u % 2 == 0 else -(u + 1) // 2
                row.append(last)
        return row

    def rest(self) -> bytes:
        return self.data[-(-self.bit // 8) :]


def unlzma(coded: bytes) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**23, "lc": 3, "lp": 0, "pb": 0}]
    return lzma.decompress(coded, lzma.FORMAT_RAW, filters=filters)


def unzstd(frame: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(frame)


def unrans(coded: bytes, count: int) -> bytes:
    reader = Reader(coded)
    precision = 9 + 2 * reader.bits(2)
    lanes = reader.gamma()
    frequencies = [1 << (x - 1) | reader.bits(x - 1) if x else 0 for x in reader.levels()]
    symbols = [s for s, f in enumerate(frequencies) for _ in range(f)]
    starts = [sum(frequencies[:s]) for s in range(256)]
    numbers = reader.rest()
    states = [int.from_bytes(numbers[4 * i : 4 * i + 4], "little") for i in range(lanes)]
    words = (int.from_bytes(numbers[i : i + 2], "little") for i in range(4 * lanes, len(numbers), 2))
    out = bytearray()
    for i in range(count):
        x = states[i % lanes]
        slot = x % (1 << precision)
        s = symbols[slot]
        x = frequencies[s] * (x >> precision) + slot - starts[s]
        states[i % lanes] = (x << 16) + next(words) if x < 1 << 16 else x
        out.append(s)
    assert set(states) == {1 << 16} and next(words, None) is None
    return bytes(out)


def unhuffman(coded: bytes, count: int) -> bytes:
    reader = Reader(coded)
    lengths = reader.levels()
    lanes, least, width = reader.gamma(), reader.gamma() - 1, reader.gamma() - 1
    sizes = [least + reader.bits(width) for _ in range(lanes)]
    codes, code = {}, 0
    for length in range(1, 16):
        for symbol in (s for s in range(256) if lengths[s] == length):
            codes[length, code] = symbol
            code += 1
        code *= 2
    bits = Reader(reader.rest())
    out, each = bytearray(), -(-count // lanes)
    for lane, size in enumerate(sizes):
        end = bits.bit + size
        for _ in range(min(each, count - lane * each)):
            code, length = 0, 0
            while (length, code) not in codes:
                code, length = 2 * code + bits.bits(1), length + 1
            out.append(codes[length, code])
        assert bits.bit == end
    return bytes(out)


def decode(coder: int, coded: bytes, count: int) -> bytes:
    readers = [lambda: coded, lambda: unzstd(coded), lambda: unrans(coded, count), lambda: unhuffman(coded, count)]
    plain = [*readers, lambda: unlzma(coded)][coder]()
    assert len(plain) == count <= 65_536 * len(coded)
    return plain


def chunk(head: Reader, body: Reader, width: int, count: int) -> bytes:
    form = head.varint()
    entries = head.varint() if form == 2 else 0
    sizes = [[count], [count // width] * width, [entries * width, count // width]][form]
    heads = [(head.varint(), head.varint(), size) for size in sizes]
    streams = [decode(coder, body.bytes(length), size) for coder, length, size in heads]
    if form == 0:
        return streams[0]
    if form == 1:
        return bytes(byte for number in zip(*streams, strict=True) for byte in number)
    palette = [streams[0][i::entries] for i in range(entries)]
    return b"".join(palette[index] for index in streams[1])


def unpack(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of the files in a .ccz file."""
    front = Reader(data)
    assert front.bytes(4) == bytes.fromhex("8943435a") and front.varint() == 1
    packed, unpacked = front.varint(), front.varint()
    head = Reader(unzstd(front.bytes(packed)))
    assert len(head.data) == unpacked
    assert hashlib.sha256(data[: front.at]).digest()[:8] == front.bytes(8)
    body = Reader(data[front.at :])
    assert hashlib.sha256(body.data).digest()[:8] == head.bytes(8)
    size = head.varint()
    files = []
    for _ in range(head.varint()):
        name, digest = head.bytes(head.varint()).decode(), head.bytes(32)
        files.append((name, digest, [(head.varint(), head.varint()) for _ in range(head.varint())]))
    parts = []
    for part in range(head.varint()):
        total, width = sum(n for _, _, pieces in files for p, n in pieces if p == part), head.varint()
        counts = [min(size, total - start) for start in range(0, total, size)]
        parts.append(Reader(b"".join(chunk(head, body, width, count) for count in counts)))
    assert head.at == len(head.data) and body.at == len(body.data)
    for name, digest, pieces in files:
        content = b"".join(parts[part].bytes(count) for part, count in pieces)
        assert hashlib.sha256(content).digest() == digest
        yield name, content
