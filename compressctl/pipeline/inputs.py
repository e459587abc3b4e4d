"""What a run reads: as files, for make, and as hashes, by which a later run knows that nothing changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from compressctl.container.opened import opened
from compressctl.container.signature import is_packed
from compressctl.data.fingerprint import fingerprint, source_files
from compressctl.errors import CompressctlError
from compressctl.measure.metrics import code_of
from compressctl.model.external import model_files
from compressctl.model.read import require_file, sha256
from compressctl.passes.base import PassConfig
from compressctl.recipe.model import Recipe


def input_files(recipe: Recipe) -> list[Path]:
    """Return the model, students, teachers and samples, each with all of its files, and the modules of `python:`.

    Raises:
        CompressctlError: one of them is missing or cannot be read.
    """
    models = [recipe.model, *(path for config in recipe.passes for path in config.files)]
    found = [file for path in models for file in _files(path)]
    return found + [file for _, notation in _notations(recipe) for file in source_files(notation, recipe.model)]


def files_read(models: Iterable[Path], notations: Iterable[str | None]) -> list[Path]:
    """Return the files of models and samples, as far as they can be found: who reads them says what is wrong."""
    found = list(models)
    for path in list(found):
        with suppress(CompressctlError):
            found += _files(path)
    for notation in notations:
        with suppress(CompressctlError):
            found += source_files(notation, found[0] if found else None) if notation else ()
    return found


def recipe_files(recipe: Recipe) -> list[Path]:
    """Return all files that a run reads, as far as they can be found."""
    models = [recipe.model, *(path for config in recipe.passes for path in config.files)]
    return files_read(models, [notation for _, notation in _notations(recipe)])


def input_hashes(recipe: Recipe) -> dict[str, str]:
    """Return the SHA-256 of all that is read besides the model: `sample_hashes` and `model_hashes`."""
    return sample_hashes(recipe) | model_hashes(recipe.passes)


def sample_hashes(recipe: Recipe) -> dict[str, str]:
    """Return the fingerprints of samples, and of a metric in Python, by the recipe's key.

    Raises:
        CompressctlError: one of them is missing or cannot be read.
    """
    return {key: fingerprint(notation, recipe.model) for key, notation in _notations(recipe)}


def model_hashes(passes: Sequence[PassConfig]) -> dict[str, str]:
    """Return the hashes of students and teachers by path.

    Raises:
        ModelError: one of them is missing or cannot be read.
    """
    return {str(path): model_hash(path) for config in passes for path in config.files}


def model_hash(path: Path) -> str:
    """Return the SHA-256 of a model with its external data, unpacked: as `Loaded.sha256` has it.

    Raises:
        ModelError: it cannot be read.
    """
    with opened(path) as file:
        return sha256(model_files(file))


def _notations(recipe: Recipe) -> Iterator[tuple[str, str]]:
    yield from recipe.notations()
    if (code := code_of(recipe.metric)) is not None:
        yield "metric", code


def _files(path: Path) -> tuple[Path, ...]:
    require_file(path)
    return (path,) if is_packed(path) else model_files(path)
