"""From a model file to its starter recipe: look, choose, write down."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from compressctl.choices import StarterGoal
from compressctl.container.opened import opened
from compressctl.data.random import DEFAULT_SIZES
from compressctl.errors import ModelError
from compressctl.inspection import inspect_loaded
from compressctl.model.load import load_model
from compressctl.model_folder import model_file
from compressctl.notes import Note, skipped, warning
from compressctl.passes.advice import ModelFacts, Option
from compressctl.probation import on_probation
from compressctl.report.tables import Table
from compressctl.starter import text
from compressctl.starter.advice import Advice, advise
from compressctl.starter.data import Calibration, DataFacts, data_facts, judged_facts
from compressctl.starter.model import model_facts
from compressctl.tensorspec import TensorSpec, parse_tensor_specs

_STAND_IN = "random:64"


@dataclass(frozen=True)
class GivenSamples:
    """The samples that were given, looked at; None where they were not."""

    calibrate: DataFacts | None
    train: DataFacts | None
    data: DataFacts | None


@dataclass(frozen=True)
class Starter:
    """A starter recipe and what it rests on.

    Attributes:
        model: the model.
        samples: the samples that were given.
        advice: the passes chosen.
        notes: what the user should know.
        text: the recipe.
    """

    model: ModelFacts
    samples: GivenSamples
    advice: Advice
    notes: tuple[Note, ...]
    text: str


@dataclass(frozen=True, kw_only=True)
class Given:
    """Keys of a recipe that were given; all may be left out.

    Attributes:
        input: `NAME:SHAPE[:DTYPE]` for TorchScript, or sizes of dynamic dimensions.
        calibrate, train, data, metric: samples, and what is measured on the last.
        allow_python: let `python:` data and metrics run code.
    """

    input: Sequence[str] = ()
    calibrate: str | None = None
    train: str | None = None
    data: str | None = None
    metric: str | None = None
    allow_python: bool = False


def starter(path: Path, given: Given, *, command: str, goal: StarterGoal = "fast") -> Starter:
    """Write a recipe for a model.

    Args:
        path: an ONNX, TorchScript or .ccz file.
        given: what the recipe is to say.
        command: what runs the recipe, for its head.
        goal: what to reach.

    Raises:
        ModelError, DataError, UsageError: a file cannot be used; the model has no weights.
    """
    path, sized = model_file(path), parse_tensor_specs(given.input)
    with ExitStack() as stack:
        with on_probation(path):
            loaded = load_model(stack.enter_context(opened(path)), sized)
            model = model_facts(path, loaded, inspect_loaded(loaded, sized))
        if not model.parameters:
            raise ModelError(f"{path} has no weights, so there is nothing to compress")
        unlabelled = [
            data_facts(n, loaded, sized, allow_python=given.allow_python) if n else None
            for n in (given.calibrate, given.train)
        ]
        judging = (
            judged_facts(given.data, loaded, sized, metric=given.metric, allow_python=given.allow_python)
            if given.data
            else None
        )
        samples = GivenSamples(unlabelled[0], unlabelled[1], judging)
    judged = samples.data is not None and bool(samples.data.metrics)
    advice = advise(model, goal, trains=samples.train is not None)
    calibration = _calibration(samples, advice, judged=judged)
    notes = [*advice.notes]
    if calibration is not None and calibration.origin == "stand-in":
        notes.append(warning(f"calibrate: {_STAND_IN} stands in for real samples; replace it, or give --calibrate"))
    if samples.data is not None and not judged:
        notes.append(skipped(f"{samples.data.notation} judges nothing: {_why_not(samples.data)}"))
    blocks = [
        text.head(model, advice, command, sized=bool(given.input)),
        _files(path, model, advice, given.input),
        text.samples(calibration, samples.train, samples.data),
        text.passes(advice.steps),
        text.budgets(advice, samples.data),
        text.extras(),
    ]
    return Starter(model, samples, advice, tuple(notes), "\n\n".join("\n".join(block) for block in blocks) + "\n")


def _calibration(samples: GivenSamples, advice: Advice, *, judged: bool) -> Calibration | None:
    """Return the samples to calibrate on: those given for it, else others that there are, where they are needed."""
    if samples.calibrate is not None:
        return Calibration(samples.calibrate.some, "given")
    if samples.train is not None:
        return Calibration(samples.train.some, "given")
    if samples.data is not None and (advice.result.calibrated or not judged):
        return Calibration(samples.data.some, "judges" if judged else "given")
    return Calibration(_STAND_IN, "stand-in") if advice.result.calibrated else None


def _why_not(data: DataFacts) -> str:
    if not data.judgeable:
        return "the numbers are random"
    return "no metric fits; see docs/data.md for python:module:function" if data.labels else "it has no labels"


def _files(path: Path, model: ModelFacts, advice: Advice, inputs: Sequence[str]) -> list[str]:
    lines = [text.key("model", str(path))]
    lines += text.comment(
        "With a name that ends in .ccz it is packed by entropy coding: smaller, unpacked when loaded."
    )
    lines.append(text.key("output", f"{path.stem}_{advice.result.suffix}.onnx"))
    if inputs:
        lines += [*text.comment("The sizes of inputs that the file leaves open."), text.key("input", list(inputs))]
    elif model.dynamic_inputs:
        specs = [_usual(spec) for spec in model.dynamic_inputs]
        lines += text.option(
            Option(
                (text.key("input", specs),),
                "other sizes of what is dynamic than these, which are assumed where no data are given",
            )
        )
    return lines


def _usual(spec: TensorSpec) -> str:
    usual = DEFAULT_SIZES["side" if len(spec.shape) == 4 else "sequence"]
    dims = [dim if isinstance(dim, int) else 1 if axis == spec.axis else usual for axis, dim in enumerate(spec.shape)]
    return f"{spec.name}:{'x'.join(map(str, dims))}:{spec.dtype}"


def found(one: Starter) -> Table:
    """Return what was found, in words, for the terminal."""
    data = one.samples.data
    judged = f"{data.count:,} samples, {data.metrics[0]}" if data is not None and data.metrics else "not judged"
    rows = (
        ("kind", one.model.kind),
        ("weights", f"{one.model.parameters:,} ({one.model.bytes:,} bytes)"),
        ("layers", f"{one.model.static} for static INT8, {one.model.dynamic} for dynamic INT8"),
        ("accuracy", judged),
        ("goal", one.advice.result.goal),
    )
    return Table(one.model.path, ("", "found"), rows)
