"""Models measured side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from compressctl.container.opened import as_stored, opened
from compressctl.container.signature import is_packed
from compressctl.errors import UsageError
from compressctl.measure import machine
from compressctl.measure.clocks import remarks
from compressctl.measure.converted import load_proven, onnx_file
from compressctl.measure.fitting import choose_metric
from compressctl.measure.measurement import Measurement, Workload, measure_files
from compressctl.measure.metrics import parse_metric
from compressctl.measure.opening import Wanted, open_samples, run_once
from compressctl.model.load import described_inputs
from compressctl.model.read import is_torchscript
from compressctl.model_folder import model_file
from compressctl.notes import Note
from compressctl.probation import on_probation
from compressctl.progress import Progress
from compressctl.report.schema import BenchReport
from compressctl.scratch import temporary_folder
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
    models, baseline = [model_file(path) for path in models], None if baseline is None else model_file(baseline)
    first = baseline or models[0]
    others = list(models) if baseline is not None else list(models[1:])
    chosen = parse_metric(given.metric, allow_python=given.allow_python) if given.metric else None
    sized = parse_tensor_specs(given.input)
    stored = (first, *others)
    with ExitStack() as unpacked:
        folder = unpacked.enter_context(temporary_folder())
        files = []
        for index, path in enumerate(stored):
            with on_probation(path):
                files.append(unpacked.enter_context(opened(path)))
                if index == 0:
                    loaded = load_proven(files[0], sized, threads=given.threads)
                    files[0] = onnx_file(loaded, folder / "0.onnx")
                elif is_torchscript(files[index]):
                    other = load_proven(files[index], sized, threads=given.threads)
                    files[index] = onnx_file(other, folder / f"{index}.onnx")
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
        if given.data and chosen is None and source.judgeable:
            name, note = choose_metric(files[0], source, threads=given.threads)
            chosen = parse_metric(name) if name else None
            notes.append(note)
        walk = source.walk(given.batch_size)
        workload = Workload(
            batch_size=given.batch_size,
            threads=given.threads,
            seed=given.seed,
            walk=walk,
            evaluation=source if chosen and source.judgeable else None,
            metric=chosen,
            fidelity=source,
            thorough=True,
            profile=given.profile,
            seconds=given.seconds,
        )
        for path, file in zip(others, files[1:], strict=True):
            run_once(path, walk.first, threads=given.threads, file=file)
        weighed = [path if is_packed(path) else file for path, file in zip(stored, files, strict=True)]
        measurements = as_stored(measure_files(files[0], files[1:], workload, progress), weighed)
        measurements = tuple(replace(m, path=str(path)) for m, path in zip(measurements, stored, strict=True))
    return BenchReport(
        baseline=str(first),
        models=measurements,
        metric=chosen.name if chosen is not None and workload.evaluation is not None else None,
        metric_chosen=chosen is not None and given.metric is None,
        notes=(*notes, *_doubts(measurements)),
        batch_size=given.batch_size,
        machine=machine.describe(),
        versions=versions(),
    )


def _doubts(measurements: Sequence[Measurement]) -> Iterator[Note]:
    for model in measurements:
        for note in remarks(model.latency_ratio, model.witnesses):
            yield replace(note, text=f"{model.path}: {note.text}")
