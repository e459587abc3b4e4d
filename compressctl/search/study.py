"""The study: what a search has tried, in a storage that outlives it and that several processes may share."""

from __future__ import annotations

import json
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from optuna import Study, Trial
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState
from pydantic import TypeAdapter
from sqlalchemy.exc import SQLAlchemyError

from compressctl.errors import UsageError
from compressctl.passes.space import Space
from compressctl.pipeline.setup import Setup
from compressctl.search.files import BEGINNING

_NAME = "compressctl"
_SPACE = TypeAdapter(Space)
_GRAMMAR = 2  # raised where parameters change their meaning
_LONGEST_LINE = 2**20  # bytes, about


def identity(setup: Setup) -> dict[str, Any]:
    """Return what makes a search this one: the input, the samples, and all that is asked for, but not the effort."""
    recipe = setup.recipe
    assert recipe.search is not None
    asked = recipe.model_dump(mode="json", include=recipe.deciding("bytes")) | {"search": recipe.search.question()}
    return {"input": setup.loaded.sha256, "samples": setup.data, "recipe": asked, "grammar": _GRAMMAR}


def open_study(storage: str, wanted: dict[str, Any], objectives: int) -> Study:
    """Return the study of this search in a storage, made where there is none.

    Args:
        storage: a file, or the URL of a database.
        wanted: see `identity`.
        objectives: how many numbers a trial has, all to be made small.

    Raises:
        UsageError: the storage cannot be used, or belongs to another search.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=ExperimentalWarning)
    with _told(storage):
        opened = _open(storage)
        if _NAME not in optuna.get_all_study_names(opened):
            study = optuna.create_study(
                storage=opened, study_name=_NAME, directions=["minimize"] * objectives, load_if_exists=True
            )
            study.set_user_attr("identity", wanted)
            return study
        study = optuna.load_study(study_name=_NAME, storage=opened)
        kept = study.user_attrs.get("identity")
    if kept is not None and kept != (asked := json.loads(json.dumps(wanted))):
        what = _difference(kept, asked)
        raise UsageError(f"{storage} belongs to another search: {what} differs", "name another --storage")
    return study


def space_of(study: Study) -> Space | None:
    """Return the space that the study was begun with, or None where that is not known yet."""
    kept = study.user_attrs.get("space")
    return None if kept is None else _SPACE.validate_python(kept)


def keep_space(study: Study, space: Space) -> None:
    """Keep the space with the study."""
    study.set_user_attr("space", asdict(space))


def worker() -> str:
    """Return who this process is, among all that share a storage."""
    return f"{socket.gethostname()}:{os.getpid()}"


def abandoned(study: Study) -> list[FrozenTrial]:
    """Return the trials in progress whose process was on this machine and is gone."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [trial for trial in running if _gone(trial.user_attrs.get("worker", ""))]


def ask(study: Study, seed: int) -> Trial:
    """Return a new trial; the same seed and history give the same parameters, resumed or not."""
    number = len(study.get_trials(deepcopy=False))
    study.sampler = TPESampler(seed=(seed * 1_000_003 + number) % 2**32, multivariate=True, group=True)
    trial = study.ask()
    trial.set_user_attr("worker", worker())
    return trial


def _gone(name: str) -> bool:
    host, _, pid = name.rpartition(":")
    if host != socket.gethostname() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _ended(int(pid))


def _ended(pid: int) -> bool:
    """Whether a process is none but for its number, which whoever should take note of its end has not yet done."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:  # gone meanwhile, or a system without /proc
        return False


def _open(storage: str) -> Any:
    if "://" in storage:
        return RDBStorage(storage)
    path, lock = Path(storage), JournalFileSymlinkLock(storage)
    if path.exists():
        lock.acquire()
        try:
            _mend(path)
        finally:
            lock.release()
    return JournalStorage(JournalFileBackend(storage, lock))


def _mend(path: Path) -> None:
    """Drop what a process that was killed, or had no room, left of its last line; others would write on behind it.

    Raises:
        UsageError: it is another file altogether.
    """
    with path.open("r+b") as file:
        begins = file.read(len(BEGINNING))
        if begins and begins != BEGINNING:
            raise UsageError(f"--storage {path} is no storage of a search", "name a file of its own")
        size = file.seek(0, os.SEEK_END)
        tail = max(size - _LONGEST_LINE, 0)
        file.seek(tail)
        last = file.read()
        if last and not last.endswith(b"\n"):
            file.truncate(tail + last.rfind(b"\n") + 1)


@contextmanager
def _told(storage: str) -> Iterator[None]:
    """Turn what a storage refuses, in the words of its library, into one line."""
    try:
        yield
    except (OptunaError, SQLAlchemyError, OSError, ImportError, ValueError, KeyError, RuntimeError) as error:
        first = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UsageError(
            f"--storage {storage}: cannot be used: {first}", "give a file of its own, or a URL such as sqlite:///FILE"
        ) from error


def _difference(kept: dict[str, Any], wanted: dict[str, Any]) -> str:
    if kept.get("input") != wanted["input"]:
        return "the input model"
    if kept.get("samples") != wanted["samples"]:
        return "what the samples hold"
    if kept.get("grammar") != wanted["grammar"]:
        return "the version of compressctl"
    before, after = kept["recipe"], wanted["recipe"]
    return next((f"{key} of the recipe" for key in after if before.get(key) != after[key]), "the recipe")
