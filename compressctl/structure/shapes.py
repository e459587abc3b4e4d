"""The sizes of every value's axes at two input sizes: what agrees is fixed, what differs is dynamic."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import count

import onnx_ir as ir

from compressctl.model.shapes import concrete_shapes

Size = tuple[int, int]
"""The size of an axis at the first and at the second input sizes."""

_FIRST_PRIMES = (7, 67)  # where numbering of the dynamic dimensions begins: short for tables, long for images


def is_fixed(size: Size) -> bool:
    """Whether the axis has the same size whatever the inputs' sizes."""
    return size[0] == size[1]


def product(sizes: Iterable[Size]) -> Size:
    """Return the number of elements of several axes together."""
    sizes = list(sizes)
    return math.prod(a for a, _ in sizes), math.prod(b for _, b in sizes)


class Shapes:
    """The shapes of a model's values, main graph only.

    The inputs' dynamic dimensions are given different primes, so that sizes tell where an axis comes from.
    """

    def __init__(self, model: ir.Model) -> None:
        self._sizes = max((_observe(model, start) for start in _FIRST_PRIMES), key=len)  # the first of equals

    def of(self, value: ir.Value) -> tuple[Size, ...] | None:
        """Return the sizes of the axes of `value`, None where they are not known."""
        tensor = ir.convenience.get_const_tensor(value)
        if tensor is not None:
            return tuple((size, size) for size in tensor.shape.numpy())
        return self._sizes.get(value.name or "")


def _observe(model: ir.Model, start: int) -> dict[str, tuple[Size, ...]]:
    names = _dynamic_dims(model)
    primes = _primes(start)
    first, second = ({name: next(primes) for name in names} for _ in range(2))
    if not names:
        shapes, _ = concrete_shapes(model, {})
        return {name: tuple((size, size) for size in shape) for name, shape in shapes.items()}
    at_first, at_second = (concrete_shapes(model, dims)[0] for dims in (first, second))
    return {
        name: tuple(zip(shape, at_second[name], strict=True))
        for name, shape in at_first.items()
        if len(at_second.get(name, ())) == len(shape)
    }


def _dynamic_dims(model: ir.Model) -> list[str]:
    """Return the names of the inputs' dynamic dimensions, unnamed ones as `concrete_shapes` calls them."""
    found: dict[str, None] = {}
    for value in model.graph.inputs:
        if value.shape is not None and not value.is_initializer():
            for axis, dim in enumerate(value.shape):
                if not isinstance(dim, int):
                    found[dim.value or f"{value.name}[{axis}]"] = None
    return list(found)


def _primes(start: int) -> Iterator[int]:
    return (n for n in count(start) if all(n % k for k in range(2, math.isqrt(n) + 1)))
