"""Which bytes of a model's files are coded together: large tensors each alone, small ones with their like, the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from compressctl.container.regions import Region

CHUNK = 1 << 23
"""Bytes that are coded at a time; a multiple of every width."""

_ALONE = 1024  # numbers; a tensor of this many pays for a model of its own
_POOLED = 16  # numbers; smaller tensors resemble the fields around them


class Extent(NamedTuple):
    """Consecutive bytes of a file."""

    path: Path
    start: int
    length: int


class Piece(NamedTuple):
    """The next `length` bytes of a file are the next ones of a part."""

    part: int
    length: int


@dataclass
class Part:
    """Bytes with one kind of content, from one place or from many.

    Attributes:
        name: of the tensor, or what is in it.
        width: bytes of a number.
        elements: numbers, None where there are also other things.
        extents: where its bytes come from, in order.
        length: of all extents.
    """

    name: str
    width: int
    elements: int | None = None
    extents: list[Extent] = field(default_factory=list)
    length: int = 0

    def append(self, extent: Extent) -> None:
        """Add bytes at the end."""
        self.extents.append(extent)
        self.length += extent.length

    def chunks(self) -> Iterator[list[Extent]]:
        """Yield the extents of CHUNK bytes at a time."""
        chunk: list[Extent] = []
        space = CHUNK
        for path, start, length in self.extents:
            end = start + length
            while start < end:
                taken = min(space, end - start)
                chunk.append(Extent(path, start, taken))
                start, space = start + taken, space - taken
                if not space:
                    yield chunk
                    chunk, space = [], CHUNK
        if chunk:
            yield chunk


def lay_out(regions: Mapping[Path, Sequence[Region]]) -> tuple[list[Part], list[list[Piece]]]:
    """Return the parts that the files are made of, and the pieces of each file; the first part is all but tensors."""
    structure = Part("structure", 1)
    pools = {width: Part(f"small tensors of {8 * width} bits", width, 0) for width in (2, 4, 8)}
    used = {region.width for found in regions.values() for region in found if _pooled(region)}
    parts = [structure, *(pools[width] for width in sorted(used))]
    index = {id(part): number for number, part in enumerate(parts)}
    files: list[list[Piece]] = []
    for path, found in regions.items():
        pieces: list[Piece] = []
        at = 0
        for region in found:
            part = structure
            if _pooled(region):
                part = pools[region.width]
                part.elements = (part.elements or 0) + region.elements
            elif region.length >= _ALONE * region.width:
                part = Part(region.name, region.width, region.elements)
                index[id(part)] = len(parts)
                parts.append(part)
            if part is structure:
                continue
            if region.start > at:
                _take(structure, 0, Extent(path, at, region.start - at), pieces)
            _take(part, index[id(part)], Extent(path, region.start, region.length), pieces)
            at = region.start + region.length
        if (size := path.stat().st_size) > at:
            _take(structure, 0, Extent(path, at, size - at), pieces)
        files.append(pieces)
    return parts, files


def _take(part: Part, number: int, extent: Extent, pieces: list[Piece]) -> None:
    part.append(extent)
    pieces.append(Piece(number, extent.length))


def _pooled(region: Region) -> bool:
    numbers = region.length // region.width
    return region.width > 1 and _POOLED <= numbers < _ALONE
