"""Quantize to INT8 in the form that onnxruntime runs fast.

`int8`: static. Activations get u8 Q/DQ pairs with ranges observed on calibration samples, weights become s8 (per
channel, zero point 0) behind a DequantizeLinear: convolutions, Gemm and weight MatMul, and what joins them (residual
Add, Concat, pooling, reshapes), so that onnxruntime runs integer kernels from end to end.
`int8-dynamic`: no data needed. Weight MatMul and Gemm become DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul,
LSTM becomes DynamicQuantizeLSTM, embedding tables become int8 rows with a scale each.
`auto`: per node the faster of the two: static for convolutions and what hangs on them, dynamic for the other weight
MatMuls, LSTM and embeddings. Without calibration data only the dynamic part.

Source: Jacob et al. 2018 (arXiv:1712.05877); ONNX operator specifications.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from glob import escape as glob_escape
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from compressctl.errors import UsageError
from compressctl.passes.base import Context, Outcome, PassConfig

if TYPE_CHECKING:
    import onnx_ir as ir

    from compressctl.measure.metric import Score
    from compressctl.notes import Note
    from compressctl.numerics.saturation import Saturation
    from compressctl.quantization.calibration import Observations
    from compressctl.quantization.plan import Plan
    from compressctl.quantization.sensitivity import Harm

_HARM_SAMPLES = 64
_EVALUATION_BATCH = 16

Scheme = Literal["auto", "int8", "int8-dynamic"]
CalibrationMethod = Literal["minmax", "percentile", "entropy", "mse"]
Target = Literal["auto", "vnni", "avx2", "arm64"]


class Config(PassConfig):
    """Options of `quantize`."""

    type: Literal["quantize"] = "quantize"
    scheme: Scheme = "auto"
    """int8 (static, needs calibration data), int8-dynamic (no data), or auto: per node the faster of the two."""
    calibration_method: CalibrationMethod = "percentile"
    """How activation ranges are chosen: minmax, percentile, entropy (KL divergence) or mse."""
    percentile: float = Field(default=99.999, gt=50, le=100)
    """Percent of the values kept inside the range by calibration_method percentile."""
    per_channel: bool = True
    """One weight scale per output channel; false: one per tensor."""
    bias_correction: bool = True
    """Correct biases for the mean error that rounding the weights brings (static only)."""
    embeddings: bool = True
    """Store embedding tables as int8 rows (dynamic and auto)."""
    include: tuple[str, ...] = ()
    """Quantize only nodes whose name matches one of these globs."""
    exclude: tuple[str, ...] = ()
    """Never quantize nodes whose name matches one of these globs."""
    include_op: tuple[str, ...] = ()
    """Quantize only nodes of these op types."""
    exclude_op: tuple[str, ...] = ()
    """Never quantize nodes of these op types."""
    keep_float: int = Field(default=0, ge=0)
    """Keep this many of the most harmful layers in float (ranked by measured harm)."""
    target: Target = "auto"
    """The processor the model will run on: auto is this machine."""
    reduced_range: bool | None = None
    """7-bit weights, which cannot saturate on x86 without VNNI; default: on for target avx2."""


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Quantize `model` in place.

    Raises:
        UsageError: the scheme needs calibration data and there is none, or a glob matches nothing.
    """
    from compressctl.measure.machine import int8_target
    from compressctl.notes import skipped, warning
    from compressctl.quantization.apply import apply
    from compressctl.quantization.plan import Selection, make_plan
    from compressctl.quantization.quantizers import Settings
    from compressctl.quantization.saturation import saturation_notes

    selection = Selection(config.include, config.exclude, config.include_op, config.exclude_op)
    plan, notes = make_plan(
        model,
        config.scheme,
        selection,
        calibrated=context.calibration is not None,
        embeddings=config.embeddings,
    )
    if not plan.layers:
        return Outcome(model, (*notes, warning("nothing was quantized")))
    target = int8_target() if config.target == "auto" else config.target
    reduced = target == "avx2" if config.reduced_range is None else config.reduced_range
    settings = Settings(config.per_channel, config.bias_correction, reduced)
    observations = _observe(model, plan, config, context)
    saturated = _saturated(model, plan, observations, config, context) if target == "avx2" and not reduced else {}
    notes = (*notes, *(observations.notes if observations else ()), *saturation_notes(saturated))

    def build(part: Plan) -> ir.Model:
        clone = model.clone()
        apply(clone, part, observations, settings)
        return clone

    kept, harms, told = _keep_in_float(build, plan, config, context)
    plan = plan.without(kept)
    notes = (*notes, *told, *(skipped("kept in float: among the layers that do the most harm", name) for name in kept))
    notes += tuple(apply(model, plan, observations, settings))
    facts: dict[str, Any] = {
        "target": target,
        "reduced_range": reduced,
        "quantized": {"static": len(plan.static), "dynamic": len(plan.dynamic)},
        "saturation": {name: {"share": one.share, "noise": one.noise} for name, one in saturated.items()},
        "harm": [{"layer": harm.layer, "sqnr_db": harm.sqnr_db} for harm in harms],
    }
    if kept:
        facts["recipe_lines"] = _pinning_lines(config, kept)
    return Outcome(model, notes, facts)


