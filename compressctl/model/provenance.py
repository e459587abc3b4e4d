"""Where a model came from, kept in its `metadata_props`: no paths, no times, so equal runs give equal bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import StringStringEntryProto

from compressctl.model import wire

_PREFIX = "compressctl."
_METADATA_FIELD = 14  # ModelProto.metadata_props in onnx.proto


@dataclass(frozen=True)
class Provenance:
    """What determines an output.

    Attributes:
        input_sha256: of the input model, with its external data.
        recipe: the resolved recipe as canonical JSON.
        versions: library name -> version, of what took part.
        passes: the passes that ran, in order.
    """

    input_sha256: str
    recipe: str
    versions: dict[str, str]
    passes: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """What it takes in a file, about; a copy of the input has none."""
        entries = self.entries().items()
        return sum(StringStringEntryProto(key=key, value=value).ByteSize() + 4 for key, value in entries)

    def entries(self) -> dict[str, str]:
        """Return the metadata that say it."""
        return {
            f"{_PREFIX}input_sha256": self.input_sha256,
            f"{_PREFIX}passes": json.dumps(self.passes),
            f"{_PREFIX}recipe": self.recipe,
            f"{_PREFIX}versions": json.dumps(self.versions, sort_keys=True),
        }

    def same_origin(self, other: Provenance | None) -> bool:
        """Return whether both come from the same input by the same recipe (of whatever versions)."""
        return other is not None and (self.input_sha256, self.recipe) == (other.input_sha256, other.recipe)


def stamp(model: ir.Model, provenance: Provenance) -> None:
    """Write `provenance` into the model's metadata, in place of what an earlier run left there."""
    unstamp(model)
    model.metadata_props.update(provenance.entries())


def unstamp(model: ir.Model) -> None:
    """Drop what an earlier run left in the model's metadata."""
    for key in [key for key in model.metadata_props if key.startswith(_PREFIX)]:
        del model.metadata_props[key]


def read(path: Path) -> Provenance | None:
    """Return the provenance in an ONNX file, or None where it has none or is no ONNX file; weights are skipped."""
    try:
        with path.open("rb") as file:
            entries = list(_metadata(file))
        found = {entry.key.removeprefix(_PREFIX): entry.value for entry in entries if entry.key.startswith(_PREFIX)}
        passes, versions = json.loads(found["passes"]), json.loads(found["versions"])
        return Provenance(found["input_sha256"], found["recipe"], dict(versions), tuple(passes))
    except (OSError, DecodeError, KeyError, ValueError, TypeError):
        return None


def _metadata(file: BinaryIO) -> Iterator[StringStringEntryProto]:
    for field in wire.fields(file, 0, os.fstat(file.fileno()).st_size):
        if field.number == _METADATA_FIELD and field.nested:
            file.seek(field.start)
            yield StringStringEntryProto.FromString(file.read(field.length))
