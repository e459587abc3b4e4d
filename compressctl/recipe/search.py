"""The options of a search for passes and their settings."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from compressctl.fields import Option, Options
from compressctl.quantities import Seconds, Threads


class SearchOptions(Options):
    """How to search for the passes: `passes` of the recipe, if there are any, begin every candidate."""

    group: ClassVar[str | None] = "Search"

    objective: Annotated[Literal["size", "latency", "both"], Option(everyday=True)] = "both"
    """What is made small while all budgets are kept: the file's size, the latency, or the product of both."""
    time_limit: Annotated[Seconds, Option(metavar="DURATION", decides="nothing", everyday=True)] = 1200
    """When to stop, measuring and writing included: seconds, or for example 90s, 20m or 1h30m. What is in progress is
    finished."""
    trials: Annotated[int | None, Option(decides="nothing")] = Field(default=None, ge=1)
    """Stop after so many candidates in all, too."""
    storage: Annotated[str | None, Option(metavar="FILE|URL", decides="nothing")] = None
    """Where the search keeps what it has tried: a file, or sqlite:///FILE or another database that Optuna takes.
    Commands of one search that name the same storage share the work. Default: beside the output, and --resume goes on
    with it."""
    workers: Annotated[Threads, Field(ge=1), Option(decides="nothing")] = 1
    """Processes that search at the same time on this machine."""

    def question(self) -> dict[str, Any]:
        """Return what is asked for, without the effort that is put into it: of one search, all of it is the same."""
        return self.model_dump(mode="json", include=self.deciding("bytes"))
