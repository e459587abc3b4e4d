"""Train the model further: on labels, and towards the answers of the original, the model as it was loaded.

Where there are labels their loss (cross-entropy of classes, else the mean squared error) weighs 1 - distil, and the
original's answers weigh distil: kl of class scores, else the mean squared error. Without labels only the original
teaches, which recovers what earlier passes lost.

Source: Hinton, Vinyals and Dean 2015 (arXiv:1503.02531) for the term towards the original.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from compressctl.passes.base import Context, Outcome, PassConfig, Reads, WeightForm
from compressctl.training.options import LossTerm, TrainingOptions

if TYPE_CHECKING:
    import onnx_ir as ir

    from compressctl.data.source import Source


class Config(TrainingOptions, PassConfig):
    """Options of `finetune`."""

    reads: ClassVar[tuple[Reads, ...]] = ("training",)
    stopped_by: ClassVar[tuple[WeightForm, ...]] = ("dynamic",)  # scales and biases are trained beside static integers

    type: Literal["finetune"] = "finetune"
    distil: float = Field(default=0.5, ge=0, le=1)
    """Weight of the original's answers in the loss; the labels, where there are any, weigh 1 - distil. 0: labels
    alone."""


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Train `model` in place on `context.training`.

    Raises:
        UsageError: there is nothing to train on.
        DataError: distil is 0 and there are no labels, or labels fit no output.
        ModelError: the graph cannot be trained.
    """
    from compressctl.passes.training import fit, training_samples

    source = training_samples(context, "finetune")
    losses = config.losses or _losses(model, config.distil, context, source)
    needs_original = any(term.aim == "teacher" for term in losses)
    notes, facts = fit(model, config, losses, context, source, (context.baseline,) if needs_original else ())
    return Outcome(model, notes, facts)


def _losses(model: ir.Model, distil: float, context: Context, source: Source) -> tuple[LossTerm, ...]:
    from compressctl.passes.training import terms, weighted

    labelled = source.has_labels and not source.pairs  # the label of a pair belongs to no row
    on_labels = terms(model, source, context, teacher=False) if (labelled and distil < 1) or distil == 0 else ()
    towards = terms(model, source, context, teacher=True) if distil else ()
    soft = [term for term in towards if term.aim == "teacher"]
    share = distil if on_labels else 1.0
    return (
        *(part for term in on_labels for part in weighted(term, 1 - distil)),
        *(part for term in soft for part in weighted(term, share)),
    )
