"""All rules, and applying them until nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Collection

import onnx_ir as ir

from compressctl.model.graph import remove_dead
from compressctl.notes import Note, done, warning
from compressctl.simplification import (
    activations,
    batchnorm,
    channel_arithmetic,
    constants,
    duplicates,
    gemm,
    identity,
    pads,
    pooling,
    reshapes,
    resizes,
    sequences,
    shape_arithmetic,
    slices,
    sums,
    transposes,
)
from compressctl.simplification.facts import Facts

Rule = Callable[[ir.Model, Facts], list[Note]]

RULES: dict[str, Rule] = {
    "identity": identity.apply,
    "duplicates": duplicates.apply,
    "constants": constants.apply,
    "shape_arithmetic": shape_arithmetic.apply,
    "resizes": resizes.apply,
    "sequences": sequences.apply,
    "transposes": transposes.apply,
    "reshapes": reshapes.apply,
    "slices": slices.apply,
    "pads": pads.apply,
    "batchnorm": batchnorm.apply,
    "channel_arithmetic": channel_arithmetic.apply,
    "pooling": pooling.apply,
    "sums": sums.apply,
    "gemm": gemm.apply,
    "activations": activations.apply,
}
_MAX_ROUNDS = 50  # a chain as long as that takes a round a link; only a fault of ours would go on for ever


def apply_rules(model: ir.Model, names: Collection[str] = tuple(RULES)) -> list[Note]:
    """Apply the rules of these names to `model`, in place, round after round until none finds anything.

    Bodies of If, Loop and Scan stay as they are; what they capture is kept.

    Returns:
        a note for each rewrite, and for what the last round left alone, with its reason.
    """
    rewrites: list[Note] = []
    dead = 0
    for _ in range(_MAX_ROUNDS):
        dead += remove_dead(model)
        facts = Facts(model)
        notes = [note for name, rule in RULES.items() if name in names for note in rule(model, facts)]
        rewrites += [note for note in notes if note.kind == "done"]
        if not any(note.kind == "done" for note in notes):
            break
    if dead:
        rewrites.append(done(f"unused nodes and initializers removed: {dead}"))
    if facts.problem is not None:
        notes.append(warning(f"shapes could not be inferred, so most rewrites were not tried: {facts.problem}"))
    return [*rewrites, *(note for note in notes if note.kind != "done")]
