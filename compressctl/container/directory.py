"""What stands at the front of a `.ccz` file: which files it holds, of which parts, and how each chunk is coded.

    magic, version, length of the directory (packed, unpacked), directory as a frame of Zstandard, checksum

Integers are varints as in protobuf. The checksum is the start of the SHA-256 of all bytes before it; the directory has
one of all bytes after it. See docs/ccz.md.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from compressctl.container import chunks
from compressctl.container.chunks import ChunkForm
from compressctl.container.layout import Piece
from compressctl.container.signature import MAGIC
from compressctl.container.streams import MOST_RATIO, Coder, unzstd, zstd
from compressctl.errors import ModelError
from compressctl.model.wire import read_varint, varint

VERSION = 1
_SHA256 = 32  # bytes
_CHECKSUM = 8  # bytes
_MOST = 1 << 23  # bytes of a directory, which is some 25 a tensor
_MOST_CHUNK = 1 << 24  # bytes
_BLOCK = 1 << 22  # bytes that are read at a time
_WIDTHS = (1, 2, 4, 8)


class Span(NamedTuple):
    """A stream in the file.

    Attributes:
        offset: in the file, while reading; 0 while writing.
        length: coded bytes.
    """

    coder: Coder
    offset: int
    length: int


class Entry(NamedTuple):
    """A chunk in the file.

    Attributes:
        length: bytes of the chunk before it was coded.
    """

    form: ChunkForm
    palette: int
    spans: tuple[Span, ...]
    length: int


@dataclass(frozen=True)
class Member:
    """A file that is held.

    Attributes:
        name: of a data file; empty for the .onnx file, which comes first and may be given any name.
        sha256: of its bytes.
        pieces: what it is made of.
    """

    name: str
    sha256: bytes
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return sum(piece.length for piece in self.pieces)


class Section(NamedTuple):
    """A part in the file: numbers of `width` bytes each, in chunks."""

    width: int
    chunks: tuple[Entry, ...]


class Directory(NamedTuple):
    """All that is known of the content before any of it is decoded.

    Attributes:
        chunk: bytes of every chunk of a section but the last one.
        body: the checksum of all coded bytes.
    """

    members: tuple[Member, ...]
    sections: tuple[Section, ...]
    chunk: int
    body: bytes


class Checksum:
    """The start of a SHA-256, updated block by block."""

    def __init__(self, data: bytes = b"") -> None:
        self._hash = hashlib.sha256(data)
        self.update = self._hash.update

    def digest(self) -> bytes:
        """Return the checksum of the bytes so far."""
        return self._hash.digest()[:_CHECKSUM]


def is_plain(name: str) -> bool:
    """Return whether a name can only be that of a file in the same folder, on every system."""
    return name not in ("", ".", "..") and name.isprintable() and not set(name) & set('/\\:*?"<>|')


def write(directory: Directory) -> bytes:
    """Return the front of a file, up to the first coded byte."""
    out = bytearray(directory.body + varint(directory.chunk) + varint(len(directory.members)))
    for member in directory.members:
        name = member.name.encode()
        out += varint(len(name)) + name + member.sha256 + varint(len(member.pieces))
        for piece in member.pieces:
            out += varint(piece.part) + varint(piece.length)
    out += varint(len(directory.sections))
    for section in directory.sections:
        out += varint(section.width)
        for entry in section.chunks:
            out += varint(entry.form) + (varint(entry.palette) if entry.form is ChunkForm.PALETTE else b"")
            for span in entry.spans:
                out += varint(span.coder) + varint(span.length)
    packed = zstd(bytes(out))
    front = MAGIC + varint(VERSION) + varint(len(packed)) + varint(len(out)) + packed
    return front + Checksum(front).digest()


def read(path: Path) -> Directory:
    """Return the directory of a file; the whole file is checked against it, byte for byte, but not decoded.

    Raises:
        ModelError: the file is no .ccz file, of a newer version, or damaged.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(len(MAGIC))
        if start != MAGIC:
            cut = MAGIC.startswith(start)
            raise ModelError(f"{path} is {'truncated' if cut else 'no .ccz file'}")
        try:
            if (version := read_varint(file)) > VERSION:
                raise ModelError(f"{path} was written by a newer compressctl (format {version})", "update compressctl")
            packed, length = read_varint(file), read_varint(file)
            if version != VERSION or packed > min(size, _MOST) or length > min(_MOST, packed * MOST_RATIO):
                raise ValueError("its directory has an impossible size")
            content = file.read(packed)
            end, checksum = file.tell(), file.read(_CHECKSUM)
            file.seek(0)
            if Checksum(file.read(end)).digest() != checksum:
                raise ValueError("its directory does not match its checksum")
            directory = _parse(io.BytesIO(unzstd(content, length)), length, end + _CHECKSUM)
            ends = [span.offset + span.length for part in directory.sections for c in part.chunks for span in c.spans]
            if max(ends, default=end + _CHECKSUM) != size:
                raise ValueError(f"it should take {max(ends, default=0):,} bytes, not {size:,}")
            file.seek(end + _CHECKSUM)
            body = Checksum()
            while block := file.read(_BLOCK):
                body.update(block)
            if body.digest() != directory.body:
                raise ValueError("its content does not match its checksum")
        except ValueError as error:
            raise ModelError(f"{path} is damaged: {error}") from error
    return directory


