"""The sizes of every value's axes at two input sizes: what agrees is fixed, what differs is dynamic."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import count

import onnx_ir as ir

from compressctl.model.shapes import concrete_shapes

Size = tuple[int, int]
"""The size of an axis at the first and at the second input sizes."""

_PROBES = ((7, 1), (67, 1), (5, 64))  # the least sizes and their unit: short for tables, longer or even for images
_APART = 4  # the second sizes are so much larger that no cascade of strides brings both to the same size


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
        every = {value.name for node in model.graph for value in node.outputs if value.name}
        self._sizes: dict[str, tuple[Size, ...]] = {}
        for start, unit in _PROBES:
            found = _observe(model, start, unit)
            if len(found) > len(self._sizes):
                self._sizes = found
            if every <= found.keys():
                break

    def of(self, value: ir.Value) -> tuple[Size, ...] | None:
        """Return the sizes of the axes of `value`, None where they are not known."""
        tensor = ir.convenience.get_const_tensor(value)
        if tensor is not None:
            return tuple((size, size) for size in tensor.shape.numpy())
        return self._sizes.get(value.name or "")


def _observe(model: ir.Model, start: int, unit: int) -> dict[str, tuple[Size, ...]]:
    """Infer all shapes at two sizes of each dynamic dimension, which are primes times `unit`."""
    names = _dynamic_dims(model)
    if not names:
        shapes, _ = concrete_shapes(model, {})
        return {name: tuple((size, size) for size in shape) for name, shape in shapes.items()}
    first = {name: unit * prime for name, prime in zip(names, _primes(start), strict=False)}
    second = {
        name: unit * prime for name, prime in zip(names, _primes(_APART * max(first.values()) // unit), strict=False)
    }
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
