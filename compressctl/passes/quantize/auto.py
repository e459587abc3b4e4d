"""What scheme `auto` of `quantize` finds out by measuring: slow shapes, the fidelity floor, and its own pace.

Three questions, each answered on this machine and these samples, each with a note and with facts for the report:
which doubtful convolutions run slower on integers; which layers must be moved to dynamic quantization, or compute in
float, for the outputs to stay close; and, where the whole result is slower than the model in float, which layers are to
blame. Layers that compute in float keep weights of 8 bits where they can, so that speed costs no bytes. Where floats
were faster before the model was prepared for quantization, they go back to that form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from compressctl.data.source import Feeds
from compressctl.errors import CompressctlError
from compressctl.measure.clocks import FINE
from compressctl.measure.fidelity import OutputFidelity
from compressctl.measure.floor import TARGET
from compressctl.model.tensors import stored_tensors
from compressctl.notes import Note, done, skipped, warning
from compressctl.passes.base import Context
from compressctl.passes.measuring import timed_feeds
from compressctl.quantization.int8.floor import Judge, hold
from compressctl.quantization.int8.plan import QuantizationPlan, named
from compressctl.quantization.int8.timing import MARGIN, Timing, doubtful, time_layers, time_models

_TRIES = 8  # a session and a third of a second each, where the result is slower than the input
_FASTER = 1 - MARGIN  # of float: a mixture that is no faster gains nothing, as floats have weights of 8 bits, too
_LARGEST = 2**27  # bytes of weights: above, both forms would crowd memory, and reading weights is what takes the time


@dataclass(frozen=True)
class Decision:
    """A plan, and why it is this one.

    Attributes:
        plan: of the model that is tried.
        notes: why.
        facts: the same for the report.
        slowdown: of the model in float over its form before it was prepared, where the plan computes in float
            throughout, and no other is faster than that form; else 1.
    """

    plan: QuantizationPlan
    notes: tuple[Note, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    slowdown: float = 1.0


@dataclass(frozen=True)
class Trial:
    """What is tried.

    Attributes:
        model: in float; left as it is.
        build: quantizes a clone of it by a plan.
        reduced_range: whether weights keep to 7 bits.
        context: samples, threads, work folder, progress.
    """

    model: ir.Model
    build: Callable[[QuantizationPlan], ir.Model]
    reduced_range: bool
    context: Context

    def layers(self, plan: QuantizationPlan, names: Sequence[str]) -> dict[str, Timing]:
        """Time layers of a plan; see `time_layers`."""
        return time_layers(
            self.model,
            plan,
            names,
            self._one_inference(),
            self.context,
            reduced_range=self.reduced_range,
        )

    def ratio(self, plan: QuantizationPlan) -> float:
        """Return the latency of the model under a plan over that in float."""
        return time_models(self.model, self.build(plan), self._one_inference(), self.context.workdir).ratio

    def slowdown(self) -> float:
        """Return the latency of the model in float over that before it was prepared; 1 where that is no loss."""
        given = self.context.unprepared
        if given is None:
            return 1.0
        ratio = time_models(given, self.model, self._one_inference(), self.context.workdir).ratio
        return ratio if ratio > 1 + FINE else 1.0

    def _one_inference(self) -> Feeds:
        """Feeds of one inference, of the samples to calibrate on where there are any."""
        return timed_feeds(self.model, self.context, first=self.context.calibration)


def slow_shapes(trial: Trial, plan: QuantizationPlan) -> tuple[dict[str, str | None], dict[str, Any]]:
    """Time the doubtful convolutions of a plan, which has every layer that could run on integers.

    A layer that stays in float leaves its neighbours with other surroundings, so they are looked at again.

    Returns:
        by name, the reason to leave a layer in float, or None; layers that are missing were not timed. And facts.
    """
    timings: dict[str, Timing] = {}
    while names := doubtful(trial.model, plan):
        timed = trial.layers(plan, names)
        timings |= timed
        slow = [name for name, timing in timed.items() if timing.slower]
        if not slow:
            break
        plan = plan.without(slow)
    kept = set(plan.layers)
    reasons = {name: None if name in kept else _slow(timing) for name, timing in timings.items()}
    return reasons, {"timed": _table(timings)} if timings else {}


def choose_in_bodies(trial: Trial, plan: QuantizationPlan, dynamic: Sequence[str], *, timed: bool) -> Decision:
    """Quantize layers in bodies statically where that makes the model faster than doing without their ranges.

    Args:
        trial: what is tried.
        plan: what to quantize.
        dynamic: the layers that have a dynamic form, which is the other choice; that of the rest is 8-bit weights.
        timed: whether this machine says what is faster.
    """
    graph = trial.model.graph
    inside = [node.name or "" for node in named(graph, plan.static) if node.graph is not graph]
    if not inside:
        return Decision(plan)
    moved = [name for name in inside if name in dynamic]
    other = plan.dynamically(moved).weights_alone([name for name in inside if name not in moved])
    if not timed or weight_bytes(trial.model) > _LARGEST:
        return Decision(other)
    try:
        static, without = trial.ratio(plan), trial.ratio(other)
    except CompressctlError as error:
        return Decision(other, (skipped(f"layers in bodies were not timed: {error.message}"),))
    facts = {"bodies": {"layers": len(inside), "static": static, "otherwise": without}}
    if static <= _FASTER * without:
        return Decision(plan, (), facts)
    text = (
        f"{len(inside)} layers in bodies take no static form: latency x {static:.2f} of float, without x {without:.2f}"
    )
    return Decision(other, (skipped(text),), facts)


def hold_floor(trial: Trial, plan: QuantizationPlan, dynamic: Sequence[str]) -> Decision:
    """Move layers until every output is as close as `auto` promises; the context has calibration samples.

    Args:
        trial: what is tried.
        plan: what to quantize.
        dynamic: the layers that have a dynamic form.
    """
    context = trial.context
    assert context.calibration is not None
    try:
        held = hold(Judge(trial.build, context.calibration, TARGET, context), plan, dynamic)
    except CompressctlError as error:
        return Decision(plan, (skipped(f"fidelity was not measured: {error.message}"),))
    facts: dict[str, Any] = {"before": _closeness(held.before), "holds": held.holds}
    floor = f"an SQNR of {TARGET.sqnr_db:g} dB and an agreement of {100 * TARGET.agreement:g} %"
    if any(output.kl is not None for output in held.before):
        floor = f"a divergence of next tokens of {TARGET.divergence:.2g} nats"
    if held.plan == plan:
        text = f"no choice of layers brings every output to {floor}"
        return Decision(plan, () if held.holds else (warning(text),), {"floor": facts})
    latency = [trial.ratio(one) for one in (plan, held.plan)]
    facts |= {
        "after": _closeness(held.after),
        "dynamic": list(held.dynamic),
        "weights": list(held.weights),
        "float": list(held.float),
        "latency_ratio": {"before": latency[0], "after": latency[1]},
        "layer_sensitivity": [
            {"layer": sensitivity.layer, "sqnr_db": sensitivity.sqnr_db} for sensitivity in held.ranking
        ],
    }
    change = f"SQNR {_lowest(held.before):.1f} -> {_lowest(held.after):.1f} dB"
    paid = f"latency x {latency[0]:.2f} -> x {latency[1]:.2f} of float"
    moved = [
        ("quantized as it comes", held.dynamic),
        ("8-bit weights, computed in float", held.weights),
        ("kept in float", held.float),
    ]
    notes = [
        done(f"to hold {floor}, the most sensitive layers were moved: {change}, {paid}"),
        *(skipped(f"{how}: among the most sensitive layers", name) for how, names in moved for name in names),
    ]
    return Decision(held.plan, tuple(notes), {"floor": facts, "moved": [*held.dynamic, *held.weights, *held.float]})


def keep_pace(trial: Trial, plan: QuantizationPlan) -> Decision:
    """Where the result is slower than the model in float, let the layers compute in float that are to blame.

    Up to eight other plans are tried: without the layers that lose when each is timed in its surroundings, then
    without more and more of the shapes that gain the least. Where none is faster than float by more than what
    measuring is off, all layers compute in float, which takes the time of the input, unless the passes that prepared
    the model made it slower: then the decision says by how much.
    """
    if not (plan.layers or plan.weights) or weight_bytes(trial.model) > _LARGEST:
        return Decision(plan)
    try:
        slowdown = trial.slowdown()
        tried = [(slowdown * (trial.ratio(plan) if plan.layers else 1), plan)]
        for other in _others(trial, plan) if plan.layers and tried[0][0] > 1 else ():
            tried.append((slowdown * trial.ratio(other), other))
            if tried[-1][0] <= _FASTER:
                break
    except CompressctlError as error:
        return Decision(plan, (skipped(f"the result was not timed: {error.message}"),))
    first, last = tried[0][0], tried[-1][0]
    after = last if first <= 1 or last <= _FASTER else 1.0
    facts = {"pace": {"before": first, "after": after, "tries": len(tried) - 1}}
    if not plan.layers:
        return Decision(plan, (), facts, slowdown)
    if first <= 1:
        return Decision(plan, (), facts)
    faster = last <= _FASTER
    if faster:
        best = tried[-1][1]
        text = f"computed in float where the model would be slower on integers: latency x {first:.2f} -> x {last:.2f}"
    else:
        best = plan.weights_alone(plan.layers)
        mixtures = f", and none of {len(tried) - 1} mixtures was faster than floats" if len(tried) > 1 else ""
        text = f"all layers compute in float: on integers the model takes x {first:.2f} the time{mixtures}"
    left = [name for name in plan.layers if name not in best.layers]
    notes = (skipped(text), *(done("8-bit weights, computed in float: faster", name) for name in left))
    return Decision(best, notes, {**facts, "moved": left}, 1.0 if faster else slowdown)


def _others(trial: Trial, plan: QuantizationPlan) -> Iterator[QuantizationPlan]:
    """Plans with fewer layers on integers, but not without any.

    Layers that take the same time are of one shape. They go shape by shape, those first that lose the most together.
    """
    timings = trial.layers(plan, plan.layers)
    shapes: dict[Timing, list[str]] = {}
    for name, timing in timings.items():
        shapes.setdefault(timing, []).append(name)
    loss = {timing: len(names) * (timing.integer_s - timing.float_s) for timing, names in shapes.items()}
    ordered = sorted(shapes, key=lambda timing: -loss[timing])
    others = [
        plan.weights_alone([name for timing in ordered[:count] for name in shapes[timing]])
        for count in range(1, len(ordered) + 1)
    ]
    slow = sum(timing.slower for timing in ordered)  # of shapes: these go at once, where that leaves any
    start = slow - 1 if slow and others[slow - 1].layers else 0
    left = [other for other in others[start:] if other.layers]
    yield from left[:: -(-len(left) // _TRIES) or 1]


def _slow(timing: Timing) -> str:
    times = f"{1e3 * timing.integer_s:.3f} ms on integers against {1e3 * timing.float_s:.3f} ms in float"
    return f"timed on this machine with its neighbours, {times}; scheme int8 forces integers"


def _table(timings: Mapping[str, Timing]) -> list[dict[str, Any]]:
    return [
        {"layer": name, "float_ms": 1e3 * timing.float_s, "integer_ms": 1e3 * timing.integer_s}
        for name, timing in timings.items()
    ]


def _closeness(outputs: Iterable[OutputFidelity]) -> list[dict[str, Any]]:
    return [
        {"output": one.name, "sqnr_db": one.sqnr_db, "agreement": one.agreement}
        | ({} if one.kl is None else {"kl": one.kl.value})
        for one in outputs
    ]


def _lowest(outputs: Sequence[OutputFidelity]) -> float:
    return min((output.sqnr_db for output in outputs), default=float("inf"))


def weight_bytes(model: ir.Model) -> int:
    """Return the bytes of all tensors that a model holds."""
    return sum(tensor.nbytes for _, tensor in stored_tensors(model.graph))
