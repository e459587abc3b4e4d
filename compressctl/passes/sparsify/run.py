"""The work of the pass `sparsify`, and what a search may try of it: shares of zeros, and patterns of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir

from compressctl.data.first import First
from compressctl.errors import ModelError, UsageError
from compressctl.layers.unseen import unseen
from compressctl.layers.weights import Weight
from compressctl.model.tensors import chunks
from compressctl.notes import Note, done, skipped, warning
from compressctl.passes.base import Context, Outcome
from compressctl.passes.gradients import evidence
from compressctl.passes.measuring import budget_keeper, sensitivity_curves
from compressctl.passes.space import Draw, Params, PassSpace, Space, Stage, Subject
from compressctl.passes.sparsify import Config
from compressctl.pruning.element_scores import element_scores
from compressctl.pruning.search import Steps
from compressctl.pruning.sensitivity import Curve
from compressctl.pruning.sparse import Masks, Packed, Scores, Zeroing, at_most, below, smallest, sparse_weights, unfit

_SAMPLES = 1024  # to reconstruct on
_RATIOS = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # of each layer, at which its curve is measured


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Zero weights of `model` in place.

    Raises:
        UsageError: samples are needed and there are none, or a glob matches no node.
        ModelError: the model has no weights that can be zeroed, or they cannot be observed.
        MissingExtraError: importance by gradients without torch.
    """
    reconstructs = context.calibration is not None if config.reconstruct is None else config.reconstruct
    reconstructs = reconstructs or config.importance == "obs"
    if reconstructs and context.calibration is None:
        raise UsageError("weights are reconstructed on samples, and there are none", "add --calibrate DATA")
    found, notes = sparse_weights(model.graph)
    weights, told = _selected(model, found, config)
    scores = _scores(model, weights, config, context)
    unknown = [weight for weight in weights if weight.name not in scores]
    told += [
        skipped(f"not made sparse: importance {config.importance} says nothing of it", w.nodes[0]) for w in unknown
    ]
    weights = [weight for weight in weights if weight.name in scores]
    if not weights:
        raise ModelError(f"no weight can be made sparse: importance {config.importance} says nothing of any")
    zeroing = Zeroing(
        source=First(context.calibration, _SAMPLES) if reconstructs and context.calibration is not None else None,
        by_cost=config.threshold is None and config.importance in (None, "obs"),
        pattern=config.pattern,
        resources=context,
    )
    facts: dict[str, Any] = {}
    curves: list[Curve] = []
    if config.sensitivity or config.ratio == "auto":
        curves, facts["sensitivity"] = measure(model, weights, scores, config.sensitivity_samples, context)
    if config.ratio == "auto":
        masks = automatic(model, weights, scores, curves, zeroing, context)
    else:
        masks = _masks(weights, scores, config)
    errors = zeroing.zero(model, weights, masks)
    rows = [_row(weight, errors.get(weight.nodes[0])) for weight in weights]
    told += _notes(weights, rows, reconstructs)
    return Outcome(model, (*notes, *told), {"layers": rows, **facts})


def _selected(model: ir.Model, weights: Sequence[Weight], config: Config) -> tuple[list[Weight], list[Note]]:
    """Return the weights that the user lets us touch and that fit the pattern, and notes on the latter.

    Raises:
        UsageError: a glob matches no node.
        ModelError: nothing is left.
    """
    config.selection.check(model.graph)
    if not weights:
        raise ModelError("the model has no float weights of linear or recurrent layers", "prune before quantizing")
    found, notes = [], []
    for weight in weights:
        if not config.selection.allows_names(weight.nodes):
            continue
        reason = unfit(weight, config.pattern[1]) if config.pattern else None
        if reason is None:
            found.append(weight)
        else:
            notes.append(skipped(f"not made sparse: {reason}", weight.nodes[0]))
    if not found:
        raise ModelError(f"no weight can be made sparse: {notes[0].text if notes else 'none is included'}")
    return found, notes


def _scores(model: ir.Model, weights: Sequence[Weight], config: Config, context: Context) -> Scores:
    """Return what each element counts; obs only decides within a layer, so layers share by magnitude then."""
    importance = config.importance
    if importance is None or importance == "obs":
        return element_scores(model, weights, "magnitude", workdir=context.workdir)
    if importance in ("magnitude", "random"):
        return element_scores(model, weights, importance, seed=context.seed, workdir=context.workdir)
    on = evidence(model, context, importance)
    return element_scores(model, weights, importance, seed=context.seed, evidence=on)


def _masks(weights: Sequence[Weight], scores: Scores, config: Config) -> Masks:
    if config.threshold is not None:
        return below(weights, config.threshold)
    if config.pattern is not None:
        return at_most(weights, scores, *config.pattern)
    assert isinstance(config.ratio, float)
    return smallest(weights, scores, config.ratio, each=config.scope == "layer")


