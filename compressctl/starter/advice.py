"""What to do with a model: the goal that it admits, and the passes that say that they serve it."""

from __future__ import annotations

from dataclasses import dataclass

from compressctl.notes import Note, done, skipped, warning
from compressctl.passes import PASSES
from compressctl.passes.advice import Goal, ModelFacts, Option, Result, Step

_COMPRESSED = 1.5  # bytes a weight; below that weights are in 8 bits or less already
_UNPACKED = 3.0  # the same, where nodes make weights: exporters let nodes make constants of plain floats, too
_TINY = 16_384  # bytes of weights that are of the order of what a quantized model adds in scales and names


@dataclass(frozen=True)
class Advice:
    """What to do with a model.

    Attributes:
        steps: the passes, and options in their places.
        result: what they make of the model.
        ratio: size to expect over that of the input.
        notes: what the user should know before anything runs.
    """

    steps: tuple[Step | Option, ...]
    result: Result
    ratio: float
    notes: tuple[Note, ...] = ()


def advise(model: ModelFacts, goal: Goal, *, trains: bool) -> Advice:
    """Choose the passes for a model; `trains`: there are samples to train on."""
    goal, notes = _admitted(model, goal)
    steps = [step for config in PASSES if config.advise and (step := config.advise(model, goal, trains))]
    (result,) = (step.result for step in steps if isinstance(step, Step) and step.result)
    ratio = 1.0 if result.bits is None else model.expected_ratio(result.bits)
    lossless = [done("what is left to do is lossless")] if goal == "lossless" else []
    return Advice(tuple(steps), result, ratio, (*notes, *result.notes, *lossless))


def _admitted(model: ModelFacts, goal: Goal) -> tuple[Goal, list[Note]]:
    """Return the goal that a model admits, and why it is another one."""
    if model.bytes < (_UNPACKED if model.packed else _COMPRESSED) * model.parameters:
        each = model.bytes / model.parameters
        text = f"compressed already: {each:.2f} bytes a weight; start from the float model to get further"
        return "lossless", [warning(text)]
    notes = []
    if model.quantized:
        notes.append(warning(f"quantized already at {model.quantized} nodes; passes leave those as they are"))
    if model.bytes < _TINY:
        notes.append(
            warning(f"tiny: {model.bytes:,} bytes of weights; scales, names and nodes take about as much as is saved")
        )
    if goal != "small" and not model.static + model.dynamic:
        notes.append(skipped("no layer of this model would run on integers: only its weights get smaller"))
        goal = "small"
    if goal == "both" and model.recurrent > 0.5:
        notes.append(skipped("recurrent layers run on 8-bit weights, not on fewer: goal fast in place of both"))
        goal = "fast"
    return goal, notes
