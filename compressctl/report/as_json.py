"""What commands report, as JSON."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter


def to_json(value: object) -> str:
    """Return a value of a dataclass as one JSON document; NaN and infinity, which JSON lacks, become null."""
    adapter: TypeAdapter[Any] = TypeAdapter(type(value))
    return json.dumps(json.loads(adapter.dump_json(value)), indent=2)
