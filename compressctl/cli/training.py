"""The options of training, shared by every command that trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from compressctl.cli.groups import add_group
from compressctl.cli.options import given, option
from compressctl.training.options import TrainingOptions as T


def _options(
    epochs: Annotated[int | None, option(T, "epochs")] = None,
    steps: Annotated[int | None, option(T, "steps")] = None,
    train_batch: Annotated[int | None, option(T, "train_batch")] = None,
    optimizer: Annotated[str | None, option(T, "optimizer", metavar="adamw|sgd")] = None,
    learning_rate: Annotated[float | None, option(T, "learning_rate")] = None,
    weight_decay: Annotated[float | None, option(T, "weight_decay")] = None,
    momentum: Annotated[float | None, option(T, "momentum")] = None,
    schedule: Annotated[str | None, option(T, "schedule", metavar="cosine|linear|constant")] = None,
    warmup: Annotated[float | None, option(T, "warmup")] = None,
    clip_norm: Annotated[float | None, option(T, "clip_norm")] = None,
    held_out: Annotated[float | None, option(T, "held_out")] = None,
    evaluate_every: Annotated[int | None, option(T, "evaluate_every")] = None,
    patience: Annotated[int | None, option(T, "patience")] = None,
    checkpoint_every: Annotated[int | None, option(T, "checkpoint_every")] = None,
    batch_norm: Annotated[str | None, option(T, "batch_norm", metavar="train|freeze")] = None,
    freeze: Annotated[list[str] | None, option(T, "freeze", metavar="GLOB")] = None,
    keep_zeros: Annotated[bool | None, option(T, "keep_zeros", "--keep-zeros/--free-zeros")] = None,
    keep_clusters: Annotated[bool | None, option(T, "keep_clusters", "--keep-clusters/--free-clusters")] = None,
    augment: Annotated[list[str] | None, option(T, "augment", metavar="flip|crop")] = None,
    losses: Annotated[list[str] | None, option(T, "losses", "--loss", metavar="LOSS[:KEY=VALUE,…]")] = None,
    compile: Annotated[bool, option(T, "compile")] = False,
) -> None: ...


def trains(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of training; it gets those that were given as its keyword argument `training`."""
    return add_group(command, "training", _options, _collect)


def _collect(arguments: Mapping[str, Any]) -> dict[str, Any]:
    switches = {name: arguments[name] for name in ("keep_zeros", "keep_clusters") if arguments[name] is not None}
    return given(**arguments) | switches
