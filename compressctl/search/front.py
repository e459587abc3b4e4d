"""The Pareto front: measured in full and interleaved, so that what noise put there goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compressctl.errors import OutputError
from compressctl.measure.measurement import Measurement
from compressctl.pipeline.budgets import missed
from compressctl.pipeline.candidates import measure_candidates, save_candidate
from compressctl.pipeline.setup import Setup
from compressctl.pipeline.stages import run_passes
from compressctl.recipe.model import Recipe
from compressctl.report.schema import FrontPoint
from compressctl.search.attempt import setup_of
from compressctl.search.best import write_recipe
from compressctl.search.candidate import label
from compressctl.search.files import best_path, front_path, is_front
from compressctl.search.ranking import dominates, goal
from compressctl.search.record import Record, recipe_of


@dataclass(frozen=True)
class Measured:
    """A candidate measured as any result is.

    Attributes:
        recipe: what reproduces it.
        after: what it measures.
        missed: budgets that are missed, and by what share of their limits in sum.
    """

    recipe: Recipe
    after: Measurement
    missed: tuple[int, float]

    @property
    def objectives(self) -> tuple[float, float, float]:
        """Bytes, latency over the input's, drop of the metric."""
        assert self.after.latency_ratio is not None and self.after.drop is not None
        return float(self.after.bytes), self.after.latency_ratio.value, self.after.drop.drop


def measure_front(setup: Setup, records: Sequence[Record]) -> list[Measured]:
    """Measure candidates side by side, and leave out those that others turn out to beat; the best one first.

    Raises:
        ModelError, DataError: a file cannot be run on the samples.
    """
    assert setup.recipe.search is not None
    objective = setup.recipe.search.objective
    candidates, recipes = [], []
    for index, record in enumerate(records):
        found = recipe_of(setup.recipe, record.passes)
        own = setup_of(setup, found)
        candidates.append(save_candidate(own, run_passes(own, found.passes), f"front-{index}"))
        recipes.append(found)
    setup.context.progress.step(f"measure {len(candidates)} candidates side by side")
    _, *after = measure_candidates(setup, candidates)
    points = [Measured(found, one, missed(found, one)) for found, one in zip(recipes, after, strict=True)]
    left = [a for a in points if not any(dominates(b.objectives, a.objectives) for b in points)]
    return sorted(left, key=lambda one: (*one.missed, goal(objective, *one.objectives[:2]), one.objectives[2]))


def write_front(output: Path, points: Sequence[Measured]) -> tuple[FrontPoint, ...]:
    """Write the recipe of each point, the best one's as that of the output; return them for the report, smallest first.

    Recipes of an earlier front are removed.

    Raises:
        OutputError: one cannot be written.
    """
    folder = front_path(output)
    try:
        folder.mkdir(exist_ok=True)
        for file in folder.iterdir():
            if is_front(file):
                file.unlink()
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}") from error
    found = []
    for number, point in enumerate(points):
        path = folder / f"{number}.yaml" if number else best_path(output)
        target = point.recipe if not number else point.recipe.model_copy(update={"output": folder / f"{number}.onnx"})
        found.append(_point(point, write_recipe(target, path), path, chosen=not number))
    return tuple(sorted(found, key=lambda one: one.bytes))


def _point(point: Measured, content: dict[str, object], path: Path, *, chosen: bool) -> FrontPoint:
    after = point.after
    assert after.size_ratio is not None and after.latency_ratio is not None
    return FrontPoint(
        label=label(point.recipe.passes),
        recipe=content,
        recipe_path=str(path),
        bytes=after.bytes,
        size_ratio=after.size_ratio,
        latency_ratio=after.latency_ratio,
        drop=after.drop.interval if after.drop else None,
        feasible=not point.missed[0],
        chosen=chosen,
    )
