"""The work of the pass `quantize`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from glob import escape as glob_escape
from typing import Any

import onnx_ir as ir

from compressctl.errors import UsageError
from compressctl.measure.machine import int8_target
from compressctl.model.scores import gives_words
from compressctl.model.tensor_file import TensorFiles
from compressctl.notes import Note, done, skipped, warning
from compressctl.numerics.saturation import Saturation
from compressctl.passes.base import Context, Outcome
from compressctl.passes.measuring import budget_keeper, has_budget
from compressctl.passes.quantize import Config
from compressctl.passes.quantize.auto import (
    Decision,
    Trial,
    choose_in_bodies,
    hold_floor,
    keep_pace,
    slow_shapes,
    weight_bytes,
)
from compressctl.passes.static import observe_static, range_for_target
from compressctl.passes.training import require_torch
from compressctl.plain import pass_lines
from compressctl.quantization.int8.apply import apply_plan
from compressctl.quantization.int8.bodies import attach, detach
from compressctl.quantization.int8.calibration import Observations
from compressctl.quantization.int8.dynamic import candidates
from compressctl.quantization.int8.gptq import round_by_gptq
from compressctl.quantization.int8.plan import (
    QuantizationPlan,
    make_plan,
    named,
    only_weights,
    rule_of_thumb,
    weight_grids,
)
from compressctl.quantization.int8.quantizers import Settings
from compressctl.quantization.int8.saturation import saturation_notes, simulate
from compressctl.quantization.int8.sensitivity import Sensitivity, fewest_in_float, rank
from compressctl.quantization.int8.widening import narrow, widen
from compressctl.simplification.metadata import strip_metadata

_SENSITIVITY_SAMPLES = 64


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Quantize `model` in place.

    Raises:
        UsageError: the scheme needs calibration data and there is none, or a glob matches nothing.
        MissingExtraError: rounding adaround without torch.
    """
    calibration = context.calibration
    target, reduced = range_for_target(config)
    given = model.clone()
    widened = widen(model, config.selection.allows)
    plan, notes, measured = _plan(model, config, context, reduced)
    if not plan.layers and not plan.weights:
        return Outcome(given, (*notes, warning("nothing was quantized")), measured)
    grids = weight_grids(model, plan, config.scheme, config.first_last)
    settings = Settings(config.per_channel, config.bias_correction, reduced, grids)
    observations = None
    detached = detach(model, plan.static)
    if plan.static and calibration is not None:
        means, dynamic = config.bias_correction, config.scheme == "auto"
        plan, observations = observe_static(model, plan, config, calibration, context, means=means, dynamic=dynamic)
    if config.scheme == "auto" and detached:
        trial = Trial(model, partial(_build, model, observations, settings), reduced, context)
        timed = config.target in ("auto", int8_target())
        decided = choose_in_bodies(trial, plan, _dynamic_forms(model), timed=timed)
        plan, notes, measured = decided.plan, (*notes, *decided.notes), {**measured, **decided.facts}
        if not _in_bodies(model, plan):
            attach(model, detached)
            detached = []
    if config.rounding != "nearest" and observations is not None and plan.static:
        settings, learned = _learn_rounding(model, plan, observations, settings, config, context)
        notes = (*notes, *learned)
    elif config.rounding != "nearest":
        notes = (*notes, skipped(f"{config.rounding} rounds static weights, and there are none"))
    eight_bit = plan.without(grids)
    saturated = _saturated(model, eight_bit, observations, config, context) if target == "avx2" and not reduced else {}
    notes = (*notes, *(observations.notes if observations else ()), *saturation_notes(saturated))
    if target == "avx2" and not reduced and _in_bodies(model, eight_bit):
        notes = (*notes, skipped("whether sums saturate was not looked at in bodies; --reduced-range avoids it"))

    build = partial(_build, model, observations, settings)
    if config.scheme == "auto":
        decided = _measured(Trial(model, build, reduced, context), plan, config)
        plan, notes, measured = decided.plan, (*notes, *decided.notes), {**measured, **decided.facts}
        # Layers that were spared for fidelity may have other names before; then the prepared form stays.
        packable = only_weights(model, config.selection, embeddings=config.embeddings).weights
        if decided.slowdown > 1 and {*packable} <= {*plan.weights}:
            other = _before_preparing(build(plan), decided, config, context)
            if other is not None:
                warnings = (note for note in notes if note.kind == "warning")  # of the model, not of nodes of this form
                facts = {"target": target, "reduced_range": reduced, **other.facts}
                return replace(other, notes=(*warnings, *other.notes), facts=facts)
    kept, sensitivities, told = _keep_in_float(build, plan, config, context)
    plan = plan.without(kept)
    notes = (*notes, *told, *(skipped("kept in float: among the most sensitive layers", name) for name in kept))
    lines = _pinning_lines(model, plan, config, context) if kept or measured.keys() & {"timed", "moved"} else []
    settings = replace(settings, files=TensorFiles(context.workdir))
    notes += tuple(apply_plan(model, plan, observations, settings))
    attach(model, detached)
    narrow(model, widened)
    facts = {
        "target": target,
        "reduced_range": reduced,
        "quantized": {"static": len(plan.static), "dynamic": len(plan.dynamic), "weights": len(plan.weights)},
        "saturation": {name: {"share": one.share, "noise": one.noise} for name, one in saturated.items()},
        "layer_sensitivity": [
            {"layer": sensitivity.layer, "sqnr_db": sensitivity.sqnr_db} for sensitivity in sensitivities
        ],
        **measured,
    }
    if lines:
        facts["recipe_lines"] = lines
    return Outcome(model, notes, facts)


