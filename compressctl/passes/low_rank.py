"""Low-rank factorisation: write the weights of Gemm, MatMul and Conv as products of smaller ones.

A Gemm or MatMul becomes two, through fewer channels (svd). A convolution becomes one with fewer outputs and a 1x1 one
(svd), a column of its kernel and a row (spatial), or its kernel between two 1x1 ones (tucker). Biases stay with the
last node. Ranks are multiples of 16, which float kernels compute in. With calibration samples the decompositions
minimise the error of each layer's outputs on up to 128 of them, not that of its weights, and kernels are refitted.

How high the ranks are is said by `energy` or by `ratio`; where neither is given, the lowest energy, one for all layers,
whose measured drop in accuracy is within `max_accuracy_drop` is searched by bisection.

A weight is factored only where that pays, else a note says why not. By default (`where: size`) it pays where the
factors have fewer elements and fewer multiply-accumulates; the same input and recipe give the same bytes, and the
measured latency of each layer is told only. `where: latency` decides by that measurement, on this machine: the whole
interval of the ratio must lie below 0.95. Where a layer is close to that, two runs may decide differently; the report
has the lines of a recipe that repeat the choice without measuring.

Left alone: grouped and transposed convolutions, recurrent layers, weights that other nodes use too (tied embeddings),
quantized weights (factor first, then quantize), bodies of If, Loop and Scan. Weights in float16 get factors in float16.

Sources: svd with whitening: DRONE, Chen et al. 2021 (NeurIPS); SVD-LLM, Wang et al. 2024 (arXiv:2403.07378); of
convolutions: Zhang et al. 2016 (arXiv:1505.06798); spatial: Jaderberg et al. 2014 (arXiv:1405.3866); tucker: Kim et al.
2016 (arXiv:1511.06530).
"""

from __future__ import annotations

from collections.abc import Sequence
from glob import escape as glob_escape
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from compressctl.errors import UsageError
from compressctl.passes.base import Context, Outcome, PassConfig, Reads
from compressctl.plain import flow

if TYPE_CHECKING:
    import onnx_ir as ir

    from compressctl.factorization.choice import Aim, Choice
    from compressctl.factorization.search import Prepared, Reasons, Stopwatch
    from compressctl.measure.metric import Score
    from compressctl.notes import Note

_SAMPLES = 128  # of calibration
_ENERGIES = tuple(1 - 0.5 * 2 ** (-step / 2) for step in range(19))  # 0.5 to 0.999, tried for a budget
_EVALUATION_BATCH = 16


