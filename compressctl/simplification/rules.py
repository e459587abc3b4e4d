"""All rules, and applying them until nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Collection

import onnx_ir as ir

from compressctl.model.graph import remove_dead
from compressctl.notes import Note, done, warning
from compressctl.simplification.activations import rewrite_activations
from compressctl.simplification.batchnorm import fold_batchnorm
from compressctl.simplification.channel_arithmetic import fold_channel_arithmetic
from compressctl.simplification.constants import fold_constants
from compressctl.simplification.duplicates import merge_duplicates
from compressctl.simplification.facts import Facts
from compressctl.simplification.gemm import form_gemm
from compressctl.simplification.identity import remove_identity
from compressctl.simplification.pads import fold_pads
from compressctl.simplification.pooling import simplify_pooling
from compressctl.simplification.reshapes import merge_reshapes
from compressctl.simplification.resizes import simplify_resizes
from compressctl.simplification.sequences import remove_sequences
from compressctl.simplification.shape_arithmetic import fold_shape_arithmetic
from compressctl.simplification.slices import merge_slices
from compressctl.simplification.sums import flatten_sums
from compressctl.simplification.transposes import cancel_transposes

Rule = Callable[[ir.Model, Facts], list[Note]]

RULES: dict[str, Rule] = {
    "identity": remove_identity,
    "duplicates": merge_duplicates,
    "constants": fold_constants,
    "shape_arithmetic": fold_shape_arithmetic,
    "resizes": simplify_resizes,
    "sequences": remove_sequences,
    "transposes": cancel_transposes,
    "reshapes": merge_reshapes,
    "slices": merge_slices,
    "pads": fold_pads,
    "batchnorm": fold_batchnorm,
    "channel_arithmetic": fold_channel_arithmetic,
    "pooling": simplify_pooling,
    "sums": flatten_sums,
    "gemm": form_gemm,
    "activations": rewrite_activations,
}
_MAX_ROUNDS = 50  # a chain as long as that takes a round a link; only a bug in compressctl would go on for ever


def apply_rules(model: ir.Model, names: Collection[str] = tuple(RULES)) -> list[Note]:
    """Apply the rules of these names to `model`, in place, round after round until none finds anything.

    Bodies of If, Loop and Scan lose what they compute from constants alone; what they capture is kept.

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
