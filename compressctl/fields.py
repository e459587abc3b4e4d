"""What a field of options says of itself beside type, default and description: how it is given, and what it decides.

The command line, the recipe, the JSON Schema and the reference follow from the fields; there are no lists of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

Decides = Literal["bytes", "report", "nothing"]


@dataclass(frozen=True, kw_only=True)
class Option:
    """What a field says of itself, as `Annotated[type, Option(...)]`; where it says nothing, the defaults hold.

    Attributes:
        flags: ("--output", "-o"), or ("--per-channel/--per-tensor",) of a switch. Default: the field's name.
        positional: whether the command line takes it without a flag.
        metavar: what stands for the value in the help. Default: its words, else its type.
        words: those that the shell completes. Default: those of the type's Literals.
        everyday: whether `--help` shows it; `--help-all` shows every option.
        decides: bytes: what the output is; report: no more than what the report says, and what files are called;
            nothing: neither, but how a run goes about it.
        written: whether it names a file that is written.
        runs: whether it asks for what only a run of the model tells.
        scored: whether it asks for a metric, and data to measure it on.
        flagless: whether it has no flag: files alone give it.
        permission: whether it permits something: given on the command line alone, never in a file or a report.
    """

    flags: tuple[str, ...] = ()
    positional: bool = False
    metavar: str | None = None
    words: tuple[str, ...] = ()
    everyday: bool = False
    decides: Decides = "bytes"
    written: bool = False
    runs: bool = False
    scored: bool = False
    flagless: bool = False
    permission: bool = False


class Options(BaseModel):
    """Options that belong together; each has its description as a docstring.

    Attributes:
        group: the title under which the help lists them, where they do not belong to one command alone.
        examples: commands to copy, each with a comment, for the help of the command that takes them alone.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        defer_build=True,  # of the validator: --help reads the fields alone
    )

    group: ClassVar[str | None] = None
    examples: ClassVar[str] = ""

    @classmethod
    def about(cls, name: str) -> Option:
        """Return what the field of this name says of itself."""
        return next((part for part in cls.model_fields[name].metadata if isinstance(part, Option)), Option())

    @classmethod
    def deciding(cls, *what: Decides) -> set[str]:
        """Return the names of the fields that decide one of these."""
        return {name for name in cls.model_fields if cls.about(name).decides in what}
