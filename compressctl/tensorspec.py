"""Name, type and shape of a model's input or output, as data sources, sessions and flags speak of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from compressctl.errors import UsageError

Dim = int | str | None
_NOTATION = re.compile(r"(?P<name>.+?):(?P<shape>[^:]*)(?::(?P<dtype>[a-z]+[0-9]*))?")
DTYPES = (
    "float32",
    "float64",
    "float16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
)


@dataclass(frozen=True)
class TensorSpec:
    """One model input or output.

    Attributes:
        name: the tensor's name in the graph.
        dtype: a numpy dtype name ("float32", "int64", "bool", …; "bfloat16" and others as ml_dtypes name them).
        shape: one entry a dimension: a size, a symbolic name, or None where unknown.
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...]

    @property
    def fixed_batch(self) -> int | None:
        """The size of the first dimension where it is fixed, else None."""
        first = self.shape[0] if self.shape else None
        return first if isinstance(first, int) else None

    def __str__(self) -> str:
        dims = "x".join("?" if dim is None else str(dim) for dim in self.shape)
        return f"{self.name}:{dims}:{self.dtype}"


def parse_tensor_spec(text: str) -> TensorSpec:
    """Parse the notation `name:1x3x32x32[:dtype]`; the type is float32 unless said.

    A dimension is a number, `?` where it is dynamic, or a name; names are separated by commas: `ids:1,seq:int64`.

    Raises:
        UsageError: the text does not follow the notation.
    """
    match = _NOTATION.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--input {text!r} is not NAME:SHAPE[:DTYPE]", "for example --input image:1x3x224x224:float32")
    words = match["shape"].split("," if "," in match["shape"] else "x") if match["shape"] else []
    dims = tuple(_dim(word.strip(), text) for word in words)
    dtype = match["dtype"] or "float32"
    if dtype not in DTYPES:
        raise UsageError(f"--input {text!r} has an unknown type {dtype!r}", f"one of {', '.join(DTYPES)}")
    return TensorSpec(match["name"], dtype, dims)


def _dim(word: str, text: str) -> Dim:
    if word.isdecimal() and int(word) > 0:
        return int(word)
    if word.isdecimal() or not re.fullmatch(r"\?|[A-Za-z_]\w*", word):
        raise UsageError(f"--input {text!r}: {word!r} is no dimension", "a number from 1, ? or a name")
    return None if word == "?" else word


def parse_tensor_specs(texts: Iterable[str]) -> dict[str, TensorSpec]:
    """Parse several `--input` values into a mapping by name."""
    return {spec.name: spec for spec in map(parse_tensor_spec, texts)}


def with_sizes(specs: Iterable[TensorSpec], given: Mapping[str, TensorSpec]) -> list[TensorSpec]:
    """Return a model's inputs with their dynamic dimensions set to the sizes that the user gave.

    The first dimension is that of samples: where the model leaves it open it stays open, --batch-size decides.

    Raises:
        UsageError: a given input has another rank, or another size where the model's is fixed.
    """
    return [_sized(spec, given[spec.name]) if spec.name in given else spec for spec in specs]


def _sized(spec: TensorSpec, given: TensorSpec) -> TensorSpec:
    if not spec.shape:  # of unknown rank
        return given
    pairs = list(zip(spec.shape, given.shape, strict=False))
    if len(spec.shape) != len(given.shape) or any(
        isinstance(own, int) and isinstance(size, int) and own != size for own, size in pairs[1:]
    ):
        raise UsageError(f"--input {given} does not fit the model's input {spec}")
    dims = [size if own is None or isinstance(own, str) else own for own, size in pairs]
    return TensorSpec(spec.name, spec.dtype, (spec.shape[0], *dims[1:]))
