"""Which pass cannot come after which: said before anything runs.

What the passes leave and need is told by their configs: `form`, `edits_weights`, `stopped_by`, `limited`.
"""

from __future__ import annotations

from collections.abc import Sequence

from compressctl.errors import RecipeError
from compressctl.passes.base import PassConfig, WeightForm

_MADE: dict[WeightForm, str] = {
    "packed": "stores weights packed",
    "static": "makes weights integers",
    "dynamic": "makes layers compute with integers, without gradients",
}


def check_order(passes: Sequence[PassConfig], origin: str) -> None:
    """Check that every pass can work on what those before it leave; `origin` begins the error.

    Raises:
        RecipeError: names both passes and what to do.
    """
    changed: list[tuple[int, PassConfig]] = []  # those since the last that made weights plain again
    for index, config in enumerate(passes):
        for place, earlier in changed:
            if reason := _conflict(earlier, config):
                both = f"{_named(index, config)} cannot come after {_named(place, earlier)}, which {reason}"
                raise RecipeError(f"{origin}: {both}", _remedy(earlier, config))
        if config.form == "plain":
            changed = [(place, earlier) for place, earlier in changed if earlier.form != "packed"]
        elif config.form is not None:
            changed.append((index, config))


def _conflict(earlier: PassConfig, later: PassConfig) -> str | None:
    """Return why the later pass cannot follow, or None where it can."""
    form = earlier.form
    assert form is not None
    if form in later.stopped_by:
        return _MADE[form]
    if later.edits_weights and not (earlier.limited or later.limited):
        return f"{_MADE[form].partition(',')[0]}, and leaves none to {later.type}"
    return None


def _remedy(earlier: PassConfig, later: PassConfig) -> str:
    either_way = later.form is not None and _conflict(later, earlier) is not None
    ways = ["leave one of them out" if either_way else f"put {later.type} before {earlier.type}"]
    if earlier.form not in later.stopped_by:
        ways.append("limit one of them by include or exclude")
    if earlier.form == "packed":
        ways.append("put store with format: dense between them")
    return ", or ".join(ways)


def _named(index: int, config: PassConfig) -> str:
    return f"passes[{index}] ({config.type})"
