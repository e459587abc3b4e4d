"""Dependencies of outputs as a Makefile, which `include` makes make know."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from compressctl.errors import UsageError

_ESCAPED = re.compile(r"(\\*)([ #:])")
_BETWEEN = re.compile(r"(?<!\\) ")
_IMPOSSIBLE = re.compile(r"[\n\r\t;|=]")


def depfile(dependencies: Mapping[Path, Sequence[Path]]) -> str:
    """Return a rule for each output, and an empty one for each file, so that make goes on where one was deleted.

    Args:
        dependencies: output -> the files that it is made of.

    Raises:
        UsageError: a name has a character for which make has no notation.
    """
    rules = [f"{_target(output)}: {' '.join(map(_name, files))}\n" for output, files in dependencies.items()]
    every = dict.fromkeys(file for files in dependencies.values() for file in files)
    return "".join(rules) + "".join(f"\n{_target(file)}:\n" for file in every)


def is_depfile(path: Path) -> bool:
    """Whether a file holds such rules and nothing else: some with files, then an empty one for each of these files."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, UnicodeDecodeError):
        return False
    empty = {line[:-1].replace("\\%", "%") for line in lines if line.endswith(":")}
    rules = [line.partition(": ")[2] for line in lines if not line.endswith(":")]
    return bool(rules) and {name for rule in rules for name in _BETWEEN.split(rule)} == empty


def _name(path: Path) -> str:
    text = str(path)
    if found := _IMPOSSIBLE.search(text):
        raise UsageError(f"--depfile: make has no notation for {found[0]!r} in the name {text!r}", "rename it")
    return _ESCAPED.sub(lambda found: f"{found[1] * 2}\\{found[2]}", text).replace("$", "$$")


def _target(path: Path) -> str:
    return _name(path).replace("%", "\\%")  # which makes a pattern of a target, and of nothing else