def _notes(weights: Sequence[Weight], rows: Sequence[dict[str, Any]], reconstructs: bool) -> list[Note]:
    zeros, total = sum(row["zeros"] for row in rows), sum(row["weights"] for row in rows)
    text = f"{zeros} of {total} weights are zero ({zeros / total:.1%}), in {len(rows)} tensors"
    notes = [done(f"{text}: dense kernels get no faster; the file gets smaller where the pass store leaves zeros out")]
    emptied = "all its weights are zero, so the model ignores what it reads"
    notes += [warning(emptied, row["layer"]) for row in rows if row["zeros"] == row["weights"]]
    if not reconstructs:
        return notes
    worst = max((row for row in rows if "output_error" in row), key=lambda row: row["output_error"], default=None)
    if worst is not None:
        notes.append(done(f"layers keep their outputs up to an error of {worst['output_error']:.2g}", worst["layer"]))
    for weight, row in zip(weights, rows, strict=True):
        if weight.obstacle is None and "output_error" not in row and weight.layer is not None:
            notes.append(unseen(weight.nodes[0], "zeroed, but not reconstructed"))
        if weight.obstacle is not None:
            notes.append(skipped(f"zeroed, but not reconstructed: {weight.obstacle}", weight.nodes[0]))
    return notes


def _row(weight: Weight, error: float | None) -> dict[str, Any]:
    size = weight.tensor.size
    zeros = size - sum(int(np.count_nonzero(piece)) for piece in chunks(weight.tensor))
    row = {"layer": weight.nodes[0], "weight": weight.name, "weights": size, "zeros": zeros, "ratio": zeros / size}
    return row if error is None else {**row, "output_error": error}


class SparsifySpace(PassSpace):
    """The parameters `sparsity` and `sparse_ratio`."""

    monotone: ClassVar = {"sparse_ratio": 1}

    def choices(self, subject: Subject) -> Mapping[str, tuple[Any, ...]]:
        return {"sparsity": ("none", "ratio", "2:4", "1:4")} if sparse_weights(subject.model.graph)[0] else {}

    def draw(self, draw: Draw) -> None:
        kinds = draw.space.choices.get("sparsity")
        if kinds and draw.choice("sparsity", kinds) == "ratio":
            draw.number("sparse_ratio", 0.3, 0.9, 0.05)

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterator[tuple[Stage, Config]]:
        kind = params.get("sparsity", "none")
        if kind != "none":
            yield Stage.ZERO, Config(ratio=params["sparse_ratio"]) if kind == "ratio" else Config(nm=kind)

    def starts(self, space: Space) -> Iterator[tuple[int, dict[str, Any]]]:
        if space.integer and "sparsity" in space.choices:
            yield 12, {"format": space.integer, "sparsity": "ratio", "sparse_ratio": 0.5}


def measure(
    model: ir.Model, weights: Sequence[Weight], scores: Scores, samples: int, context: Context
) -> tuple[list[Curve], dict[str, Any]]:
    """Return what zeros in each layer alone do, without reconstruction, and the same as a table for the report.

    Raises:
        UsageError: there are no samples.
    """

    def build(ratios: Mapping[str, float]) -> ir.Model:
        clone = model.clone()
        twins = [weight for weight in sparse_weights(clone.graph)[0] if weight.nodes[0] in ratios]
        masks = _masks_at(twins, scores, ratios)
        for weight in twins:
            weight.zero(masks[weight.name])
        return clone

    return sensitivity_curves(model, build, [weight.nodes[0] for weight in weights], _RATIOS, samples, context)


def automatic(
    model: ir.Model,
    weights: Sequence[Weight],
    scores: Scores,
    curves: Sequence[Curve],
    zeroing: Zeroing,
    context: Context,
) -> Masks:
    """Return the masks of the most zeros with which the metric stays within the budget, on all samples.

    Raises:
        UsageError: there is no budget.
    """
    keeps = budget_keeper(context)
    names = {weight.name for weight in weights}

    def holds(ratios: Mapping[str, float]) -> bool:
        clone = model.clone()
        twins = [weight for weight in sparse_weights(clone.graph)[0] if weight.name in names]
        zeroing.zero(clone, twins, _masks_at(twins, scores, ratios))
        return keeps(clone)

    steps = Steps(curves, {weight.nodes[0]: weight.tensor.size for weight in weights})
    return _masks_at(weights, scores, steps.longest(holds))


def _masks_at(weights: Sequence[Weight], scores: Scores, ratios: Mapping[str, float]) -> Masks:
    """Return the masks at each layer's own ratio, 0 where none is given."""
    each = (smallest([weight], scores, ratios.get(weight.nodes[0], 0.0), each=True) for weight in weights)
    return Packed(pair for one in each for pair in one.items())
