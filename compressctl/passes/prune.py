"""Cut channels, neurons and attention heads out of the graph, so that it gets smaller and faster on any hardware.

What computes a unit (a channel of a convolution, a neuron of Gemm, MatMul or a recurrent layer, a head of attention)
goes together with everything that reads it: units that a residual connection ties are one. `width` also cuts the
stream that a normalisation takes statistics across, such as a transformer's hidden size: that changes the others a
little. `block` takes out whole residual blocks. Shares are those of the model before the first prune pass (ratio) or of
the model as it was loaded (targets), so rounds of prune and finetune say how far they have come.

A target is met by the smallest cut that does: multiply-accumulates and size are counted on the cut model, latency is
measured beside the model as it was loaded, so that the result of target_latency depends on the machine.

Sources: structural dependencies, Fang et al. 2023 (arXiv:2301.12900); importances, see `importance`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compressctl.passes.base import Context, Outcome, PassConfig, Reads, Target, WeightForm
from compressctl.pruning.options import MEASURED, Importance

if TYPE_CHECKING:
    import onnx_ir as ir

    from compressctl.notes import Note
    from compressctl.numerics.importance import Floats
    from compressctl.pruning.selection import Removed
    from compressctl.pruning.sensitivity import Curve
    from compressctl.structure.groups import Group

Structure = Literal["channel", "neuron", "head", "width", "block"]
_AMOUNTS = ("ratio", "target_macs", "target_size", "target_latency")
_CHECKED_ROWS = 2
_RECONSTRUCTED_ON = 1024  # samples at most


class Config(PassConfig):
    """Options of `prune`."""

    reads: ClassVar[tuple[Reads, ...]] = ("calibration", "training", "evaluation")
    stopped_by: ClassVar[tuple[WeightForm, ...]] = ("packed", "static", "dynamic")

    type: Literal["prune"] = "prune"
    structure: tuple[Structure, ...] = Field(default=("channel", "neuron", "head"), min_length=1)
    """What to cut: channel, neuron, head, width (across normalisations); or block alone: whole residual blocks."""
    ratio: Annotated[float, Field(gt=0, lt=1)] | Literal["auto"] | None = None
    """Share of the units to remove, of what the model had before the first prune pass. auto: as much as
    max_accuracy_drop admits, first of the layers where it costs least."""
    target_macs: float | None = Field(default=None, gt=0, lt=1)
    """Cut until this share of the input's multiply-accumulates is left."""
    target_size: float | None = Field(default=None, gt=0, lt=1)
    """Cut until this share of the input's bytes is left."""
    target_latency: float | None = Field(default=None, gt=0, lt=1)
    """Cut until this share of the input's latency is left, measured on this machine."""
    scope: Literal["layer", "global"] | None = None
    """layer: the same share of every layer; global: the units of all layers that matter least, for what they cost
    where there is a target. Default: layer for a ratio, global for a target."""
    importance: Importance | None = None
    """By what units are ranked: l1, l2 or geometric-median of their weights, activation on samples, taylor or hessian
    of the loss by gradients (with torch), or random. Default: activation with samples to calibrate on, else l2."""
    round_to: int = Field(default=16, ge=1)
    """Leave multiples of this many units, of 4 in small layers: kernels are slow at odd numbers. Heads are not
    rounded."""
    reconstruct: bool | None = None
    """Fit the layers that are left to what they gave before, by least squares on samples; default: where there are
    calibration samples. Leave it out where the model is trained afterwards: it ends higher without."""
    sensitivity: bool = False
    """Measure what cutting each group of units alone costs, for the report; auto does so anyway."""
    sensitivity_samples: int = Field(default=128, ge=1)
    """Samples on which that is measured."""
    include: tuple[str, ...] = ()
    """Cut only units that nodes with these names make (globs)."""
    exclude: tuple[str, ...] = ()
    """Leave all units that nodes with these names make (globs)."""

    @model_validator(mode="after")
    def _says_how_much(self) -> Self:
        given = [name for name in _AMOUNTS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of {', '.join(_AMOUNTS)}" + (f", not {' and '.join(given)}" if given else ""))
        if "block" in self.structure:
            if self.structure != ("block",):
                raise ValueError("block goes alone: cut blocks and other structures in two passes")
            fields = type(self).model_fields
            others = [name for name in fields if name not in ("type", "structure", "ratio")]
            changed = [name for name in others if getattr(self, name) != fields[name].default]
            if changed or self.ratio == "auto":
                raise ValueError(f"block takes a ratio alone, not {changed[0] if changed else 'auto'}")
        return self


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Cut units out of a copy of `model`.

    Raises:
        UsageError: a glob matches nothing, or the importance needs samples and there are none.
        ModelError: the model is quantized, or nothing can be cut; says why.
        PassError: the cut model does not compute what the model with the same units switched off does.
    """
    from compressctl.errors import ModelError, PassError
    from compressctl.model.depth import cut_depth
    from compressctl.model.qops import is_quantized
    from compressctl.passes.feeds import usual_feeds
    from compressctl.passes.prune_amount import automatic, by_ratio, sensitivities, to_target
    from compressctl.pruning.cutting import deviation, original_sizes
    from compressctl.structure.groups import find_groups

    if any(is_quantized(node) for node in model.graph.all_nodes()):
        raise ModelError("the model is quantized already, and integers are not cut", "prune before quantizing")
    if config.structure == ("block",):
        assert isinstance(config.ratio, float)
        shallow, notes = cut_depth(model, 1 - config.ratio)
        return Outcome(shallow, notes, _totals(model, shallow, context))
    groups = find_groups(model)
    chosen = _chosen(groups, config)
    scores, blind = _scores(model, chosen, config, context)
    facts: dict[str, Any] = {}
    targets: tuple[Target, ...] = ()
    curves: list[Curve] = []
    if config.sensitivity or config.ratio == "auto":
        curves, facts["sensitivity"] = sensitivities(model, chosen, scores, config, context)
    if config.ratio == "auto":

        def build(removed: Removed) -> ir.Model:
            return _cut(model, chosen, removed, config, context)[0]

        removed = automatic(model, chosen, scores, curves, build, config, context)
    elif config.ratio is not None:
        removed = by_ratio(model, chosen, scores, config)
    else:
        key = next(name for name in _AMOUNTS if getattr(config, name) is not None)
        removed, target = to_target(model, chosen, scores, key, config, context)
        targets = (target,)
    fault = deviation(model, chosen, removed, usual_feeds(model, context, _CHECKED_ROWS), threads=context.threads)
    if fault is not None:
        raise PassError(f"prune: the cut model differs from the model with the same units switched off: {fault}")
    result, errors, told = _cut(model, chosen, removed, config, context)
    facts |= {"groups": _rows(groups, chosen, removed, original_sizes(model, chosen)), "output_errors": errors}
    notes = (*_notes(model, groups, config, removed), *blind, *told)
    return Outcome(result, notes, facts | _totals(model, result, context), targets)


def _chosen(groups: Sequence[Group], config: Config) -> list[Group]:
    """Return the groups that may be cut.

    Raises:
        UsageError: a glob matches no group.
        ModelError: there are none; says why.
    """
    from collections import Counter
    from fnmatch import fnmatchcase

    from compressctl.errors import ModelError, UsageError

    def matches(group: Group, glob: str) -> bool:
        return any(fnmatchcase(name, glob) for name in (group.name, *group.makers))

    for key, globs in (("include", config.include), ("exclude", config.exclude)):
        for glob in globs:
            if not any(matches(group, glob) for group in groups):
                raise UsageError(f"{key} {glob!r} matches no node whose units can be cut", "see `compressctl inspect`")
    wanted = [
        group
        for group in groups
        if group.kind in config.structure
        and (not config.include or any(matches(group, glob) for glob in config.include))
        and not any(matches(group, glob) for glob in config.exclude)
    ]
    chosen = [group for group in wanted if not group.fixed.all()]
    if chosen:
        return chosen
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
    from compressctl.layers.unseen import unseen
    from compressctl.passes.gradients import evidence
    from compressctl.pruning.scores import score

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
    from compressctl.errors import UsageError
    from compressctl.pruning.cutting import without
    from compressctl.pruning.reconstruct import reconstruct

    result, source = without(model, groups, removed), context.calibration
    wanted = source is not None if config.reconstruct is None else config.reconstruct
    if not removed or not wanted:
        return result, {}, ()
    if source is None:
        raise UsageError("layers are reconstructed on samples, and there are none", "add --calibrate DATA")
    errors, notes = reconstruct(
        model,
        result,
        groups,
        removed,
        source,
        samples=_RECONSTRUCTED_ON,
        threads=context.threads,
        workdir=context.workdir,
        progress=context.progress,
    )
    return result, errors, notes


def _notes(model: ir.Model, groups: Sequence[Group], config: Config, removed: Removed) -> tuple[Note, ...]:
    """Say what was cut, and what had to stay of the kinds asked for; that outputs keep their sizes needs no saying."""
    from compressctl.notes import done, skipped, warning

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
    from compressctl.measure.measurement import sizes_of
    from compressctl.model.load import interface
    from compressctl.model.size import count
    from compressctl.passes.feeds import usual_feeds

    sizes = sizes_of(interface(before)[0], usual_feeds(before, context, 1))
    old, new = count(before, sizes), count(after, sizes)
    return {
        "macs": {"before": old.macs, "after": new.macs},
        "parameters": {"before": old.parameters, "after": new.parameters},
    }
