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
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from compressctl.fields import Option
from compressctl.model_folder import model_file
from compressctl.passes.base import PassConfig, Reads, WeightForm
from compressctl.training.options import TrainingOptions

_SHORT_FORMS = ("alpha", "temperature", "features", "attention")


class Config(TrainingOptions, PassConfig):
    """Options of `distill`."""

    reads: ClassVar[tuple[Reads, ...]] = ("training",)
    stopped_by: ClassVar[tuple[WeightForm, ...]] = ("packed", "static", "dynamic")  # a new model loses what they gained
    telling: ClassVar[tuple[str, ...]] = ("epochs", "steps")

    type: Literal["distill"] = "distill"
    student: Annotated[str, Option(metavar="FILE|from-teacher:depth=SHARE,width=SHARE", everyday=True)]
    """The ONNX or TorchScript file to train, or from-teacher:depth=SHARE,width=SHARE (one or both): the teacher with
    that share of its residual blocks, and that share of the units of every layer."""
    teachers: Annotated[tuple[Path, ...], Option(flags=("--teacher",), metavar="FILE")] = ()
    """Further teachers; the mean of all their outputs is learned."""
    alpha: Annotated[float, Option(everyday=True)] = Field(default=0.9, ge=0, le=1)
    """Weight of the teacher's answers in the loss; the labels, where there are any, weigh 1 - alpha."""
    temperature: Annotated[float, Option(everyday=True)] = Field(default=4.0, gt=0, allow_inf_nan=False)
    """Both sides' scores are divided by it: a high one shows more of how the teacher ranks wrong classes."""
    features: Annotated[tuple[str, ...], Option(flags=("--feature",), metavar="NODE=NODE")] = ()
    """Also match the outputs of these nodes: STUDENT_NODE=TEACHER_NODE, or NODE where the name is the same."""
    attention: Annotated[tuple[str, ...], Option(metavar="NODE=NODE")] = ()
    """Also match where these nodes look: STUDENT_NODE=TEACHER_NODE; outputs of Softmax, or activations [N, C, H, W]."""

    @field_validator("teachers")
    @classmethod
    def _teachers_are_files(cls, paths: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(map(model_file, paths))

    @property
    def files(self) -> tuple[Path, ...]:
        """The student, where it is a file, and the further teachers."""
        return (*(() if kept(self.student) else (Path(self.student),)), *self.teachers)

    @field_validator("student")
    @classmethod
    def _student_is_a_file_or_a_cut(cls, text: str) -> str:
        return text if kept(text) else str(model_file(Path(text)))

    @field_validator("features", "attention")
    @classmethod
    def _nodes_have_names(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            if not all(sides(text)):
                raise ValueError(f"{text!r} is not STUDENT_NODE=TEACHER_NODE")
        return texts

    @model_validator(mode="after")
    def _losses_say_all(self) -> Self:
        fields = type(self).model_fields
        given = [name for name in _SHORT_FORMS if getattr(self, name) != fields[name].default]
        if self.losses and given:
            raise ValueError(f"losses spells out the whole loss, so {given[0]} cannot be given beside it")
        return self


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


def sides(text: str) -> tuple[str, str]:
    """Return the names on both sides of `STUDENT_NODE=TEACHER_NODE`."""
    student, equals, teacher = (part.strip() for part in text.partition("="))
    return student, teacher if equals else student
