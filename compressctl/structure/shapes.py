"""The sizes of every value's axes at two input sizes: what agrees is fixed, what differs is dynamic."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import count
from itertools import product as product_of

import onnx_ir as ir

from compressctl.model import ops
from compressctl.model.shapes import concrete_shapes

Size = tuple[int, int]
"""The size of an axis at the first and at the second input sizes."""

_TRIED_SIZES = ((7, 1), (67, 1), (3, 32))  # the least sizes and their unit: short for tables, longer or even for images
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

    The inputs' dynamic dimensions are given different primes, so that sizes tell where an axis comes from. Where the
    graph needs some to be equal, those of the same index are given the same prime; shapes in the file that contradict
    the graph are not believed. How many boxes or places are picked is as dynamic as a dimension of an input.
    """

    def __init__(self, model: ir.Model) -> None:
        model = _with_picked_as_inputs(model)
        self._sizes: dict[str, tuple[Size, ...]] = {}
        least = len(model.graph) + 1
        for alike, (start, unit) in product_of((False, True), _TRIED_SIZES):
            sizes = _observe(model, start, unit, alike=alike)
            if (doubts := _doubts(model, sizes)) < least:
                self._sizes, least = sizes, doubts
            if not least:
                return
        bare = model.clone()
        for value in (value for node in bare.graph for value in node.outputs if not value.is_graph_output()):
            value.shape = None
        sizes = _observe(bare, *_TRIED_SIZES[0], alike=True)
        if _doubts(model, sizes) < least:
            self._sizes = sizes

    def of(self, value: ir.Value) -> tuple[Size, ...] | None:
        """Return the sizes of the axes of `value`, None where they are not known."""
        tensor = ir.convenience.get_const_tensor(value)
        if tensor is not None:
            return tuple((size, size) for size in tensor.shape.numpy())
        return self._sizes.get(value.name or "")


def _with_picked_as_inputs(model: ir.Model) -> ir.Model:
    """Return the model, or a copy with inputs in the place of results whose sizes depend on values."""
    if not any(_picked(node) for node in model.graph):
        return model
    copy = model.clone()
    for number, node in enumerate(list(copy.graph)):
        shape = _picked(node)
        if shape is None or node.outputs[0].is_graph_output():
            continue
        old = node.outputs[0]
        name, old.name = old.name, None
        sizes = [f"picked {number}" if size is None else size for size in shape]
        new = ir.Value(name=name, shape=ir.Shape(sizes), type=ir.TensorType(ir.DataType.INT64))
        old.replace_all_uses_with(new)
        copy.graph.remove(node, safe=True)
        copy.graph.inputs.append(new)
    return copy


def _picked(node: ir.Node) -> tuple[int | None, ...] | None:
    """Return the shape of the places that a node picks by values, None where how many it picks; None of other nodes."""
    if node.domain or node.op_type not in ("NonMaxSuppression", "NonZero"):
        return None
    if node.op_type == "NonMaxSuppression":
        return None, 3
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    return None if not shape else (len(shape), None)


def _observe(model: ir.Model, start: int, unit: int, *, alike: bool) -> dict[str, tuple[Size, ...]]:
    """Infer all shapes at two sizes of each dynamic dimension, which are primes times `unit`."""
    dims = _dynamic_dims(model)
    kinds = list(dict.fromkeys(dims.values())) if alike else list(dims)
    first = dict(zip(kinds, (unit * prime for prime in _primes(start)), strict=False))
    largest = max(first.values(), default=0) // unit
    second = dict(zip(kinds, (unit * prime for prime in _primes(_APART * largest)), strict=False))
    at_first, *rest = (
        concrete_shapes(model, {name: sizes[index if alike else name] for name, index in dims.items()})[0]
        for sizes in ((first, second) if dims else (first,))
    )
    at_second = rest[0] if rest else at_first
    return {
        name: tuple(zip(shape, at_second[name], strict=True))
        for name, shape in at_first.items()
        if len(at_second.get(name, ())) == len(shape)
    }


def _doubts(model: ir.Model, sizes: dict[str, tuple[Size, ...]]) -> int:
    """Count the nodes whose outputs have no known shape, or one that contradicts that of their inputs."""

    def bad(node: ir.Node) -> bool:
        made = [sizes.get(value.name) for value in node.outputs if value.name]
        output = made[0]
        if None in made or output is None:
            return True
        read = [sizes.get(value.name or "") for value in node.inputs if value is not None]
        known = [shape for shape in read if shape is not None]
        if node.op_type in ops.VIEWS:
            return bool(known) and read[0] is not None and product(read[0]) != product(output)
        if node.op_type == "Concat":
            along = node.attributes["axis"].as_int() % len(output)
            return any(shape[:along] + shape[along + 1 :] != output[:along] + output[along + 1 :] for shape in known)
        if node.op_type in ops.BROADCAST:
            pairs = (pair for shape in known for pair in zip(reversed(shape), reversed(output), strict=False))
            return any(one not in ((1, 1), other) for one, other in pairs)
        return False

    return sum(bad(node) for node in model.graph)


def _dynamic_dims(model: ir.Model) -> dict[str, int]:
    """Return the inputs' dynamic dimensions with their index, unnamed ones as `concrete_shapes` calls them."""
    found: dict[str, int] = {}
    for value in model.graph.inputs:
        if value.shape is not None and not value.is_initializer():
            for axis, dim in enumerate(value.shape):
                if not isinstance(dim, int):
                    found.setdefault(dim.value or f"{value.name}[{axis}]", axis)
    return found


def _primes(start: int) -> Iterator[int]:
    return (n for n in count(start) if all(n % k for k in range(2, math.isqrt(n) + 1)))
