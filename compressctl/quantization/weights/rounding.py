"""How weights are rounded to few levels: which grid, in which groups, with or without offsets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compressctl.arrays import Array, Bytes, Floats32
from compressctl.choices import Granularity
from compressctl.numerics.grids import Grid
from compressctl.numerics.hqq import hqq
from compressctl.numerics.levels import Levels, fit_levels
from compressctl.numerics.packing import packed_bytes
from compressctl.quantization.weights.targets import Layout, Target
from compressctl.storage.affine import Affine

_LEAST_GROUP = 16
_NODES = 600  # bytes that the nodes of a stored weight take, about


@dataclass(frozen=True, eq=False)
class Rounded:
    """A weight on few levels.

    Attributes:
        codes: as `Layout.rows`, or [rows, size] in its order.
        levels: of the rows.
    """

    codes: Bytes
    levels: Levels

    @property
    def size(self) -> int:
        """Weights that share a scale."""
        return int(self.codes.shape[-1])

    @property
    def bytes(self) -> int:
        """Bytes of codes, scales and offsets."""
        floats = sum(array.nbytes for array in (self.levels.scale, self.levels.offset) if array is not None)
        return packed_bytes(self.codes.size, self.levels.count) + int(floats)

    def affine(self, target: Target) -> Affine:
        """Return the form in which the constant of `target` is stored."""
        levels, layout = self.levels, target.layout
        if len(levels.scale) == 1:
            layout = Layout(1, self.size, 1)
        scale, offset = (
            None if array is None else layout.view(array[:, None], self.size) for array in (levels.scale, levels.offset)
        )
        assert scale is not None
        codes = layout.view(self.codes, self.size)
        return Affine(codes, levels.count, levels.low, scale, target.shape, offset, levels.step)


@dataclass(frozen=True)
class Style:
    """How weights are rounded.

    Attributes:
        grid: the integers.
        granularity: what shares a scale: so many inputs of an output side by side, a channel (all inputs of an output)
            or the tensor; None: what suits the grid and the layer.
        offsets: whether scales have offsets.
        hqq: whether these are found by half-quadratic quantization.
        group: inputs of a group where that is what suits.
    """

    grid: Grid
    granularity: Granularity | None
    offsets: bool
    hqq: bool = False
    group: int = 64

    def layout(self, target: Target) -> Layout:
        """Return the layout in which the groups of `target` are cut: of all in one where the tensor shares a scale."""
        layout = target.layout
        one = self.granularity == "tensor"
        return Layout(1, layout.outer * layout.inputs * layout.inner, 1) if one else layout

    def size(self, target: Target) -> tuple[int, str | None]:
        """Return how many weights of `target` share a scale, and why not so many as asked for, or None."""
        inputs, wanted = self.layout(target).inputs, self.granularity
        if wanted is None:
            wanted = self.group if self.grid.lopsided and not target.convolution else "channel"
        if not isinstance(wanted, int) or wanted >= inputs:
            return inputs, None
        if inputs % wanted == 0:
            return wanted, None
        size = inputs & -inputs  # the largest power of two that divides
        while size > wanted:
            size //= 2
        if size >= _LEAST_GROUP:
            return size, f"groups of {size} share a scale: {wanted} does not divide its {inputs} inputs"
        return inputs, f"each output has one scale: no group of {_LEAST_GROUP} to {wanted} divides its {inputs} inputs"

    def bytes(self, target: Target) -> int:
        """Return the bytes that the constant of `target` will take, about."""
        count = 2 if self.grid.signs else self.grid.high - self.grid.low + 1
        weights = target.tensor.size
        floats = 2 * (1 + self.offsets) * weights // self.size(target)[0]
        return packed_bytes(weights, count) + floats + _NODES

    def fit(self, rows: Array, name: str) -> Levels:
        """Return the levels of rows [rows, size] or [blocks, rows, size].

        Raises:
            ModelError: `rows` holds NaN or infinity.
        """
        if self.hqq:
            return hqq(rows.reshape(-1, rows.shape[-1]), self.grid, name=name)
        return fit_levels(rows, self.grid, offset=self.offsets, name=name)

    def rounding(self, target: Target) -> Callable[[Floats32], Floats32]:
        """Return what rounds the matrix [outputs, inputs] of a layer with the weight of `target` to nearest."""

        def rounded(matrix: Floats32) -> Floats32:
            rows = matrix.reshape(1, -1) if self.granularity == "tensor" else matrix.reshape(-1, self.size(target)[0])
            levels = self.fit(rows, f"weight {target.value.name!r}")
            return levels.values(levels.codes(rows)).reshape(matrix.shape)

        return rounded

    def round(self, target: Target) -> Rounded:
        """Round the constant of `target` to nearest.

        Raises:
            ModelError: it holds NaN or infinity.
        """
        rows = self.layout(target).rows(target.read(), self.size(target)[0])
        levels = self.fit(rows, f"weight {target.value.name!r}")
        return Rounded(levels.codes(rows), levels)
