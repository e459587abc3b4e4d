"""The work of the pass `prune`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import onnx_ir as ir

from compressctl.arrays import Floats
from compressctl.data.first import First
from compressctl.errors import ModelError, PassError, UsageError
from compressctl.layers.unseen import unseen
from compressctl.measure.measurement import sizes_of
from compressctl.model.depth import cut_depth
from compressctl.model.load import interface
from compressctl.model.qops import is_quantized
from compressctl.model.size import count
from compressctl.notes import Note, done, skipped, warning
from compressctl.passes.base import Context, Outcome, Target
from compressctl.passes.gradients import evidence
from compressctl.passes.measuring import usual_feeds
from compressctl.passes.prune import AMOUNTS, Config
from compressctl.passes.prune.amount import automatic, by_ratio, sensitivities, to_target
from compressctl.pruning.cutting import deviation, original_sizes, without
from compressctl.pruning.reconstruct import reconstruct
from compressctl.pruning.scores import MEASURED, score
from compressctl.pruning.selection import Removed, by_layer
from compressctl.pruning.sensitivity import Curve
from compressctl.selection import check_globs, matches
from compressctl.simplification.rules import apply_rules
from compressctl.structure.groups import Group, find_groups

_FOLDING = ("constants", "shape_arithmetic")
_CHECKED_ROWS = 2
_RECONSTRUCTED_ON = 1024  # samples at most


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Cut units out of a copy of `model`.

    Raises:
        UsageError: a glob matches nothing, or the importance needs samples and there are none.
        ModelError: the model is quantized, or nothing can be cut; says why.
        PassError: the cut model does not compute what the model with the same units switched off does.
    """
    if any(is_quantized(node) for node in model.graph.all_nodes()):
        raise ModelError("the model is quantized already, and integers are not cut", "prune before quantizing")
    if config.structure == ("block",):
        assert isinstance(config.ratio, float)
        shallow, notes = cut_depth(model, 1 - config.ratio)
        return Outcome(shallow, notes, _totals(model, shallow, context))
    model = _folded(model)
    groups = find_groups(model)
    chosen = _chosen(model.graph, groups, config)
    scores, blind = _scores(model, chosen, config, context)
    facts: dict[str, Any] = {}
    targets: tuple[Target, ...] = ()
    curves: list[Curve] = []
    if config.sensitivity or config.ratio == "auto":
        curves, facts["sensitivity"] = sensitivities(model, chosen, scores, config, context)
    if config.ratio == "auto":

        def build(removed: Removed) -> ir.Model:
            return _cut(model, chosen, removed, config, context)[0]

        by_ratios = partial(by_layer, chosen, scores, round_to=config.round_to)
        removed = automatic(model, chosen, curves, by_ratios, build, context)
    elif config.ratio is not None:
        removed = by_ratio(model, chosen, scores, config)
    else:
        key = next(name for name in AMOUNTS if getattr(config, name) is not None)
        removed, target = to_target(model, chosen, scores, key, config, context)
        targets = (target,)
    fault = deviation(model, chosen, removed, usual_feeds(model, context, _CHECKED_ROWS), threads=context.threads)
    if fault is not None:
        raise PassError(f"prune: the cut model differs from the model with the same units switched off: {fault}")
    result, errors, told = _cut(model, chosen, removed, config, context)
    facts |= {"groups": _rows(groups, chosen, removed, original_sizes(model, chosen)), "output_errors": errors}
    notes = (*_notes(model, groups, config, removed), *blind, *told)
    return Outcome(result, notes, facts | _totals(model, result, context), targets)


def cuttable(model: ir.Model) -> tuple[Note, ...]:
    """Return a note for each group of units, by the node that makes it: how many can be cut, or why none can."""
    notes = []
    for group in find_groups(_folded(model)):
        units, stay = f"of {group.size} {group.plural} (--structure {group.kind})", int(group.fixed.sum())
        if stay < group.size:
            notes.append(done(f"cut some {units}{f', of which {stay} stay' if stay else ''}", group.name))
        else:
            notes.append(skipped(f"cut none {units}: {'; '.join(group.reasons)}", group.name))
    return tuple(notes)


def _folded(model: ir.Model) -> ir.Model:
    """Return the model with what it computes of constants and fixed sizes in numbers: they say where it is sliced."""
    folded = model.clone()
    return folded if any(note.kind == "done" for note in apply_rules(folded, _FOLDING)) else model


