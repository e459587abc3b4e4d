"""What the keys of a recipe ask of each other, and which pass cannot come after which: said before anything is opened.

What the passes leave and need is told by their configs: `form`, `edits_weights`, `stopped_by`, `limited`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from compressctl.data.notation import made_up
from compressctl.data.parse import parse_notation
from compressctl.errors import RecipeError, flag
from compressctl.measure.metrics import is_share
from compressctl.passes.base import PassConfig, WeightForm
from compressctl.recipe.model import WRITTEN, Recipe
from compressctl.recipe.refusal import COMMAND_LINE

_MOST_POINTS = 100


def check_consistency(recipe: Recipe, origin: str) -> None:
    """Check that what is to be judged can be measured, and that no output takes the place of what is read.

    Raises:
        RecipeError: names the key, and what to do.
    """
    for key in Recipe.model_fields:
        if not Recipe.about(key).scored or (value := getattr(recipe, key)) is None or value is False:
            continue
        if not recipe.data:
            hint = f"add {_named('data', origin)}, and {_named('metric', origin)} where several fit"
            raise RecipeError(f"{_at(key, origin)} needs something to measure", hint)
        if made_up(recipe.data):
            hint = f"give real samples as {_named('data', origin)}"
            raise RecipeError(f"{_at(key, origin)} cannot be judged on random data", hint)
    if recipe.metric:
        check_scale(recipe, recipe.metric, origin)
    for key in recipe.asks_for_runs() if not recipe.measure else ():
        what = "a search" if key == "search" else _at(key, origin)
        off = "--no-measure" if origin == COMMAND_LINE else "measure: false"
        raise RecipeError(f"{what} needs measuring", f"leave {off} out")
    if recipe.metric and not recipe.data:
        raise RecipeError(f"{_at('metric', origin)} needs data to be measured on", f"add {_named('data', origin)}")
    for key in WRITTEN:
        path: Path | None = getattr(recipe, key)
        for what, read in _inputs(recipe) if path is not None else ():
            assert path is not None
            if _same(path, read):
                raise RecipeError(f"{_at(key, origin)}: {path} is {what}", "choose another name")


def check_scale(recipe: Recipe, metric: str, origin: str) -> None:
    """Refuse points where shares are wanted: a limit of 1 on top1 is 100 points, and holds nothing back.

    Raises:
        RecipeError: names the key, and what may be meant.
    """
    for key, budget, limit in recipe.limits():
        if budget.scored and is_share(metric) and (limit > 1 or (limit == 1 and not budget.at_least)):
            raise RecipeError(
                f"{_at(key, origin)}: {limit:g} of {metric} is {100 * limit:g} points of 100",
                f"give {limit:g}% or {limit / 100:g}" if limit <= _MOST_POINTS else "give a share from 0 to 1",
            )


def _inputs(recipe: Recipe) -> Iterator[tuple[str, Path]]:
    """Yield the files that a run reads, each with what it is."""
    yield "the model itself", recipe.model
    for index, config in enumerate(recipe.passes):
        for path in config.files:
            yield f"a model that passes[{index}] ({config.type}) reads", path
    for key, notation in recipe.notations():
        yield f"the samples of {key}", Path(parse_notation(notation).source)


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)  # noqa: PTH121 - of paths that need not exist, too
    except (OSError, ValueError):
        return os.path.abspath(one) == os.path.abspath(other)  # noqa: PTH100


def _named(key: str, origin: str) -> str:
    return flag(key) if origin == COMMAND_LINE else key


def _at(key: str, origin: str) -> str:
    return _named(key, origin) if origin == COMMAND_LINE else f"{origin}: {key}"


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
                both = f"{_numbered(index, config)} cannot come after {_numbered(place, earlier)}, which {reason}"
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


def _numbered(index: int, config: PassConfig) -> str:
    return f"passes[{index}] ({config.type})"
