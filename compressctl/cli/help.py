"""What `--help` prints: options in groups, then examples to copy, then the exit codes.

A docstring of a command is a synopsis, then its examples: paragraphs in which a line begins with `compressctl`, printed
as they stand. An option's group is its `rich_help_panel`.
"""

from __future__ import annotations

import inspect
from typing import Any

from typer.core import TyperCommand

_ARGUMENTS, _OPTIONS = "Arguments", "Options"
_FIRST = (_ARGUMENTS, _OPTIONS, "Samples", "Budgets")
_EXIT_CODES = {
    0: "done",
    1: "a fault of ours",
    2: "wrong usage or recipe",
    3: "a model or data file that cannot be used",
    4: "a budget missed; the output is written all the same",
    130: "interrupted; 143: by SIGTERM, 129: by SIGHUP",
}
_BUDGET = 4


class Command(TyperCommand):
    """A command with that help."""

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
        """Write arguments and options, group by group."""
        groups: dict[str, list[tuple[str, str]]] = {title: [] for title in _FIRST}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            title = _ARGUMENTS if parameter.param_type_name == "argument" else _group(parameter)
            if record is not None:
                groups.setdefault(title, []).append(record)
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

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
            formatter.write_dl([(str(code), why) for code, why in _EXIT_CODES.items() if judges or code != _BUDGET])

    def _paragraphs(self) -> list[str]:
        return [part for part in inspect.cleandoc(self.help or "").split("\n\n") if part]


def _group(parameter: Any) -> str:
    return getattr(parameter, "rich_help_panel", None) or _OPTIONS


def _is_example(paragraph: str) -> bool:
    return any(line.startswith("compressctl ") for line in paragraph.splitlines())