def _parse(file: io.BytesIO, length: int, offset: int) -> Directory:
    body, chunk = file.read(_CHECKSUM), read_varint(file)
    if not 0 < chunk <= _MOST_CHUNK or chunk % max(_WIDTHS):
        raise ValueError(f"chunks of {chunk:,} bytes")
    members = [_parse_member(file, length) for _ in range(_count(file, length))]
    names = [member.name for member in members]
    if not members or names[0] or len(set(names)) < len(names) or not all(map(is_plain, names[1:])):
        raise ValueError("the names of its files cannot be used")
    lengths = [0] * _count(file, length)
    for member in members:
        for piece in member.pieces:
            if piece.part >= len(lengths):
                raise ValueError("a file is made of a part that is not there")
            lengths[piece.part] += piece.length
    sections = []
    for total in lengths:
        section, offset = _parse_section(file, total, chunk, offset)
        sections.append(section)
    if file.tell() != length:
        raise ValueError("its directory is too long")
    return Directory(tuple(members), tuple(sections), chunk, body)


def _parse_member(file: io.BytesIO, length: int) -> Member:
    name = file.read(_count(file, length)).decode()
    digest = file.read(_SHA256)
    pieces = tuple(Piece(read_varint(file), read_varint(file)) for _ in range(_count(file, length)))
    return Member(name, digest, pieces)


def _parse_section(file: io.BytesIO, total: int, chunk: int, offset: int) -> tuple[Section, int]:
    width = read_varint(file)
    if width not in _WIDTHS:
        raise ValueError(f"numbers of {width} bytes")
    entries = []
    for start in range(0, total, chunk):
        length = min(chunk, total - start)
        form = ChunkForm(read_varint(file))
        palette = read_varint(file) if form is ChunkForm.PALETTE else 0
        spans = []
        for plain in chunks.sizes(form, palette, width, length):
            coder, coded = Coder(read_varint(file)), read_varint(file)
            if plain > coded * MOST_RATIO:
                raise ValueError(f"{coded:,} bytes stand for {plain:,}")
            spans.append(Span(coder, offset, coded))
            offset += coded
        entries.append(Entry(form, palette, tuple(spans), length))
    return Section(width, tuple(entries)), offset


def _count(file: io.BytesIO, most: int) -> int:
    """Read how many things follow; each of them takes a byte at least."""
    if (count := read_varint(file)) > most:
        raise ValueError(f"{count:,} things in a directory of {most:,} bytes")
    return count
