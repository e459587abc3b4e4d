"""A report that has all there can be in one, with names that try to break out of every format."""

import math

from compressctl.explanation.schema import (
    Cost,
    Explanation,
    LayerRow,
    LayerSqnr,
    OutputsSqnr,
    RecipePatch,
    Sensitivity,
    WorstLayer,
)
from compressctl.measure.accuracy import Comparison
from compressctl.measure.fidelity import OutputFidelity
from compressctl.measure.interval import Interval
from compressctl.measure.latency import Latency
from compressctl.measure.machine import Machine
from compressctl.measure.measurement import Measurement
from compressctl.measure.profile import NodeTime, OpTime, Profile
from compressctl.notes import Note
from compressctl.report.schema import BudgetVerdict, FrontPoint, PassReport, Report
from compressctl.robustness.schema import Condition, Robustness

NASTY = "<script>alert('x')</script>|&amp;\"]]>"
LAYERS = (NASTY, *(f"/block{index}/a_rather_long_name_of_a_layer/Conv" for index in range(1, 24)))


def measurement(path="in.onnx", size=1_000_000, ratio=None, score=0.95, drop=None, profile=None):
    """A file of `size` bytes, compared with one of a million bytes where `ratio` is given."""
    return Measurement(
        path=path,
        bytes=size,
        parameters=size // 4,
        nonzeros=size // 4,
        macs=40_000_000,
        latency=Latency(1.5 * (ratio or 1.0), 2.0, 1000, 5.0),
        latency_ratio=None if ratio is None else Interval(ratio, ratio * 0.95, ratio * 1.05),
        size_ratio=None if ratio is None else size / 1_000_000,
        peak_memory=12_000_000,
        score=Interval(score, score - 0.02, score + 0.015),
        samples=1000,
        drop=None if drop is None else Comparison(drop, drop - 0.006, drop + 0.006, 0.04),
        fidelity=() if ratio is None else (OutputFidelity("logits", 0.99, 256, math.inf, 1.0, 1.0, 0.0),),
        executed_ops={"QLinearConv": 9, "Reshape": 1},
        profile=profile,
    )


def profile(scale):
    """A profile of two operators."""
    by_op = (OpTime("Conv", 1.2 * scale, 0.8, 9), OpTime(NASTY, 0.3 * scale, 0.2, 2))
    return Profile(1.5 * scale, by_op, (NodeTime(NASTY, "Conv", 0.7 * scale, 0.47),))


def full_report() -> Report:
    """Everything: cached and dropped passes, missed budgets, layers, robustness, a front, sensitivity."""
    last = measurement("out.onnx", 200_000, 0.62, 0.94, 0.01, profile(0.6))
    return Report(
        verdict="budget missed",
        input=measurement(profile=profile(1)),
        output=last,
        passes=_passes(last),
        budgets=(
            BudgetVerdict("max_accuracy_drop", 0.012, 0.01, True, 0.004, 0.016, f"drop: not sure {NASTY}"),
            BudgetVerdict("min_accuracy", 0.9, 0.94, True, 0.92, 0.955, "min_accuracy: met"),
            BudgetVerdict("max_size", 199_990, 200_000, False, 200_000, 200_000, "max_size: missed by ten bytes"),
            BudgetVerdict("latency_ratio", 0.7, 0.62, True, 0.589, 0.651, "latency_ratio: met"),
        ),
        notes=(Note("warning", f"the metric is worse {NASTY}"), Note("done", "functions inlined: 2", NASTY)),
        recipe={"model": "in.onnx", "output": NASTY, "passes": [{"type": "prune", "exclude": [NASTY]}], "seed": None},
        input_sha256="ab" * 32,
        output_sha256="cd" * 32,
        metric="top1",
        machine=Machine("Linux x86_64", "A processor", 2, 4, 2, ("avx2", "avx512_vnni"), 8 * 10**9, "1.31.1"),
        versions={"compressctl": "0.1.0", "numpy": "2.4.6"},
        seconds=12.3,
        front=_front(),
        explanation=_explanation(),
        robustness=_robustness(),
    )


def _passes(last):
    rows = [
        {"layer": name, "noise": [1e-3, 1e-1, 1.0], "score": [0.95, 0.94 - 0.02 * index, 0.5]}
        for index, name in enumerate(LAYERS)
    ]
    table = {"samples": 64, "metric": "top1", "unpruned": 0.95, "ratios": [0.3, 0.6, 0.9], "layers": rows}
    facts = {"sensitivity": table, "recipe_lines": ["exclude:", f"  - {NASTY}"]}
    prune = measurement("p", 600_000, 0.9, 0.93, 0.02)
    slower = measurement("s", 210_000, 1.3, 0.94, 0.01)
    return (
        PassReport("simplify", {"type": "simplify"}, 0.1, ()),
        PassReport("prune", {"type": "prune"}, 3.0, (Note("skipped", "why", NASTY),), facts, None, True, prune),
        PassReport("quantize", {"type": "quantize", "exclude": [NASTY]}, 1.0, (), {}, None, False, last),
        PassReport("quantize", {"type": "quantize"}, 1.0, (), {}, f"slower {NASTY}", False, slower),
    )


def _explanation():
    rows = []
    for index, name in enumerate(LAYERS):
        sqnr = tuple(LayerSqnr(end, 40.0 - index, "v") for end in ("prune", "2 quantize"))
        sensitivity = Sensitivity(
            math.inf if index == 3 else 25.0 + index, Comparison(0.001 * index, 0.0, 0.002 * index, 0.5)
        )
        before, after = Cost(40_000, 1_000_000, 0.04), Cost(10_000, 1_000_000, None)
        rows.append(LayerRow(name, "Conv", before, after, sqnr, None if index == 2 else sensitivity))
    return Explanation(
        layers=tuple(rows),
        other_before=Cost(100, 0, 0.1),
        other_after=Cost(100, 0, 0.1),
        outputs=(OutputsSqnr("prune", 30.0), OutputsSqnr("2 quantize", None)),
        worst=(WorstLayer(NASTY, "prune", "its weights cost most"),),
        patches=(RecipePatch("prune", ("- type: prune", f"  exclude: ['{NASTY}']"), "spares the worst layer"),),
        samples=64,
        sensitivity_samples=64,
        metric="top1",
        notes=(Note("skipped", "a layer could not be looked into", NASTY),),
    )


def _robustness():
    conditions = []
    for name, low in (("clean", 0.94), ("noise", 0.81), ("blur", 0.7), ("fgsm", 0.33)):
        pair = Interval(low, low - 0.03, low + 0.03), Interval(low - 0.02, low - 0.05, low + 0.01)
        text = f"{name} of some strength {NASTY}"
        conditions.append(Condition(name, 0.1, text, *pair, Comparison(0.02, -0.01, 0.05, 0.2)))
    return Robustness("top1", 500, tuple(conditions), (Note("skipped", "no brightness", NASTY),))


def _front():
    places = ((0.07, 0.9, 0.03), (0.1, 0.7, 0.012), (0.25, 0.5, 0.008), (0.3, 0.45, 0.001))
    return tuple(
        FrontPoint(
            label=f"prune {number} > quantize {NASTY}",
            recipe={"passes": []},
            recipe_path=f"out.front/{number}.yaml",
            bytes=round(1_000_000 * size),
            size_ratio=size,
            latency_ratio=Interval(latency, latency * 0.95, latency * 1.05),
            drop=Interval(drop, drop - 0.005, drop + 0.005),
            feasible=number > 0,
            chosen=number == 1,
        )
        for number, (size, latency, drop) in enumerate(places)
    )
