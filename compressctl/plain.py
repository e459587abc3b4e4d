"""Names and messages of others, made harmless to look at.

Names of nodes, files and classes may hold anything: sequences that drive a terminal, marks that turn the direction of
reading, line breaks, halves of surrogate pairs that no file can hold. Whatever shows them spells these out.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import Any


def plain(text: str, keep: str = "") -> str:
    r"""Return `text` with every character that is not printed spelled out, as in \x1b and \u202e.

    Args:
        text: anything.
        keep: such characters that may stay: line breaks in a text of several lines.
    """
    if text.isprintable():
        return text
    return "".join(char if _shows(char) or char in keep else _spelled(char) for char in text)


def flow(value: Any) -> str:
    """Return a value as one line of YAML in a recipe: strings in double quotes, and `${` in them begins no variable."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(flow, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{flow(key)}: {flow(item)}' for key, item in value.items())}}}"
    return json.dumps(value)


def pass_lines(type_: str, options: Mapping[str, Any]) -> list[str]:
    """Return a pass with options as lines of YAML, an item in a recipe's list of passes."""
    return [f"- type: {type_}", *(f"  {key}: {flow(value)}" for key, value in options.items())]


def _quoted(text: str) -> str:
    return '"' + plain(text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "$${")) + '"'


def _shows(char: str) -> bool:
    return char.isprintable() or unicodedata.category(char) == "Zs"  # spaces of all widths


def _spelled(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def problem_text(message: str) -> str:
    """What pydantic says of a value, in the words of all other errors."""
    return message.removeprefix("Value error, ").replace("Input should be", "must be")
