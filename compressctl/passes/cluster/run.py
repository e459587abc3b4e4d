"""The work of the pass `cluster`, and what a search may try of it: how many values weights share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.clustering.apply import Shared, Sharing, by_activation, by_hessian, obstacle, share, shareable
from compressctl.clustering.reconstruct import ObservedSamples
from compressctl.errors import ModelError, UsageError
from compressctl.layers.linear import other_layers
from compressctl.layers.unseen import unseen
from compressctl.layers.weights import Weight
from compressctl.model.tensor_file import TensorFiles
from compressctl.notes import Note, done, skipped, warning
from compressctl.passes.base import Context, Outcome
from compressctl.passes.cluster import Config
from compressctl.passes.gradients import evidence
from compressctl.passes.space import Draw, Format, Params, PassSpace, Space, Stage, Subject
from compressctl.quantization.weights.targets import targets

_SAMPLES = 1024  # to reconstruct on, or to observe inputs


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Cluster the weights of `model` in place.

    Raises:
        UsageError: samples are needed and there are none, or a glob matches no node.
        ModelError: no weight can be clustered, or one holds NaN or infinity, or layers cannot be observed.
        MissingExtraError: importance by gradients without torch.
    """
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
    told = share(model, weights, sharing, TensorFiles(context.workdir), context.progress)
    return Outcome(model, (*notes, *_notes(told, sharing, config)), {"layers": [_row(one) for one in told]})


def _selected(model: ir.Model, config: Config) -> tuple[list[Weight], list[Note]]:
    """Return the weights to cluster, and why others that the user chose are left.

    Raises:
        UsageError: a glob matches no node.
        ModelError: nothing is left, or a weight is not finite.
    """
    config.selection.check(model.graph)
    found = [weight for weight in shareable(model.graph) if config.selection.allows_names(weight.nodes)]
    users = {name for weight in found for name in weight.nodes}
    notes = [
        skipped(f"not clustered: {reason}", node.name)
        for node, reason in other_layers(model.graph, inner=True)
        if config.selection.allows_names([node.name or ""]) and node.name not in users
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


def _samples(context: Context) -> ObservedSamples | None:
    if context.calibration is None:
        return None
    return ObservedSamples(context.calibration, _SAMPLES, context)


def _importance(model: ir.Model, weights: Sequence[Weight], config: Config, context: Context) -> dict[str, Array]:
    if config.importance == "none":
        return {}
    on = evidence(model, context, config.importance)
    activation = config.importance == "activation"
    count = _SAMPLES if activation else on.samples
    samples = ObservedSamples(on.source, count, on.resources)
    if activation:
        return by_activation(model, weights, samples)
    return by_hessian(model, weights, samples, loss=on.loss)


def _notes(told: Sequence[Shared], sharing: Sharing, config: Config) -> list[Note]:
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


class ClusterSpace(PassSpace):
    """The parameter `cluster_bits`."""

    monotone: ClassVar = {"cluster_bits": -1}

    def formats(self, subject: Subject) -> Iterator[Format]:
        if targets(subject.model.graph)[0]:
            yield Format("cluster", "weights", repeats=True)

    def draw(self, draw: Draw) -> None:
        if draw.format.name == "cluster":
            draw.whole("cluster_bits", 2, 6)

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterator[tuple[Stage, Config]]:
        if params["format"] == "cluster":
            yield Stage.NUMBERS, Config(clusters=2 ** params["cluster_bits"])

    def starts(self, space: Space) -> Iterator[tuple[int, dict[str, Any]]]:
        if space.has("cluster"):
            yield 13, {"format": "cluster", "cluster_bits": 4}
