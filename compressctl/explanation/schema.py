"""What an explanation says; JSON-able."""

from __future__ import annotations

from dataclasses import dataclass

from compressctl.measure.accuracy import Comparison
from compressctl.notes import Note


@dataclass(frozen=True)
class Cost:
    """What a layer costs in one model.

    Attributes:
        bytes: stored in the file; packed weights with the tables and scales that unpack them. What several layers share
            counts at the first.
        macs: multiply-accumulates of one inference, None where they cannot be told.
        time_share: of the time that all nodes of the model take, 0 to 1; None where its nodes could not be told apart
            in the graph that onnxruntime runs.
    """

    bytes: int
    macs: int | None
    time_share: float | None


@dataclass(frozen=True)
class LayerSqnr:
    """The output of a layer after a pass, against the original's.

    Attributes:
        after: label of the pass.
        sqnr_db: 10 log10(sum b² / sum (b - r)²) over all samples, infinite where both are equal; None where they cannot
            be compared.
        value: name of the value that was compared, or None.
        reason: why there is no figure, or what was done to compare; else None.
    """

    after: str
    sqnr_db: float | None
    value: str | None
    reason: str | None = None


@dataclass(frozen=True)
class Sensitivity:
    """What the original loses when this layer alone has the result's weights.

    Attributes:
        sqnr_db: of the model's outputs, as in `OutputsSqnr`; infinite where they are equal.
        drop: of the metric, in its own unit, in pairs; None without metric.
    """

    sqnr_db: float
    drop: Comparison | None


@dataclass(frozen=True)
class LayerRow:
    """One layer of the original.

    Attributes:
        name: its node.
        op: its operator.
        before, after: what it costs in the original and in the result; all 0 where the result lacks it.
        sqnr: after each pass.
        sensitivity: to its weights; None where the result's do not fit the original.
        no_sensitivity: why there is none, else None.
    """

    name: str
    op: str
    before: Cost
    after: Cost
    sqnr: tuple[LayerSqnr, ...]
    sensitivity: Sensitivity | None
    no_sensitivity: str | None = None


@dataclass(frozen=True)
class OutputsSqnr:
    """The model's outputs after a pass: mean noise over signal of its float outputs in dB; None if shapes differ."""

    after: str
    sqnr_db: float | None


@dataclass(frozen=True)
class WorstLayer:
    """A layer that the result is sensitive to.

    Attributes:
        name: its node.
        after: label of the pass that is to blame, or None where that cannot be told.
        why: one sentence.
    """

    name: str
    after: str | None
    why: str


@dataclass(frozen=True)
class RecipePatch:
    """What to change in a recipe.

    Attributes:
        after: label of the pass to change.
        lines: the whole entry of this pass under `passes:`, as YAML; to be pasted over the present one.
        why: one sentence.
    """

    after: str
    lines: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Explanation:
    """A result, layer by layer.

    Attributes:
        layers: those of the original, in graph order.
        other_before, other_after: what all other nodes cost.
        outputs: SQNR of the model's outputs after each pass.
        worst: the most sensitive layers, the worst first; empty where none stands out.
        patches: what would mend accuracy, one entry a pass.
        samples: how many were run.
        sensitivity_samples: how many of them `sensitivity` was measured on: fewer of large models.
        metric: that `Sensitivity.drop` is of, or None.
        notes: what could not be looked into.
    """

    layers: tuple[LayerRow, ...]
    other_before: Cost
    other_after: Cost
    outputs: tuple[OutputsSqnr, ...]
    worst: tuple[WorstLayer, ...]
    patches: tuple[RecipePatch, ...]
    samples: int
    sensitivity_samples: int
    metric: str | None
    notes: tuple[Note, ...]
