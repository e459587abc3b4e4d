"""Trying a candidate: its passes, its size and latency, and its accuracy as long as it may still win."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

from compressctl.container.opened import as_stored
from compressctl.container.signature import is_packed
from compressctl.errors import CompressctlError
from compressctl.measure.isolated import peak_memory
from compressctl.measure.latency import Latency, LatencyOptions, compare_latency
from compressctl.measure.measurement import Measurement, compare_outputs
from compressctl.measure.session import Session
from compressctl.measure.stress import StressTest
from compressctl.model.scores import score_outputs
from compressctl.model.size import file_bytes
from compressctl.passes.base import PassConfig
from compressctl.passes.space import Params
from compressctl.pipeline.budgets import missed
from compressctl.pipeline.candidates import Candidate, save_candidate
from compressctl.pipeline.setup import Setup, trains
from compressctl.pipeline.stages import Stage, run_passes
from compressctl.recipe.model import Recipe
from compressctl.search.clock import kind, seconds_of
from compressctl.search.halving import PartialScore, SuccessiveHalving
from compressctl.search.record import Record, dumped, recipe_of

_LATENCY_SECONDS = 0.4  # of a trial; the front is measured for as long as any result
_FIDELITY_SAMPLES = 64  # to compare outputs on
_NO_LATENCY = Latency(math.nan, math.nan, 0, math.nan)


def setup_of(setup: Setup, found: Recipe) -> Setup:
    """Return the setup that the recipe of a candidate would open, from that of the search."""
    training = setup.context.training if trains(found.passes) else None
    return replace(
        setup,
        recipe=found,
        provenance=replace(
            setup.provenance, recipe=found.canonical(), passes=tuple(config.type for config in found.passes)
        ),
        context=replace(setup.context, training=training),
        data={key: value for key, value in setup.data.items() if key != "train" or found.train is not None},
        checkpoints=None,
    )


def needs_latency(recipe: Recipe) -> bool:
    """Whether candidates are timed: for the objective, or for a budget."""
    assert recipe.search is not None
    return recipe.search.objective != "size" or recipe.latency_ratio is not None or recipe.max_latency_ms is not None


class Bench:
    """Where candidates are tried, one after the other.

    Args:
        setup: of the search.
        halving: on its samples.
        name: of this process; its candidates are saved under it.
    """

    def __init__(self, setup: Setup, halving: SuccessiveHalving, name: str) -> None:
        self._setup, self._halving, self._name = setup, halving, name

    def attempt(
        self, params: Params, passes: Sequence[PassConfig], rivals: Sequence[Record]
    ) -> tuple[Record, Candidate | None]:
        """Try a candidate; what goes wrong is in the record, and costs no other one.

        Args:
            params: what it was made of.
            passes: the same as passes.
            rivals: what was found before; a candidate that one of them surely beats is not measured to the end.

        Returns:
            The record, and the candidate where it has a file.
        """
        begun = perf_counter()
        record, candidate = Record(dict(params), dumped(passes), provenance="failed"), None
        try:
            found = recipe_of(self._setup.recipe, record.passes)
            record = replace(record, provenance=found.canonical())
            record, candidate = self._measured(record, found, rivals)
        except CompressctlError as error:
            record = replace(record, reason=str(error))
        except Exception as error:  # noqa: BLE001  (a fault in one candidate must not lose the others; it is reported)
            record = replace(record, reason=f"a bug in compressctl: {type(error).__name__}: {error}")
        return replace(record, seconds=perf_counter() - begun), candidate

    def _measured(self, record: Record, found: Recipe, rivals: Sequence[Record]) -> tuple[Record, Candidate]:
        setup = setup_of(self._setup, found)
        stages = run_passes(setup, found.passes)
        candidate = save_candidate(setup, stages, self._name)
        measured = self._cheap(found, candidate)
        ratio = measured.latency_ratio.value if measured.latency_ratio else None
        record = replace(record, bytes=measured.bytes, latency=ratio, costs=self._costs(stages))

        def leaves(partial: PartialScore) -> bool:
            return _hopeless(found, partial) or any(_beats(rival, record, partial) for rival in rivals)

        partial = self._halving.run(candidate.file, leaves)
        measured = replace(
            measured,
            score=partial.score.interval,
            samples=partial.score.count,
            drop=partial.drop,
            judged=partial.score.output,
        )
        if partial.last:
            measured = self._compared(candidate, measured)
        if not math.isfinite(partial.drop.drop):
            return replace(record, reason="its metric is no number"), candidate
        return replace(
            record,
            drop=(partial.drop.drop, partial.drop.low, partial.drop.high),
            samples=partial.score.count,
            complete=partial.last,
            missed=missed(found, measured),
            hopeless=_hopeless(found, partial),
        ), candidate

    def _compared(self, candidate: Candidate, measured: Measurement) -> Measurement:
        """Return the measurement with how close each output is to the input model's: labels judge but one of them."""
        workload = self._setup.workload
        files = (self._setup.baseline_file, candidate.file)
        baseline, result = (Session(path, threads=workload.threads) for path in files)
        scores = score_outputs(self._setup.loaded.model)
        return replace(
            measured,
            fidelity=compare_outputs(baseline, result, workload, scores, most=_FIDELITY_SAMPLES),
            non_finite=StressTest(baseline, workload.feeds, workload.seed).non_finite(result),
        )

    def _cheap(self, found: Recipe, candidate: Candidate) -> Measurement:
        """Return the size, and of the rest what a budget or the objective asks for."""
        setup, threads, workload = self._setup, found.threads, self._setup.workload
        measured = Measurement(str(candidate.file), file_bytes(candidate.file), 0, 0, None, _NO_LATENCY)
        if needs_latency(setup.recipe):
            assert workload.walk is not None
            limits = workload.limits
            options = LatencyOptions(threads=threads, seed=found.seed, seconds=_LATENCY_SECONDS, limits=limits)
            (timed,) = compare_latency(setup.baseline_file, [candidate.file], workload.walk, options)
            measured = replace(measured, latency=timed.result, latency_ratio=timed.interval)
        if found.max_memory is not None:
            memory = peak_memory(candidate.file, workload.feeds, threads=threads).model_bytes
            measured = replace(measured, peak_memory=memory)
        stored = found.model if is_packed(found.model) else setup.baseline_file
        return as_stored([measured, measured], [stored, candidate.stored])[1]

    def _costs(self, stages: Sequence[Stage]) -> dict[str, float]:
        """Return what the passes took when they ran; of several of a kind, the most."""
        samples = len(self._setup.context.training) if self._setup.context.training is not None else 0
        found: dict[str, float] = {}
        for stage in stages:
            name = kind(stage.config)
            found[name] = max(found.get(name, 0.0), seconds_of(stage.config, stage.seconds, samples))
        return found


def _hopeless(found: Recipe, partial: PartialScore) -> bool:
    """Whether a candidate surely loses more accuracy than it may."""
    lost = found.max_accuracy_drop is not None and partial.drop.low > found.max_accuracy_drop
    return lost or (found.min_accuracy is not None and partial.score.high < found.min_accuracy)


def _beats(rival: Record, record: Record, partial: PartialScore) -> bool:
    """Whether a rival is no larger and no slower, and surely loses no more accuracy."""
    if not rival.feasible or rival.bytes is None or rival.drop is None or record.bytes is None:
        return False
    no_slower = record.latency is None or rival.latency is None or rival.latency <= record.latency
    return rival.bytes <= record.bytes and no_slower and rival.drop[0] < partial.drop.low
