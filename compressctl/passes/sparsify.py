"""Set single weights to zero: those below a threshold, a share of them, or all but N of every M.

Convolutions, Gemm, MatMul and the matrices of recurrent layers take part; embeddings, biases and norms do not. Weights
that are zero stay zero, and count. The graph keeps its shapes: dense kernels get no faster, and a file no smaller until
the pass `store` leaves its zeros out. 2:4 is what sparse kernels of NVIDIA GPUs from Ampere on take: of 4 input
channels side by side at most 2 have a weight.

Where there are calibration samples, the weights that remain are moved so that each layer keeps its output, layer after
layer, and what becomes zero is chosen by what it costs the output. That needs no labels, and takes the first 1,024
samples at most.

Sources: Han et al. 2015 (arXiv:1506.02626); SparseGPT, Frantar and Alistarh 2023 (arXiv:2301.00774); Wanda, Sun et al.
2024 (arXiv:2306.11695); LAMP, Lee et al. 2021 (arXiv:2010.07611); N:M, Mishra et al. 2021 (arXiv:2104.08378).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from compressctl.passes.base import Context, Outcome, PassConfig, Reads

if TYPE_CHECKING:
    import onnx_ir as ir

    from compressctl.layers.weights import Weight
    from compressctl.notes import Note
    from compressctl.numerics.sparsity import Mask
    from compressctl.pruning.sensitivity import Curve
    from compressctl.pruning.sparse import Scores

_SAMPLES = 1024  # to reconstruct on

Importance = Literal["magnitude", "obs", "activation", "taylor", "hessian", "random"]


class Config(PassConfig):
    """Options of `sparsify`."""

    reads: ClassVar[tuple[Reads, ...]] = ("calibration", "training", "evaluation")
    edits_weights: ClassVar[bool] = True

    type: Literal["sparsify"] = "sparsify"
    ratio: Annotated[float, Field(ge=0, lt=1)] | Literal["auto"] | None = None
    """Share of the weights that is zero afterwards. auto: as many as max_accuracy_drop admits, first in the
    layers where they cost least."""
    threshold: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Zero weights of smaller magnitude."""
    nm: str | None = None
    """N:M, as in 2:4: of every M weights side by side along the input channels at most N stay."""
    scope: Literal["global", "layer"] = "global"
    """ratio: of all layers together, by one ranking, or of each layer alike. Magnitudes of different layers are
    compared by LAMP, and decide for obs how much each layer gives."""
    importance: Importance | None = None
    """What ranks a weight w: its magnitude; obs: what zeroing it costs the layer's output while the others make up for
    it; activation: |w| times the size of its input; taylor or hessian: |gw| or g²w² with the gradients g of the loss;
    or random. Default: obs where weights are reconstructed, else magnitude."""
    reconstruct: bool | None = None
    """Move the weights that remain so that layers keep their outputs; default: where there are calibration samples."""
    sensitivity: bool = False
    """Measure what pruning each layer alone to several ratios costs, for the report; auto does so anyway."""
    sensitivity_samples: int = Field(default=128, ge=1)
    """Samples on which that is measured."""
    include: tuple[str, ...] = ()
    """Only nodes whose name matches one of these globs."""
    exclude: tuple[str, ...] = ()
    """Never nodes whose name matches one of these globs."""

    @property
    def pattern(self) -> tuple[int, int] | None:
        """N and M."""
        n, m = map(int, self.nm.split(":")) if self.nm else (0, 0)
        return (n, m) if self.nm else None

    @field_validator("nm")
    @classmethod
    def _is_n_of_m(cls, text: str | None) -> str | None:
        if text is not None:
            found = re.fullmatch(r"(\d+):(\d+)", text)
            if found is None or not 0 < int(found[1]) < int(found[2]):
                raise ValueError("give N:M with 0 < N < M, as in 2:4")
        return text

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        given = [name for name in ("ratio", "threshold", "nm") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of ratio, threshold and nm, not {' and '.join(given) or 'none'}")
        if self.threshold is not None and self.importance not in (None, "magnitude"):
            raise ValueError(f"threshold is one of magnitude, so importance cannot be {self.importance}")
        if self.importance == "obs" and self.reconstruct is False:
            raise ValueError("importance obs chooses while it reconstructs, so reconstruct cannot be false")
        return self


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Zero weights of `model` in place.

    Raises:
        UsageError: samples are needed and there are none, or a glob matches no node.
        ModelError: the model has no weights that can be zeroed, or they cannot be observed.
        MissingExtraError: importance by gradients without torch.
    """
    from compressctl.errors import ModelError, UsageError
    from compressctl.notes import skipped
    from compressctl.passes.sparsity_search import automatic, measure
    from compressctl.pruning.sparse import sparse_weights
    from compressctl.pruning.zeroing import Zeroing

    reconstructs = context.calibration is not None if config.reconstruct is None else config.reconstruct
    reconstructs = reconstructs or config.importance == "obs"
    if reconstructs and context.calibration is None:
        raise UsageError("weights are reconstructed on samples, and there are none", "add --calibrate DATA")
    found, notes = sparse_weights(model.graph)
    weights, told = _selected(model, found, config)
    scores = _scores(model, weights, config, context)
    unknown = [weight for weight in weights if weight.name not in scores]
    told += [
        skipped(f"not made sparse: importance {config.importance} says nothing of it", w.nodes[0]) for w in unknown
    ]
    weights = [weight for weight in weights if weight.name in scores]
    if not weights:
        raise ModelError(f"no weight can be made sparse: importance {config.importance} says nothing of any")
    zeroing = Zeroing(
        source=context.calibration if reconstructs else None,
        by_cost=config.threshold is None and config.importance in (None, "obs"),
        pattern=config.pattern,
        samples=_SAMPLES,
        threads=context.threads,
        workdir=context.workdir,
        progress=context.progress,
    )
    facts: dict[str, Any] = {}
    curves: list[Curve] = []
    if config.sensitivity or config.ratio == "auto":
        curves, facts["sensitivity"] = measure(model, weights, scores, config.sensitivity_samples, context)
    if config.ratio == "auto":
        masks = automatic(model, weights, scores, curves, zeroing, context)
    else:
        masks = _masks(weights, scores, config)
    errors = zeroing.zero(model, weights, masks)
    rows = [_row(weight, errors.get(weight.nodes[0])) for weight in weights]
    told += _notes(weights, rows, reconstructs)
    return Outcome(model, (*notes, *told), {"layers": rows, **facts})


def _selected(model: ir.Model, weights: Sequence[Weight], config: Config) -> tuple[list[Weight], list[Note]]:
    """Return the weights that the user lets us touch and that fit the pattern, and notes on the latter.

    Raises:
        UsageError: a glob matches no node.
        ModelError: nothing is left.
    """
    from compressctl.errors import ModelError
    from compressctl.notes import skipped
    from compressctl.passes.globs import check_globs, chosen
    from compressctl.pruning.sparse import unfit

    check_globs(model.graph, config)
    if not weights:
        raise ModelError("the model has no float weights of linear or recurrent layers", "prune before quantizing")
    found, notes = [], []
    for weight in weights:
        if not chosen(config, weight.nodes):
            continue
        reason = unfit(weight, config.pattern[1]) if config.pattern else None
        if reason is None:
            found.append(weight)
        else:
            notes.append(skipped(f"not made sparse: {reason}", weight.nodes[0]))
    if not found:
        raise ModelError(f"no weight can be made sparse: {notes[0].text if notes else 'none is included'}")
    return found, notes


def _scores(model: ir.Model, weights: Sequence[Weight], config: Config, context: Context) -> Scores:
    """Return what each element counts; obs only decides within a layer, so layers share by magnitude then."""
    from compressctl.passes.gradients import evidence
    from compressctl.pruning.element_scores import element_scores

    importance = config.importance
    if importance is None or importance == "obs":
        return element_scores(model, weights, "magnitude")
    if importance in ("magnitude", "random"):
        return element_scores(model, weights, importance, seed=context.seed)
    on = evidence(model, context, importance)
    return element_scores(model, weights, importance, seed=context.seed, evidence=on)


def _masks(weights: Sequence[Weight], scores: Scores, config: Config) -> dict[str, Mask]:
    from compressctl.pruning.sparse import at_most, below, smallest

    if config.threshold is not None:
        return below(weights, config.threshold)
    if config.pattern is not None:
        return at_most(weights, scores, *config.pattern)
    assert isinstance(config.ratio, float)
    return smallest(weights, scores, config.ratio, each=config.scope == "layer")


def _notes(weights: Sequence[Weight], rows: Sequence[dict[str, Any]], reconstructs: bool) -> list[Note]:
    from compressctl.layers.unseen import unseen
    from compressctl.notes import done, skipped, warning

    zeros, total = sum(row["zeros"] for row in rows), sum(row["weights"] for row in rows)
    text = f"{zeros} of {total} weights are zero ({zeros / total:.1%}), in {len(rows)} tensors"
    notes = [done(f"{text}: dense kernels get no faster; the file gets smaller where the pass store leaves zeros out")]
    emptied = "all its weights are zero, so the model ignores what it reads"
    notes += [warning(emptied, row["layer"]) for row in rows if row["zeros"] == row["weights"]]
    if not reconstructs:
        return notes
    worst = max((row for row in rows if "output_error" in row), key=lambda row: row["output_error"], default=None)
    if worst is not None:
        notes.append(done(f"layers keep their outputs up to an error of {worst['output_error']:.2g}", worst["layer"]))
    for weight, row in zip(weights, rows, strict=True):
        if weight.obstacle is None and "output_error" not in row and weight.layer is not None:
            notes.append(unseen(weight.nodes[0], "zeroed, but not reconstructed"))
        if weight.obstacle is not None:
            notes.append(skipped(f"zeroed, but not reconstructed: {weight.obstacle}", weight.nodes[0]))
    return notes


def _row(weight: Weight, error: float | None) -> dict[str, Any]:
    import numpy as np

    zeros, size = weight.array.size - int(np.count_nonzero(weight.array)), weight.array.size
    row = {"layer": weight.nodes[0], "weight": weight.name, "weights": size, "zeros": zeros, "ratio": zeros / size}
    return row if error is None else {**row, "output_error": error}
