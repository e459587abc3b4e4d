"""One process of a search: trial after trial, until the time or the number of trials is spent."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from optuna import Study, Trial
from optuna.trial import TrialState

from compressctl.passes.base import PassConfig
from compressctl.passes.space import Space
from compressctl.pipeline.setup import Setup
from compressctl.search.attempt import Bench
from compressctl.search.best import publish
from compressctl.search.candidate import label, passes_of, starts, suggest
from compressctl.search.clock import Clock, Costs
from compressctl.search.halving import SuccessiveHalving
from compressctl.search.local_search import dominates, local_move
from compressctl.search.ranking import front, measured, values
from compressctl.search.record import Record, dumped, read
from compressctl.search.study import abandoned, ask

_PARENTS = 3  # of the best, from which steps are taken
_STALE = 40  # trials in a row that needed no work: there is little left to try


@dataclass(frozen=True)
class Search:
    """What a process needs to take part.

    Attributes:
        setup: of the run.
        study: what all have tried.
        space: what candidates are made of.
        halving: the samples.
        clock: the time.
        reserve: seconds to leave for what comes after the trials.
        name: of this process.
        seed: of what it chooses.
        publishes: whether it writes the best candidate so far as the output.
    """

    setup: Setup
    study: Study
    space: Space
    halving: SuccessiveHalving
    clock: Clock
    reserve: float
    name: str
    seed: int
    publishes: bool = True

    def begin(self) -> None:
        """Queue the candidates that are known to be good, and those whose process was killed."""
        for trial in abandoned(self.study):
            self.study.tell(trial.number, state=TrialState.FAIL)
            self.study.enqueue_trial({**trial.system_attrs.get("fixed_params", {}), **trial.params})
        for params in starts(self.space):
            self.study.enqueue_trial(dict(params), skip_if_exists=True)

    def run(self, deserted: Callable[[], bool] = lambda: False) -> None:
        """Try candidates; the first one whatever the time, so that there is a result.

        Args:
            deserted: says whether the process that asked for this one's help is gone.
        """
        options = self.setup.recipe.search
        assert options is not None
        bench = Bench(self.setup, self.halving, self.name)
        stale = 0
        while stale < _STALE and not deserted():
            records = self.records()
            tried = sum(record.seconds > 0 for record in records)
            if options.trials is not None and tried >= options.trials:
                return
            if tried and self.clock.left() < (self.reserve if measured(records) else 0):
                return
            worked = self._trial(bench, records)
            stale = 0 if worked else stale + 1

    def records(self) -> list[Record]:
        """Return what all trials found, in order."""
        found = [read(trial) for trial in self.study.get_trials(deepcopy=False)]
        return [record for record in found if record is not None]

    def _trial(self, bench: Bench, records: Sequence[Record]) -> bool:
        """Try one candidate; return whether it took work."""
        self._suggest_neighbour(records)
        trial = ask(self.study, self.seed)
        params = suggest(trial, self.space)
        recipe = self.setup.recipe
        passes = passes_of(params, self.space, recipe.passes)
        known = self._known(params, passes, records)
        if known is not None:
            self._tell(trial, known)
            return False
        left = self.clock.left() - self.reserve if measured(records) else math.inf
        bounded = self._costs(records).bounded(passes, left)
        if bounded is None:
            self._tell(trial, Record(params, dumped(passes), reason="does not fit into the time that was left"))
            return False
        self.setup.context.progress.step(f"trial {trial.number}: {label(bounded)}")
        record, candidate = bench.attempt(params, bounded, measured(records))
        if bounded != passes:
            record = replace(record, hopeless=False)  # with all its training it may be better
        if self.publishes and candidate is not None and record.drop is not None:
            publish(recipe, record, candidate, measured(self.records()))
        self._tell(trial, record)
        self.setup.context.progress.step(_told(trial.number, record))
        return True

    def _suggest_neighbour(self, records: Sequence[Record]) -> None:
        """Queue a step from one of the best, every other time that nothing is queued."""
        number = len(self.study.get_trials(deepcopy=False))
        parents = [record for record in front(self.setup.recipe, records, _PARENTS) if record.feasible]
        if parents and number % 2 and not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            parent = parents[number // 2 % len(parents)]
            self.study.enqueue_trial(local_move(parent.params, self.space, f"{self.seed} {number}"))

    def _known(self, params: dict[str, Any], passes: Sequence[PassConfig], records: Sequence[Record]) -> Record | None:
        """Return what needs no trial to be known of a candidate, or None."""
        same = json.dumps(dumped(passes), sort_keys=True)
        for record in records:
            if record.provenance and json.dumps(record.passes, sort_keys=True) == same:
                return replace(record, seconds=0.0)
            if record.hopeless and dominates(params, record.params):
                return replace(record, params=params, passes=dumped(passes), seconds=0.0, costs=None, provenance="")
        return None

    def _costs(self, records: Sequence[Record]) -> Costs:
        costs: dict[str, list[float]] = {}
        for record in records:
            for kind, seconds in (record.costs or {}).items():
                costs.setdefault(kind, []).append(seconds)
        training = self.setup.context.training
        besides = [record.seconds - sum((record.costs or {}).values()) for record in records if record.complete]
        samples = len(training) if training is not None else 0
        known = {kind: median(seconds) for kind, seconds in costs.items()}
        return Costs(known, samples, self.halving.inference, median(besides) if besides else 0.0)

    def _tell(self, trial: Trial, record: Record) -> None:
        """End a trial: what was measured guides the choice of the next ones."""
        trial.set_user_attr(*record.keep())
        if record.drop is None or record.bytes is None:
            self.study.tell(trial, state=TrialState.FAIL)
            return
        missed, by = record.missed
        trial.set_constraint("budgets", min(by, 1e6) + 1e-6 if missed else 0.0)
        found = values(self.setup.recipe, record)
        if all(map(math.isfinite, found)):
            self.study.tell(trial, found)
        else:
            self.study.tell(trial, state=TrialState.FAIL)


def _told(number: int, record: Record) -> str:
    """Say in one line what a trial found."""
    if record.drop is None:
        return f"trial {number}: {record.reason}"
    latency = "" if record.latency is None else f", latency x {record.latency:.2f}"
    state = "kept for the front" if record.feasible else "misses a budget" if record.complete else "left early"
    drop = f"drop {record.drop[0]:.4g} [{record.drop[1]:.4g}, {record.drop[2]:.4g}] on {record.samples} samples"
    return f"trial {number}: {record.bytes} bytes{latency}, {drop}: {state}"
