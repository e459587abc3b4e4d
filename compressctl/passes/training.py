"""What the passes that train share: their samples, their teachers, and what they report.

Without the extra `torch` only the checks for it can be called: what needs torch is imported after them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from compressctl.data.source import Source
from compressctl.errors import MissingExtraError, UsageError
from compressctl.notes import Note, done
from compressctl.passes.base import Context
from compressctl.training.options import LossTerm, TrainingOptions

if TYPE_CHECKING:
    from torch import Tensor


def has_torch() -> bool:
    """Whether torch is installed."""
    return find_spec("torch") is not None


def require_torch(what: str) -> None:
    """Check that torch is installed.

    Raises:
        MissingExtraError: it is not.
    """
    if not has_torch():
        raise MissingExtraError(what, "torch")


def training_samples(context: Context, what: str) -> Source:
    """Return the samples to train on.

    Raises:
        UsageError: there are none.
        MissingExtraError: torch is not installed.
    """
    require_torch(what)
    hint = "add --train D, or --data D, of which every fifth sample is measured and the others train"
    if context.training is None:
        raise UsageError(f"{what} needs samples to train on", hint)
    return context.training


def terms(model: ir.Model, source: Source, context: Context, *, teacher: bool) -> tuple[LossTerm, ...]:
    """Return the losses that fit the outputs of `model` and the labels (see `training.defaults`)."""
    from compressctl.training.defaults import default_losses

    return default_losses(model, source, context, context.metric, teacher=teacher)


def weighted(term: LossTerm, weight: float) -> tuple[LossTerm, ...]:
    """Return the term with this weight; nothing where it is 0."""
    return (term.model_copy(update={"weight": weight}),) if weight else ()


def fit(
    model: ir.Model,
    options: TrainingOptions,
    losses: Sequence[LossTerm],
    context: Context,
    teachers: Sequence[ir.Model] = (),
    constraint: Callable[[Mapping[str, Tensor]], None] | None = None,
) -> tuple[tuple[Note, ...], dict[str, Any]]:
    """Train `model` in place on `context.training`, under a constraint as `Job` takes it.

    Returns:
        Notes, and facts for the report.
    """
    from compressctl.training.loop import Job, train

    assert context.training is not None
    job = Job(
        source=context.training,
        resources=context,
        metric=context.metric,
        teachers=tuple(teachers),
        checkpoint=context.checkpoint,
        constraint=constraint,
    )
    result = train(model, options, losses, job)
    facts = {
        "losses": [str(term) for term in losses],
        "steps": result.steps,
        "best_step": result.best_step,
        "held_out": {"initial": result.initial, "best": result.best},
        "history": list(result.history),
    }
    return (done(f"trained on {context.training.notation} with {' + '.join(map(str, losses))}"), *result.notes), facts
