"""Options of the command line, made of the fields that they stand for: flags, type, default, help and words.

None stands for what is not given, so that the default of the field holds.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

from compressctl.errors import flag

if TYPE_CHECKING:
    from compressctl.fields import Options

Models = Mapping["type[Options]", str | None]
"""Options models -> what introduces their help of an option that an earlier one has too; None: it is left out."""

_LONGEST = 45  # characters of words in a row


def fields(models: Models) -> list[str]:
    """Return the names of the fields that have flags, those of each class before its bases': all but a pass's name."""
    stated = (name for model in models for each in model.__mro__ for name in vars(each).get("__annotations__", {}))
    known = {name for model in models for name in model.model_fields if not model.about(name).flagless} - {"type"}
    return [name for name in dict.fromkeys(stated) if name in known]


def parameter(name: str, models: Models, *, free: bool = False) -> inspect.Parameter:
    """Return an option, or argument, as typer takes it.

    Args:
        name: of a field.
        models: those that may have it; where several do, it takes the values of each.
        free: nothing is required, nor given without a flag.
    """
    first, *others = stating(name, models)
    info, about = first.model_fields[name], first.about(name)
    known = list(dict.fromkeys(word for model in (first, *others) for word in words(model, name)))
    shown: dict[str, Any] = {
        "help": " ".join([_describe(first, name), *_besides(name, first, others, models)]),
        "metavar": about.metavar or _metavar(_type(first, name), known),
        "rich_help_panel": _group(first, name),
        "autocompletion": completing(*(about.words or known)),
        "show_default": False,
    }
    positional = about.positional and not free
    taken = typer.Argument(**shown) if positional else typer.Option(*_flags(first, name), **shown)
    required = info.is_required() and not free
    kind = _type(first, name) if required else _type(first, name) | None
    default = inspect.Parameter.empty if required else None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, taken])


def stating(name: str, models: Models) -> list[type[Options]]:
    """Return the models that have a field of this name."""
    return [model for model in models if name in model.model_fields]


def words(model: type[Options], name: str) -> list[str]:
    """Return the words of which a field takes one, or some; none where it takes anything else."""
    return [str(value) for value in _literals(model.model_fields[name].annotation)]


def completing(*known: str) -> Callable[[str], list[str]] | None:
    """Return a function that completes one of these words; None, which leaves it to the shell, where there are none."""
    return (lambda incomplete: [word for word in known if word.startswith(incomplete)]) if known else None


def given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those that were given on the command line."""
    return {name: value for name, value in arguments.items() if value is not None and value != []}


def _flags(model: type[Options], name: str) -> tuple[str, ...]:
    plain, stated = flag(name), model.about(name).flags
    switch = _type(model, name) is bool and model.model_fields[name].default is not False
    return stated or ((f"{plain}/--no-{plain[2:]}",) if switch else (plain,))


def _besides(name: str, first: type[Options], others: list[type[Options]], models: Models) -> Iterator[str]:
    """Yield how other models describe an option of this name, where it means something else there."""
    for model in others:
        if models[model] is not None and _kind(model, name) != _kind(first, name):
            yield f"{models[model]}: {_describe(model, name)}"


def _describe(model: type[Options], name: str) -> str:
    """Return the description of a field, and its default where that says something."""
    info = model.model_fields[name]
    text, default = " ".join((info.description or "").split()), info.default
    says = isinstance(default, str | int | float) and not isinstance(default, bool) and default != 0
    return f"{text} [default: {default}]" if says else text


def _kind(model: type[Options], name: str) -> tuple[Any, Any]:
    info = model.model_fields[name]
    return info.annotation, info.default


def _metavar(kind: Any, known: list[str]) -> str | None:
    """Return the words, as far as they fit, and a letter for numbers that are counted; None leaves it to typer."""
    if not known:
        return "N" if kind is int else None
    whole = "|".join(known)
    return whole if len(whole) <= _LONGEST else f"{whole[:_LONGEST].rpartition('|')[0]}|…"


def _group(model: type[Options], name: str) -> str | None:
    """Return the title of the class that has the field first."""
    first = [each for each in model.__mro__ if name in vars(each).get("__annotations__", {})][-1]
    return vars(first).get("group")


def _literals(annotation: Any) -> tuple[Any, ...]:
    """Return the values of each Literal in an annotation."""
    inner = get_args(annotation)
    if get_origin(annotation) is Literal:
        return inner
    return tuple(value for part in inner for value in _literals(part))


def _type(model: type[Options], name: str) -> Any:
    """Return what typer reads for a field: bool, int, float, Path, str, or a list of these."""
    info = model.model_fields[name]
    return _read(Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation)


def _read(annotation: Any) -> Any:
    from pydantic import BeforeValidator

    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return str if any(isinstance(part, BeforeValidator) for part in inner) else _read(inner[0])
    if origin is tuple:
        return list[_read(inner[0])]  # type: ignore[misc]
    if origin is Literal:
        kinds = {type(value) for value in inner}
    elif origin in (Union, UnionType):
        kinds = {_read(part) for part in inner if part is not NoneType}
    else:
        kinds = {annotation if annotation in (bool, int, float, Path) else str}
    return kinds.pop() if len(kinds) == 1 else str