def _chosen(graph: ir.Graph, groups: Sequence[Group], config: Config) -> list[Group]:
    """Return the groups that may be cut.

    Raises:
        UsageError: a glob matches no group, or the globs leave none.
        ModelError: there are none; says why.
    """
    names = {group.name: (group.name, *group.makers) for group in groups}
    for key, globs in (("include", config.include), ("exclude", config.exclude)):
        for glob in globs:
            if not any(matches([glob], those) for those in names.values()):
                check_globs(graph, **{key: [glob]})
                raise UsageError(f"{key} {glob!r} matches no node whose units can be cut", "see `compressctl inspect`")
    allowed = config.selection.allows_names
    asked = [group for group in groups if group.kind in config.structure]
    wanted = [group for group in asked if allowed(names[group.name])]
    chosen = [group for group in wanted if not group.fixed.all()]
    if chosen:
        return chosen
    free = [group.name for group in asked if not group.fixed.all()]
    if free:
        kinds = ", ".join(config.structure)
        raise UsageError(f"include and exclude leave nothing to cut of {kinds}", f"without them: {', '.join(free[:3])}")
    reasons = Counter(reason for group in wanted for reason in group.reasons[:1])
    why = "; ".join(f"{reason} ({number})" for reason, number in reasons.most_common(3))
    kinds = ", ".join(sorted({group.kind for group in groups if not group.fixed.all()}))
    raise ModelError(
        f"nothing to cut of {', '.join(config.structure)}: {why or 'there are no such units'}",
        f"there are units of {kinds}" if kinds else None,
    )


def _scores(
    model: ir.Model, groups: Sequence[Group], config: Config, context: Context
) -> tuple[dict[str, Floats], list[Note]]:
    """Return what each unit counts, and warnings of groups that the samples tell nothing of, which go by norm."""
    importance = config.importance or ("activation" if context.calibration is not None else "l2")
    on = evidence(model, context, importance) if importance in MEASURED else None
    scores = score(model, groups, importance, seed=context.seed, evidence=on)
    silent = [group for group in groups if not scores[group.name].any()] if on is not None else []
    plain = score(model, silent, "l2")
    return scores | plain, [unseen(name, "its units are ranked by the norm of their weights") for name in plain]


def _cut(
    model: ir.Model, groups: Sequence[Group], removed: Removed, config: Config, context: Context
) -> tuple[ir.Model, dict[str, float], tuple[Note, ...]]:
    """Return the cut model, reconstructed where it is to be, with the error of each layer's output and notes."""
    result, source = without(model, groups, removed), context.calibration
    wanted = source is not None if config.reconstruct is None else config.reconstruct
    if not removed or not wanted:
        return result, {}, ()
    if source is None:
        raise UsageError("layers are reconstructed on samples, and there are none", "add --calibrate DATA")
    first = First(source, _RECONSTRUCTED_ON)
    errors, notes = reconstruct(model, result, groups, removed, first, context)
    return result, errors, notes


def _notes(model: ir.Model, groups: Sequence[Group], config: Config, removed: Removed) -> tuple[Note, ...]:
    """Say what was cut, and what had to stay of the kinds asked for; that outputs keep their sizes needs no saying."""
    outputs = {value.name for value in model.graph.outputs}
    notes = []
    for group in groups:
        what = group.plural
        if group.name in removed:
            left = group.size - len(removed[group.name])
            notes.append(done(f"{left} of {group.size} {what} stay", group.name))
        elif group.kind in config.structure and group.fixed.all() and not any(a.of in outputs for a in group.axes):
            notes.append(skipped(f"all {group.size} {what} stay: {'; '.join(group.reasons)}", group.name))
    if not removed:
        over = "the smallest cut costs more accuracy than the budget admits"
        why = over if config.ratio == "auto" else "rounding keeps as many units as there are"
        notes.append(warning(f"nothing was cut: {why}"))
    return tuple(notes)


def _rows(
    groups: Sequence[Group], chosen: Sequence[Group], removed: Removed, originals: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return a row a group for the report."""
    considered = {group.name for group in chosen}
    return [
        {
            "name": group.name,
            "kind": group.kind,
            "original": originals.get(group.name, group.size),
            "before": group.size,
            "after": group.size - len(removed.get(group.name, ())),
            "considered": group.name in considered,
            "reasons": list(group.reasons),
        }
        for group in groups
    ]


def _totals(before: ir.Model, after: ir.Model, context: Context) -> dict[str, Any]:
    sizes = sizes_of(interface(before)[0], usual_feeds(before, context, 1))
    old, new = count(before, sizes), count(after, sizes)
    return {
        "macs": {"before": old.macs, "after": new.macs},
        "parameters": {"before": old.parameters, "after": new.parameters},
    }