class Config(PassConfig):
    """Options of `low_rank`."""

    reads: ClassVar[tuple[Reads, ...]] = ("calibration", "evaluation")
    edits_weights: ClassVar[bool] = True

    type: Literal["low_rank"] = "low_rank"
    energy: float | None = Field(default=None, gt=0, le=1)
    """Keep this share of each weight's energy: squared singular values, or mean squared outputs on calibration
    samples."""
    ratio: float | None = Field(default=None, gt=0, lt=1)
    """Keep at most this share of each weight's elements."""
    method: Literal["auto", "svd", "spatial", "tucker"] = "auto"
    """The form of convolutions, svd where a kernel has not this one; auto: of those that pay the one with the fewest
    multiply-accumulates (energy), or with the least error (ratio)."""
    where: Literal["size", "latency", "always"] = "size"
    """Factor where elements and multiply-accumulates fall, where measured latency falls as well, or always."""
    include: tuple[str, ...] = ()
    """Factor only nodes whose name matches one of these globs."""
    exclude: tuple[str, ...] = ()
    """Never factor nodes whose name matches one of these globs."""

    @model_validator(mode="after")
    def _one_measure(self) -> Config:
        if self.energy is not None and self.ratio is not None:
            raise ValueError("energy and ratio exclude each other")
        return self

    def given(self) -> bool:
        """Say whether ranks are given, and not to be searched by a budget."""
        return self.energy is not None or self.ratio is not None


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Factor the weights of `model` in place.

    Raises:
        UsageError: neither energy, ratio nor a budget to find an energy by; a glob matches nothing.
    """
    from compressctl.factorization.choice import Aim
    from compressctl.factorization.search import Stopwatch, apply, input_shapes, observe, plan, prepare
    from compressctl.factorization.units import units
    from compressctl.layers.moments import observable
    from compressctl.layers.unseen import unseen
    from compressctl.notes import skipped, warning
    from compressctl.passes.feeds import usual_feeds
    from compressctl.quantization.plan import Selection

    selection = Selection(config.include, config.exclude)
    selection.check(model.graph)
    _check_budget(config, context)
    found, left = units(model.graph, selection.allows)
    if not found:
        return Outcome(model, (*left, warning("no layer can be factored")))
    where: dict[str, Any] = {"threads": context.threads, "workdir": context.workdir}
    shapes = input_shapes(model, found, usual_feeds(model, context, 1), **where)
    moments = None
    if context.calibration is not None:
        moments = observe(model, found, context.calibration, samples=_SAMPLES, progress=context.progress, **where)
        alone = [unit for unit, seen in zip(found, moments, strict=True) if seen is None]
        left += [
            unseen(unit.name, "by its weight alone")
            if any(map(observable, unit.layers))
            else skipped("its inputs are too many to observe: by its weight alone", unit.name)
            for unit in alone
        ]
    stopwatch = Stopwatch(model, seed=context.seed, **where)
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
    apply(model, choices)
    facts: dict[str, Any] = {"energy": aim.energy, "ratio": aim.ratio, "layers": rows}
    if config.where == "latency" or not config.given():
        facts["recipe_lines"] = _pinning_lines(config, aim, choices)
    return Outcome(model, (*(_told(row, config) for row in rows), *left), facts)


def _check_budget(config: Config, context: Context) -> None:
    if config.given() or None not in (context.max_accuracy_drop, context.evaluation, context.metric):
        return
    hint = "or max_accuracy_drop with data and metric, by which an energy is found"
    raise UsageError("low_rank does not know how high ranks should be: give energy or ratio", hint)


def _within_budget(
    model: ir.Model, prepared: Sequence[Prepared], config: Config, context: Context, stopwatch: Stopwatch
) -> tuple[Aim, list[Choice], Reasons]:
    """Return the lowest energy that keeps the budget, with what it chooses."""
    from compressctl.factorization.choice import Aim
    from compressctl.factorization.search import apply, plan
    from compressctl.measure.accuracy import compare, evaluate
    from compressctl.measure.session import Session

    budget, metric, evaluation = context.max_accuracy_drop, context.metric, context.evaluation
    assert budget is not None and metric is not None and evaluation is not None

    def score(candidate: ir.Model) -> Score:
        session = Session(candidate, threads=context.threads, workdir=context.workdir)
        return evaluate(session, evaluation, metric, _EVALUATION_BATCH, context.progress)

    reference = score(context.baseline)
    low, high = 0, len(_ENERGIES)  # what lies below `low` misses the budget, `high` and above keeps it
    best: tuple[Aim, list[Choice], Reasons] = Aim(energy=1.0), [], []
    while low < high:
        middle = (low + high) // 2
        aim = Aim(energy=_ENERGIES[middle])
        choices, reasons = plan(prepared, aim, config.where, stopwatch)
        candidate = model.clone()
        apply(candidate, choices)
        if compare(reference, score(candidate), metric).drop <= budget:
            high, best = middle, (aim, choices, reasons)
        else:
            low = middle + 1
    return best


def _row(choice: Choice, stopwatch: Stopwatch) -> dict[str, Any]:
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
    from compressctl.factorization.choice import ranks_text
    from compressctl.notes import done, warning

    shared = f", shared with {', '.join(row['shared_by'])}" if row["shared_by"] else ""
    latency = row["latency_ratio"]
    text = (
        f"{row['method']} of {ranks_text(row['ranks'])}{shared}: error {row['error']:.3g}, "
        f"size x{row['size_ratio']:.2f}, latency x{latency['value']:.2f} [{latency['low']:.2f}, {latency['high']:.2f}]"
    )
    if latency["low"] > 1:
        return warning(f"{text}: slower on this machine; `where: latency` leaves such layers", row["layer"])
    return done(text, row["layer"])


def _pinning_lines(config: Config, aim: Aim, choices: Sequence[Choice]) -> list[str]:
    """Return the recipe lines that repeat this choice without measuring it again."""
    names = [glob_escape(layer.name) for choice in choices for layer in choice.unit.layers]
    where = "size" if config.where == "latency" else config.where
    pinned = Config(energy=aim.energy, ratio=aim.ratio, method=config.method, where=where, include=tuple(names))
    lines = pinned.model_dump(mode="json", exclude_defaults=True)
    return ["- type: low_rank", *(f"  {key}: {flow(value)}" for key, value in lines.items())]
