"""Spans of time as users write them: a number of seconds, or with units."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_UNITS = {"h": 3600, "m": 60, "s": 1}


def _seconds(value: Any) -> Any:
    """Return the seconds that `1h30m` stands for; what is no text stays as it is."""
    if not isinstance(value, str):
        return value
    text = value.replace(" ", "").lower()
    if re.fullmatch(r"[0-9]*\.?[0-9]+", text):
        return float(text)
    if not re.fullmatch(r"([0-9]*\.?[0-9]+[hms])+", text):
        raise ValueError("give a number of seconds, or for example 90s, 20m or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9.]+)([hms])", text))


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False)]