def _observe(model: ir.Model, plan: Plan, config: Config, context: Context) -> Observations | None:
    """Observe, in one pass over the calibration samples, what the static part of the plan needs."""
    from dataclasses import replace

    from compressctl.quantization.trainable import placement_of
    from compressctl.quantization.calibration import observe

    if not plan.static or context.calibration is None:
        return None
    placement = placement_of(model, plan)
    inputs = {node.inputs[0].name or "" for node in placement.weighted if node.inputs[0] is not None}
    observations = observe(
        model,
        [value.name or "" for value in placement.observed],
        context.calibration,
        method=config.calibration_method,
        percentile=config.percentile,
        channel_means=sorted(inputs) if config.bias_correction else (),
        threads=context.threads,
        workdir=context.workdir,
        progress=context.progress,
    )
    # Where only a part of the plan is carried out, a tensor may stand on its own that carries another's values here.
    carried = {value.name or "": observations.ranges[root.name or ""] for value, root in placement.scale_of.items()}
    return replace(observations, ranges={**observations.ranges, **carried})


def _saturated(
    model: ir.Model, plan: Plan, observations: Observations | None, config: Config, context: Context
) -> dict[str, Saturation]:
    """Return what saturates, of the static layers, on a processor that adds products in pairs of 16 bits."""
    from compressctl.quantization.plan import named
    from compressctl.quantization.saturation import simulate

    if observations is None or context.calibration is None:
        return {}
    return simulate(
        model,
        named(model.graph, plan.static),
        observations.ranges,
        context.calibration,
        per_channel=config.per_channel,
        threads=context.threads,
        workdir=context.workdir,
        seed=context.seed,
    )


def _keep_in_float(
    build: Callable[[Plan], ir.Model], plan: Plan, config: Config, context: Context
) -> tuple[list[str], list[Harm], tuple[Note, ...]]:
    """Return the layers to leave in float, the ranking they come from (empty where none was needed), and notes."""
    from compressctl.measure.accuracy import compare, evaluate
    from compressctl.measure.session import Session
    from compressctl.notes import warning
    from compressctl.quantization.sensitivity import fewest_in_float, rank

    budget, metric, evaluation = context.max_accuracy_drop, context.metric, context.evaluation
    source = evaluation or context.calibration
    if config.keep_float == 0 and (budget is None or evaluation is None or metric is None):
        return [], [], ()

    def harms() -> list[Harm]:
        if source is None:
            raise UsageError("keep_float needs samples to measure harm on", "add --calibrate DATA or --data DATA")
        return rank(
            build,
            plan,
            source,
            samples=_HARM_SAMPLES,
            threads=context.threads,
            workdir=context.workdir,
            progress=context.progress,
        )

    if config.keep_float:
        ranking = harms()
        return [harm.layer for harm in ranking[: config.keep_float]], ranking, ()
    assert budget is not None and evaluation is not None and metric is not None

    def score(candidate: ir.Model) -> Score:
        session = Session(candidate, threads=context.threads, workdir=context.workdir)
        return evaluate(session, evaluation, metric, _EVALUATION_BATCH, context.progress)

    reference = score(context.baseline)

    def holds(kept: Sequence[str]) -> bool:
        return compare(reference, score(build(plan.without(kept))), metric).drop <= budget

    if holds([]):
        return [], [], ()
    ranking = harms()
    enough = fewest_in_float(ranking, holds)
    if enough is not None:
        return enough, ranking, ()
    return [], ranking, (warning(f"no number of layers kept in float brings the drop below {budget:g}"),)


def _pinning_lines(config: Config, kept: Sequence[str]) -> list[str]:
    """Return the recipe lines that repeat this choice without measuring it again."""
    names = ", ".join(f'"{glob_escape(name)}"' for name in kept)
    existing = "".join(f'"{glob}", ' for glob in config.exclude)
    return ["- type: quantize", f"  exclude: [{existing}{names}]"]
