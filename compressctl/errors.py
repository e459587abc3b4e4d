"""The error family. Each error is one line for the user, an optional hint, and an exit code.

Exit codes of the command line: 0 done, every budget met; 1 a bug in compressctl; 2 wrong usage or recipe; 3 a model or
data file that cannot be used; 4 a budget missed; 128 and the number of the signal that ended the run: 130 Ctrl-C, 143
SIGTERM.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_OK = 0
EXIT_FAULT = 1
EXIT_USAGE = 2
EXIT_UNUSABLE = 3
EXIT_BUDGET = 4
EXIT_INTERRUPTED = 130


class CompressctlError(Exception):
    """Base of all errors that a user can mend.

    Args:
        message: one line that names the file, node or recipe key.
        hint: what to do about it, one line, or None.
    """

    exit_code = EXIT_FAULT

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(CompressctlError):
    """A flag, an argument or a combination of them that cannot work."""

    exit_code = EXIT_USAGE


class RecipeError(UsageError):
    """A recipe that cannot be read: the message names the key path."""


class OutputError(UsageError):
    """An output that cannot be written, or would overwrite what is not ours."""


class MissingExtraError(UsageError):
    """An optional dependency that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional dependency", f"pip install 'compressctl[{extra}]'")


EXTRAS = {
    "jiwer": "audio",
    "onnxscript": "torch",
    "optuna": "search",
    "PIL": "images",
    "pyarrow": "tables",
    "pycocotools": "detection",
    "sklearn": "digits",
    "soundfile": "audio",
    "tokenizers": "text",
    "torch": "torch",
}
"""The optional dependency that brings a module."""


class ModelError(CompressctlError):
    """A model file that cannot be used."""

    exit_code = EXIT_UNUSABLE


class RunError(ModelError):
    """A model that opens, but does not run on what it was fed."""


class DataError(CompressctlError):
    """A data file that cannot be used, or does not fit the model."""

    exit_code = EXIT_UNUSABLE


class PassError(CompressctlError):
    """A pass that produced a graph which breaks an invariant: a bug in compressctl, named by pass."""

    exit_code = EXIT_FAULT


def flag(name: str) -> str:
    """Return how errors call an option on the command line; `Option.flags` says where it has another name."""
    return f"--{name.replace('_', '-')}"


def nearest(given: str, known: Iterable[str]) -> str | None:
    """Return a hint that names the known name closest to what was given, or None where none is close."""
    close = difflib.get_close_matches(given, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else None
