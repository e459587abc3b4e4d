"""`--finetune DATA`: train what a command made of the model, shared by the commands that cut and cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from compressctl.cli.groups import passes
from compressctl.cli.run import Shared
from compressctl.errors import UsageError, flag

Finetune = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help="Train the result on these samples (the finetune pass); the options of training go with it.",
        show_default=False,
    ),
]
Training = Annotated[dict[str, Any], passes("finetune")]


def finetuning(finetune: str | None, training: Mapping[str, Any], shared: Shared) -> list[dict[str, Any]]:
    """Return the finetune pass for a recipe; nothing where there is nothing to train on.

    Raises:
        UsageError: options of training without samples, or samples given twice.
    """
    if training and finetune is None:
        raise UsageError(f"{flag(next(iter(training)))} needs --finetune DATA")
    if finetune is not None and "train" in shared.recipe:
        raise UsageError("--train and --finetune both name samples to train on", "give --finetune alone")
    return [] if finetune is None else [{"type": "finetune", **training}]
