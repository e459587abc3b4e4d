"""The work of the pass `distill`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from compressctl.data.source import Source
from compressctl.measure.converted import load_proven
from compressctl.model.depth import cut_depth
from compressctl.model.interface import match_interface
from compressctl.model.load import Loaded, interface
from compressctl.model.size import count
from compressctl.notes import Note
from compressctl.passes.base import Context, Outcome
from compressctl.passes.distill import Config, kept, sides
from compressctl.passes.training import fit, terms, training_samples, weighted
from compressctl.pruning.cutting import cut_width
from compressctl.training.options import LossTerm


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Train the student on `context.training`, with `model` as its teacher; `model` is not changed.

    Raises:
        UsageError: there is nothing to train on.
        ModelError: a file cannot be used, student and teacher differ in inputs or outputs, or nothing can be cut.
    """
    source = training_samples(context, "distill")
    student, notes, origin = _student(model, config, context)
    teachers = [model]
    for path in config.teachers:
        loaded = _load(path, model, context)
        teachers.append(loaded.model)
        notes = (*notes, *loaded.notes)
    losses = config.losses or _losses(student, config, context, source)
    told, trained = fit(student, config, losses, context, teachers)
    facts = {"student": origin, "parameters": _parameters(model, student), **trained}
    return Outcome(student, (*notes, *told), facts)


def _student(teacher: ir.Model, config: Config, context: Context) -> tuple[ir.Model, tuple[Note, ...], dict[str, Any]]:
    """Return the student, notes, and where it comes from."""
    shares = kept(config.student)
    if shares is None:
        loaded = _load(Path(config.student), teacher, context)
        return loaded.model, loaded.notes, {"path": config.student, "sha256": loaded.sha256}
    student: ir.Model = teacher
    notes: tuple[Note, ...] = ()
    for key, share in sorted(shares.items()):
        student, told = (cut_depth if key == "depth" else cut_width)(student, share)
        notes = (*notes, *told)
    return student, notes, {"from_teacher": shares}


def _load(path: Path, teacher: ir.Model, context: Context) -> Loaded:
    """Load a model that speaks the teacher's interface; TorchScript takes the teacher's inputs."""
    inputs = {spec.name: spec for spec in interface(teacher)[0]}
    loaded = load_proven(path, inputs, threads=context.threads, workdir=context.workdir)
    return replace(loaded, notes=(*loaded.notes, *match_interface(loaded.model, teacher, about=str(path))))


def _losses(student: ir.Model, config: Config, context: Context, source: Source) -> tuple[LossTerm, ...]:
    """Return the loss of every output, balanced by alpha where there are labels, and those between nodes."""
    found = terms(student, source, context, teacher=True)
    labelled = {term.output for term in found if term.aim == "labels"}
    losses: list[LossTerm] = []
    for term in found:
        if term.aim == "labels":
            losses += weighted(term, 1 - config.alpha)
            continue
        if term.loss == "kl" and config.temperature != term.softness:
            term = term.model_copy(update={"temperature": config.temperature})
        losses += weighted(term, config.alpha if term.output in labelled else 1.0)
    losses += [LossTerm(loss="features", student=own, teacher=other) for own, other in map(sides, config.features)]
    losses += [LossTerm(loss="attention", student=own, teacher=other) for own, other in map(sides, config.attention)]
    return tuple(losses)


def _parameters(teacher: ir.Model, student: ir.Model) -> dict[str, int]:
    return {"teacher": count(teacher).parameters, "student": count(student).parameters}
