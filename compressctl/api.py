"""compressctl from Python: what the command line does, as functions, for notebooks and scripts.

Errors are raised instead of told: each is a `CompressctlError` with its message, hint and exit code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compressctl import comparison, pipeline, search
from compressctl.comparison import Conditions
from compressctl.errors import EXIT_BUDGET, EXIT_OK, UsageError
from compressctl.pipeline.paths import guard_runs
from compressctl.progress import Progress
from compressctl.recipe.load import build_recipe
from compressctl.recipe.load import load_recipes as read_recipes
from compressctl.recipe.model import Recipe
from compressctl.report import schema
from compressctl.report.as_json import to_json
from compressctl.report.html import to_fragment, to_html
from compressctl.report.markdown import to_markdown
from compressctl.report.read import read_report
from compressctl.report.tables import comparison as comparison_table
from compressctl.search.files import search_writes
from compressctl.terminal import terminal_progress

__all__ = ["BenchReport", "Recipe", "Report", "bench", "load_recipe", "load_recipes", "load_report", "run"]


class Report(schema.Report):
    """The outcome of one compression run (see `report.schema.Report` for its fields); a notebook shows it as tables."""

    @property
    def exit_code(self) -> int:
        """The exit code of a command that does this run: 4 where a budget is missed, else 0."""
        return EXIT_BUDGET if self.verdict == "budget missed" else EXIT_OK

    def to_json(self) -> str:
        """Return what the `.report.json` beside the output holds."""
        return to_json(self)

    def to_markdown(self) -> str:
        """Return the report as a Markdown document."""
        return to_markdown(self)

    def to_html(self) -> str:
        """Return the report as a page of its own."""
        return to_html(self)

    def __repr__(self) -> str:
        return f"<Report of {self.output.path}: {self.verdict}>"

    def _repr_html_(self) -> str:
        return to_fragment(self)


class BenchReport(schema.BenchReport):
    """Models measured side by side (see `report.schema.BenchReport`); a notebook shows it as a table."""

    def to_json(self) -> str:
        """Return what `compressctl bench --json` prints."""
        return to_json(self)

    def __repr__(self) -> str:
        return f"<BenchReport of {', '.join(model.path for model in self.models)}>"

    def _repr_html_(self) -> str:
        return to_fragment(comparison_table(self), self.notes)


def load_recipe(recipe: Path | str | Mapping[str, Any], *, settings: Sequence[str] = (), **keys: Any) -> Recipe:
    """Return the run that a recipe stands for.

    Args:
        recipe: a YAML file, or the keys of a recipe as a mapping.
        settings: `key=value` each, as of `--set`; of a file.
        keys: keys of the recipe that replace its own, as flags do: `model="other.onnx"`, `max_accuracy_drop=0.01`.

    Raises:
        RecipeError: a key, value or variable does not fit; names the key path.
        UsageError: it has a `sweep`, which is several runs; settings for a mapping; a notation of samples is wrong.
    """
    if isinstance(recipe, Mapping):
        if settings:
            raise UsageError("settings are for recipe files", "change the mapping")
        return build_recipe(_plain({**recipe, **keys}), "the recipe")
    runs = load_recipes(recipe, settings=settings, **keys)
    if len(runs) > 1:
        raise UsageError(f"{recipe} stands for {len(runs)} runs, by its sweep", "load_recipes gives all of them")
    return runs[0]


def load_recipes(recipe: Path | str, *, settings: Sequence[str] = (), **keys: Any) -> list[Recipe]:
    """Return the runs that a recipe file stands for: one, or with `sweep` one for each combination.

    Args and errors: as of `load_recipe`.
    """
    return read_recipes(Path(recipe), _plain(keys), settings)


def run(recipe: Recipe, *, progress: bool = True) -> Report:
    """Do a run, or a search where the recipe asks for one: write the output and its reports, return the report.

    A missed budget raises nothing: `Report.verdict` says so, and `Report.exit_code` is 4.

    Args:
        recipe: what to do.
        progress: show on stderr how it goes.

    Raises:
        CompressctlError: of the kind that names what is wrong; nothing is written then.
    """
    guard_runs([recipe], writes=search_writes(recipe) if recipe.search is not None else ())
    with terminal_progress(not progress) as shown:
        found = carry_out(recipe, shown)
    if found is None:
        raise UsageError("of several processes that work together, one alone has the report", "use the command line")
    return Report(**vars(found))


def carry_out(recipe: Recipe, progress: Progress) -> schema.Report | None:
    """Do a run or a search; see `pipeline.run` and `search.search`, which of the two the recipe asks for."""
    return pipeline.run(recipe, progress) if recipe.search is None else search.search(recipe, progress)


def load_report(path: Path | str) -> Report:
    """Return the report in a `.report.json`.

    Raises:
        DataError: the file cannot be read, is no report, or one of another major version of the schema.
    """
    return Report(**vars(read_report(Path(path))))


def bench(
    *models: Path | str,
    baseline: Path | str | None = None,
    data: str | None = None,
    metric: str | None = None,
    input: Sequence[str] = (),
    state: Sequence[str] = (),
    batch_size: int = 1,
    threads: int = 0,
    seed: int = 0,
    allow_python: bool = False,
    seconds: float = 10.0,
    profile: bool = False,
    progress: bool = True,
) -> BenchReport:
    """Measure models side by side: size, latency, memory, accuracy.

    Args:
        models: ONNX, TorchScript or .ccz files, the first the baseline.
        baseline: the file that the others are compared with.
        data, metric, input, state, batch_size, threads, seed, allow_python: as in a recipe; threads 0 are all cores.
        seconds: limit of the latency measurement, for each model.
        profile: whether to time operators and nodes.
        progress: show on stderr how it goes.

    Raises:
        CompressctlError: an option, model or data file that cannot be used.
    """
    if not models:
        raise UsageError("bench needs a model", "bench('model.onnx', 'small.onnx')")
    given = Conditions(
        input=tuple(input),
        state=tuple(state),
        data=data,
        metric=metric,
        allow_python=allow_python,
        batch_size=batch_size,
        threads=threads,
        seed=seed,
        seconds=seconds,
        profile=profile,
    )
    with terminal_progress(not progress) as shown:
        found = comparison.bench(
            [Path(model) for model in models], given, shown, baseline=None if baseline is None else Path(baseline)
        )
    return BenchReport(**vars(found))


def _plain(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return keys with paths as text, as YAML has them."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in keys.items()}
