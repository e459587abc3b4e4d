"""The report: one frozen value that console, JSON and Markdown are rendered from.

`SCHEMA_VERSION` follows semantic versioning: fields are added in minor versions, changed or removed in major ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter

from compressctl.explanation.schema import Explanation
from compressctl.measure.floor import VERDICT, Floor, Shortfall
from compressctl.measure.interval import Interval
from compressctl.measure.machine import Machine
from compressctl.measure.measurement import Measurement
from compressctl.notes import Note
from compressctl.robustness.schema import Robustness

SCHEMA_VERSION = "1.4"
Verdict = Literal["ok", "no gain", "regression", "degraded", "budget missed", "not measured"]


@dataclass(frozen=True)
class PassReport:
    """What one pass did.

    Attributes:
        type: the pass.
        options: its resolved options.
        seconds: wall time.
        notes: what it did, skipped or warns of.
        facts: its tables and chosen numbers.
        rolled_back: why its result was dropped, or None.
        cached: whether its result came from the cache; `seconds` is then what it took when it ran.
        measured: the model after it, or None where it was not measured: after passes that only prepare the next.
    """

    type: str
    options: dict[str, Any]
    seconds: float
    notes: tuple[Note, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    rolled_back: str | None = None
    cached: bool = False
    measured: Measurement | None = None

    @property
    def recipe_lines(self) -> tuple[str, ...]:
        """The lines of a recipe that repeat what the pass chose; none of one that was rolled back."""
        return () if self.rolled_back else tuple(self.facts.get("recipe_lines", ()))


@dataclass(frozen=True)
class BudgetVerdict:
    """A budget and what was measured against it.

    Attributes:
        budget: the recipe key.
        limit: what was asked for, at most (of budgets called `min_…`: at least).
        value: what was measured.
        met: whether `value`, or with `strict` its whole interval, keeps to the limit.
        low, high: the 95 % interval of `value`; both are `value` where it is exact.
        reason: one sentence: what was asked for, what was measured, and how sure that is.
    """

    budget: str
    limit: float
    value: float
    met: bool
    low: float
    high: float
    reason: str


@dataclass(frozen=True)
class FrontPoint:
    """A model that a search found and that no other one beats in size, latency and accuracy at once.

    Attributes:
        label: its passes in few words.
        recipe: what reproduces it.
        recipe_path: `recipe` as the file that was written.
        bytes: file size.
        size_ratio: over the input's.
        latency_ratio: over the input's, all points measured interleaved.
        drop: of the metric against the input, with its 95 % interval; None where no metric is measured.
        feasible: whether it keeps every budget.
        chosen: whether it is the output.
    """

    label: str
    recipe: dict[str, Any]
    recipe_path: str
    bytes: int
    size_ratio: float
    latency_ratio: Interval
    drop: Interval | None
    feasible: bool
    chosen: bool


@dataclass(frozen=True)
class Report:
    """The outcome of one compression run.

    Attributes:
        input: the model as it came; latency and accuracy were measured interleaved with the result's.
        output: the file that was written.
        verdict: the first that holds of "budget missed", "degraded" (an output is below the fidelity floor, or NaN or
            infinite where the input's is finite), "not measured" (the models were not run), "regression" (something
            else measured worse than the input), "no gain" (all that the passes did was rolled back, or they found
            nothing to do), "ok".
        notes: from loading, data and judging, as opposed to those of a pass.
        recipe: the resolved recipe.
        inputs_sha256: of what was read besides the model: samples by the recipe's key, students and teachers by path.
        front: the Pareto front of a search, smallest first.
        explanation: the result layer by layer, where asked for.
        robustness: the metric of input and result under changed inputs, where asked for.
        floor: the fidelity floor that outputs were judged by.
        below: what of the outputs is below it.
        metric_chosen: whether the metric was found, because the recipe names none.
    """

    verdict: Verdict
    input: Measurement
    output: Measurement
    passes: tuple[PassReport, ...]
    budgets: tuple[BudgetVerdict, ...]
    notes: tuple[Note, ...]
    recipe: dict[str, Any]
    input_sha256: str
    output_sha256: str
    metric: str | None
    machine: Machine
    versions: dict[str, str]
    seconds: float
    inputs_sha256: dict[str, str] = field(default_factory=dict)
    front: tuple[FrontPoint, ...] = ()
    explanation: Explanation | None = None
    robustness: Robustness | None = None
    floor: Floor = VERDICT
    below: tuple[Shortfall, ...] = ()
    metric_chosen: bool = False
    schema_version: str = SCHEMA_VERSION


@dataclass(frozen=True)
class BenchReport:
    """Models measured side by side; ratios and differences are against the first one (or `--baseline`).

    Attributes:
        metric_chosen: whether the metric was found, because none was named.
    """

    baseline: str
    models: tuple[Measurement, ...]
    metric: str | None
    notes: tuple[Note, ...]
    batch_size: int
    machine: Machine
    versions: dict[str, str]
    metric_chosen: bool = False
    schema_version: str = SCHEMA_VERSION


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of `Report`."""
    return TypeAdapter(Report).json_schema()
