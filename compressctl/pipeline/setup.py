"""All that a run needs before its first pass: the model, the samples, what is measured; checked before any work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from compressctl.container.opened import holds, opened, read_provenance
from compressctl.container.signature import PACKED
from compressctl.data.source import Source
from compressctl.data.subset import every
from compressctl.distributed import this_process
from compressctl.errors import DataError, RunError, UsageError, flag
from compressctl.measure.clocks import NO_LIMITS, Limits
from compressctl.measure.converted import load_proven, onnx_file
from compressctl.measure.fitting import choose_metric
from compressctl.measure.measurement import Workload, compare_outputs
from compressctl.measure.metrics import is_share, parse_metric
from compressctl.measure.opening import Samples, Wanted, open_samples
from compressctl.measure.session import Session
from compressctl.model.load import Loaded, described_inputs
from compressctl.model.provenance import Provenance
from compressctl.model.save import check_writable
from compressctl.model.scores import score_outputs
from compressctl.notes import Note
from compressctl.passes.base import Context, PassConfig
from compressctl.pipeline.cache import Cache
from compressctl.pipeline.inputs import sample_hashes
from compressctl.pipeline.paths import guard_runs, report_path
from compressctl.probation import on_probation
from compressctl.progress import Progress
from compressctl.recipe.consistency import check_scale
from compressctl.recipe.model import Recipe
from compressctl.recipe.refusal import COMMAND_LINE
from compressctl.scratch import temporary_folder
from compressctl.tensorspec import parse_state, parse_tensor_specs
from compressctl.training.checkpoint_paths import Checkpoints
from compressctl.training.options import TrainingOptions
from compressctl.versions import versions

NO_INPUTS = "the model has no inputs"
_FIDELITY_SAMPLES = 32
_PATIENCE = 2.0  # times the usual seconds that latency is measured where a busy machine keeps the interval wide
_PATIENCE_WITH_BUDGET = 5.0  # the same where a budget waits for the answer
_MEASURED = 5  # where one source is given to train and to measure on, every fifth sample is measured


@dataclass(frozen=True)
class Setup:
    """What is known of a run before its first pass.

    Attributes:
        recipe: the run, with the metric that was found where it names none.
        loaded: the model as it came.
        baseline_file: the same as a file that onnxruntime opens.
        provenance: of the result, with all passes of the recipe.
        context: of the passes, with the resources of the whole run.
        workload: what models are measured on.
        data: fingerprints by the recipe's key: of the samples calibrate, train, data, and of a metric in Python.
        notes: what loading had to say.
        unmeasured: why no model is run to be measured, or None.
        report: where the report goes.
        cache: of results of passes, or None.
        checkpoints: of the passes that train, or None where none does.
    """

    recipe: Recipe
    loaded: Loaded
    baseline_file: Path
    provenance: Provenance
    context: Context
    workload: Workload
    data: dict[str, str]
    notes: tuple[Note, ...]
    report: Path
    cache: Cache | None
    checkpoints: Checkpoints | None
    unmeasured: str | None = None


@contextmanager
def open_setup(recipe: Recipe, progress: Progress) -> Iterator[Setup]:
    """Load, open and check all that `recipe` names; temporary files go when the block ends.

    Raises:
        CompressctlError: of the kind that names what is wrong; nothing has been written then.
    """
    with opened(recipe.model) as file, temporary_folder() as folder:
        yield _set_up(recipe, file, folder, progress)


def _set_up(recipe: Recipe, file: Path, workdir: Path, progress: Progress) -> Setup:
    metric = parse_metric(recipe.metric, allow_python=recipe.allow_python) if recipe.metric else None
    progress.step(f"load {recipe.model}")
    with on_probation(recipe.model):
        loaded = load_proven(file, parse_tensor_specs(recipe.input), threads=recipe.threads)
    provenance = Provenance(loaded.sha256, recipe.canonical(), versions(), tuple(c.type for c in recipe.passes))
    check_writable(
        recipe.output,
        force=recipe.force or holds(recipe.output, loaded.model),
        provenance=provenance,
        source=recipe.model,
        suffixes=(".onnx", PACKED),
        read=read_provenance,
    )
    guard_runs([recipe])
    with on_probation(recipe.model):
        baseline_file = onnx_file(loaded, workdir / "input.onnx")
    samples, unmeasured = _open_samples(
        recipe,
        Wanted(
            path=recipe.model,
            file=baseline_file,
            model=loaded.model,
            inputs=described_inputs(loaded, parse_tensor_specs(recipe.input), dict(map(parse_state, recipe.state))),
            notations=(recipe.calibrate, recipe.data),
            otherwise=f"random:{_FIDELITY_SAMPLES}",
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            threads=recipe.threads,
            allow_python=recipe.allow_python,
        ),
    )
    calibration, training, evaluation = _sources(recipe, samples) if samples else (None, None, None)
    if calibration is None and (needy := next((config.needs for config in recipe.passes if config.needs), None)):
        raise UsageError(f"{needy} needs calibration samples", "add --calibrate DATA: it looks at what samples give")
    sources = [source for source in (calibration, training, evaluation) if source is not None]
    if evaluation is not None and not evaluation.judgeable:
        if any(budget.scored for _, budget, _ in recipe.limits()):
            raise UsageError("accuracy cannot be judged on random data", "give real samples as --data")
        evaluation, metric = None, None
    found: tuple[Note, ...] = ()
    if evaluation is not None and metric is None and unmeasured is None:
        recipe, note = _with_metric(recipe, baseline_file, evaluation)
        metric, found = parse_metric(recipe.metric) if recipe.metric else None, (note,)
    if recipe.min_accuracy is not None and metric is not None and not metric.higher_is_better:
        raise UsageError(f"--min-accuracy: less is better of {metric.name}", "set --max-accuracy-drop instead")
    checkpoints = _checkpoints(recipe, provenance) if trains(recipe.passes) else None
    context = Context(
        baseline=loaded.model.clone(),
        workdir=workdir,
        calibration=calibration,
        evaluation=evaluation if metric else None,
        metric=metric,
        max_accuracy_drop=recipe.max_accuracy_drop,
        training=training,
        fit=samples.fit if samples else None,
        batch_size=recipe.batch_size,
        device=recipe.device,
        seed=recipe.seed,
        threads=recipe.threads,
        progress=progress,
    )
    source = evaluation or calibration or samples.usual if samples and unmeasured is None else None
    limits = Limits(recipe.latency_ratio, recipe.max_latency_ms)
    workload = Workload(
        batch_size=recipe.batch_size,
        threads=recipe.threads,
        seed=recipe.seed,
        walk=source.walk(recipe.batch_size) if source else None,
        evaluation=context.evaluation,
        metric=metric,
        fidelity=source,
        fitted=source is not None and source is calibration,
        thorough=recipe.max_memory is not None,
        profile=recipe.explain,
        limits=limits,
        patience=_PATIENCE if limits == NO_LIMITS else _PATIENCE_WITH_BUDGET,
    )
    if recipe.max_kl is not None and not any(one.words for one in score_outputs(loaded.model).values()):
        raise UsageError("max_kl: no output of the model is the logits of a language model", "set min_sqnr instead")
    if recipe.min_agreement is not None:
        _check_scores(loaded.model, baseline_file, workload)
    return Setup(
        recipe=recipe,
        loaded=loaded,
        baseline_file=baseline_file,
        provenance=provenance,
        context=context,
        workload=workload,
        data=sample_hashes(recipe),
        notes=(
            *loaded.notes,
            *(samples.notes if samples else ()),
            *dict.fromkeys(note for source in sources for note in source.notes),
            *found,
        ),
        report=report_path(recipe),
        cache=Cache(recipe.cache) if recipe.cache is not None and this_process().size == 1 else None,
        checkpoints=checkpoints,
        unmeasured=unmeasured,
    )


def _with_metric(recipe: Recipe, file: Path, evaluation: Source) -> tuple[Recipe, Note]:
    """Return the recipe with the metric that fits its data, and a note on that.

    Raises:
        UsageError: none fits, or its unit is not plain, and the recipe is to be judged by it.
    """
    name, note = choose_metric(file, evaluation, threads=recipe.threads)
    scored = [
        key for key in Recipe.model_fields if Recipe.about(key).scored and getattr(recipe, key) not in (None, False)
    ]
    if scored and name is None:
        raise UsageError(f"{flag(scored[0])} needs something to measure: {note.text}", "give data with labels")
    if name is not None:
        limits = [key for key, budget, _ in recipe.limits() if budget.scored]
        if limits and not is_share(name):
            text = f"{flag(limits[0])} is in the metric's own unit, and {name} would be measured"
            raise UsageError(text, f"add --metric {name}, or another")
        check_scale(recipe, name, COMMAND_LINE)
    return recipe.model_copy(update={"metric": name}), note


def _open_samples(recipe: Recipe, wanted: Wanted) -> tuple[Samples | None, str | None]:
    """Return samples that the model runs on; or those that there are, and why it is not run; None without inputs."""
    if not wanted.inputs and not (recipe.asks_for_runs() or any(recipe.notations())):
        return None, NO_INPUTS
    if not recipe.measure:
        return open_samples(wanted, prove=next(recipe.notations(), None) is not None), "measure: false"
    try:
        return open_samples(wanted), None
    except (RunError, DataError) as error:
        if recipe.asks_for_runs() or next(recipe.notations(), None) is not None:
            raise
        with on_probation(recipe.model):
            Session(wanted.file, threads=recipe.threads)
        return open_samples(wanted, prove=False), error.message


def _check_scores(model: ir.Model, file: Path, workload: Workload) -> None:
    """Refuse a budget on the agreement of classes where no output is scores of classes."""
    axes = score_outputs(model)
    session = Session(file, threads=workload.threads) if axes else None
    outputs = compare_outputs(session, session, workload, axes, most=_FIDELITY_SAMPLES) if session else ()
    if all(output.agreement is None for output in outputs):
        raise UsageError("min_agreement: no output of the model is scores of classes", "set min_sqnr instead")


def trains(passes: tuple[PassConfig, ...]) -> bool:
    """Whether one of the passes trains."""
    return any(isinstance(config, TrainingOptions) for config in passes)


def _sources(recipe: Recipe, samples: Samples) -> tuple[Source | None, Source | None, Source | None]:
    """Return the samples to calibrate, to train and to measure on."""
    calibration, evaluation = samples.sources
    training = samples.open(recipe.train) if recipe.train is not None else None
    if not trains(recipe.passes):
        if training is not None and recipe.search is None:
            raise UsageError("--train: no pass of this run trains", "add qat, distill or finetune, or leave it out")
    elif training is None and evaluation is not None:
        return (
            calibration,
            every(evaluation, _MEASURED, held=False),
            every(evaluation, _MEASURED, held=True),
        )
    return calibration, training, evaluation


def _checkpoints(recipe: Recipe, provenance: Provenance) -> Checkpoints:
    made_by = json.dumps(provenance.versions, sort_keys=True)
    depends_on = (provenance.input_sha256, provenance.recipe, made_by)
    return Checkpoints.beside(recipe.output, depends_on, resume=recipe.resume, force=recipe.force)
