"""Commands that run one pass. The examples of their helps stand in the Config of the pass, beside its options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from compressctl.cli.groups import passes
from compressctl.cli.run import Run, Shared


def pass_command(name: str, synopsis: str) -> Callable[..., int]:
    """Return the command that runs the pass of this name, with its options.

    The synopsis is given beside it, so that `compressctl --help` need not import the pass.
    """

    def run(shared: Shared, chosen: dict[str, Any]) -> int:
        # The user asked for this pass: flag what is slower, do not undo it.
        return shared.compress([{"type": name, **chosen}], on_regression="keep")

    run.__name__, run.__doc__ = name, synopsis
    run.__annotations__ |= {"shared": Run, "chosen": Annotated[dict[str, Any], passes(name, examples=True)]}
    return run
