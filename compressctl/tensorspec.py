"""Name, type and shape of a model's input or output, as data sources, sessions and flags speak of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compressctl.errors import UsageError, nearest

Dim = int | str | None
Value = float | tuple[Any, ...]
_NOTATION = re.compile(r"(?P<name>.+?):(?P<shape>[^:]*)(?::(?P<dtype>[a-z]+[0-9]*))?")
_ASSIGNED = re.compile(r"(?P<name>[^=]+?)\s*=\s*(?P<value>.*)", re.DOTALL)
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
        axis: along which samples lie; None: there is none, the tensor is fed whole and is the same for every sample.
        value: what is fed where there is no such axis, as numbers in lists; None: whatever fits.
        lone: there is no such axis, but each sample is an array of the whole shape: one is fed at a time.
        state: the output whose value of one step is fed in the next; zeros at first. None: it is no state.
        grows: the axis along which a cache of keys and values grows with the text; where data have none of it, it is
            empty. None: it is no cache.
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...]
    axis: int | None = 0
    value: Value | None = None
    lone: bool = False
    state: str | None = None
    grows: int | None = None

    @property
    def fixed_batch(self) -> int | None:
        """The size of the dimension of samples where it is fixed, else None."""
        if self.lone:
            return 1
        size = None if self.axis is None or not self.shape else self.shape[self.axis]
        return size if isinstance(size, int) else None

    @property
    def by_rows(self) -> TensorSpec:
        """The same with samples along the first dimension, as data have them."""
        if self.lone:
            return replace(self, shape=(1, *self.shape), lone=False)
        if not self.axis:
            return self
        rest = (*self.shape[: self.axis], *self.shape[self.axis + 1 :])
        grows = None if self.grows is None else self.grows + (self.grows < self.axis)
        return replace(self, shape=(self.shape[self.axis], *rest), axis=0, grows=grows)

    def __str__(self) -> str:
        dims = "x".join("?" if dim is None else str(dim) for dim in self.shape)
        return f"{self.name}:{dims}:{self.dtype}"


def parse_tensor_spec(text: str) -> TensorSpec:
    """Parse the notation `name:1x3x32x32[:dtype]`, or `name=value` of what is no sample.

    A dimension is a number, `?` where it is dynamic, or a name; names are separated by commas: `ids:1,seq:int64`. A
    value is a number, `true`, `false`, or a list of them: `sr=16000`, `size=[224,224]`. The type is float32 unless
    said; that of a value is int64, float32 or bool.

    Raises:
        UsageError: the text does not follow the notation.
    """
    if (assigned := _ASSIGNED.fullmatch(text.strip())) is not None:
        return _constant(assigned["name"], assigned["value"], text)
    match = _NOTATION.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"--input {text!r} is neither NAME:SHAPE[:DTYPE] nor NAME=VALUE",
            "for example --input image:1x3x224x224:float32, --input sr=16000",
        )
    words = match["shape"].split("," if "," in match["shape"] else "x") if match["shape"] else []
    dims = tuple(_dim(word.strip(), text) for word in words)
    dtype = match["dtype"] or "float32"
    if dtype not in DTYPES:
        raise UsageError(f"--input {text!r} has an unknown type {dtype!r}", f"one of {', '.join(DTYPES)}")
    return TensorSpec(match["name"], dtype, dims)


def _constant(name: str, text: str, whole: str) -> TensorSpec:
    """Return the spec of an input that is fed a value."""
    try:
        value = json.loads(text.lower())
        shape = _shape(value)
    except (ValueError, RecursionError):
        hint = "for example sr=16000, flag=true, size=[224,224]"
        raise UsageError(f"--input {whole!r}: {text!r} is no number and no list of numbers", hint) from None
    leaves = list(_leaves(value))
    kinds = {type(leaf) for leaf in leaves}
    dtype = "bool" if kinds == {bool} else "int64" if kinds == {int} else "float32"
    return TensorSpec(name, dtype, shape, axis=None, value=_frozen(value))


def _shape(value: object) -> tuple[int, ...]:
    """Return the shape of a value as JSON has it.

    Raises:
        ValueError: it holds something else than numbers, or lists of several lengths.
    """
    if isinstance(value, list):
        shapes = {_shape(item) for item in value}
        if len(shapes) != 1:
            raise ValueError(value)
        return (len(value), *shapes.pop())
    if not isinstance(value, bool | int | float) or not math.isfinite(value):
        raise ValueError(value)
    return ()


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _frozen(value: Any) -> Value:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _dim(word: str, text: str) -> Dim:
    if word.isdecimal() and int(word) > 0:
        return int(word)
    if word.isdecimal() or not re.fullmatch(r"\?|[A-Za-z_]\w*", word):
        raise UsageError(f"--input {text!r}: {word!r} is no dimension", "a number from 1, ? or a name")
    return None if word == "?" else word


def parse_tensor_specs(texts: Iterable[str]) -> dict[str, TensorSpec]:
    """Parse several `--input` values into a mapping by name."""
    return {spec.name: spec for spec in map(parse_tensor_spec, texts)}


def parse_state(text: str) -> tuple[str, str]:
    """Parse `input=output` of a state.

    Raises:
        ValueError: it is something else.
    """
    name, equals, output = (part.strip() for part in text.partition("="))
    if not (name and equals and output):
        raise ValueError(f"{text!r} is not INPUT=OUTPUT, for example state=stateN")
    return name, output


def with_given(specs: Sequence[TensorSpec], given: Mapping[str, TensorSpec]) -> tuple[TensorSpec, ...]:
    """Return a model's inputs with what the user says of them: sizes of dynamic dimensions, or a value.

    The dimension of samples stays open where the model leaves it open: --batch-size decides.

    Raises:
        UsageError: there is no such input; it has another rank, another size where the model's is fixed, or is no
            tensor of such values.
    """
    names = [spec.name for spec in specs]
    for name in given:
        if name not in names:
            hint = nearest(name, names) or f"it has {', '.join(names) or 'none'}"
            raise UsageError(f"--input {name}: the model has no such input", hint)
    return tuple(_told(spec, given[spec.name]) if spec.name in given else spec for spec in specs)


def _told(spec: TensorSpec, given: TensorSpec) -> TensorSpec:
    unknown = not spec.shape and spec.axis is not None
    if given.value is not None:
        whole = {"float": ("bool", "int64", "float32"), "bfloat": ("bool", "int64", "float32"), "bool": ("bool",)}
        takes = whole.get(spec.dtype.rstrip("0123456789"), ("bool", "int64"))
        if given.dtype not in takes or not (unknown or agrees(spec.shape, given.shape)):
            raise UsageError(f"--input {spec.name}={_shown(given.value)} does not fit the model's input {spec}")
        return replace(spec, shape=given.shape, axis=None, value=given.value, state=None)
    if unknown:
        return replace(given, state=spec.state, grows=spec.grows)
    if not spec.shape:
        if given.shape in ((), (1,)):
            hint = f"--input {spec.name}=1, or what else it shall be"
            raise UsageError(f"--input {spec.name}: the input is a single number, which has no shape", hint)
        raise UsageError(f"--input {given} does not fit the model's input {spec}")
    samples = None if spec.lone else spec.axis
    own = [None if axis == samples else dim for axis, dim in enumerate(spec.shape)]
    if not agrees(tuple(own), given.shape):
        raise UsageError(f"--input {given} does not fit the model's input {spec}")
    sizes = [dim if axis == samples else given.shape[axis] for axis, dim in enumerate(spec.shape)]
    shape = tuple(dim if isinstance(dim, int) else size for dim, size in zip(spec.shape, sizes, strict=True))
    return replace(spec, shape=shape)


def filled(shape: tuple[Dim, ...], number: float) -> Value:
    """Return the value of an input of this shape that holds one number; dynamic dimensions have the size 1."""
    value: Value = number
    for dim in reversed(shape):
        value = (value,) * (dim if isinstance(dim, int) else 1)
    return value


def agrees(own: tuple[Dim, ...], given: tuple[Dim, ...]) -> bool:
    """Return whether two shapes have the same rank, and the same size wherever both are known."""
    return len(own) == len(given) and all(
        not isinstance(a, int) or not isinstance(b, int) or a == b for a, b in zip(own, given, strict=True)
    )


def _shown(value: Value) -> str:
    return f"[{','.join(map(_shown, value))}]" if isinstance(value, tuple) else str(value).lower()
