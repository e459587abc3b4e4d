"""`--finetune DATA`: train what a command made of the model, shared by the commands that cut and cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from compressctl.cli.options import given, option
from compressctl.cli.run import Shared
from compressctl.errors import UsageError
from compressctl.passes.finetune import Config

Finetune = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help="Train the result on these samples (the finetune pass); the options of training go with it.",
        show_default=False,
    ),
]
Distil = Annotated[float | None, option(Config, "distil")]


def finetuning(
    finetune: str | None, distil: float | None, training: Mapping[str, Any], shared: Shared
) -> dict[str, Any] | None:
    """Return the finetune pass for a recipe; None where there is nothing to train on.

    Raises:
        UsageError: options of training without samples, or samples given twice.
    """
    trained = given(distil=distil) | dict(training)
    if trained and finetune is None:
        raise UsageError(f"--{next(iter(trained)).replace('_', '-')} needs --finetune DATA")
    if finetune is not None and "train" in shared.recipe:
        raise UsageError("--train and --finetune both name samples to train on", "give --finetune alone")
    return None if finetune is None else {"type": "finetune", **trained}
