"""Carry weight sharing out on a model: which weights, one codebook each or one for all, plainly or on samples.

And how much each element of a weight counts when centroids are placed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.clustering.codebook import Codebook, Part, fit_codebook
from compressctl.clustering.reconstruct import ObservedSamples, reconstruct
from compressctl.errors import ModelError
from compressctl.layers.weights import Weight, input_squares, layer_weights, tables
from compressctl.model.graph import set_constant
from compressctl.model.tensor_file import TensorFiles
from compressctl.model.tensors import read_array
from compressctl.numerics.distinct import distinct
from compressctl.numerics.parallel import by_rows
from compressctl.progress import Progress

if TYPE_CHECKING:
    from compressctl.torchexec.gradients import Loss


_LEAST = 4  # weights for each number of the codebook
_LEAST_SHARE = 1e-6  # of the mean importance


@dataclass(frozen=True)
class Sharing:
    """How weights share values.

    Attributes:
        clusters: at most this many in a codebook, 2 to 256.
        vector: how many weights make a vector; 1: single weights.
        together: one codebook for all weights, not one for each.
        seed: of vectors' centroids.
        importance: what each element counts, by name of the weight; all the same in those that it lacks.
        samples: to reconstruct layers on; None: the nearest centroid takes each weight's place.
    """

    clusters: int
    vector: int
    together: bool
    seed: int
    importance: Mapping[str, Array]
    samples: ObservedSamples | None

    def obstacle(self, weight: Weight) -> str | None:
        """Return why the layer of a weight cannot be reconstructed, or None."""
        if weight.obstacle is not None:
            return weight.obstacle
        if self.vector == 1:
            return None
        return "vectors are in one codebook for all" if self.together else _groups(weight)


@dataclass(frozen=True)
class Shared:
    """A weight after clustering.

    Attributes:
        weight: the weight.
        clusters: distinct values, or vectors, that it has now.
        zeros: of its elements.
        zeros_lost: that it had before.
        error: squared error of its elements over their squares.
        output_error: of the layer's output where it was reconstructed: see `fit_layers`.
    """

    weight: Weight
    clusters: int
    zeros: int
    zeros_lost: int
    error: float
    output_error: float | None

    @property
    def name(self) -> str:
        """The name of the first node that uses it."""
        return self.weight.nodes[0]


def shareable(graph: ir.Graph) -> list[Weight]:
    """Return the weights of linear and recurrent layers and the tables of embeddings, each once."""
    found = {weight.value: weight for weight in layer_weights(graph)}
    for table in tables(graph):
        known = found.get(table.value)
        found[table.value] = table if known is None else replace(known, nodes=(*known.nodes, *table.nodes))
    return list(found.values())


def obstacle(weight: Weight, clusters: int, vector: int) -> str | None:
    """Return why a weight is better left as it is, or None.

    Raises:
        ModelError: it holds NaN or infinity.
    """
    array = read_array(weight.tensor)
    if not np.isfinite(array).all():
        raise ModelError(f"weight {weight.name!r} holds NaN or infinity", "such a tensor cannot be clustered")
    if array.size < _LEAST * clusters * vector:
        return f"its {array.size} elements are fewer than {_LEAST} for each of the codebook's {clusters * vector}"
    if array.size % vector:
        return f"its {array.size} elements make no vectors of {vector}"
    found = distinct(np.ascontiguousarray(array).reshape(-1, *([vector] if vector > 1 else [])))
    if found is not None and len(found.values) <= clusters:
        what = "distinct values" if vector == 1 else f"distinct vectors of {vector}"
        return f"it has {len(found.values)} {what} as it is"
    return None


def share(
    model: ir.Model, weights: Sequence[Weight], sharing: Sharing, files: TensorFiles, progress: Progress
) -> list[Shared]:
    """Cluster weights of `model`, in place.

    Args:
        model: its weights are held in `files` afterwards where they are large.
        weights: of its main graph, without an `obstacle`.
        sharing: how.
        files: keeps them there.
        progress: one tick a weight.

    Raises:
        ModelError, DataError: as `fit_layers`.
    """
    before = {weight.name: weight.tensor for weight in weights}
    book = _fit(weights, sharing) if sharing.together else None
    solvable = [w for w in weights if sharing.samples is not None and sharing.obstacle(w) is None]
    for weight in progress.track([w for w in weights if w not in solvable], "cluster weights"):
        _replace(weight, book or _fit([weight], sharing), sharing)
        files.keep(weight.value)
    errors = {}
    if sharing.samples is not None and solvable:
        layers = [weight.layers[0] for weight in solvable]
        fixed = [w for w in solvable if book is not None or _groups(w) is not None]
        errors = reconstruct(
            model,
            layers,
            {weight.layers[0].name: book or _fit([weight], sharing) for weight in fixed},
            sharing.samples,
            clusters=sharing.clusters,
            vector=sharing.vector,
        )
        for weight in solvable:
            files.keep(weight.value)
    return [_told(weight, before[weight.name], sharing.vector, errors) for weight in weights]


def _groups(weight: Weight) -> str | None:
    return "the layer is a grouped convolution" if weight.layers[0].groups > 1 else None


def _fit(weights: Collection[Weight], sharing: Sharing) -> Codebook:
    def parts() -> Iterator[Part]:
        for weight in weights:
            yield read_array(weight.tensor), sharing.importance.get(weight.name)

    return fit_codebook(parts, sharing.clusters, vector=sharing.vector, seed=sharing.seed)


def _replace(weight: Weight, book: Codebook, sharing: Sharing) -> None:
    set_constant(weight.value, book.nearest(read_array(weight.tensor), sharing.importance.get(weight.name)))


def _told(weight: Weight, tensor: ir.TensorProtocol, vector: int, errors: Mapping[str, float]) -> Shared:
    old, new = (np.ascontiguousarray(read_array(one)).reshape(-1) for one in (tensor, weight.tensor))

    def sums(piece: slice) -> tuple[float, float]:
        floats = old[piece].astype(np.float64)
        return float(np.square(floats - new[piece].astype(np.float64)).sum()), float(np.square(floats).sum())

    off, energy = np.sum(by_rows(sums, old.size, 1), axis=0)
    found = distinct(new if vector == 1 else new.reshape(-1, vector))
    assert found is not None, f"{weight.name} has few distinct values"
    zeros, lost = new.size - int(np.count_nonzero(new)), int(np.count_nonzero((old == 0) & (new != 0)))
    return Shared(weight, len(found.values), zeros, lost, float(off / energy), errors.get(weight.nodes[0]))


def by_activation(model: ir.Model, weights: Sequence[Weight], samples: ObservedSamples) -> dict[str, Array]:
    """Return the mean square of the input that each element multiplies, of the weights' shapes, by name.

    Weights of which nothing is known have no entry; see `input_squares`, also for what it raises.
    """
    squares = input_squares(model, weights, samples.source, samples.resources, samples=samples.count)
    found = {}
    for weight in weights:
        if weight.name in squares:
            layer = weight.layers[0]
            spread = np.broadcast_to(squares[weight.name][:, None, :], layer.shape).astype(np.float32)
            found[weight.name] = _above_zero(layer.restore(spread).astype(np.float32))
    return found


def by_hessian(
    model: ir.Model, weights: Sequence[Weight], samples: ObservedSamples, *, loss: Loss | None
) -> dict[str, Array]:
    """Return the mean over samples of the squared gradient of each element: the diagonal of the Fisher matrix.

    Weights that no gradient reaches have no entry.

    Args:
        model: left as it is.
        weights: of the model.
        samples: with labels for `loss`.
        loss: None: the squared error of the outputs; see `torchexec.gradients`.

    Raises:
        ModelError, DataError: as `gradients`.
    """
    from compressctl.torchexec.gradients import gradients

    found = gradients(model, samples.source, samples.resources, samples=samples.count, loss=loss)
    seconds = {weight.name: found[weight.name].second for weight in weights if weight.name in found}
    return {name: _above_zero(second) for name, second in seconds.items() if second.any()}


def _above_zero(importance: Array) -> Array:
    """Let elements that no sample shows count a little, so that they have their place among the centroids."""
    return importance + float(importance.mean()) * _LEAST_SHARE