def _plan(
    model: ir.Model, config: Config, context: Context, reduced: bool
) -> tuple[QuantizationPlan, tuple[Note, ...], dict[str, Any]]:
    """Return the plan of the scheme, notes and facts; `auto` times the doubtful shapes where it can."""
    if config.scheme == "auto" and context.calibration is None and gives_words(model):
        plan, notes = _plan_by(model, config, context)
        text = (
            "a language model computes in float, on 8-bit weights: outliers among the inputs of some layers cost the "
            "others their steps; with --calibrate DATA the layers that can do without floats are found"
        )
        products = [node.name or "" for node in named(model.graph, plan.dynamic) if node.op_type != "Gather"]
        return plan.weights_alone(products), (*notes, done(text)), {}
    if config.scheme != "auto" or context.calibration is None:
        return *_plan_by(model, config, context), {}
    if config.target not in ("auto", int8_target()):
        plan, notes = _plan_by(model, config, context)
        text = f"nothing was timed: target {config.target} is not this machine; rules of thumb decide what is slow"
        return plan, (*notes, skipped(text)), {}
    everything, _ = _plan_by(model, config, context, slow=lambda node: None)
    reasons, facts = slow_shapes(Trial(model, lambda plan: model.clone(), reduced, context), everything)

    def slow(node: ir.Node) -> str | None:
        return reasons[node.name or ""] if node.name in reasons else rule_of_thumb(node)

    return *_plan_by(model, config, context, slow=slow), facts


def _build(model: ir.Model, observations: Observations | None, settings: Settings, part: QuantizationPlan) -> ir.Model:
    """Return a clone of the model, quantized by a plan."""
    clone = model.clone()
    apply_plan(clone, part, observations, settings)
    return clone


def _in_bodies(model: ir.Model, plan: QuantizationPlan) -> bool:
    """Return whether a layer in a body is static."""
    return any(node.graph is not model.graph for node in named(model.graph, plan.static))


def _dynamic_forms(model: ir.Model) -> list[str]:
    """Return the names of the layers that can be quantized dynamically."""
    return [node.name or "" for node, reason in candidates(model) if reason is None]


def _plan_by(
    model: ir.Model,
    config: Config,
    context: Context,
    *,
    scheme: str | None = None,
    slow: Callable[[ir.Node], str | None] = rule_of_thumb,
) -> tuple[QuantizationPlan, tuple[Note, ...]]:
    return make_plan(
        model,
        scheme or config.scheme,
        config.selection,
        calibrated=context.calibration is not None,
        embeddings=config.embeddings,
        dynamic=config.dynamic,
        slow=slow,
    )


def _before_preparing(prepared: ir.Model, decided: Decision, config: Config, context: Context) -> Outcome | None:
    """Return the form before the passes that prepare, on weights of 8 bits; None where it costs more than it gains.

    It takes the time of the input, of which the prepared model takes `slowdown`; its bytes may be that much more.
    """
    assert context.unprepared is not None
    model = context.unprepared.clone()
    notes = [] if strip_metadata(prepared.clone()) else strip_metadata(model)  # simplify drops it unless told otherwise
    widened = widen(model, config.selection.allows)
    plan = only_weights(model, config.selection, embeddings=config.embeddings)
    notes += apply_plan(model, plan, None, Settings())
    narrow(model, widened)
    if weight_bytes(model) > decided.slowdown * weight_bytes(prepared):
        return None
    text = f"computed in float, as before the passes that prepare (x {decided.slowdown:.2f} in latency): leave them out"
    facts = {**decided.facts, "quantized": {"static": 0, "dynamic": 0, "weights": len(plan.weights)}}
    return Outcome(model, (skipped(text), *notes), facts)


