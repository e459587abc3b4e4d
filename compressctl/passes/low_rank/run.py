"""The work of the pass `low_rank`, and what a search may try of it: the energy that factors keep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from glob import escape as glob_escape
from typing import Any, ClassVar

import onnx_ir as ir

from compressctl.errors import UsageError
from compressctl.factorization.choice import Aim, ChosenFactors, ranks_text
from compressctl.factorization.search import (
    Prepared,
    Reasons,
    Stopwatch,
    input_shapes,
    observe,
    plan,
    prepare,
    put_factors,
)
from compressctl.factorization.units import units
from compressctl.layers.moments import observable
from compressctl.layers.unseen import unseen
from compressctl.notes import Note, done, skipped, warning
from compressctl.passes.base import Context, Outcome
from compressctl.passes.low_rank import Config
from compressctl.passes.measuring import budget_keeper, has_budget, timed_feeds
from compressctl.passes.space import Draw, Params, PassSpace, Space, Stage, Subject
from compressctl.plain import pass_lines

_SAMPLES = 128  # of calibration
_ENERGIES = tuple(1 - 0.5 * 2 ** (-step / 2) for step in range(19))  # 0.5 to 0.999, tried for a budget


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Factor the weights of `model` in place.

    Raises:
        UsageError: neither energy, ratio nor a budget to find an energy by; a glob matches nothing.
    """
    selection = config.selection
    selection.check(model.graph)
    _check_budget(config, context)
    found, left = units(model.graph, selection.allows)
    if not found:
        return Outcome(model, (*left, warning("no layer can be factored")))
    shapes = input_shapes(model, found, timed_feeds(model, context), context)
    moments = None
    if context.calibration is not None:
        moments = observe(model, found, context.calibration, context, samples=_SAMPLES)
        alone = [unit for unit, seen in zip(found, moments, strict=True) if seen is None]
        left += [
            unseen(unit.name, "by its weight alone")
            if any(map(observable, unit.layers))
            else skipped("its inputs are too many to observe: by its weight alone", unit.name)
            for unit in alone
        ]
    stopwatch = Stopwatch(model, context)
    prepared = prepare(found, shapes, moments, config.method)
    if not config.given():
        aim, choices, reasons = _within_budget(model, list(prepared), config, context, stopwatch)
    else:
        aim = Aim(config.energy, config.ratio)
        choices, reasons = plan(context.progress.track(prepared, "factoring", len(found)), aim, config.where, stopwatch)
    left += [skipped(f"not factored: {reason}", unit.name) for unit, reason in reasons]
    if not choices:
        return Outcome(model, (*left, warning("no layer was factored")))
    rows = [_row(choice, stopwatch) for choice in context.progress.track(choices, "timing layers", len(choices))]
    put_factors(model, choices)
    facts: dict[str, Any] = {"energy": aim.energy, "ratio": aim.ratio, "layers": rows}
    if config.where == "latency" or not config.given():
        facts["recipe_lines"] = _pinning_lines(config, aim, choices)
    return Outcome(model, (*(_told(row, config) for row in rows), *left), facts)


def _check_budget(config: Config, context: Context) -> None:
    if config.given() or has_budget(context):
        return
    hint = "or max_accuracy_drop with data and metric, by which an energy is found"
    raise UsageError("low_rank does not know how high ranks should be: give energy or ratio", hint)


def _within_budget(
    model: ir.Model, prepared: Sequence[Prepared], config: Config, context: Context, stopwatch: Stopwatch
) -> tuple[Aim, list[ChosenFactors], Reasons]:
    """Return the lowest energy that keeps the budget, with what it chooses."""
    keeps = budget_keeper(context)
    low, high = 0, len(_ENERGIES)  # what lies below `low` misses the budget, `high` and above keeps it
    best: tuple[Aim, list[ChosenFactors], Reasons] = Aim(energy=1.0), [], []
    while low < high:
        middle = (low + high) // 2
        aim = Aim(energy=_ENERGIES[middle])
        choices, reasons = plan(prepared, aim, config.where, stopwatch)
        candidate = model.clone()
        put_factors(candidate, choices)
        if keeps(candidate):
            high, best = middle, (aim, choices, reasons)
        else:
            low = middle + 1
    return best


def _row(choice: ChosenFactors, stopwatch: Stopwatch) -> dict[str, Any]:
    """Return a layer's line of the report."""
    latency = stopwatch(choice.unit, choice.input, choice.factors)
    return {
        "layer": choice.unit.name,
        "shared_by": [layer.name for layer in choice.unit.layers[1:]],
        "method": choice.factors.method,
        "ranks": list(choice.factors.ranks),
        "error": choice.factors.error,
        "size_ratio": choice.size_ratio,
        "macs_ratio": choice.macs_ratio,
        "latency_ratio": {"value": latency.ratio, "low": latency.low, "high": latency.high},
    }


def _told(row: dict[str, Any], config: Config) -> Note:
    shared = f", shared with {', '.join(row['shared_by'])}" if row["shared_by"] else ""
    latency = row["latency_ratio"]
    text = (
        f"{row['method']} of {ranks_text(row['ranks'])}{shared}: error {row['error']:.3g}, "
        f"size x{row['size_ratio']:.2f}, latency x{latency['value']:.2f} [{latency['low']:.2f}, {latency['high']:.2f}]"
    )
    if latency["low"] > 1:
        return warning(f"{text}: slower on this machine; `where: latency` leaves such layers", row["layer"])
    return done(text, row["layer"])


def _pinning_lines(config: Config, aim: Aim, choices: Sequence[ChosenFactors]) -> list[str]:
    """Return the recipe lines that repeat this choice without measuring it again."""
    names = [glob_escape(layer.name) for choice in choices for layer in choice.unit.layers]
    where = "size" if config.where == "latency" else config.where
    pinned = Config(energy=aim.energy, ratio=aim.ratio, method=config.method, where=where, include=tuple(names))
    return pass_lines("low_rank", pinned.model_dump(mode="json", exclude_defaults=True))


class LowRankSpace(PassSpace):
    """The parameter `energy`."""

    type = "low_rank"
    monotone: ClassVar = {"energy": -1}
    renames = True

    def cuts(self, subject: Subject) -> bool:
        return bool(units(subject.model.graph, lambda _: True)[0])

    def draw(self, draw: Draw) -> None:
        if "low_rank" in draw.params["structure"]:
            draw.number("energy", 0.8, 0.99, 0.01)

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterator[tuple[Stage, Config]]:
        if "low_rank" in params["structure"]:
            yield Stage.CUT, Config(energy=params["energy"])
