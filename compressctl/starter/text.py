"""A starter recipe as text: YAML whose comments say why each line stands there and what else to try.

A comment begins with `# `. A line that begins with `#` and no space is an alternative: it works once its # is gone.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import yaml

from compressctl.measure.metrics import metric_class
from compressctl.passes.advice import ModelFacts, Option, Step
from compressctl.plain import flow, plain
from compressctl.starter.advice import Advice
from compressctl.starter.data import Calibration, DataFacts

_WIDTH = 110
_END = "...\n"  # that YAML puts behind a plain value


def comment(text: str, indent: int = 0) -> list[str]:
    """Return a comment, wrapped."""
    lead = f"{' ' * indent}# "
    return textwrap.wrap(plain(text), _WIDTH, initial_indent=lead, subsequent_indent=lead, break_on_hyphens=False)


def key(name: str, value: Any) -> str:
    """Return `name: value` as YAML, with quotes where they are needed."""
    if isinstance(value, str) and not value.isprintable():
        return f"{name}: {flow(value)}"
    if isinstance(value, str):
        value = value.replace("${", "$${")  # no variable of the recipe
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return f"{name}: {text.removesuffix(_END).rstrip()}"


def option(one: Option, indent: int = 0) -> list[str]:
    """Return an alternative, each line behind a #, its reason above."""
    return [*comment(f"Try: {one.why}.", indent), *(f"{' ' * indent}#{line}" for line in one.lines)]


def head(model: ModelFacts, advice: Advice, command: str, *, sized: bool) -> list[str]:
    """Return what was found, and how to go on; `sized`: dynamic sizes were given."""
    sizes = " where dynamic sizes are 1" if model.dynamic_inputs and not sized else ""
    work = f", {model.macs:,} multiply-accumulates a sample{sizes}" if model.macs else ""
    shown = [
        f"A recipe to start from, for {model.path}: a {model.kind} with {model.parameters:,} weights "
        f"({model.bytes:,} bytes){work}.",
        f"Bytes are in {_listed(model.bytes_by_operator)}; work is in {_listed(model.macs_by_operator)}.",
        *(f"Note: {note.text}." for note in advice.notes),
        f"Goal: {advice.result.goal}.",
    ]
    lines = [line for text in shown for line in comment(text)]
    lines += comment("Lines that begin with # and no space are alternatives: take the # away to use one.")
    return [*lines, "#", *comment(f"  {command}".strip())]


def samples(calibration: Calibration | None, train: DataFacts | None, data: DataFacts | None) -> list[str]:
    """Return the keys of samples and of the metric."""
    lines = []
    if calibration is not None:
        why = "Unlabelled samples that show what activations look like; a few hundred of the training set are enough."
        if calibration.origin == "stand-in":
            why = "REPLACE THIS: random numbers show nothing of what activations look like, so accuracy may be lost. "
            why += "Give a few hundred real samples, without labels: train.npz[:256], images/train[:256]."
        elif calibration.origin == "judges":
            why += " These also judge the result below: better take others."
        lines += [*comment(why), key("calibrate", calibration.notation)]
    if train is not None:
        lines += [*comment(f"{train.count:,} samples to train on."), key("train", train.notation)]
    if data is not None and data.metrics:
        lines += [*comment(f"{data.count:,} held-out samples; input and result are judged on each of them.")]
        lines.append(key("data", data.notation))
        others = f" Also: {', '.join(data.metrics[1:])}." if data.metrics[1:] else ""
        lines += [*comment(f"What is measured on them.{others}"), key("metric", data.metrics[0])]
    else:
        lines += comment("Without labelled samples accuracy is not judged; outputs are compared with the input's.")
        lines += ["#data: test.npz", "#metric: top1"]
    return lines


def passes(steps: Sequence[Step | Option]) -> list[str]:
    """Return the passes, with what to try in them and in between."""
    lines = ["passes:"]
    for step in steps:
        if isinstance(step, Option):
            lines += option(step, 2)
            continue
        lines += comment(step.why, 2)
        (first, *others) = (key(name, value) for name, value in step.keys.items())
        lines += [f"  - {first}", *(f"    {other}" for other in others)]
        for one in step.options:
            lines += option(one, 4)
    return lines


def budgets(advice: Advice, data: DataFacts | None) -> list[str]:
    """Return the budgets: active where what to expect is known, else as alternatives."""
    lines = comment("Budgets. One that is missed gives exit code 4; the result is written all the same.")
    if data is not None and data.metrics:
        lines += _drop(data.metrics[0], data.count)
    bound = -(-int(advice.ratio * 115) // 5) * 5 / 100  # a sixth above what is expected, in steps of 0.05
    if bound < 0.95:
        lines += comment(f"Size of the file over the input's; expected {advice.ratio:.2f}. Tighten it after a run.")
        lines.append(key("size_ratio", bound))
    lines += option(Option(("latency_ratio: 0.8",), "a budget on time, on a machine that does nothing else"))
    lines += option(Option(("strict: true",), "budgets that are met only where the whole 95 % interval keeps to them"))
    lines += comment("A result that measures slower and not smaller is rolled back; keep: it is flagged.")
    return [*lines, "on_regression: rollback"]


def extras() -> list[str]:
    """Return what helps while one tries."""
    explain = "a table of each layer's bytes, time, error and sensitivity, with what spares the worst"
    return option(Option(("explain: true",), explain))


def _drop(metric: str, samples: int) -> list[str]:
    kind = metric_class(metric)
    usual = kind.usual_drop(metric.partition(":")[0], samples) if kind is not None else None
    if usual is None:
        why = "The metric may get worse by this much, in its own unit: choose it."
        return [*comment(why), "#max_accuracy_drop: 0.01"]
    drop, why = usual
    return [*comment(why), key("max_accuracy_drop", drop)]


def _listed(shares: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{op} ({share:.0%})" for op, share in shares[:3]) or "no operator"
