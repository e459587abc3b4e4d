"""The work of the pass `finetune`, and when, and for how long, a search tries it."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from compressctl.data.source import Source
from compressctl.errors import DataError
from compressctl.notes import Note, skipped
from compressctl.passes.base import Context, Outcome
from compressctl.passes.finetune import Config
from compressctl.passes.space import EPOCHS, Draw, Params, PassSpace, Space, Stage, loses
from compressctl.passes.training import fit, terms, training_samples, weighted
from compressctl.training.options import LossTerm


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Train `model` in place on `context.training`.

    Raises:
        UsageError: there is nothing to train on.
        DataError: teacher_weight is 0 and there are no labels, or labels fit no output.
        ModelError: the graph cannot be trained.
    """
    source = training_samples(context, "finetune")
    losses, remarks = (config.losses, ()) if config.losses else _losses(model, config.teacher_weight, context, source)
    needs_original = any(term.aim == "teacher" for term in losses)
    notes, facts = fit(model, config, losses, context, (context.baseline,) if needs_original else ())
    return Outcome(model, (*remarks, *notes), facts)


def _losses(
    model: ir.Model, teacher_weight: float, context: Context, source: Source
) -> tuple[tuple[LossTerm, ...], tuple[Note, ...]]:
    """Return the losses where none are named, and what is to be said of them."""
    labelled = source.labels_rows
    on_labels: tuple[LossTerm, ...] = ()
    remarks: tuple[Note, ...] = ()
    if (labelled and teacher_weight < 1) or teacher_weight == 0:
        try:
            on_labels = terms(model, source, context, teacher=False)
        except DataError as error:  # boxes or texts, which a metric judges and no loss compares
            if not teacher_weight:
                raise
            remarks = (skipped(f"the labels are not trained on, the original alone teaches: {error.message}"),)
    towards = terms(model, source, context, teacher=True) if teacher_weight else ()
    soft = [term for term in towards if term.aim == "teacher"]
    share = teacher_weight if on_labels else 1.0
    own = tuple(part for term in on_labels for part in weighted(term, 1 - teacher_weight))
    return (*own, *(part for term in soft for part in weighted(term, share))), remarks


class FinetuneSpace(PassSpace):
    """The parameter `tune_epochs`."""

    def draw(self, draw: Draw) -> None:
        if draw.space.train and (loses(draw.params) or draw.format.repeats):
            draw.choice("tune_epochs", (0, *EPOCHS))

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterator[tuple[Stage, Config]]:
        epochs = params.get("tune_epochs", 0)
        if epochs and loses(params):
            yield Stage.TRAIN, Config(epochs=epochs)
        if epochs and space.format(params).repeats:
            yield Stage.RETRAIN, Config(epochs=epochs, learning_rate=1e-4)
