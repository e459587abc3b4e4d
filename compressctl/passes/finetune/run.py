"""The work of the pass `finetune`, and when, and for how long, a search tries it."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from compressctl.data.source import Source
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
    losses = config.losses or _losses(model, config.teacher_weight, context, source)
    needs_original = any(term.aim == "teacher" for term in losses)
    notes, facts = fit(model, config, losses, context, (context.baseline,) if needs_original else ())
    return Outcome(model, notes, facts)


def _losses(model: ir.Model, teacher_weight: float, context: Context, source: Source) -> tuple[LossTerm, ...]:
    labelled = source.labels_rows
    on_labels = (
        terms(model, source, context, teacher=False) if (labelled and teacher_weight < 1) or teacher_weight == 0 else ()
    )
    towards = terms(model, source, context, teacher=True) if teacher_weight else ()
    soft = [term for term in towards if term.aim == "teacher"]
    share = teacher_weight if on_labels else 1.0
    return (
        *(part for term in on_labels for part in weighted(term, 1 - teacher_weight)),
        *(part for term in soft for part in weighted(term, share)),
    )


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
