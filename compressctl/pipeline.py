"""The flat story of a run: load, each pass, save, verify, measure, judge, report."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from compressctl.container.opened import as_stored, opened, read_provenance
from compressctl.container.pack import pack
from compressctl.container.signature import PACKED, is_packed
from compressctl.data.notation import open_source
from compressctl.data.source import Source
from compressctl.data.subset import every
from compressctl.errors import UsageError
from compressctl.measure import machine
from compressctl.measure.isolated import check_file
from compressctl.measure.measurement import Measurement, Workload, measure_files
from compressctl.measure.metrics import parse_metric
from compressctl.measure.session import Session
from compressctl.measure.trial import RandomFit, fit_random
from compressctl.model.load import Loaded, interface, load_model
from compressctl.model.provenance import Provenance, stamp
from compressctl.model.read import sha256
from compressctl.model.save import check_writable, save_model
from compressctl.model.staging import copy_into_place
from compressctl.model.torchscript import verify_checks
from compressctl.model.verify import verify_graph
from compressctl.notes import Note, done, warning
from compressctl.passes import name_of, pass_of
from compressctl.passes.base import Context, Outcome, PassConfig
from compressctl.progress import Progress, Silent
from compressctl.quantization.fusion import unfused
from compressctl.recipe import Recipe
from compressctl.report.schema import BudgetVerdict, PassReport, Report
from compressctl.report.write import check_report, write_report
from compressctl.tensorspec import parse_tensor_specs, with_sizes
from compressctl.training.options import TrainingOptions
from compressctl.training.slots import Checkpoints
from compressctl.versions import versions
from compressctl.world import world

_FIDELITY_SAMPLES = 16
_MEASURED = 5  # where one source is given to train and to measure on, every fifth sample is measured
_MATERIAL = 0.01  # smaller changes of latency or size decide nothing
_FEWER = 0.05  # a share of multiply-accumulates that latency is expected to follow
_PROVENANCE, _SHAPE = 4096, 160  # bytes that the recipe and its origin take in a file, and the shape of a value


@dataclass(frozen=True)
class Stage:
    """The model after a pass, and what the pass had to say."""

    config: PassConfig
    outcome: Outcome
    seconds: float


def run(recipe: Recipe, progress: Progress | None = None) -> Report | None:
    """Run a recipe; write the output and its reports; return the report.

    Of several processes that train together (`torchrun`) the first one writes, measures and gets the report; the others
    return None as soon as the passes are done.

    Raises:
        CompressctlError: of the kind that names what is wrong; nothing is written then.
    """
    _check_budgets(recipe)
    with opened(recipe.model) as file:
        return _run(recipe, file, progress or Silent())


def _run(recipe: Recipe, file: Path, progress: Progress) -> Report | None:
    started = time.perf_counter()
    metric = parse_metric(recipe.metric, allow_python=recipe.allow_python) if recipe.metric else None
    progress.step(f"load {recipe.model}")
    loaded = load_model(file, parse_tensor_specs(recipe.input))
    if loaded.checks:
        verify_checks(loaded.checks, Session(loaded.model, threads=recipe.threads).run, loaded.path)
    provenance = Provenance(loaded.sha256, recipe.canonical(), versions(), tuple(c.type for c in recipe.passes))
    check_writable(
        recipe.output,
        force=recipe.force,
        provenance=provenance,
        source=recipe.model,
        suffixes=(".onnx", PACKED),
        read=read_provenance,
    )
    report_path = recipe.report or recipe.output.with_suffix(".report.json")
    check_report(report_path)
    sources = _open_sources(recipe, loaded.model)
    checkpoints = _checkpoints(recipe, provenance) if _trains(recipe) else None
    with tempfile.TemporaryDirectory(prefix="compressctl-") as folder:
        workdir = Path(folder)
        calibration, training, evaluation = sources
        notes = [*loaded.notes, *(note for source in sources if source is not None for note in source.notes)]
        if evaluation is not None and not evaluation.judgeable:
            if recipe.max_accuracy_drop is not None:
                raise UsageError("--max-accuracy-drop cannot be judged on random data", "give real samples as --data")
            evaluation, metric = None, None
        context = Context(
            baseline=loaded.model.clone(),
            workdir=workdir,
            calibration=calibration,
            evaluation=evaluation if metric else None,
            metric=metric,
            max_accuracy_drop=recipe.max_accuracy_drop,
            training=training,
            device=recipe.device,
            seed=recipe.seed,
            threads=recipe.threads,
            progress=progress,
        )
        stages = _run_passes(recipe, loaded.model, context, checkpoints)
        if not world().leads:
            return None
        source = evaluation or calibration or _open(f"random:{_FIDELITY_SAMPLES}", loaded.model, recipe)
        assert source is not None
        workload = Workload(
            batch_size=recipe.batch_size,
            threads=recipe.threads,
            seed=recipe.seed,
            feeds=source.first(recipe.batch_size),
            evaluation=context.evaluation,
            metric=metric,
            fidelity=source,
        )
        baseline_file = _baseline_file(loaded, workdir)
        kept, before, after, reasons = _measure(recipe, loaded, stages, provenance, baseline_file, workload, context)
        final = kept[-1].outcome.model if kept else loaded.model
        notes += unfused(final, after.executed_ops)
        regressions = _regressions(after, _PROVENANCE + _SHAPE * len(final.graph))
        notes += regressions
        notes += _promised(before, after)
        if recipe.output.suffix == PACKED:
            copy_into_place(_candidate(recipe, workdir).with_suffix(PACKED), recipe.output)
            written = [recipe.output]
        else:
            written = save_model(final, recipe.output, overwrite=True)
        if checkpoints is not None:
            checkpoints.remove()
    verdicts = (*_judge(recipe, after), *_judge_targets(stages, reasons))
    report = Report(
        verdict=_verdict(verdicts, regressions),
        input=replace(before, path=str(recipe.model)),
        output=replace(after, path=str(recipe.output)),
        passes=tuple(_pass_report(stage, reasons.get(index)) for index, stage in enumerate(stages)),
        budgets=verdicts,
        notes=tuple(notes),
        recipe=recipe.model_dump(mode="json"),
        input_sha256=loaded.sha256,
        output_sha256=sha256(written),
        metric=recipe.metric if metric else None,
        machine=machine.describe(),
        versions=versions(),
        seconds=time.perf_counter() - started,
    )
    write_report(report, report_path)
    return report


def _check_budgets(recipe: Recipe) -> None:
    if recipe.max_accuracy_drop is not None and not (recipe.data and recipe.metric):
        raise UsageError("--max-accuracy-drop needs something to measure", "add --data D and --metric M")
    if recipe.metric and not recipe.data:
        raise UsageError("--metric needs data to be measured on", "add --data D")


def _open(notation: str | None, model: ir.Model, recipe: Recipe) -> Source | None:
    if notation is None:
        return None
    specs = with_sizes(interface(model)[0], parse_tensor_specs(recipe.input))
    fit = fit_random(model, specs, threads=recipe.threads) if notation.startswith("random") else RandomFit()
    return open_source(
        notation,
        specs,
        seed=recipe.seed,
        allow_python=recipe.allow_python,
        sizes=fit.sizes,
        limits=fit.limits,
    )


def _trains(recipe: Recipe) -> bool:
    return any(isinstance(config, TrainingOptions) for config in recipe.passes)


def _checkpoints(recipe: Recipe, provenance: Provenance) -> Checkpoints:
    made_by = json.dumps(provenance.versions, sort_keys=True)
    depends_on = (provenance.input_sha256, provenance.recipe, made_by)
    return Checkpoints.beside(recipe.output, depends_on, resume=recipe.resume, force=recipe.force)


def _open_sources(recipe: Recipe, model: ir.Model) -> tuple[Source | None, Source | None, Source | None]:
    """Return the samples to calibrate, to train and to measure on."""
    calibration, training, evaluation = (
        _open(notation, model, recipe) for notation in (recipe.calibrate, recipe.train, recipe.data)
    )
    if not _trains(recipe):
        if training is not None:
            raise UsageError("--train: no pass of this run trains", "add qat, distill or finetune, or leave it out")
    elif training is None and evaluation is not None:
        return (
            calibration,
            every(evaluation, _MEASURED, held=False),
            every(evaluation, _MEASURED, held=True),
        )
    return calibration, training, evaluation


def _run_passes(recipe: Recipe, model: ir.Model, context: Context, checkpoints: Checkpoints | None) -> list[Stage]:
    stages: list[Stage] = []
    for index, config in enumerate(recipe.passes):
        context.progress.step(config.type)
        begun = time.perf_counter()
        current = stages[-1].outcome.model if stages else model
        slot = checkpoints.slot(index, config.type) if checkpoints is not None else None
        outcome = pass_of(config).run(current.clone(), config, replace(context, checkpoint=slot))
        verify_graph(outcome.model, where=config.type)
        stages.append(Stage(config, outcome, time.perf_counter() - begun))
    return stages


def _measure(
    recipe: Recipe,
    loaded: Loaded,
    stages: list[Stage],
    provenance: Provenance,
    baseline_file: Path,
    workload: Workload,
    context: Context,
) -> tuple[list[Stage], Measurement, Measurement, dict[int, str]]:
    """Save and measure the result; take back passes, last first, while it is slower and not smaller than the input."""
    kept = list(stages)
    reasons: dict[int, str] = {}
    while True:
        final = kept[-1].outcome.model if kept else loaded.model
        stamp(final, replace(provenance, passes=tuple(stage.config.type for stage in kept)))
        candidate = _candidate(recipe, context.workdir)
        save_model(final, candidate, overwrite=True)
        context.progress.step("verify the result in onnxruntime")
        check_file(candidate, workload.feeds or {}, threads=recipe.threads)
        context.progress.step("measure")
        measured = measure_files(baseline_file, [candidate], workload, progress=context.progress)
        if recipe.output.suffix == PACKED:
            candidate = candidate.with_suffix(PACKED)
            pack(candidate.with_suffix(".onnx"), candidate, threads=recipe.threads)
        stored = recipe.model if is_packed(recipe.model) else baseline_file
        before, after = as_stored(measured, [stored, candidate])
        assert after.latency_ratio is not None and after.size_ratio is not None
        worse = after.latency_ratio.low > 1 + _MATERIAL and after.size_ratio > 1 - _MATERIAL
        if not worse or not kept or recipe.on_regression == "keep":
            return kept, before, after, reasons
        reasons[len(kept) - 1] = (
            f"the result was slower than the input (x {after.latency_ratio.value:.2f}) and not smaller"
            f" (x {after.size_ratio:.2f})"
        )
        kept.pop()


def _candidate(recipe: Recipe, workdir: Path) -> Path:
    """Return where the result is saved to be measured; its external data are called as those of the output."""
    folder = workdir / "result"
    folder.mkdir(exist_ok=True)
    return folder / recipe.output.with_suffix(".onnx").name


def _baseline_file(loaded: Loaded, workdir: Path) -> Path:
    """The input as onnxruntime can open it: the file itself, or what TorchScript was converted to."""
    if not loaded.checks:
        return loaded.path
    path = workdir / "input.onnx"
    save_model(loaded.model, path, overwrite=True)
    return path


def _regressions(after: Measurement, told: int) -> list[Note]:
    """Return what measured worse than the input; `told` bytes say what is in the file, and do not count."""
    found = []
    if after.latency_ratio is not None and after.latency_ratio.low > 1 + _MATERIAL:
        found.append(warning(f"the result is slower than the input on this machine: x {after.latency_ratio.value:.2f}"))
    ratio = after.size_ratio
    if ratio is not None and ratio > 1 + _MATERIAL and after.bytes * (1 - 1 / ratio) > told:
        found.append(warning(f"the result is larger than the input: x {ratio:.3f}"))
    if after.drop is not None and after.drop.low > 0:
        found.append(warning(f"the metric is worse than the input's by {after.drop.drop:.4g}, beyond chance"))
    return found


def _promised(before: Measurement, after: Measurement) -> list[Note]:
    """Say so where latency falls clearly less than the multiply-accumulates do."""
    if not before.macs or after.macs is None or after.latency_ratio is None:
        return []
    promised = after.macs / before.macs
    if promised > 1 - _FEWER or after.latency_ratio.low < promised + _FEWER:
        return []
    why = "the rest is memory, overhead, and counts that do not fill the kernels' blocks (16 channels of a convolution)"
    return [done(f"MACs fell to x {promised:.2f}, latency only to x {after.latency_ratio.value:.2f}: {why}")]


def _judge(recipe: Recipe, after: Measurement) -> tuple[BudgetVerdict, ...]:
    measured = {
        "max_accuracy_drop": after.drop.drop if after.drop else None,
        "size_ratio": after.size_ratio,
        "latency_ratio": after.latency_ratio.value if after.latency_ratio else None,
    }
    limits = {key: getattr(recipe, key) for key in measured}
    return tuple(
        BudgetVerdict(key, limit, value, value <= limit)
        for key, limit in limits.items()
        if limit is not None and (value := measured[key]) is not None
    )


def _judge_targets(stages: list[Stage], taken_back: Mapping[int, str]) -> tuple[BudgetVerdict, ...]:
    """Judge what passes were asked to reach; the result of one that was taken back has not reached it."""
    return tuple(
        BudgetVerdict(target.key, target.limit, target.value, target.value <= target.limit and index not in taken_back)
        for index, stage in enumerate(stages)
        for target in stage.outcome.targets
    )


def _verdict(verdicts: tuple[BudgetVerdict, ...], regressions: list[Note]) -> Any:
    if not all(verdict.met for verdict in verdicts):
        return "budget missed"
    return "regression" if regressions else "ok"


def _pass_report(stage: Stage, taken_back: str | None) -> PassReport:
    return PassReport(
        type=name_of(pass_of(stage.config)),
        options=stage.config.model_dump(mode="json"),
        seconds=stage.seconds,
        notes=stage.outcome.notes,
        facts=stage.outcome.facts,
        taken_back=taken_back,
    )
