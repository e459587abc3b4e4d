"""What a starter recipe says of `store`."""

from __future__ import annotations

import shlex

from compressctl.notes import done
from compressctl.passes.advice import Goal, ModelFacts, Result, Step


def advise(model: ModelFacts, goal: Goal, trains: bool) -> Step | None:
    """Do what is left where a model is compressed already."""
    if goal != "lossless":
        return None
    undo = f"`compressctl store {shlex.quote(model.path)} -o plain.onnx --format dense` unpacks them"
    return Step(
        {"type": "store"},
        "Bit for bit the same weights, stored where they take fewer bytes: few values as codes, zeros left out.",
        result=Result(
            suffix="stored",
            goal="the same model in fewer bytes, without loss; with an output that ends in .ccz, coded by entropy as "
            "well",
            bits=None,
            notes=(*([done(f"weights are stored packed; {undo}")] if model.packed else []),),
        ),
    )
