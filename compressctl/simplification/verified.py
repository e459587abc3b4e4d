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

    A rule whose result deviates is left out, with a warning; so is everything where nothing can be compared.

    Args:
        model: not changed.
        feeds: sets of inputs to try.
        names: the rules to apply.
        threads: threads for onnxruntime.
    """
    reference = _reference(model, feeds, threads)
    if isinstance(reference, str):
        return model, [warning(f"nothing was simplified, for the result could not be checked: {reference}")]
    runner, expected = reference
    result, notes, problem = _attempt(model, names, runner, expected)
    if problem is None:
        return result, notes
    kept: list[str] = []
    result, notes, warnings = model, [], []
    for name in names:
        attempt, attempt_notes, problem = _attempt(model, [*kept, name], runner, expected)
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


def _attempt(
    model: ir.Model, names: Collection[str], runner: Runner, expected: Arrays
) -> tuple[ir.Model, list[Note], str | None]:
    """Return a simplified copy of `model`, its notes, and how it deviates, if it does."""
    result = model.clone()
    notes = apply_rules(result, names)
    try:
        return result, notes, difference(expected, runner.run(result))
    except CompressctlError as error:
        return result, notes, error.message
