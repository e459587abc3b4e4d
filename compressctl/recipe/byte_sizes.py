"""Sizes of files and memory as users write them: a number of bytes, or with a unit."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_MOST = 2**63  # bytes; no file system has more
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def _bytes(value: Any) -> Any:
    """Return the bytes that `2MB` stands for; what is no text stays as it is."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z]*)\s*", value)
    if found is None or found[2].lower() not in _UNITS:
        raise ValueError("give a number of bytes, or for example 500kB, 2MB or 1GiB")
    return min(int(min(float(found[1]), _MOST) * _UNITS[found[2].lower()]), _MOST)


Bytes = Annotated[int, BeforeValidator(_bytes), Field(gt=0, lt=_MOST)]
