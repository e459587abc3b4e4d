"""The text of a data notation, taken apart: `SOURCE[SLICE][,key=value]*`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from compressctl.data.options import Options
from compressctl.errors import DataError, UsageError

_OPTION = re.compile(r"(?P<key>[A-Za-z_][\w.]*)=(?P<value>.*)", re.DOTALL)
_SLICE = re.compile(r"(?P<source>.*)\[(?P<slice>[^\[\]]*)\]", re.DOTALL)
_BOUND = re.compile(r"\s*(-?[0-9]{1,18})?\s*", re.ASCII)


@dataclass(frozen=True)
class Notation:
    """A notation in its parts.

    Attributes:
        text: the whole, as the user wrote it.
        source: a path, or `digits…`, `random…`, `python:…`.
        slice: which samples to take; its step is positive.
        options: the `key=value` pairs.
        beside: the file of the model that the samples are for: what belongs to them may lie beside it.
    """

    text: str
    source: str
    slice: slice
    options: Options
    beside: Path | None = None

    @property
    def scheme(self) -> str:
        """What stands before the first colon of the source."""
        return self.source.partition(":")[0]

    @property
    def rest(self) -> str:
        """What stands behind it."""
        return self.source.partition(":")[2]

    def select(self, count: int) -> range:
        """Return the indices that the slice takes out of `count` samples.

        Raises:
            DataError: there are none.
        """
        chosen = range(*self.slice.indices(count))
        if not chosen:
            raise DataError(f"{self.text}: no samples" + (f" are left of {count}" if count else ""))
        return chosen


def parse_notation(text: str, beside: Path | None = None) -> Notation:
    """Take a data notation apart; `beside` is the file of the model that the samples are for.

    Raises:
        UsageError: it does not follow the notation.
    """
    words = text.strip().split(",")
    options: dict[str, str] = {}
    while len(words) > 1 and (option := _OPTION.fullmatch(words[-1].strip())):
        if option["key"] in options:
            raise UsageError(f"data {text!r}: option {option['key']!r} is given twice")
        if option["value"].endswith("]") and "[" in option["value"]:
            raise UsageError(f"data {text!r}: the slice stands in front of the options", "data.npz[:256],labels=y")
        options[option["key"]] = option["value"]
        words.pop()
    source = ",".join(words)
    selected = slice(None)
    if sliced := _SLICE.fullmatch(source):
        source, selected = sliced["source"], _parse_slice(sliced["slice"], text)
    if not source:
        raise UsageError(f"data {text!r} names no source", "for example data.npz[:256],labels=y")
    return Notation(text, source, selected, Options(text, dict(reversed(options.items()))), beside)


def _parse_slice(text: str, notation: str) -> slice:
    shown = repr(f"[{text}]")
    bounds = [_BOUND.fullmatch(part) for part in text.split(":")]
    if not 2 <= len(bounds) <= 3 or None in bounds:
        raise UsageError(f"data {notation!r}: {shown} is not a slice", "write [:256], [256:512], [-100:] or [::2]")
    start, stop, step = [*(int(m[1]) if m and m[1] else None for m in bounds), None][:3]
    if step is not None and step < 1:
        raise UsageError(f"data {notation!r}: the step of {shown} is not positive")
    return slice(start, stop, step)
