"""The options of a search for passes and their settings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from compressctl.recipe.durations import Seconds
from compressctl.recipe.threads import Threads

_EFFORT = {"time_limit", "trials", "storage", "workers"}


class SearchOptions(BaseModel):
    """How to search for the passes: `passes` of the recipe, if there are any, begin every candidate."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    objective: Literal["size", "latency", "both"] = "both"
    """What is made small while all budgets are kept: the file's size, the latency, or the product of both."""
    time_limit: Seconds = 1200
    """When to stop, measuring and writing included: seconds, or for example 90s, 20m or 1h30m. What is in progress is
    finished."""
    trials: int | None = Field(default=None, ge=1)
    """Stop after so many candidates in all, too."""
    storage: str | None = None
    """Where the search keeps what it has tried: a file, or sqlite:///FILE or another database that Optuna takes.
    Commands of one search that name the same storage share the work. Default: beside the output, and --resume goes on
    with it."""
    workers: Annotated[Threads, Field(ge=1)] = 1
    """Processes that search at the same time on this machine."""

    def question(self) -> dict[str, Any]:
        """Return what is asked for, without the effort that is put into it: of one search, all of it is the same."""
        return self.model_dump(mode="json", exclude=_EFFORT)
