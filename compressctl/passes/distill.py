"""Train a student to answer like its teacher: the incoming model teaches, the outgoing one is the student.

The student is a file with the teacher's inputs and outputs, or the teacher itself without some of its residual blocks
or with fewer channels, neurons and heads.
Its loss is `alpha` times the divergence of both softmaxes at `temperature`, plus 1 - alpha times the cross-entropy with
the labels, where there are labels; features and attention of nodes in the middle may be matched too. An output that is
no class scores is matched by its mean squared error. `losses` spells out any other sum.

Sources: Hinton, Vinyals and Dean 2015 (arXiv:1503.02531); features, Romero et al. 2015 (arXiv:1412.6550); attention,
Zagoruyko and Komodakis 2017 (arXiv:1612.03928) and Jiao et al. 2020 (arXiv:1909.10351).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from compressctl.passes.base import Context, Outcome, PassConfig, Reads, WeightForm
from compressctl.training.options import LossTerm, TrainingOptions

if TYPE_CHECKING:
    import onnx_ir as ir

    from compressctl.data.source import Source
    from compressctl.model.load import Loaded
    from compressctl.notes import Note

_SHORT_FORMS = ("alpha", "temperature", "features", "attention")


class Config(TrainingOptions, PassConfig):
    """Options of `distill`."""

    reads: ClassVar[tuple[Reads, ...]] = ("training",)
    stopped_by: ClassVar[tuple[WeightForm, ...]] = ("packed", "static", "dynamic")  # a new model loses what they gained

    type: Literal["distill"] = "distill"
    student: str
    """The ONNX or TorchScript file to train, or from-teacher:depth=SHARE,width=SHARE (one or both): the teacher with
    that share of its residual blocks, and that share of the units of every layer."""
    teachers: tuple[Path, ...] = ()
    """Further teachers; the mean of all their outputs is learned."""
    alpha: float = Field(default=0.9, ge=0, le=1)
    """Weight of the teacher's answers in the loss; the labels, where there are any, weigh 1 - alpha."""
    temperature: float = Field(default=4.0, gt=0, allow_inf_nan=False)
    """Both sides' scores are divided by it: a high one shows more of how the teacher ranks wrong classes."""
    features: tuple[str, ...] = ()
    """Also match the outputs of these nodes: STUDENT_NODE=TEACHER_NODE, or NODE where the name is the same."""
    attention: tuple[str, ...] = ()
    """Also match where these nodes look: STUDENT_NODE=TEACHER_NODE; outputs of Softmax, or activations [N, C, H, W]."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The student, where it is a file, and the further teachers."""
        return (*(() if kept(self.student) else (Path(self.student),)), *self.teachers)

    @field_validator("student")
    @classmethod
    def _student_is_a_file_or_a_cut(cls, text: str) -> str:
        kept(text)
        return text

    @field_validator("features", "attention")
    @classmethod
    def _nodes_have_names(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            if not all(_nodes(text)):
                raise ValueError(f"{text!r} is not STUDENT_NODE=TEACHER_NODE")
        return texts

    @model_validator(mode="after")
    def _losses_say_all(self) -> Self:
        fields = type(self).model_fields
        given = [name for name in _SHORT_FORMS if getattr(self, name) != fields[name].default]
        if self.losses and given:
            raise ValueError(f"losses spells out the whole loss, so {given[0]} cannot be given beside it")
        return self


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Train the student on `context.training`, with `model` as its teacher; `model` is not changed.

    Raises:
        UsageError: there is nothing to train on.
        ModelError: a file cannot be used, student and teacher differ in inputs or outputs, or nothing can be cut.
    """
    from compressctl.passes.training import fit, training_samples

    source = training_samples(context, "distill")
    student, notes, origin = _student(model, config, context)
    teachers = [model]
    for path in config.teachers:
        loaded = _load(path, model, context)
        teachers.append(loaded.model)
        notes = (*notes, *loaded.notes)
    losses = config.losses or _losses(student, config, context, source)
    told, trained = fit(student, config, losses, context, source, teachers)
    facts = {"student": origin, "parameters": _parameters(model, student), **trained}
    return Outcome(student, (*notes, *told), facts)


def kept(student: str) -> dict[str, float] | None:
    """Return the shares of depth and width that `from-teacher:depth=SHARE,width=SHARE` keeps; None for a file.

    Raises:
        ValueError: it is from-teacher with something else.
    """
    origin, _, cuts = student.partition(":")
    if origin != "from-teacher":
        return None
    shares: dict[str, float] = {}
    for cut in cuts.split(","):
        key, _, value = (part.strip() for part in cut.partition("="))
        try:
            share = float(value)
        except ValueError:
            share = 0.0
        if key not in ("depth", "width") or key in shares or not 0 < share < 1:
            raise ValueError(
                "from-teacher takes depth=SHARE, width=SHARE or both, numbers between 0 and 1, as in "
                "from-teacher:depth=0.5,width=0.5"
            )
        shares[key] = share
    return shares


def _student(teacher: ir.Model, config: Config, context: Context) -> tuple[ir.Model, tuple[Note, ...], dict[str, Any]]:
    """Return the student, notes, and where it comes from."""
    from compressctl.model.depth import cut_depth
    from compressctl.pruning.width import cut_width

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
    from dataclasses import replace

    from compressctl.measure.session import Session
    from compressctl.model.interface import match_interface
    from compressctl.model.load import interface, load_model
    from compressctl.model.torchscript import verify_checks

    loaded = load_model(path, {spec.name: spec for spec in interface(teacher)[0]})
    if loaded.checks:
        session = Session(loaded.model, threads=context.threads, workdir=context.workdir)
        verify_checks(loaded.checks, session.run, path)
    return replace(loaded, notes=(*loaded.notes, *match_interface(loaded.model, teacher, about=str(path))))


def _losses(student: ir.Model, config: Config, context: Context, source: Source) -> tuple[LossTerm, ...]:
    """Return the loss of every output, balanced by alpha where there are labels, and those between nodes."""
    from compressctl.passes.training import terms, weighted

    found = terms(student, source, context, teacher=True)
    labelled = {term.output for term in found if term.aim == "labels"}
    losses: list[LossTerm] = []
    for term in found:
        if term.aim == "labels":
            losses += weighted(term, 1 - config.alpha)
            continue
        if term.loss == "kl":
            term = term.model_copy(update={"temperature": config.temperature})
        losses += weighted(term, config.alpha if term.output in labelled else 1.0)
    losses += [LossTerm(loss="features", student=own, teacher=other) for own, other in map(_nodes, config.features)]
    losses += [LossTerm(loss="attention", student=own, teacher=other) for own, other in map(_nodes, config.attention)]
    return tuple(losses)


def _nodes(text: str) -> tuple[str, str]:
    """Return the names on both sides of `STUDENT_NODE=TEACHER_NODE`."""
    student, equals, teacher = (part.strip() for part in text.partition("="))
    return student, teacher if equals else student


def _parameters(teacher: ir.Model, student: ir.Model) -> dict[str, int]:
    from compressctl.model.size import count

    return {"teacher": count(teacher).parameters, "student": count(student).parameters}
