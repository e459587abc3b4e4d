"""Share weights: the weights of each layer take one of few values, found by k-means, or vectors of them by product
quantization.

Convolutions, Gemm, MatMul, the matrices of recurrent layers and tables of embeddings take part; biases and norms do
not. The graph keeps its shapes and its speed. Weights stay floats of few distinct values: it is the pass `store` that
writes them as codes and a codebook. `finetune` keeps clusters together. Zeros stay zero: 0 is then one of the values,
and no other weight joins it. One value for each weight is found exactly where points times clusters are up to 2^21, and
to a few parts in ten thousand of the least error beyond that.

Where there are calibration samples, layer after layer keeps its output: weights start from where least squares puts
them, are rounded to the values one input after the other while those to come make up for it, and the values move to
where the output is closest. That needs no labels, and takes the first 1,024 samples at most. Layers that cannot be
observed (recurrent ones, shared weights, more than 8,192 inputs) get the nearest values.

Sources: Deep Compression, Han et al. 2016 (arXiv:1510.00149); exact k-means on the line, Wang and Song 2011; product
quantization, Jégou et al. 2011, of layers: Stock et al. 2020 (arXiv:1907.05686); GPTQ, Frantar et al. 2022
(arXiv:2210.17323).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compressctl.passes.base import Context, Outcome, PassConfig, Reads

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.typing import NDArray

    from compressctl.clustering.apply import Shared, Sharing
    from compressctl.clustering.reconstruct import Samples
    from compressctl.layers.weights import Weight
    from compressctl.notes import Note

_SAMPLES = 1024  # to reconstruct on, or to observe inputs


class Config(PassConfig):
    """Options of `cluster`."""

    reads: ClassVar[tuple[Reads, ...]] = ("calibration", "training")
    edits_weights: ClassVar[bool] = True

    type: Literal["cluster"] = "cluster"
    clusters: int = Field(default=16, ge=2, le=256)
    """Values, or vectors, that the weights of a layer share; 16 make codes of 4 bits."""
    vector: Literal[1, 2, 4, 8] = 1
    """Weights side by side in storage that share a code: with vectors of 4 and 256 clusters, 2 bits a weight."""
    scope: Literal["layer", "group"] = "layer"
    """A codebook for each layer, or one for all layers that include and exclude choose."""
    importance: Literal["none", "activation", "hessian"] = "none"
    """What a weight counts when values are placed: all the same; activation: the mean square of its input; hessian:
    the mean of g² with the gradients g of the loss. Weighs where nothing is reconstructed."""
    reconstruct: bool | None = None
    """Move weights and values so that layers keep their outputs; default: where there are calibration samples and
    importance is none."""
    include: tuple[str, ...] = ()
    """Only nodes whose name matches one of these globs."""
    exclude: tuple[str, ...] = ()
    """Never nodes whose name matches one of these globs."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.reconstruct and self.importance != "none":
            raise ValueError(f"reconstruct weighs by what layers read, so importance cannot be {self.importance}")
        return self


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Cluster the weights of `model` in place.

    Raises:
        UsageError: samples are needed and there are none, or a glob matches no node.
        ModelError: no weight can be clustered, or one holds NaN or infinity, or layers cannot be observed.
        MissingExtraError: importance by gradients without torch.
    """
    from compressctl.clustering.apply import Sharing, share
    from compressctl.errors import UsageError
    from compressctl.model.spool import Spool

    weights, notes = _selected(model, config)
    reconstructs = config.reconstruct
    if reconstructs is None:
        reconstructs = context.calibration is not None and config.importance == "none"
    samples = _samples(context) if reconstructs else None
    if reconstructs and samples is None:
        raise UsageError("layers are reconstructed on samples, and there are none", "add --calibrate DATA")
    sharing = Sharing(
        clusters=config.clusters,
        vector=config.vector,
        together=config.scope == "group",
        seed=context.seed,
        importance=_importance(model, weights, config, context),
        samples=samples,
    )
    told = share(model, weights, sharing, Spool(context.workdir), context.progress)
    return Outcome(model, (*notes, *_notes(told, sharing, config)), {"layers": [_row(one) for one in told]})


def _selected(model: ir.Model, config: Config) -> tuple[list[Weight], list[Note]]:
    """Return the weights to cluster, and why others that the user chose are left.

    Raises:
        UsageError: a glob matches no node.
        ModelError: nothing is left, or a weight is not finite.
    """
    from compressctl.clustering.apply import obstacle, shareable
    from compressctl.errors import ModelError
    from compressctl.layers.linear import other_layers
    from compressctl.notes import skipped
    from compressctl.passes.globs import check_globs, chosen

    check_globs(model.graph, config)
    found = [weight for weight in shareable(model.graph) if chosen(config, weight.nodes)]
    users = {name for weight in found for name in weight.nodes}
    notes = [
        skipped(f"not clustered: {reason}", node.name)
        for node, reason in other_layers(model.graph)
        if chosen(config, [node.name or ""]) and node.name not in users
    ]
    weights = []
    for weight in found:
        reason = obstacle(weight, config.clusters, config.vector)
        if reason is None:
            weights.append(weight)
        else:
            notes.append(skipped(f"not clustered: {reason}", weight.nodes[0]))
    if not weights:
        reason = notes[0].text if notes else "there are no float weights of layers and embeddings"
        raise ModelError(f"no weight can be clustered: {reason.removeprefix('not clustered: ')}")
    return weights, notes


def _samples(context: Context) -> Samples | None:
    from compressctl.clustering.reconstruct import Samples

    if context.calibration is None:
        return None
    return Samples(context.calibration, _SAMPLES, context.threads, context.workdir, context.progress)


def _importance(
    model: ir.Model, weights: Sequence[Weight], config: Config, context: Context
) -> dict[str, NDArray[Any]]:
    from compressctl.clustering.importance import by_activation, by_hessian
    from compressctl.clustering.reconstruct import Samples
    from compressctl.passes.gradients import evidence

    if config.importance == "none":
        return {}
    on = evidence(model, context, config.importance)
    activation = config.importance == "activation"
    count = _SAMPLES if activation else on.samples
    samples = Samples(on.source, count, context.threads, context.workdir, context.progress)
    if activation:
        return by_activation(model, weights, samples)
    return by_hessian(model, weights, samples, loss=on.loss, device=on.device, seed=context.seed)


def _notes(told: Sequence[Shared], sharing: Sharing, config: Config) -> list[Note]:
    from compressctl.layers.unseen import unseen
    from compressctl.notes import done, skipped, warning

    total = sum(one.weight.tensor.size for one in told)
    what = "values" if sharing.vector == 1 else f"vectors of {sharing.vector} weights"
    whose = "share" if sharing.together else "each share"
    text = f"{total} weights in {len(told)} tensors {whose} up to {sharing.clusters} {what}"
    notes = [done(f"{text}: the file gets smaller when the pass `store` writes codes in their place")]
    freed = [one for one in told if one.zeros_lost]
    for one in freed:
        notes.append(warning(f"{one.zeros_lost} zeros lie beside other weights in a vector and are lost", one.name))
    solved = [one for one in told if one.output_error is not None]
    worst = max(solved, key=lambda one: one.output_error or 0, default=None)
    if worst is not None:
        notes.append(done(f"layers keep their outputs up to an error of {worst.output_error:.2g}", worst.name))
    for one in told:
        weight = one.weight
        if config.importance != "none" and weight.name not in sharing.importance:
            notes.append(skipped(f"clustered, but importance {config.importance} says nothing of it", one.name))
        if sharing.samples is not None and weight.layers and (reason := sharing.obstacle(weight)):
            notes.append(skipped(f"clustered, but not reconstructed: {reason}", one.name))
        elif sharing.samples is not None and weight.layers and one.output_error is None:
            notes.append(unseen(one.name, "clustered, but not reconstructed"))
    return notes


def _row(one: Shared) -> dict[str, Any]:
    row = {
        "layer": one.name,
        "weight": one.weight.name,
        "weights": one.weight.tensor.size,
        "clusters": one.clusters,
        "zeros": one.zeros,
        "error": one.error,
    }
    return row if one.output_error is None else {**row, "output_error": one.output_error}
