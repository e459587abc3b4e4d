"""Quantize to INT8 in the form that onnxruntime runs fast.

`int8`: static. Activations get u8 Q/DQ pairs with ranges observed on calibration samples, weights become s8 (per
channel, zero point 0) behind a DequantizeLinear: convolutions, Gemm and weight MatMul, and what joins them (residual
Add, Concat, pooling, reshapes), so that onnxruntime runs integer kernels from end to end.
`int8-dynamic`: no data needed. Weight MatMul and Gemm become DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul,
LSTM becomes DynamicQuantizeLSTM, embedding tables become int8 rows with a scale each.
`auto`: per node the fastest: static for convolutions and what hangs on them, dynamic for the other weight MatMuls, LSTM
and embeddings, and for the rest 8-bit weights under floats. Without calibration data nothing is static. Convolutions
whose better form depends on shape and processor are timed on this machine; where samples show an output below 15 dB, or
an agreement below 95 %, the layers that do the most harm become dynamic or compute in float; and where the result is
slower than the input, layers that lose compute in float.
`w4a8`, `w3a8`, `w2a8`, `ternary-a8`, `w1a8`: as `int8`, but weights take few integers: 4, 3 or 2 bits, {-1, 0, 1} or
{-1, 1}, times a scale per channel of least squared error. They are packed in the file, and onnxruntime unpacks them to
int8 when it loads it, so that the same integer kernels run. `rounding` chooses the integers on calibration samples,
without labels: `gptq` in seconds, from up to 1,024 samples; `adaround` learns (with torch) from up to 512, block by
block, which weights to round up and which down.

Sources: Jacob et al. 2018 (arXiv:1712.05877); ONNX operator specifications; GPTQ, Frantar et al. 2022
(arXiv:2210.17323); AdaRound, Nagel et al. 2020 (arXiv:2004.10568); blocks as in BRECQ, Li et al. 2021
(arXiv:2102.05426).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from glob import escape as glob_escape
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from compressctl.errors import UsageError
from compressctl.passes.base import Context, Outcome, Reads, WeightForm
from compressctl.passes.quantize_auto import Decision, Trial, hold_floor, keep_pace, slow_shapes
from compressctl.passes.static_options import StaticOptions, observe_static
from compressctl.plain import flow

if TYPE_CHECKING:
    import onnx_ir as ir

    from compressctl.measure.metric import Score
    from compressctl.notes import Note
    from compressctl.numerics.saturation import Saturation
    from compressctl.quantization.calibration import Observations
    from compressctl.quantization.plan import Plan, Selection
    from compressctl.quantization.quantizers import Settings
    from compressctl.quantization.sensitivity import Harm

_HARM_SAMPLES = 64
_EVALUATION_BATCH = 16
_ADAROUND_BATCH = 32

Scheme = Literal["auto", "int8", "int8-dynamic", "w4a8", "w3a8", "w2a8", "ternary-a8", "w1a8"]


class Config(StaticOptions):
    """Options of `quantize`."""

    reads: ClassVar[tuple[Reads, ...]] = ("calibration", "evaluation")
    edits_weights: ClassVar[bool] = True

    type: Literal["quantize"] = "quantize"
    scheme: Scheme = "auto"
    """int8 (static, needs calibration data), int8-dynamic (no data), auto: per node the faster of the two or floats on
    8-bit weights, or int8 with weights of fewer bits: w4a8, w3a8, w2a8, ternary-a8, w1a8."""
    bias_correction: bool = True
    """Correct biases for the mean error that rounding the weights brings (static only)."""
    rounding: Literal["nearest", "gptq", "adaround"] = "nearest"
    """How static weights are rounded: nearest; gptq: layer by layer, each weight making up for those before it; or
    adaround: learned (with torch) so as to keep the output of each block of layers."""
    adaround_steps: int = Field(default=400, ge=1)
    """Steps of adaround a block of the model, 32 calibration samples each."""
    keep_float: int | None = Field(default=None, ge=0)
    """Keep this many of the most harmful layers in float (ranked by measured harm). Default: as few as
    max_accuracy_drop needs; none where there is no such budget."""
    dynamic: tuple[str, ...] = ()
    """Quantize nodes whose name matches one of these globs as their input comes, not statically; only MatMul, Gemm and
    LSTM have such a form."""

    @property
    def form(self) -> WeightForm:
        """Integers; of auto, some may be dynamic."""
        return "dynamic" if self.scheme in ("auto", "int8-dynamic") or self.dynamic else "static"

    @property
    def limited(self) -> bool:
        """Whether layers stay in float because the options say so."""
        return super().limited or bool(self.keep_float) or not self.embeddings

    def selection(self) -> Selection:
        """Return which nodes may be quantized, and which dynamically."""
        from dataclasses import replace

        return replace(super().selection(), dynamic=self.dynamic)

    def inferences(self, calibration: int, training: int) -> int:
        """Observing the samples; adaround trains block after block, which together are the model."""
        learned = 3 * self.adaround_steps * _ADAROUND_BATCH if self.rounding == "adaround" else 0
        return calibration + (learned if calibration else 0)


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Quantize `model` in place.

    Raises:
        UsageError: the scheme needs calibration data and there is none, or a glob matches nothing.
        MissingExtraError: rounding adaround without torch.
    """
    from compressctl.notes import skipped, warning
    from compressctl.quantization.apply import apply
    from compressctl.quantization.plan import weight_grids
    from compressctl.quantization.quantizers import Settings
    from compressctl.quantization.saturation import saturation_notes

    calibration = context.calibration
    target, reduced = config.range_for_target()
    plan, notes, measured = _plan(model, config, context, reduced)
    if not plan.layers and not plan.weights:
        return Outcome(model, (*notes, warning("nothing was quantized")), measured)
    grids = weight_grids(model, plan, config.scheme, config.edges)
    settings = Settings(config.per_channel, config.bias_correction, reduced, grids)
    observations = None
    if plan.static and calibration is not None:
        means, dynamic = config.bias_correction, config.scheme == "auto"
        plan, observations = observe_static(model, plan, config, calibration, context, means=means, dynamic=dynamic)
    if config.rounding != "nearest" and observations is not None and plan.static:
        settings, learned = _learn_rounding(model, plan, observations, settings, config, context)
        notes = (*notes, *learned)
    elif config.rounding != "nearest":
        notes = (*notes, skipped(f"{config.rounding} rounds static weights, and there are none"))
    eight_bit = plan.without(grids)
    saturated = _saturated(model, eight_bit, observations, config, context) if target == "avx2" and not reduced else {}
    notes = (*notes, *(observations.notes if observations else ()), *saturation_notes(saturated))

    def build(part: Plan) -> ir.Model:
        clone = model.clone()
        apply(clone, part, observations, settings)
        return clone

    if config.scheme == "auto":
        decided = _measured(Trial(model, build, reduced, context), plan, config)
        plan, notes, measured = decided.plan, (*notes, *decided.notes), {**measured, **decided.facts}
    kept, harms, told = _keep_in_float(build, plan, config, context)
    plan = plan.without(kept)
    notes = (*notes, *told, *(skipped("kept in float: among the layers that do the most harm", name) for name in kept))
    lines = _pinning_lines(model, plan, config, context) if kept or measured.keys() & {"timed", "moved"} else []
    notes += tuple(apply(model, plan, observations, settings))
    facts: dict[str, Any] = {
        "target": target,
        "reduced_range": reduced,
        "quantized": {"static": len(plan.static), "dynamic": len(plan.dynamic), "weights": len(plan.weights)},
        "saturation": {name: {"share": one.share, "noise": one.noise} for name, one in saturated.items()},
        "harm": [{"layer": harm.layer, "sqnr_db": harm.sqnr_db} for harm in harms],
        **measured,
    }
    if lines:
        facts["recipe_lines"] = lines
    return Outcome(model, notes, facts)


