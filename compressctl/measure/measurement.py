"""Everything that is measured of model files side by side, for reports and for `bench`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from compressctl.arrays import Array
from compressctl.data.random import random_feeds
from compressctl.data.source import Feeds, Source
from compressctl.data.walk import Walk, standing
from compressctl.measure.accuracy import BATCH, Comparison, compare, evaluate
from compressctl.measure.clocks import Witnesses
from compressctl.measure.fidelity import OutputFidelity, fidelity, remember
from compressctl.measure.interval import Interval
from compressctl.measure.isolated import peak_memory
from compressctl.measure.latency import Latency, LatencyOptions, compare_latency, latency
from compressctl.measure.metric import Metric, Score
from compressctl.measure.profile import Profile, executed_ops, open_with_ops, profile
from compressctl.measure.remembered import Remembered
from compressctl.measure.session import Session, give_back_memory
from compressctl.measure.stress import NonFinite, StressTest
from compressctl.measure.unpacked import unpacked
from compressctl.model.load import load_model
from compressctl.model.scores import Classes, score_outputs
from compressctl.model.size import count, file_bytes
from compressctl.probation import resident_bytes
from compressctl.progress import Progress, Silent
from compressctl.scratch import temporary_folder
from compressctl.tensorspec import TensorSpec


@dataclass(frozen=True)
class Measurement:
    """One model file, measured.

    Attributes:
        path: the file as the user named it.
        bytes: size with external data.
        parameters: weights, see `model.size`.
        nonzeros: weights that are not 0.
        macs: multiply-accumulates of one inference at the measured input, without nodes whose shapes are unknown; None
            where they were not counted.
        latency: of one inference at the chosen batch size and threads; None of a model that was not run.
        latency_ratio: over the baseline, measured interleaved; None for the baseline itself. It is the quotient of the
            two medians.
        witnesses: how the ratio was found, and whether it can be told on this machine now.
        size_ratio: over the baseline.
        peak_memory: bytes that loading and running it adds to a fresh process.
        score: the metric, where there is evaluation data.
        samples: how many samples it is of.
        drop: of the metric against the baseline.
        judged: the output that the metric reads; None where it reads all.
        fidelity: each output against the baseline's.
        non_finite: outputs that are NaN or infinite on made-up inputs on which the baseline's are finite.
        executed_ops: operator histogram of the graph onnxruntime runs after its optimisations.
        profile: where the time goes, where asked for.
    """

    path: str
    bytes: int
    parameters: int
    nonzeros: int
    macs: int | None
    latency: Latency | None = None
    latency_ratio: Interval | None = None
    size_ratio: float | None = None
    peak_memory: int | None = None
    score: Interval | None = None
    samples: int = 0
    drop: Comparison | None = None
    judged: str | None = None
    fidelity: tuple[OutputFidelity, ...] = ()
    non_finite: tuple[NonFinite, ...] = ()
    executed_ops: dict[str, int] = field(default_factory=dict)
    profile: Profile | None = None
    witnesses: Witnesses | None = None


@dataclass(frozen=True, kw_only=True)
class Workload(LatencyOptions):
    """What models are measured on; `threads` and `seed` are of all that is measured, not of latency alone.

    Attributes:
        batch_size: of the latency measurement, where the model's batch is dynamic.
        walk: steps of one batch, for latency; memory is of the first. Random where None.
        evaluation: labelled samples for the metric, or None.
        metric: or None.
        fidelity: samples to compare outputs on (the first 256), or None.
        fitted: whether results may be fitted to these samples.
        thorough: measure peak memory too (a process a model), and look into what runs of the baseline.
        profile: measure where the time goes too.
    """

    batch_size: int = 1
    walk: Walk | None = None
    evaluation: Source | None = None
    metric: Metric | None = None
    fidelity: Source | None = None
    fitted: bool = False
    thorough: bool = False
    profile: bool = False

    @property
    def feeds(self) -> Feeds:
        """What the first step is fed; nothing where there are no steps."""
        return dict(self.walk.first) if self.walk is not None else {}


_FIDELITY_SAMPLES = 256
_SPARE_BYTES, _SPARE_SHARE = 150_000_000, 0.25  # what results may take in memory beside the baseline, see `_too_large`


def measure_files(
    baseline: Path, results: Sequence[Path], workload: Workload, progress: Progress | None = None
) -> list[Measurement]:
    """Measure files side by side; the first Measurement returned is the baseline's.

    Raises:
        ModelError, DataError: a file cannot be loaded or run on the workload.
    """
    progress = progress or Silent()
    seen: list[_Seen] = []
    with temporary_folder() as folder:
        before = resident_bytes("self")
        session = Session(baseline, threads=workload.threads)
        walk = workload.walk or standing(random_feeds(session.inputs, workload.batch_size, workload.seed))
        feeds = dict(walk.first)
        seen.append(_Seen(_score(session, workload, progress)))  # first: data that do not fit need not wait
        stress = StressTest(session, feeds, workload.seed)
        reference, sizes = Remembered(session, folder), sizes_of(session.inputs, feeds)
        if results and workload.fidelity is not None:
            remember(reference, workload.fidelity, BATCH, progress, most=_FIDELITY_SAMPLES)
        seen[0].resident = resident_bytes("self") - before
        reference.close()
        del session
        give_back_memory()
        classes = score_outputs(load_model(baseline).model)
        runnable = [unpacked(path, _made(folder / str(index))) for index, path in enumerate(results)]
        for path in runnable:
            seen.append(_look(path, reference, stress, workload, classes, progress))
        progress.step("measure latency")
        timed = _latencies(baseline, runnable, walk, workload, apart=_too_large(seen))
        measurements = []
        for index, path in enumerate([baseline, *results]):
            one, first = seen[index], seen[0]
            time, ratio, witnesses = timed[index]
            drop = None
            if index and workload.metric is not None and first.score is not None and one.score is not None:
                drop = compare(first.score, one.score, workload.metric)
            measurements.append(
                replace(
                    _weigh(path, baseline if index else None, sizes, counted=[baseline, *runnable][index]),
                    latency=time,
                    latency_ratio=ratio,
                    witnesses=witnesses,
                    peak_memory=peak_memory(path, feeds, threads=workload.threads).model_bytes
                    if workload.thorough
                    else None,
                    score=one.score.interval if one.score else None,
                    samples=one.score.count if one.score else 0,
                    drop=drop,
                    judged=one.score.output if one.score else None,
                    fidelity=one.fidelity,
                    non_finite=one.non_finite,
                    executed_ops=executed_ops(path) if not index and workload.thorough else one.executed_ops,
                    profile=profile(path, feeds, threads=workload.threads) if workload.profile else None,
                )
            )
        return measurements


def weigh_files(baseline: Path, results: Sequence[Path]) -> list[Measurement]:
    """Return what can be told of files without running them; the first Measurement returned is the baseline's."""
    return [_weigh(path, baseline if index else None, {}) for index, path in enumerate([baseline, *results])]


