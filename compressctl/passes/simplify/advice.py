"""What a starter recipe says of `simplify`."""

from __future__ import annotations

from compressctl.passes.advice import Goal, ModelFacts, Step


def advise(model: ModelFacts, goal: Goal, trains: bool) -> Step | None:
    """Begin with it."""
    folds = "BatchNorm becomes part of the convolutions" if model.norms else "constants and nodes that cancel go"
    why = f"An equal graph with fewer nodes: {folds}. Integer kernels form better after it."
    return None if goal == "lossless" else Step({"type": "simplify"}, why)
