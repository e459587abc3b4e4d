"""Options that a command takes together, as one value: a parameter `Annotated[type, Group(...)]` of its function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer

from compressctl.cli.help import Command, help_all
from compressctl.cli.options import Models, fields, given, parameter, stating
from compressctl.errors import RecipeError, flag
from compressctl.plain import problem_text

T = TypeVar("T")
_FEW = 16  # options: --help shows them all


class _Rare:
    pass


RARE = _Rare()
"""Marks an option that is typed by hand, and that `--help` does not show."""


@dataclass(frozen=True)
class Group:
    """The fields of options models, as options.

    Attributes:
        models: imports them, when the command is called or its help is asked for.
        collect: makes the value of those that were given.
        names: of the fields; none: all.
        free: nothing is required, nor given without a flag.
        besides: a dataclass whose fields are options typed by hand.
        examples: whether the command's help ends with the examples that the models have.
    """

    models: Callable[[], Models]
    collect: Callable[[dict[str, Any]], Any] = dict
    names: tuple[str, ...] = ()
    free: bool = False
    besides: type[Any] | None = None
    examples: bool = False

    def options(self) -> dict[str, tuple[inspect.Parameter, bool]]:
        """Return the options by name, each with whether `--help` shows it."""
        models = self.models()
        found = {}
        for name in self.names or fields(models):
            everyday = stating(name, models)[0].about(name).everyday
            found[name] = parameter(name, models, free=self.free), everyday
        return found if self.besides is None else found | typed(self.besides)


def typed(taken: Callable[..., Any]) -> dict[str, tuple[inspect.Parameter, bool]]:
    """Return the parameters of a function or dataclass, as `Group.options` does."""
    parameters = inspect.signature(taken, eval_str=True).parameters
    return {name: (one, _marked(one, _Rare) is None) for name, one in parameters.items()}


def passes(*names: str, only: tuple[str, ...] = (), examples: bool = False, **others: str | None) -> Group:
    """Return the options of passes, as a dict of those that are given.

    Args:
        names: of the passes.
        only: names of options; none: all.
        examples: whether the command's help ends with the examples that their Configs have.
        others: further passes -> what introduces the help of an option that means something else there.
    """

    def models() -> Models:
        from compressctl.passes import CONFIGS

        return {CONFIGS[name]: others.get(name) for name in (*names, *others)}

    return Group(models, names=only, examples=examples)


def recipe_keys(*names: str) -> Group:
    """Return these keys of a recipe, for a command that has none: a dict of all, defaults filled in.

    Raises:
        RecipeError: as the command runs: one does not fit; names the flag.
    """

    def models() -> Models:
        from compressctl.recipe.options import RunOptions, Samples

        return dict.fromkeys((Samples, RunOptions))

    def collect(arguments: dict[str, Any]) -> dict[str, Any]:
        from pydantic import TypeAdapter, ValidationError

        taken = {}
        for name in names:
            info = stating(name, models())[0].model_fields[name]
            kind: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
            try:
                taken[name] = TypeAdapter(kind).validate_python(arguments[name]) if name in arguments else info.default
            except ValidationError as error:
                problem = problem_text(error.errors()[0]["msg"])
                raise RecipeError(f"{flag(name)}: {problem}, not {arguments[name]!r}") from error
        return taken

    return Group(models, collect, names)


def command(function: Callable[..., int]) -> Command:
    """Return a command of the command line: the function's own parameters, and the options of its groups.

    A parameter of its own stands in the place of an option of the same name.
    """
    own = typed(function)
    groups = {name: found for name, (one, _) in own.items() if (found := _marked(one, Group)) is not None}
    options: dict[str, tuple[inspect.Parameter, bool]] = {}
    parts: dict[str, list[str]] = {}
    for name, one in own.items():
        if name not in groups:
            options[name] = one
            continue
        added = {each: found for each, found in groups[name].options().items() if each not in own}
        options |= added
        parts[name] = list(added)
    everyday = frozenset(name for name, (_, shown) in options.items() if shown or len(options) <= _FEW)
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one, _ in options.values()]
    if len(everyday) < len(parameters):
        parameters.append(help_all())

    def callback(**arguments: Any) -> int:
        arguments.pop("help_all", None)
        values = {
            name: group.collect(given({each: arguments.pop(each) for each in parts[name]}))
            for name, group in groups.items()
        }
        return function(**values, **arguments)

    callback.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    callback.__annotations__ = {one.name: one.annotation for one in parameters}
    examples = [model.examples for group in groups.values() if group.examples for model in group.models()]
    callback.__doc__ = "\n\n".join(inspect.cleandoc(text) for text in (function.__doc__ or "", *examples))
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(function.__name__, cls=Command)(callback)
    made = typer.main.get_command(app)
    assert isinstance(made, Command)
    made.everyday = everyday
    return made


def _marked(one: inspect.Parameter, kind: type[T]) -> T | None:
    return next((part for part in getattr(one.annotation, "__metadata__", ()) if isinstance(part, kind)), None)
