"""What samples are, as a hash of their content: equal wherever the same bytes lie, other where any of them changed."""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.metadata
import json
import sys
from pathlib import Path

from compressctl.data.images import scan_folder
from compressctl.data.parse import parse_notation
from compressctl.errors import DataError, MissingExtraError

_LIBRARIES = {"random": "numpy", "digits": "scikit-learn", "python": None}


def fingerprint(notation: str) -> str:
    """Return the SHA-256, as hexadecimal, of what decides the samples that `notation` names.

    That is the bytes of its files, read as a stream, and how the notation selects and changes them; of `random` and
    `digits` the notation and the version of the library that they come from. Of `python:` it is the source file of the
    module, not what that imports or reads. The seed of `random` is the caller's to count in. Paths do not count.

    Raises:
        UsageError: the notation is wrong.
        DataError: a file is missing or cannot be read.
        MissingExtraError: the library that the samples come from is not installed.
    """
    parsed = parse_notation(notation)
    scheme = parsed.source.partition(":")[0]
    is_file = scheme not in _LIBRARIES
    library = "pillow" if is_file and Path(parsed.source).is_dir() else _LIBRARIES.get(scheme)
    bounds = (parsed.slice.start, parsed.slice.stop, parsed.slice.step)
    facts = [None if is_file else parsed.source, bounds, parsed.options.all(), _version(library)]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for label, file in _labelled_files(notation):
        try:
            with file.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256")
        except OSError as error:
            raise DataError(f"data {notation!r}: {file} cannot be read: {error.strerror}") from error
        digest.update(f"{label} {content.hexdigest()}\n".encode())
    return digest.hexdigest()


def source_files(notation: str) -> list[Path]:
    """Return the files that the samples are read from: none for `random` and `digits`.

    Raises:
        UsageError: the notation is wrong.
        DataError: a folder or the module of `python:` cannot be found.
    """
    return [file for _, file in _labelled_files(notation)]


def _labelled_files(notation: str) -> list[tuple[int, Path]]:
    """Return the files in the order of their samples, each with the index of its class; -1: it has none."""
    source = parse_notation(notation).source
    scheme, _, rest = source.partition(":")
    if scheme == "python":
        return [(-1, _module_file(rest.partition(":")[0], notation))]
    if scheme in _LIBRARIES:
        return []
    folder = Path(source)
    if not folder.is_dir():
        return [(-1, folder)]
    try:
        classes, images, _ = scan_folder(folder)
    except OSError as error:
        raise DataError(f"data {notation!r}: {folder} cannot be read: {error.strerror}") from error
    labelled = [(label, path) for label, paths in enumerate(classes) for path in paths]
    return labelled or [(-1, path) for path in images]


def _module_file(name: str, notation: str) -> Path:
    """Return the file of a module, found as `import` would, but without running any of it."""
    path: list[str] | None = [str(Path.cwd()), *sys.path]
    spec = None
    for end in range(len(parts := name.split("."))):
        spec = importlib.machinery.PathFinder.find_spec(".".join(parts[: end + 1]), path)
        if spec is None:
            raise DataError(f"data {notation!r}: there is no Python module {name!r}")
        path = spec.submodule_search_locations
    if spec is None or spec.origin is None:
        raise DataError(f"data {notation!r}: the module {name!r} has no file")
    return Path(spec.origin)


def _version(library: str | None) -> str | None:
    if library is None:
        return None
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        extra = {"scikit-learn": "digits", "pillow": "images"}[library]
        raise MissingExtraError(f"data from {library}", extra) from None
