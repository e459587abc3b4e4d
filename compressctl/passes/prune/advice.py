"""What a starter recipe says of `prune`."""

from __future__ import annotations

from compressctl.passes.advice import Goal, ModelFacts, Option


def advise(model: ModelFacts, goal: Goal, trains: bool) -> Option | None:
    """Offer it where what is left can be trained."""
    if goal != "fast" or not trains or model.kind != "convolutional network":
        return None
    return Option(
        ("- type: prune", "  target_macs: 0.5", "- type: finetune", "  epochs: 3"),
        "before that, cut half of the multiply-accumulates, and train what is left",
    )
