"""Simplification whose result is compared with the original, on numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import onnx_ir as ir

from compressctl.errors import CompressctlError
from compressctl.notes import Note, warning
from compressctl.simplification.equivalence import Arrays, Runner, difference
from compressctl.simplification.rules import RULES, apply_rules


def simplify(
    model: ir.Model, feeds: Iterable[Arrays], names: Collection[str] = tuple(RULES), threads: int = 1
) -> tuple[ir.Model, list[Note]]:
    """Simplify a copy of `model` that computes the same on the first of `feeds` that `model` runs on.

    A rule whose result deviates is left out, with a warning; so is everything where nothing can be compared. Where the
    rules find nothing, nothing is run.

    Args:
        model: not changed.
        feeds: sets of inputs to try.
        names: the rules to apply.
        threads: threads for onnxruntime.
    """
    result = model.clone()
    notes = apply_rules(result, names)
    if not any(note.kind == "done" for note in notes):
        return model, notes
    reference = _reference(model, feeds, threads)
    if isinstance(reference, str):
        return model, [warning(f"nothing was simplified, for the result could not be checked: {reference}")]
    runner, expected = reference
    if _deviation(result, runner, expected) is None:
        return result, notes
    kept: list[str] = []
    result, notes, warnings = model, [], []
    for name in names:
        attempt = model.clone()
        attempt_notes = apply_rules(attempt, [*kept, name])
        problem = _deviation(attempt, runner, expected)
        if problem is None:
            kept.append(name)
            result, notes = attempt, attempt_notes
        else:
            warnings.append(warning(f"rule {name} was left out, for it changed what the model computes: {problem}"))
    return result, [*notes, *warnings]


def _reference(model: ir.Model, feeds: Iterable[Arrays], threads: int) -> tuple[Runner, Arrays] | str:
    """Return what runs other models on the same inputs, and the outputs of `model`; or why it does not run."""
    problem = "there are no inputs to try"
    for arrays in feeds:
        runner = Runner(arrays, threads)
        try:
            return runner, runner.run(model)
        except CompressctlError as error:
            problem = error.message
    return problem


def _deviation(result: ir.Model, runner: Runner, expected: Arrays) -> str | None:
    """Return how a simplified model deviates, if it does."""
    try:
        return difference(expected, runner.run(result))
    except CompressctlError as error:
        return error.message
