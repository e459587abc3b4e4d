"""The files of a search, beside those of the run that it ends with."""

from __future__ import annotations

import re
from pathlib import Path

from compressctl.errors import OutputError
from compressctl.guard import Write, beginning, beside
from compressctl.recipe.model import Recipe
from compressctl.search.locks import locks

HEAD = "# Found by a search of compressctl"  # of the recipes that it writes
BEGINNING = b'{"op_code":'  # of the first line of Optuna's journal


def search_writes(recipe: Recipe) -> list[Write]:
    """Return what a search writes besides a run's files, for `guard`.

    Raises:
        OutputError: the folder for the front's recipes is a file.
    """
    folder = front_path(recipe.output)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, and the recipes of the front go into a folder there", "rename it")
    front = [path for path in folder.glob("*.yaml") if is_front(path)]
    storage = storage_of(recipe)
    return [
        Write(best_path(recipe.output), "recipe of a search", is_found),
        *(Write(path, "recipe of a search", is_found) for path in front),
        *([] if "://" in storage else [Write(Path(storage), "storage of a search", is_storage)]),
        *(Write(path, "lock file", lambda path: not path.stat().st_size) for path in locks(recipe.output)),
    ]


def storage_of(recipe: Recipe) -> str:
    """Return the storage as the user named it, or a file beside the output."""
    assert recipe.search is not None
    return recipe.search.storage or str(beside(recipe.output, ".search.journal"))


def begun(storage: str) -> bool:
    """Whether there may be a study in a storage: of a database only a look into it can tell."""
    return "://" in storage or Path(storage).exists()


def is_storage(path: Path) -> bool:
    """Whether a file is a storage of a search, or empty."""
    with path.open("rb") as file:
        return file.read(len(BEGINNING)) in (BEGINNING, b"")


def best_path(output: Path) -> Path:
    """Return where the recipe of the best candidate goes."""
    return beside(output, ".best.yaml")


def front_path(output: Path) -> Path:
    """Return the folder for the recipes of the front."""
    return beside(output, ".front")


def is_front(path: Path) -> bool:
    """Whether the name in that folder is that of a point of the front."""
    return re.fullmatch(r"\d+\.yaml", path.name) is not None


def is_found(path: Path) -> bool:
    """Whether a file is a recipe that a search found."""
    return beginning(path).startswith(HEAD)