def _plan(
    model: ir.Model, config: Config, context: Context, reduced: bool
) -> tuple[Plan, tuple[Note, ...], dict[str, Any]]:
    """Return the plan of the scheme, notes and facts; `auto` times the doubtful shapes where it can."""
    from compressctl.measure.machine import int8_target
    from compressctl.notes import skipped
    from compressctl.quantization.plan import make_plan, rule_of_thumb

    options: dict[str, Any] = {"calibrated": context.calibration is not None, "embeddings": config.embeddings}
    if config.scheme != "auto" or context.calibration is None:
        return *make_plan(model, config.scheme, config.selection(), **options), {}
    if config.target not in ("auto", int8_target()):
        plan, notes = make_plan(model, config.scheme, config.selection(), **options)
        text = f"nothing was timed: target {config.target} is not this machine; rules of thumb decide what is slow"
        return plan, (*notes, skipped(text)), {}
    everything, _ = make_plan(model, config.scheme, config.selection(), **options, slow=lambda node: None)
    reasons, facts = slow_shapes(Trial(model, lambda plan: model.clone(), reduced, context), everything)

    def slow(node: ir.Node) -> str | None:
        return reasons[node.name or ""] if node.name in reasons else rule_of_thumb(node)

    return *make_plan(model, config.scheme, config.selection(), **options, slow=slow), facts


