"""Measure models side by side, for `compressctl bench`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from compressctl.container.opened import as_stored, opened
from compressctl.errors import UsageError
from compressctl.measure import machine
from compressctl.measure.clocks import remarks
from compressctl.measure.measurement import Measurement, Workload, measure_files
from compressctl.measure.metrics import parse_metric
from compressctl.measure.opening import Wanted, open_samples, run_once
from compressctl.model.load import described_inputs, load_model
from compressctl.notes import Note
from compressctl.probation import on_probation
from compressctl.progress import Progress
from compressctl.report.schema import BenchReport
from compressctl.tensorspec import parse_state, parse_tensor_specs
from compressctl.versions import versions

_RANDOM_SAMPLES = 16


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What models are measured on, and how: keys of a recipe, as it has them.

    Attributes:
        input, state, data, metric, allow_python, batch_size, threads, seed: as in a recipe.
        seconds: limit of the latency measurement, for each model.
        profile: whether to time operators and nodes.
    """

    input: Sequence[str]
    state: Sequence[str]
    data: str | None
    metric: str | None
    allow_python: bool
    batch_size: int
    threads: int
    seed: int
    seconds: float
    profile: bool = False


def bench(
    models: Sequence[Path], given: Conditions, progress: Progress, *, baseline: Path | None = None
) -> BenchReport:
    """Measure `models`; ratios are against `baseline`, or the first model.

    Raises:
        UsageError, ModelError, DataError: an option, model or data file that cannot be used.
    """
    if given.metric and not given.data:
        raise UsageError("--metric needs data to be measured on", "add --data D")
    first = baseline or models[0]
    others = list(models) if baseline is not None else list(models[1:])
    chosen = parse_metric(given.metric, allow_python=given.allow_python) if given.metric else None
    sized = parse_tensor_specs(given.input)
    stored = (first, *others)
    with ExitStack() as unpacked:
        files = []
        for path in stored:
            with on_probation(path):
                files.append(unpacked.enter_context(opened(path)))
        with on_probation(first):
            loaded = load_model(files[0], sized)
        samples = open_samples(
            Wanted(
                path=first,
                file=files[0],
                model=loaded.model,
                inputs=described_inputs(loaded, sized, dict(map(parse_state, given.state))),
                notations=(given.data,),
                otherwise=f"random:{_RANDOM_SAMPLES}",
                batch_size=given.batch_size,
                seed=given.seed,
                threads=given.threads,
                allow_python=given.allow_python,
            )
        )
        source = samples.usual
        notes: list[Note] = [*samples.notes, *(source.notes if given.data else ())]
        feeds = source.first(given.batch_size)
        workload = Workload(
            batch_size=given.batch_size,
            threads=given.threads,
            seed=given.seed,
            feeds=feeds,
            evaluation=source if chosen and source.judgeable else None,
            metric=chosen,
            fidelity=source,
            thorough=True,
            profile=given.profile,
            seconds=given.seconds,
        )
        for path, file in zip(others, files[1:], strict=True):
            run_once(path, feeds, threads=given.threads, file=file)
        measurements = as_stored(measure_files(files[0], files[1:], workload, progress), stored)
    return BenchReport(
        baseline=str(first),
        models=measurements,
        metric=given.metric if workload.evaluation is not None else None,
        notes=(*notes, *_doubts(measurements)),
        batch_size=given.batch_size,
        machine=machine.describe(),
        versions=versions(),
    )


def _doubts(measurements: Sequence[Measurement]) -> Iterator[Note]:
    for model in measurements:
        for note in remarks(model.latency_ratio, model.witnesses):
            yield replace(note, text=f"{model.path}: {note.text}")
