"""Train the model further: on labels, and towards the answers of the original, the model as it was loaded.

Where there are labels their loss (cross-entropy of classes, else the mean squared error) weighs 1 - teacher_weight,
and the original's answers weigh teacher_weight: kl of class scores, else the mean squared error. Without labels only
the original teaches, which recovers what earlier passes lost.

Source: Hinton, Vinyals and Dean 2015 (arXiv:1503.02531) for the term towards the original.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from compressctl.passes.base import PassConfig, Reads, WeightForm
from compressctl.training.options import TrainingOptions


class Config(TrainingOptions, PassConfig):
    """Options of `finetune`."""

    reads: ClassVar[tuple[Reads, ...]] = ("training",)
    stopped_by: ClassVar[tuple[WeightForm, ...]] = ("dynamic",)  # scales and biases are trained beside static integers
    telling: ClassVar[tuple[str, ...]] = ("epochs", "steps")
    examples: ClassVar[str] = """
    # On labelled samples
    compressctl finetune model.onnx -o better.onnx --train train.npz --data test.npz --metric top1 --epochs 2

    # An interrupted run goes on from its checkpoint
    compressctl finetune model.onnx -o better.onnx --train train.npz --data test.npz --metric top1 --epochs 2 --resume
    """

    type: Literal["finetune"] = "finetune"
    teacher_weight: float = Field(default=0.5, ge=0, le=1)
    """Weight of the original's answers in the loss; the labels, where there are any, weigh 1 - teacher_weight. 0:
    labels alone."""
