"""What a starter recipe says of `qat`."""

from __future__ import annotations

from compressctl.passes.advice import Goal, ModelFacts, Option, Step
from compressctl.passes.quantize.advice import NARROW


def advise(model: ModelFacts, goal: Goal, trains: bool) -> Step | None:
    """Make a model small and fast where it can be trained."""
    if goal != "both" or not trains:
        return None
    return Step(
        {"type": "qat", "scheme": "w4a8", "epochs": 3},
        "4-bit weights on INT8 kernels, trained with their rounding in the graph, towards the original's answers. "
        "Also: w3a8, w2a8, ternary-a8, with more epochs.",
        (Option(("augment: [flip, crop]",), "photographs that are mirrored and shifted at random"),),
        NARROW,
    )
