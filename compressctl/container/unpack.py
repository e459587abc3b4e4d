"""A `.ccz` file back into the model's files, byte for byte."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from compressctl.container import chunks, directory, streams
from compressctl.container.directory import Directory, Entry, Member
from compressctl.container.figures import Unpacking
from compressctl.errors import ModelError, OutputError
from compressctl.model import read
from compressctl.model.save import check_writable, remove_former_data
from compressctl.model.staging import model_naming, move_into_place, staging, sync
from compressctl.numerics.parallel import in_order


def unpack(path: Path, output: Path, *, force: bool = False, threads: int = 0) -> Unpacking:
    """Write the model that `path` holds to `output`, and its external data beside it under their own names.

    All of it is checked against the SHA-256 of the original files before anything is moved into place: the external
    data first, so that the model is never there without them. Data that are there already stay as they are. Memory is
    bounded by a few chunks for each thread.

    Args:
        path: a .ccz file.
        output: the .onnx file.
        force: replace files that are there.
        threads: 0 for one a core.

    Raises:
        ModelError: `path` is no .ccz file, of a newer version, or damaged; what was there before is intact.
        OutputError: the files cannot be written; what was there before is intact.
    """
    read.require_file(path)
    content = directory.read(path)
    check_writable(output, force=force, provenance=None, source=path)
    targets = [output, *(output.with_name(member.name) for member in content.members[1:])]
    there = _check_targets(targets, content.members, force, path)
    total = sum(member.size for member in content.members)
    if (free := shutil.disk_usage(output.absolute().parent).free) < total:
        raise OutputError(f"{path} holds {total:,} bytes, the disk of {output} has {free:,} left")
    with staging(output) as folder:
        files = [folder / f"{number}" for number in range(len(targets))]
        try:
            _write(path, content, files, threads)
        except ValueError as error:
            raise ModelError(f"{path} is damaged: {error}") from error
        moved = [(file, target) for file, target in zip(files, targets, strict=True) if target not in there][::-1]
        move_into_place([file for file, _ in moved], [target for _, target in moved])
        remove_former_data(output, keep=[target.resolve() for target in targets])
    size = path.stat().st_size
    return Unpacking(str(path), str(output), tuple(map(str, targets[1:])), total, size, total / size)


def _check_targets(targets: Sequence[Path], members: Sequence[Member], force: bool, path: Path) -> set[Path]:
    """Return the external data that are there already, byte for byte.

    Refuse to write them over the model, over the packed file, unasked over anything, and over what a model still needs:
    of two files that belong together, one cannot be replaced without the other.
    """
    there = set()
    for target, member in zip(targets[1:], members[1:], strict=True):
        if target == targets[0] or (target.exists() and (target.samefile(path) or target.is_dir())):
            raise OutputError(
                f"{path} holds external data called {target.name}", "give the output another name or folder"
            )
        if not target.exists():
            continue
        if target.stat().st_size == member.size and read.sha256([target]) == member.sha256.hex():
            there.add(target)
            continue
        if not force:
            raise OutputError(f"{target} exists already", "--force replaces it")
        if (model := model_naming(target.name, target.parent)) is not None:
            hint = "unpack into another folder, or delete that model first"
            raise OutputError(f"{target} holds other data, which {model} needs", hint)
    return there


def _write(path: Path, content: Directory, files: Sequence[Path], threads: int) -> None:
    order = list(_order(content))
    decoded = in_order(lambda key: _decode(path, content, *key), order, threads)
    positions = [0] * len(content.sections)
    current: list[memoryview] = [memoryview(b"")] * len(content.sections)
    for member, file in zip(content.members, files, strict=True):
        digest = hashlib.sha256()
        with file.open("xb") as out:
            for part, first, end in _spans(member, positions, content.chunk):
                if first == 0:
                    current[part] = memoryview(next(decoded))
                block = current[part][first:end]
                digest.update(block)
                out.write(block)
                if end == len(current[part]):
                    current[part] = memoryview(b"")
            sync(out)
        if digest.digest() != member.sha256:
            raise ValueError(f"{member.name or 'the model'} does not match its SHA-256")


def _order(content: Directory) -> Iterator[tuple[int, int]]:
    """Yield (part, chunk) in the order in which the files need them."""
    positions, used = [0] * len(content.sections), [0] * len(content.sections)
    for member in content.members:
        for part, first, _ in _spans(member, positions, content.chunk):
            if first == 0:
                yield part, used[part]
                used[part] += 1


def _spans(member: Member, positions: list[int], chunk: int) -> Iterator[tuple[int, int, int]]:
    """Yield (part, first, end), the pieces of a file within the current chunk of their part; moves `positions` on."""
    for part, length in member.pieces:
        while length:
            first = positions[part] % chunk
            taken = min(length, chunk - first)
            positions[part] += taken
            length -= taken
            yield part, first, first + taken


def _decode(path: Path, content: Directory, part: int, number: int) -> bytes:
    section = content.sections[part]
    entry: Entry = section.chunks[number]
    plain = chunks.sizes(entry.form, entry.palette, section.width, entry.length)
    parts = []
    with path.open("rb") as file:
        for span, size in zip(entry.spans, plain, strict=True):
            file.seek(span.offset)
            parts.append(streams.decode(span.coder, file.read(span.length), size))
    return chunks.decode(entry.form, entry.palette, section.width, parts)
