"""What samples are, as a hash of their content: equal wherever the same bytes lie, other where any of them changed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from pathlib import Path

from compressctl.data.named import NamedSource
from compressctl.data.notation import source_class
from compressctl.data.parse import Notation, parse_notation
from compressctl.errors import DataError, MissingExtraError


def fingerprint(notation: str, beside: Path | None = None) -> str:
    """Return the SHA-256, as hexadecimal, of what decides the samples that `notation` names.

    That is the bytes of its files, read as a stream, and how the notation selects and changes them; of `random` and
    `digits` the notation and the version of the library that they come from. Of `python:` it is the source file of the
    module, not what that imports or reads. The seed of `random` is the caller's to count in. Paths do not count.
    `beside` is the file of the model that the samples are for.

    Raises:
        UsageError: the notation is wrong.
        DataError: a file is missing or cannot be read.
        MissingExtraError: the library that the samples come from is not installed.
    """
    parsed = parse_notation(notation, beside)
    kind = source_class(parsed)
    named = parsed.source if kind is not None and kind.scheme is not None else None
    bounds = (parsed.slice.start, parsed.slice.stop, parsed.slice.step)
    paths = kind.file_options if kind is not None else ()
    options = {key: value for key, value in parsed.options.all().items() if key not in paths}
    facts = [named, bounds, options, _version(kind, parsed)]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for label, file in _labelled_files(parsed):
        try:
            with file.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256")
        except OSError as error:
            raise DataError(f"data {notation!r}: {file} cannot be read: {error.strerror}") from error
        digest.update(f"{label} {content.hexdigest()}\n".encode())
    return digest.hexdigest()


def source_files(notation: str, beside: Path | None = None) -> list[Path]:
    """Return the files that the samples are read from: none for `random` and `digits`.

    `beside` is the file of the model that they are for.

    Raises:
        UsageError: the notation is wrong.
        DataError: a folder or the module of `python:` cannot be found.
    """
    return [file for _, file in _labelled_files(parse_notation(notation, beside))]


def _labelled_files(parsed: Notation) -> list[tuple[int, Path]]:
    """Return the files in the order of their samples, each with the index of its class; -1: it has none."""
    kind = source_class(parsed)
    return kind.files(parsed) if kind is not None else [(-1, Path(parsed.source))]


def _version(kind: type[NamedSource] | None, notation: Notation) -> str | None:
    made_by = kind.made_by(notation) if kind is not None else None
    if made_by is None:
        return None
    library, extra = made_by
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        raise MissingExtraError(f"data from {library}", extra) from None
