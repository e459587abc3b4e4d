"""What a run would do, and roughly how long it would take; nothing is written."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from compressctl.measure.session import Session
from compressctl.passes.base import PassConfig
from compressctl.pipeline.choice import lengths
from compressctl.pipeline.setup import Setup, open_setup
from compressctl.pipeline.stages import keys
from compressctl.pipeline.up_to_date import earlier_report
from compressctl.progress import Progress, Silent
from compressctl.recipe.model import Recipe
from compressctl.report.tables import Table
from compressctl.report.write import report_files


@dataclass(frozen=True)
class PlannedPass:
    """A pass that would run.

    Attributes:
        type: the pass.
        options: its resolved options.
        cached: whether its result is in the cache.
        inferences: samples that it needs the model to compute, a training step on one counted as several.
        seconds: an estimate, 0 of what is cached: `inferences` times the measured time of one; what is no inference
            (rewriting graphs, choosing numbers) is not in it.
    """

    type: str
    options: dict[str, Any]
    cached: bool
    inferences: int
    seconds: float


@dataclass(frozen=True)
class PlannedRun:
    """A run before it runs.

    Attributes:
        model, output: as the recipe names them.
        up_to_date: whether nothing changed since the run that wrote the output, so that nothing would be done.
        inference_seconds: one sample through the input model, measured once.
        passes: in order.
        measuring_seconds: an estimate of measuring input and results after the passes.
        seconds: the sum of the estimates.
        budgets: recipe key -> limit.
        writes: the files that would be written.
    """

    model: str
    output: str
    up_to_date: bool
    inference_seconds: float
    passes: tuple[PlannedPass, ...]
    measuring_seconds: float
    seconds: float
    budgets: dict[str, float]
    writes: tuple[str, ...]


def plan(recipe: Recipe, progress: Progress | None = None) -> PlannedRun:
    """Load and check all that a run needs, time one inference, and return what the run would do.

    Raises:
        CompressctlError: what the run would raise before its first pass.
    """
    kept = recipe.model_copy(update={"resume": True}) if recipe.force else recipe  # checkpoints are not to be deleted
    with open_setup(kept, progress or Silent()) as setup:
        each = _inference_seconds(setup)
        passes = tuple(
            _planned(setup, config, key, each)
            for config, key in zip(recipe.passes, keys(setup, recipe.passes), strict=True)
        )
        results = len(lengths(recipe.passes)) or 1
        samples = len(setup.context.evaluation) if setup.context.evaluation is not None else 0
        measuring = 0.0 if setup.unmeasured else results * setup.workload.seconds + (results + 1) * samples * each
        return PlannedRun(
            model=str(recipe.model),
            output=str(recipe.output),
            up_to_date=not recipe.force and earlier_report(recipe) is not None,
            inference_seconds=each,
            passes=passes,
            measuring_seconds=measuring,
            seconds=sum(planned.seconds for planned in passes) + measuring,
            budgets={name: limit for name, _, limit in recipe.limits()},
            writes=tuple(map(str, (recipe.output, *report_files(setup.report)))),
        )


def tables(found: PlannedRun) -> list[Table]:
    """Return a plan in words."""
    rows = [
        (
            f"{index + 1} {planned.type}",
            "yes" if planned.cached else "",
            str(planned.inferences),
            _time(planned.seconds),
        )
        for index, planned in enumerate(found.passes)
    ]
    rows.append(("measure input and results", "", "", _time(found.measuring_seconds)))
    rows.append(("all", "", "", _time(found.seconds)))
    title = f"Plan: {found.model} -> {found.output}{' (up to date)' if found.up_to_date else ''}"
    planned = Table(title, ("", "cached", "inferences", "estimate"), tuple(rows))
    budgets = Table("Budgets", ("", "limit"), tuple((key, f"{limit:g}") for key, limit in found.budgets.items()))
    writes = Table("Would write", ("",), tuple((file,) for file in found.writes))
    return [planned, *([budgets] if found.budgets else []), writes]


def _planned(setup: Setup, config: PassConfig, key: str, each: float) -> PlannedPass:
    context = setup.context
    calibration = len(context.calibration) if context.calibration is not None else 0
    training = len(context.training) if context.training is not None else 0
    inferences = config.inferences(calibration if "calibration" in config.reads else 0, training)
    cached = setup.cache is not None and setup.cache.holds(key)
    seconds = 0.0 if cached else inferences * each
    return PlannedPass(config.type, config.model_dump(mode="json"), cached, inferences, seconds)


def _inference_seconds(setup: Setup) -> float:
    session = Session(setup.baseline_file, threads=setup.recipe.threads)
    feeds = setup.workload.feeds
    if not feeds:
        return 0.0
    session.run(feeds)  # the first one also allocates
    begun = time.perf_counter()
    session.run(feeds)
    return (time.perf_counter() - begun) / setup.workload.batch_size


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