def _measured(trial: Trial, plan: Plan, config: Config) -> Decision:
    """Return the plan that keeps the floor and is not slower than float, as far as there is one."""
    from compressctl.measure.machine import int8_target
    from compressctl.quantization.dynamic import candidates

    decision = Decision(plan)
    if trial.context.calibration is not None:
        dynamic = [node.name or "" for node, reason in candidates(trial.model) if reason is None]
        decision = hold_floor(trial, plan, dynamic)
    if config.target not in ("auto", int8_target()):
        return decision
    paced = keep_pace(trial, decision.plan)
    return Decision(paced.plan, (*decision.notes, *paced.notes), {**decision.facts, **paced.facts})


def _learn_rounding(
    model: ir.Model, plan: Plan, observations: Observations, settings: Settings, config: Config, context: Context
) -> tuple[Settings, tuple[Note, ...]]:
    """Return the settings with the integers that GPTQ or AdaRound found, and notes; GPTQ moves biases of `model`."""
    assert context.calibration is not None
    if config.rounding == "gptq":
        from compressctl.quantization.static_gptq import round_by_gptq

        where: dict[str, Any] = {
            "threads": context.threads,
            "workdir": context.workdir,
            "progress": context.progress,
        }
        return round_by_gptq(model, plan, observations, settings, context.calibration, **where)
    from dataclasses import replace

    from compressctl.passes.training import require_torch

    require_torch("rounding adaround")
    from compressctl.training.adaround import adaround

    rounded, notes = adaround(
        model,
        plan,
        observations,
        settings,
        context.calibration,
        steps=config.adaround_steps,
        seed=context.seed,
        threads=context.threads,
        device=context.device,
        workdir=context.workdir,
        progress=context.progress,
    )
    return replace(settings, rounded=rounded), notes


def _saturated(
    model: ir.Model, plan: Plan, observations: Observations | None, config: Config, context: Context
) -> dict[str, Saturation]:
    """Return what saturates, of the static layers, on a processor that adds products in pairs of 16 bits."""
    from compressctl.quantization.plan import named
    from compressctl.quantization.saturation import simulate

    if observations is None or context.calibration is None or not plan.static:
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
    if config.keep_float == 0 or (config.keep_float is None and None in (budget, evaluation, metric)):
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


def _pinning_lines(model: ir.Model, plan: Plan, config: Config, context: Context) -> list[str]:
    """Return the recipe lines that repeat this choice without measuring it again, on any processor."""
    from compressctl.quantization.plan import make_plan

    scheme = config.scheme
    if scheme == "auto":
        scheme = "int8" if context.calibration is not None else "int8-dynamic"
    options: dict[str, Any] = {"calibrated": context.calibration is not None, "embeddings": config.embeddings}
    possible, _ = make_plan(model, scheme, config.selection(), **options)
    chosen = set(plan.layers)
    left = [name for name in possible.layers if name not in chosen]
    dynamic = [name for name in plan.dynamic if name not in possible.dynamic]
    others = config.model_dump(mode="json", exclude_defaults=True, exclude={"scheme", "keep_float"})
    globs = {
        "exclude": [*config.exclude, *map(glob_escape, left)],
        "dynamic": [*config.dynamic, *map(glob_escape, dynamic)],
    }
    content = {"scheme": scheme, **others, **{key: names for key, names in globs.items() if names}}
    passes: list[dict[str, Any]] = [{"type": "quantize", **content}] if possible.layers != tuple(left) else []
    if plan.weights:
        alone = {"scheme": "int8-weights", "include": [*map(glob_escape, plan.weights)]}
        passes.append({"type": "quantize_weights", **alone})
    return [
        f"{'  ' if number else '- '}{key}: {flow(value)}"
        for one in passes
        for number, (key, value) in enumerate(one.items())
    ]
