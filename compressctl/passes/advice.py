"""What a pass says to a starter recipe: whether it serves a goal, why, and what else to try."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from compressctl.choices import StarterGoal
from compressctl.notes import Note
from compressctl.tensorspec import TensorSpec

Goal = StarterGoal | Literal["lossless"]
Kind = Literal["convolutional network", "transformer", "recurrent network", "feed-forward network"]

_LAYER = 700  # bytes of names, scales and nodes that a quantized layer adds, as measured on the sample models
_PROVENANCE = 4096  # bytes that the recipe and its origin may take in the output


def open_axes(spec: TensorSpec) -> tuple[int, ...]:
    """Return the axes along which the file leaves the size of an input open."""
    return tuple(axis for axis, dim in enumerate(spec.shape) if not isinstance(dim, int))


@dataclass(frozen=True)
class ModelFacts:
    """A model as a recipe sees it.

    Attributes:
        path: the file, as it was given.
        kind: by where most multiply-accumulates are.
        inputs, outputs: of the graph.
        parameters: weights in all.
        bytes: of all weights as they are stored.
        file_bytes: of the file with its external data.
        macs: multiply-accumulates of a sample, without nodes whose shapes are unknown.
        bytes_by_operator, macs_by_operator: share of each operator, most first, those of a percent or more.
        static, dynamic: layers that INT8 with and without calibration would take.
        quantizable: parameters of those layers.
        quantizable_bytes: and their bytes.
        norms: whether there are norms that `simplify` would fold.
        recurrent: share of the multiply-accumulates that is in recurrent layers.
        quantized: nodes that compute with integers already.
        packed: nodes that unpack weights when the file is loaded.
    """

    path: str
    kind: Kind
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int
    bytes: int
    file_bytes: int
    macs: int
    bytes_by_operator: tuple[tuple[str, float], ...]
    macs_by_operator: tuple[tuple[str, float], ...]
    static: int
    dynamic: int
    quantizable: int
    quantizable_bytes: int
    norms: bool
    recurrent: float
    quantized: int
    packed: int

    @property
    def dynamic_inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs with a dynamic dimension besides that of samples."""
        return tuple(spec for spec in self.inputs if any(axis != spec.axis for axis in open_axes(spec)))

    def expected_ratio(self, bits: float) -> float:
        """Return the size to expect over that of the file, where what can be quantized gets `bits` a weight.

        Scales, names and nodes are estimated; small models end larger than their bits promise.
        """
        graph = max(self.file_bytes - self.bytes, 0) + _PROVENANCE + _LAYER * (self.static + self.dynamic)
        fixed = self.bytes - self.quantizable_bytes + graph
        return (fixed + self.quantizable * bits / 8) / self.file_bytes


@dataclass(frozen=True)
class Option:
    """Lines of YAML that may be added, and why one would."""

    lines: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Result:
    """What a model is after the passes.

    Attributes:
        suffix: of the output's name.
        goal: what this reaches, in words.
        bits: of a weight, scales included; None where the file is expected to keep its size.
        calibrated: whether the passes need samples for calibration.
        notes: what the user should know before anything runs.
    """

    suffix: str
    goal: str
    bits: float | None
    calibrated: bool = False
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Step:
    """A pass.

    Attributes:
        keys: of the recipe, `type` first.
        why: it stands here.
        options: further keys of it to try.
        result: what it makes of the model, where it is the one that reaches the goal.
    """

    keys: dict[str, Any]
    why: str
    options: tuple[Option, ...] = ()
    result: Result | None = None


Advise = Callable[[ModelFacts, Goal, bool], Step | Option | None]
"""Says how a pass serves a goal: as a step, as an option to try in its place, or not at all; the last argument says
whether there are samples to train on."""
