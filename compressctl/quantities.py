"""Quantities as users write them: bytes, time, shares in percent; and threads, as many as the machine can use."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, TypeGuard

from pydantic import AfterValidator, BeforeValidator, Field

_MOST_BYTES = 2**63  # no file system has more
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SECONDS = {"h": 3600, "m": 60, "s": 1}
_THREADS_A_CORE, _LEAST_THREADS = 4, 16  # so that a recipe from a larger machine still runs here


def most_threads() -> int:
    """Return how many threads may be asked for on this machine: a thousand of them stall it, and gain nothing."""
    return max(_LEAST_THREADS, _THREADS_A_CORE * (os.cpu_count() or 1))


def _bytes(value: Any) -> Any:
    """Return the bytes that `2MB` stands for; what is no text stays as it is."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z]*)\s*", value)
    if found is None or found[2].lower() not in _BYTES:
        raise ValueError("give a number of bytes, or for example 500kB, 2MB or 1GiB")
    return min(int(min(float(found[1]), _MOST_BYTES) * _BYTES[found[2].lower()]), _MOST_BYTES)


def _seconds(value: Any) -> Any:
    """Return the seconds that `1h30m` stands for; what is no text stays as it is."""
    if not isinstance(value, str):
        return value
    text = value.replace(" ", "").lower()
    if re.fullmatch(r"[0-9]*\.?[0-9]+", text):
        return float(text)
    if not re.fullmatch(r"([0-9]*\.?[0-9]+[hms])+", text):
        raise ValueError("give a number of seconds, or for example 90s, 20m or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9.]+)([hms])", text))


def share(value: Any) -> Any:
    """Return 0.01 of `1%`; what is no percentage stays as it is."""
    if not is_percentage(value):
        return value
    number = value.strip().removesuffix("%").strip()
    if not re.fullmatch(r"[0-9]*\.?[0-9]+", number):
        raise ValueError("give a share, for example 0.01 or 1%")
    return float(f"{number}e-2")  # 0.7 % is 0.007, where a division gives 0.006999999999999999


def is_percentage(value: Any) -> TypeGuard[str]:
    """Return whether a value is text that ends in %."""
    return isinstance(value, str) and value.strip().endswith("%")


def _bounded(threads: int) -> int:
    if threads > (most := most_threads()):
        raise ValueError(f"at most {most} on this machine")
    return threads


Bytes = Annotated[int, BeforeValidator(_bytes), Field(gt=0, lt=_MOST_BYTES)]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, BeforeValidator(share), Field(ge=0, le=1)]
Threads = Annotated[int, Field(ge=0), AfterValidator(_bounded)]
