"""Weight clipping: weights w with |w| > threshold become sign(w) * threshold, or sign(w) * value.

The threshold is a number, a percentile of each weight's magnitudes, or a multiple of its standard deviation. A few
large weights widen the range that quantization must cover; clipping trades their error for finer steps. The weights of
Conv, ConvTranspose, Gemm and MatMul are clipped; those of LSTM, GRU, RNN and the tables of Gather only where `include`
names them. A weight that several nodes share is clipped once, for all of them. Biases stay as they are.

Source: Banner et al. 2019, "Post training 4-bit quantization of convolutional networks for rapid-deployment"
(arXiv:1810.05723), on the trade.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from compressctl.passes.base import Context, Outcome, PassConfig

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.typing import NDArray

    from compressctl.notes import Note
    from compressctl.quantization.plan import Selection

_FLOATS = ("float16", "bfloat16", "float32", "float64")


class Config(PassConfig):
    """Options of `clip`."""

    edits_weights: ClassVar[bool] = True

    type: Literal["clip"] = "clip"
    threshold: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Clip weights beyond this magnitude."""
    percentile: float | None = Field(default=None, gt=0, le=100)
    """Clip weights beyond this percentile of the magnitudes of their tensor."""
    sigma: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Clip weights beyond so many standard deviations of their tensor."""
    value: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """The magnitude that clipped weights get; default: the threshold."""
    include: tuple[str, ...] = ()
    """Clip only the weights of nodes whose name matches one of these globs, recurrent layers and tables as well."""
    exclude: tuple[str, ...] = ()
    """Never clip the weights of nodes whose name matches one of these globs."""

    @model_validator(mode="after")
    def _one_threshold(self) -> Config:
        if sum(given is not None for given in (self.threshold, self.percentile, self.sigma)) != 1:
            raise ValueError("give one of threshold, percentile and sigma")
        return self

    def threshold_of(self, array: NDArray[Any]) -> float:
        """Return the threshold of a weight."""
        from compressctl.numerics.clipping import percentile_threshold, sigma_threshold

        if self.percentile is not None:
            return percentile_threshold(array, self.percentile)
        if self.sigma is not None:
            return sigma_threshold(array, self.sigma)
        assert self.threshold is not None
        return self.threshold


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Clip the weights of `model` in place.

    Raises:
        UsageError: a glob matches nothing.
    """
    from compressctl.layers.linear import other_layers
    from compressctl.model.graph import set_constant
    from compressctl.notes import done, skipped, warning
    from compressctl.numerics.clipping import clip
    from compressctl.quantization.plan import Selection

    selection = Selection(config.include, config.exclude)
    selection.check(model.graph)
    notes: list[Note] = []
    rows: list[dict[str, Any]] = []
    weights = _weights(model.graph, selection, everything=bool(config.include))
    for weight, (node, array) in weights.items():
        if reason := _obstacle(weight, array, selection):
            notes.append(skipped(f"not clipped: {reason}", node.name))
            continue
        threshold = config.threshold_of(array)
        if threshold == 0:
            notes.append(skipped("not clipped: its threshold is 0, nothing would be left", node.name))
            continue
        clipped = clip(array, threshold, config.value)
        rows.append({"layer": node.name, "weight": weight.name, "elements": array.size, "threshold": threshold})
        rows[-1] |= {"clipped": clipped.count, "mse": clipped.mse}
        if clipped.count:
            set_constant(weight, clipped.array)
            told = f"{clipped.count} of {array.size} weights clipped at {threshold:.4g}, mean squared error"
            notes.append(done(f"{told} {clipped.mse:.3g}", node.name))
    touched = {node for node, _ in weights.values()}
    for node, reason in other_layers(model.graph):
        if selection.allows(node) and node not in touched:
            notes.append(skipped(f"not clipped: {reason}", node.name))
    if not any(row["clipped"] for row in rows):
        notes.append(warning("no weight lies beyond the threshold: nothing was clipped"))
    return Outcome(model, tuple(notes), {"layers": rows})


def _weights(
    graph: ir.Graph, selection: Selection, *, everything: bool
) -> dict[ir.Value, tuple[ir.Node, NDArray[Any]]]:
    """Return the weights to clip, each with the first node that uses it."""
    from compressctl.layers.linear import linear_layers
    from compressctl.model.graph import constant

    linear = {layer.node: layer.weight for layer in linear_layers(graph)}
    found: dict[ir.Value, tuple[ir.Node, NDArray[Any]]] = {}
    for node in graph:
        values = [linear[node]] if node in linear else list(_others(node)) if everything else []
        for value in values if selection.allows(node) else []:
            array = constant(value)
            if array is not None and array.dtype.name in _FLOATS:
                found.setdefault(value, (node, array))
    return found


def _others(node: ir.Node) -> Iterator[ir.Value]:
    """Yield the weights of a recurrent layer, or the table of a Gather."""
    indices = {"LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2), "Gather": (0,)}.get(node.op_type, ())
    yield from (value for index in indices if not node.domain and (value := node.inputs[index]) is not None)


def _obstacle(weight: ir.Value, array: NDArray[Any], selection: Selection) -> str | None:
    import numpy as np

    excluded = next((user for user in weight.consumers() if not selection.allows(user)), None)
    if excluded is not None:
        return f"{excluded.op_type} {excluded.name}, which is left, shares its weight"
    return None if np.isfinite(array).all() else "its weight holds NaN or infinity"
