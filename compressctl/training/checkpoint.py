"""Checkpoints: the whole state of a training, from which it goes on to the same weights, bit for bit."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from compressctl.errors import DataError, OutputError, UsageError
from compressctl.model.staging import move_into_place, staging, sync
from compressctl.training.checkpoint_paths import CheckpointPath

_FORMAT = 1
_DAMAGE = (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True)
class Weights:
    """Weights and running statistics by initializer name, and the adapters of the losses, which no model keeps."""

    weights: dict[str, Tensor]
    statistics: dict[str, Tensor]
    adapters: dict[str, Tensor]


@dataclass
class State:
    """A training after `step` steps. Random numbers depend on seed and step, so they are no part of it.

    Attributes:
        step: steps made.
        now: None once the training is finished.
        optimizer: the optimizer's state; None once the training is finished.
        best: the weights that scored best, those of `best_step`.
        best_step: the steps after which they were reached.
        best_rank: (held-out score, held-out loss) of them.
        initial: held-out score of the weights that came in.
        stale: evaluations since the best one.
        losses: sum and number of the training losses since the last evaluation.
        history: what was evaluated, in order.
        notes: (kind, text, node) of the notes so far.
        finished: nothing is left to do.
    """

    step: int
    now: Weights | None
    optimizer: dict[str, Any] | None
    best: Weights
    best_step: int
    best_rank: tuple[float, float]
    initial: float
    stale: int
    losses: tuple[float, int]
    history: list[dict[str, Any]]
    notes: list[tuple[str, str, str | None]]
    finished: bool = False


def save(checkpoint: CheckpointPath, state: State) -> None:
    """Write a checkpoint; a crash at any moment leaves the former one or the new one.

    Raises:
        OutputError: the file cannot be written.
    """
    content = {"format": _FORMAT, "key": checkpoint.key, "state": _plain(state)}
    try:
        checkpoint.path.parent.mkdir(parents=True, exist_ok=True)
        with staging(checkpoint.path) as folder:
            staged = folder / checkpoint.path.name
            with staged.open("wb") as file:
                torch.save(content, file)
                sync(file)
            move_into_place([staged], [checkpoint.path])
    except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError where the disk is full
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise OutputError(f"{checkpoint.path}: the checkpoint cannot be written: {reason}") from error


def load(checkpoint: CheckpointPath | None, device: str = "cpu") -> State | None:
    """Return the state to go on from, its tensors on `device`; None where there is nothing to resume.

    Raises:
        UsageError: the file is a checkpoint of something else.
        DataError: it is damaged.
    """
    if checkpoint is None or not checkpoint.resume or not checkpoint.path.exists():
        return None
    try:
        content = torch.load(checkpoint.path, map_location=device, weights_only=True)
        key, state = content["key"], content["state"] if content["format"] == _FORMAT else None
        if key == checkpoint.key and state is not None:
            return _restored(state)
    except _DAMAGE as error:
        raise DataError(f"{checkpoint.path}: a damaged checkpoint, or none at all", "--force starts again") from error
    raise UsageError(
        f"{checkpoint.path}: is a checkpoint of another recipe, input or version",
        "--force starts again, or restore them",
    )


def _plain(state: State) -> dict[str, Any]:
    """Return the state as dicts and tensors, which torch loads without running code."""
    content = {field.name: getattr(state, field.name) for field in fields(state)}
    return {name: dict(vars(value)) if isinstance(value, Weights) else value for name, value in content.items()}


def _restored(content: dict[str, Any]) -> State:
    for name in ("now", "best"):
        if content[name] is not None:
            content[name] = Weights(**content[name])
    return State(**content)