def _measured(trial: Trial, plan: QuantizationPlan, config: Config) -> Decision:
    """Return the plan that keeps the floor and is not slower than float, as far as there is one."""
    decision = Decision(plan)
    if trial.context.calibration is not None:
        decision = hold_floor(trial, plan, _dynamic_forms(trial.model))
    if config.target not in ("auto", int8_target()):
        return decision
    paced = keep_pace(trial, decision.plan)
    return replace(paced, notes=(*decision.notes, *paced.notes), facts={**decision.facts, **paced.facts})


def _learn_rounding(
    model: ir.Model,
    plan: QuantizationPlan,
    observations: Observations,
    settings: Settings,
    config: Config,
    context: Context,
) -> tuple[Settings, tuple[Note, ...]]:
    """Return the settings with the integers that GPTQ or AdaRound found, and notes; GPTQ moves biases of `model`."""
    assert context.calibration is not None
    if config.rounding == "gptq":
        return round_by_gptq(model, plan, observations, settings, context.calibration, context)
    require_torch("rounding adaround")
    from compressctl.training.adaround import adaround

    rounded, notes = adaround(
        model,
        plan,
        observations,
        settings,
        context.calibration,
        context,
        steps=config.adaround_steps,
    )
    return replace(settings, rounded=rounded), notes


def _saturated(
    model: ir.Model, plan: QuantizationPlan, observations: Observations | None, config: Config, context: Context
) -> dict[str, Saturation]:
    """Return which static layers of the main graph saturate where a processor adds products in pairs of 16 bits."""
    if observations is None or context.calibration is None or not plan.static:
        return {}
    return simulate(
        model,
        [node for node in named(model.graph, plan.static) if node.graph is model.graph],
        observations.ranges,
        context.calibration,
        context,
        per_channel=config.per_channel,
    )


def _keep_in_float(
    build: Callable[[QuantizationPlan], ir.Model], plan: QuantizationPlan, config: Config, context: Context
) -> tuple[list[str], list[Sensitivity], tuple[Note, ...]]:
    """Return the layers to leave in float, the ranking they come from (empty where none was needed), and notes."""
    source = context.evaluation or context.calibration
    if config.keep_float == 0 or (config.keep_float is None and not has_budget(context)):
        return [], [], ()

    def sensitivities() -> list[Sensitivity]:
        if source is None:
            raise UsageError(
                "keep_float needs samples to measure sensitivity on", "add --calibrate DATA or --data DATA"
            )
        return rank(build, plan, source, context, samples=_SENSITIVITY_SAMPLES)

    if config.keep_float:
        ranking = sensitivities()
        return [sensitivity.layer for sensitivity in ranking[: config.keep_float]], ranking, ()
    keeps = budget_keeper(context)

    def holds(kept: Sequence[str]) -> bool:
        return keeps(build(plan.without(kept)))

    if holds([]):
        return [], [], ()
    ranking = sensitivities()
    enough = fewest_in_float(ranking, holds)
    if enough is not None:
        return enough, ranking, ()
    text = f"no number of layers kept in float brings the drop below {context.max_accuracy_drop:g}"
    return [], ranking, (warning(text),)


def _pinning_lines(model: ir.Model, plan: QuantizationPlan, config: Config, context: Context) -> list[str]:
    """Return the recipe lines that repeat this choice without measuring it again, on any processor."""
    scheme = config.scheme
    if scheme == "auto":
        scheme = "int8" if context.calibration is not None else "int8-dynamic"
    possible, _ = _plan_by(model, config, context, scheme=scheme)
    chosen = set(plan.layers)
    left = [name for name in possible.layers if name not in chosen]
    dynamic = [name for name in plan.dynamic if name not in possible.dynamic]
    others = config.model_dump(mode="json", exclude_defaults=True, exclude={"scheme", "keep_float"})
    globs = {
        "exclude": [*config.exclude, *map(glob_escape, left)],
        "dynamic": [*config.dynamic, *map(glob_escape, dynamic)],
    }
    content = {"scheme": scheme, **others, **{key: names for key, names in globs.items() if names}}
    lines = pass_lines("quantize", content) if possible.layers != tuple(left) else []
    if plan.weights:
        alone = {"scheme": "int8-weights", "include": [*map(glob_escape, plan.weights)]}
        lines += pass_lines("quantize_weights", alone)
    return lines
