"""What a trial found, as it is kept in the storage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from compressctl.passes.base import PassConfig
from compressctl.pipeline.setup import trains
from compressctl.recipe.load import build_recipe
from compressctl.recipe.model import PERMISSIONS, Recipe

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_KEY = "record"


@dataclass(frozen=True)
class Record:
    """A candidate and what it measured.

    Attributes:
        params: what it was made of.
        passes: the same as passes, JSON-able.
        bytes: of the file; None where it was not made.
        latency: over the input's, where that counts; None elsewhere.
        drop: of the metric, with its interval, on `samples` samples.
        samples: how many it was judged on.
        complete: whether these are all samples.
        missed: budgets that are missed, and by what share of their limits in sum.
        hopeless: whether it surely loses more accuracy than the budget admits.
        seconds: what it took.
        costs: seconds by kind of pass, see `clock.py`.
        provenance: the canonical recipe, as in the metadata of its file; empty where there was no need to make one.
        reason: why it failed or was left, or None.
    """

    params: dict[str, Any]
    passes: list[dict[str, Any]]
    bytes: int | None = None
    latency: float | None = None
    drop: tuple[float, float, float] | None = None
    samples: int = 0
    complete: bool = False
    missed: tuple[int, float] = (0, 0.0)
    hopeless: bool = False
    seconds: float = 0.0
    costs: dict[str, float] | None = None
    provenance: str = ""
    reason: str | None = None

    @property
    def feasible(self) -> bool:
        """Whether all budgets are kept, as far as was measured."""
        return self.complete and not self.missed[0]

    def keep(self) -> tuple[str, dict[str, Any]]:
        """Return the attribute of a trial that holds this."""
        return _KEY, asdict(self)


_ADAPTER = TypeAdapter(Record)


def read(trial: FrozenTrial) -> Record | None:
    """Return what a trial found; None where it has not ended."""
    kept = trial.user_attrs.get(_KEY)
    return None if kept is None else _ADAPTER.validate_python(kept)


def dumped(passes: Sequence[PassConfig]) -> list[dict[str, Any]]:
    """Return passes as a recipe file has them: what is not said is the default."""
    return [config.entry for config in passes]


def recipe_of(recipe: Recipe, passes: Sequence[dict[str, Any]]) -> Recipe:
    """Return the recipe of one candidate of a search: the passes spelled out, and taken as they are.

    Samples to train on are left out where nothing trains.
    """
    content = recipe.model_dump(mode="json", exclude={"search"}, exclude_defaults=True)
    permissions = {key: getattr(recipe, key) for key in PERMISSIONS}
    found = build_recipe({**content, **permissions, "passes": list(passes), "on_regression": "keep"}, "search")
    return found if trains(found.passes) else found.model_copy(update={"train": None})
