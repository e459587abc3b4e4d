"""A model's files into one `.ccz` file."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from compressctl.container import chunks, directory
from compressctl.container.chunks import Chunk
from compressctl.container.directory import Checksum, Directory, Entry, Member, Section, Span
from compressctl.container.figures import PackedPart, Packing, figures_of
from compressctl.container.layout import CHUNK, Extent, Part, lay_out
from compressctl.container.regions import find_regions
from compressctl.container.streams import Coder
from compressctl.errors import ModelError
from compressctl.model.staging import move_into_place, staging, sync
from compressctl.numerics.parallel import in_order

_BLOCK = 1 << 22  # bytes that are hashed or copied at a time


def pack(model: Path, output: Path, *, coder: Coder | None = None, threads: int = 0) -> Packing:
    """Write the .onnx file `model` and its external data to `output`, which is replaced where it exists.

    Memory is bounded by a few chunks for each thread; what is written does not depend on the number of threads.

    Args:
        model: an ONNX file.
        output: the .ccz file; `model.save.check_writable` tells before the work whether it can be written.
        coder: codes the tensors, instead of the best one for each; what it does not make smaller stays as it is.
        threads: 0 for one a core.

    Raises:
        ModelError: `model` is no ONNX file, or its external data cannot be used.
        OutputError: `output` cannot be written.
    """
    regions = find_regions(model)
    paths = list(regions)
    for path in paths[1:]:
        if not directory.is_plain(path.name):
            raise ModelError(f"{model} keeps data in {path.name!r}, a name that not every system allows", "rename it")
    parts, files = lay_out(regions)
    names = ["", *(path.name for path in paths[1:])]
    with staging(output) as folder:
        body, whole = folder / "body", folder / output.name
        sections, rows, checksum = _write_body(body, parts, coder, threads)
        members = [
            Member(name, _digest(path), tuple(pieces)) for name, path, pieces in zip(names, paths, files, strict=True)
        ]
        front = directory.write(Directory(tuple(members), tuple(sections), CHUNK, checksum))
        with whole.open("xb") as file, body.open("rb") as coded:
            file.write(front)
            shutil.copyfileobj(coded, file, _BLOCK)
            sync(file)
        size = whole.stat().st_size
        move_into_place([whole], [output])
    total = sum(member.size for member in members)
    return Packing(str(model), str(output), total, size, total / size, len(front), tuple(rows))


def _write_body(
    body: Path, parts: Sequence[Part], coder: Coder | None, threads: int
) -> tuple[list[Section], list[PackedPart], bytes]:
    """Write the coded chunks of all parts, one after the other; the first part is always coded as is best."""
    jobs = (
        (part, extents, coder if number else None) for number, part in enumerate(parts) for extents in part.chunks()
    )
    coded = in_order(_encode, jobs, threads)
    sections, rows, checksum = [], [], Checksum()
    with body.open("xb") as file:
        for part in parts:
            entries, entropy = [], 0.0
            for extents in part.chunks():
                chunk = next(coded)
                for stream in chunk.streams:
                    file.write(stream.coded)
                    checksum.update(stream.coded)
                spans = tuple(Span(stream.coder, 0, len(stream.coded)) for stream in chunk.streams)
                entries.append(Entry(chunk.form, chunk.palette, spans, sum(extent.length for extent in extents)))
                entropy += sum(stream.entropy for stream in chunk.streams)
            sections.append(Section(part.width, tuple(entries)))
            rows.append(figures_of(part, entries, entropy))
    return sections, rows, checksum.digest()


def _encode(job: tuple[Part, list[Extent], Coder | None]) -> Chunk:
    part, extents, coder = job
    return chunks.encode(b"".join(_contents(extents)), part.width, coder)


def _contents(extents: Sequence[Extent]) -> Iterator[bytes]:
    """Yield the bytes of extents, which follow each other in few files."""
    path = extents[0].path
    file = path.open("rb")
    try:
        for extent in extents:
            if extent.path != path:
                file.close()
                path = extent.path
                file = path.open("rb")
            file.seek(extent.start)
            yield file.read(extent.length)
    finally:
        file.close()


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
