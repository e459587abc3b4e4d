"""What `--help` prints: everyday options in groups, the names of the others, examples to copy, the exit codes.
`--help-all` prints all options.

A docstring of a command is a synopsis, then its examples: paragraphs in which a line begins with `compressctl`, printed
as they stand. An option's group is its `rich_help_panel`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from compressctl.errors import EXIT_BUDGET

_ARGUMENTS, _OPTIONS = "Arguments", "Options"
_FIRST, _LAST = (_ARGUMENTS, _OPTIONS, "Samples", "Budgets"), ("Run", "Report")
_ALL = "--help-all"
_GAP = "    "  # before and between columns
_WHOLE = "compressctl.help"  # of a context: whether all options are listed
_EXIT_CODES = {
    0: "done",
    1: "a bug in compressctl",
    2: "wrong usage or recipe",
    3: "a model or data file that cannot be used",
    4: "a budget missed; the output is written all the same",
    130: "interrupted; 143: by SIGTERM, 129: by SIGHUP",
}


class Command(TyperCommand):
    """A command with that help.

    Attributes:
        everyday: the names of the parameters that `--help` shows.
    """

    everyday: frozenset[str] = frozenset()

    @property
    def examples(self) -> list[str]:
        """The paragraphs of the docstring that are commands, each with its comment."""
        return [paragraph for paragraph in self._paragraphs() if _is_example(paragraph)]

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write the synopsis."""
        for paragraph in self._paragraphs():
            if not _is_example(paragraph):
                formatter.write_paragraph()
                with formatter.indentation():
                    formatter.write_text(paragraph)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options group by group, and what others there are."""
        shown: dict[str, list[tuple[str, str]]] = {}
        others: dict[str, list[str]] = {}
        for parameter in self.get_params(ctx):
            record, title = parameter.get_help_record(ctx), _group(parameter)
            if record is not None and (ctx.meta.get(_WHOLE) or parameter.name in {*self.everyday, "help", "help_all"}):
                shown.setdefault(title, []).append(record)
            elif record is not None:
                others.setdefault(title, []).append(max(parameter.opts, key=len))
        between = [title for title in {**shown, **others} if title not in (*_FIRST, *_LAST)]
        titles = (*_FIRST, *between, *_LAST)
        for title in titles:
            if title in shown:
                with formatter.section(title):
                    formatter.write_dl(shown[title])
        if others:
            with formatter.section(f"More, with {_ALL}"):
                width = formatter.width - max(map(len, others)) - len(_GAP)
                formatter.write_dl([(title, _line(others[title], width)) for title in titles if title in others])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, and which exit codes this command has."""
        if self.examples:
            with formatter.section("Examples"):
                for index, example in enumerate(self.examples):
                    if index:
                        formatter.write("\n")
                    formatter.write("".join(f"  {line}\n" for line in example.splitlines()))
        judges = any(_group(parameter) == "Budgets" for parameter in self.params)
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), why) for code, why in _EXIT_CODES.items() if judges or code != EXIT_BUDGET])

    def _paragraphs(self) -> list[str]:
        return [part for part in inspect.cleandoc(self.help or "").split("\n\n") if part]


def _line(names: list[str], width: int) -> str:
    """Return how many names there are, and those that fit into a line."""
    line = f"{len(names)}: {', '.join(names)}"
    return line if len(line) <= width else f"{line[: width - 1].rpartition(' ')[0]} …"


def synopsis(function: Callable[..., int]) -> str:
    """Return the first sentence of a command's docstring."""
    paragraph = inspect.cleandoc(function.__doc__ or "").partition("\n\n")[0]
    return " ".join(paragraph.split()).partition(". ")[0].removesuffix(".") + "."


def help_all() -> inspect.Parameter:
    """Return the option that prints the help with all options."""
    option = typer.Option(_ALL, is_eager=True, callback=_print_all, help="Show all options and exit.")
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter("help_all", kind, default=False, annotation=Annotated[bool, option])


def whole_help(command: Command, ctx: Any) -> str:
    """Return the help of a command with all options."""
    ctx.meta[_WHOLE] = True
    return command.get_help(ctx)


def _print_all(ctx: typer.Context, wanted: bool) -> None:
    if wanted and isinstance(ctx.command, Command):
        print(whole_help(ctx.command, ctx))
        raise typer.Exit


def _group(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return _ARGUMENTS
    return getattr(parameter, "rich_help_panel", None) or _OPTIONS


def _is_example(paragraph: str) -> bool:
    return any(line.startswith("compressctl ") for line in paragraph.splitlines())