def _weigh(path: Path, baseline: Path | None, sizes: Mapping[str, int], *, counted: Path | None = None) -> Measurement:
    """Return the size of the file `path`; what it holds is counted in `counted`, where its weights are plain."""
    size = count(load_model(counted or path).model, sizes)
    ratio = None if baseline is None else file_bytes(path) / file_bytes(baseline)
    return Measurement(str(path), file_bytes(path), size.parameters, size.nonzeros, size.macs, size_ratio=ratio)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@dataclass
class _Seen:
    """What a model was seen to do while it was open, and the memory that it took."""

    score: Score | None
    fidelity: tuple[OutputFidelity, ...] = ()
    non_finite: tuple[NonFinite, ...] = ()
    executed_ops: dict[str, int] = field(default_factory=dict)
    resident: int = 0


def _look(
    path: Path,
    reference: Remembered,
    stress: StressTest,
    workload: Workload,
    classes: Mapping[str, Classes],
    progress: Progress,
) -> _Seen:
    before = resident_bytes("self")
    session, ops = open_with_ops(path, threads=workload.threads)
    seen = _Seen(
        score=_score(session, workload, progress),
        fidelity=compare_outputs(reference, session, workload, classes, progress),
        non_finite=stress.non_finite(session),
        executed_ops=ops,
        resident=resident_bytes("self") - before,
    )
    del session
    give_back_memory()
    return seen


def _too_large(seen: Sequence[_Seen]) -> bool:
    """Whether the models are too large to be open at once: together they take a good part more than the first alone."""
    return sum(one.resident for one in seen[1:]) > _SPARE_BYTES + _SPARE_SHARE * seen[0].resident


def _score(session: Session, workload: Workload, progress: Progress) -> Score | None:
    """The score of one model; None without labels or a metric."""
    if workload.evaluation is None or workload.metric is None:
        return None
    return evaluate(session, workload.evaluation, workload.metric, progress)


def _latencies(
    baseline: Path, results: Sequence[Path], walk: Walk, workload: Workload, *, apart: bool
) -> list[tuple[Latency, Interval | None, Witnesses | None]]:
    """Latency, ratio and witnesses of each model, as far as it has them."""
    if not results:
        return [(latency(baseline, walk, workload), None, None)]
    ratios = compare_latency(baseline, results, walk, workload, apart=apart)
    others = [(one.result, one.interval, one.witnesses) for one in ratios]
    return [(ratios[0].baseline, None, None), *others]


def sizes_of(inputs: Sequence[TensorSpec], feeds: Mapping[str, Array]) -> dict[str, int]:
    """Return the sizes that feeds give to the inputs' named dimensions."""
    return {
        dim: size
        for spec in inputs
        for dim, size in zip(spec.shape, feeds[spec.name].shape, strict=True)
        if isinstance(dim, str)
    }


def compare_outputs(
    baseline: Session | Remembered,
    result: Session,
    workload: Workload,
    scores: Mapping[str, Classes],
    progress: Progress | None = None,
    *,
    most: int = _FIDELITY_SAMPLES,
) -> tuple[OutputFidelity, ...]:
    """Compare the outputs of a result with the baseline's on the first samples of a workload; see `fidelity`."""
    source = workload.fidelity
    if source is None:
        return ()
    fitted = workload.fitted
    return fidelity(baseline, result, source, BATCH, progress, most=most, scores=scores, fitted=fitted)
