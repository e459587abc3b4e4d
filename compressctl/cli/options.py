"""The options that commands share, each defined once; help texts come from the recipe's and the passes' fields."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import TypeAdapter, ValidationError

from compressctl.errors import RecipeError, UsageError
from compressctl.fields import Options
from compressctl.passes import store
from compressctl.plain import problem_text
from compressctl.recipe import Recipe


def describe(model: type[Options], field: str) -> str:
    """Return the help text of a field: its description, and its default where it has one that says something."""
    info = model.model_fields[field]
    text = " ".join((info.description or "").split())
    default = info.default
    if isinstance(default, str | int | float) and not isinstance(default, bool) and default != 0:
        return f"{text} [default: {default}]"
    return text


def option(model: type[Options], field: str, *names: str, **extra: Any) -> Any:
    """Return a typer option for a field; the default None means: not given, so the field's own default holds.

    In the help it stands in the group of its field, and the shell completes its words where it takes some of a list.
    """
    names = names or (f"--{field.replace('_', '-')}",)
    usual = {"rich_help_panel": _group(model, field), "autocompletion": completing(*words(model, field))}
    return typer.Option(*names, help=describe(model, field), show_default=False, **usual | extra)


def words(model: type[Options], field: str) -> tuple[str, ...]:
    """Return the words of which the field takes one, or some; empty where it takes anything else."""
    return tuple(word for word in _literals(model.model_fields[field].annotation) if isinstance(word, str))


def completing(*known: str) -> Callable[[str], list[str]] | None:
    """Return a function that completes one of these words; None, which leaves it to the shell, where there are none."""
    return (lambda incomplete: [word for word in known if word.startswith(incomplete)]) if known else None


def _literals(annotation: Any) -> tuple[Any, ...]:
    """Return the values of each Literal in an annotation."""
    inner = get_args(annotation)
    if get_origin(annotation) is Literal:
        return inner
    return tuple(value for part in inner for value in _literals(part))


def _group(model: type[Options], field: str) -> str | None:
    """Return the title of the class that states the field first."""
    first = [each for each in model.__mro__ if field in vars(each).get("__annotations__", {})][-1]
    return vars(first).get("group")


Model = Annotated[Path, typer.Argument(help=describe(Recipe, "model"), show_default=False)]
Output = Annotated[Path, option(Recipe, "output", "--output", "-o")]
Input = Annotated[list[str] | None, option(Recipe, "input", metavar="NAME:SHAPE[:DTYPE]")]
Calibrate = Annotated[str | None, option(Recipe, "calibrate", metavar="DATA")]
Train = Annotated[str | None, option(Recipe, "train", metavar="DATA")]
Data = Annotated[str | None, option(Recipe, "data", metavar="DATA")]
MetricName = Annotated[
    str | None, option(Recipe, "metric", autocompletion=completing("top1", "top5", "f1", "mse", "psnr", "spearman"))
]
MaxAccuracyDrop = Annotated[float | None, option(Recipe, "max_accuracy_drop")]
MinAccuracy = Annotated[float | None, option(Recipe, "min_accuracy")]
SizeRatio = Annotated[float | None, option(Recipe, "size_ratio")]
MaxSize = Annotated[str | None, option(Recipe, "max_size", metavar="BYTES")]
LatencyRatio = Annotated[float | None, option(Recipe, "latency_ratio")]
MaxLatencyMs = Annotated[float | None, option(Recipe, "max_latency_ms")]
MaxMemory = Annotated[str | None, option(Recipe, "max_memory", metavar="BYTES")]
MinSqnr = Annotated[float | None, option(Recipe, "min_sqnr", metavar="DB")]
MinAgreement = Annotated[float | None, option(Recipe, "min_agreement", metavar="SHARE")]
Strict = Annotated[bool, option(Recipe, "strict", "--strict")]
OnRegression = Annotated[str | None, option(Recipe, "on_regression", metavar="take-back|keep")]
BatchSize = Annotated[int | None, option(Recipe, "batch_size")]
Threads = Annotated[int | None, option(Recipe, "threads")]
Seed = Annotated[int | None, option(Recipe, "seed")]
Device = Annotated[str | None, option(Recipe, "device", metavar="cpu|cuda|auto")]
Format = Annotated[str | None, option(store.Config, "format", metavar="auto|dense|codebook|bitmask|gaps|coo|csr")]
CachePath = Annotated[Path | None, option(Recipe, "cache", metavar="FOLDER")]
Explain = Annotated[bool, option(Recipe, "explain", "--explain")]
Robustness = Annotated[bool, option(Recipe, "robustness", "--robustness")]
ReportPath = Annotated[Path | None, option(Recipe, "report")]
JUnit = Annotated[
    Path | None,
    typer.Option(
        "--junit", rich_help_panel="Report", help="Write the budgets as JUnit XML here, for CI.", show_default=False
    ),
]
AllowPython = Annotated[bool, option(Recipe, "allow_python", "--allow-python")]
Force = Annotated[bool, option(Recipe, "force", "--force")]
Resume = Annotated[bool, option(Recipe, "resume", "--resume")]
Json = Annotated[
    bool, typer.Option("--json", rich_help_panel="Report", help="Print one JSON document on stdout instead of tables.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", rich_help_panel="Report", help="No progress on stderr.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", rich_help_panel="Report", help="Also print what was done, node by node.")
]


def checked(**options: Any) -> dict[str, Any]:
    """Return options of a command that has no recipe, as the recipe's fields of their names take them.

    Args:
        options: by field; None where one was not given, which stands for the field's default.

    Raises:
        RecipeError: one does not fit; names the flag.
    """
    taken = {}
    for name, value in options.items():
        info = Recipe.model_fields[name]
        kind: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
        try:
            taken[name] = info.default if value is None else TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            problem = error.errors()[0]
            flag = f"--{name.replace('_', '-')}"
            raise RecipeError(f"{flag}: {problem_text(problem['msg'])}, not {value!r}") from error
    return taken


def check_seconds(seconds: float) -> None:
    """Refuse a time limit that measuring cannot keep.

    Raises:
        UsageError: it is not above 0, or more than a day.
    """
    if not 0 < seconds <= 86400:
        raise UsageError(f"--seconds: give a number above 0 and up to 86400, not {seconds}")


def given(**arguments: Any) -> dict[str, Any]:
    """Return the arguments that were given on the command line: not None, not an empty list, not an unset flag."""
    return {key: value for key, value in arguments.items() if value is not None and value is not False and value != []}
