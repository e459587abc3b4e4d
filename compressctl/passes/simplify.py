"""Simplify the graph without changing what it computes, so that it runs faster and quantizes well.

Constants are folded, shape arithmetic that exporters leave behind becomes constant, nodes without effect, duplicates
and dead ends go; pairs of Transposes and Reshapes cancel, also through the element-wise nodes between them; Pad,
BatchNormalization and per-channel arithmetic become part of the convolution or Gemm beside them; spatial means become
GlobalAveragePool; activations written out become Relu and Clip. Names of inputs, outputs and of what remains are kept.
The result is run against the original on calibration samples, or else on random numbers; a rewrite that deviates is
taken back. Bodies of If, Loop and Scan stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from compressctl.notes import Note, NoteKind
from compressctl.passes.base import Context, Outcome, PassConfig, Reads

if TYPE_CHECKING:
    import onnx_ir as ir

    from compressctl.simplification.equivalence import Arrays

RuleName = Literal[
    "identity",
    "duplicates",
    "constants",
    "shape_arithmetic",
    "resizes",
    "sequences",
    "transposes",
    "reshapes",
    "slices",
    "pads",
    "batchnorm",
    "channel_arithmetic",
    "pooling",
    "sums",
    "gemm",
    "activations",
]
_BATCH = 3
_SMALL = {"sequence": 7, "side": 64, "other": 5}
_NAMES_IN_NOTE = 3


class Config(PassConfig):
    """Options of `simplify`."""

    reads: ClassVar[tuple[Reads, ...]] = ("calibration",)
    prepares: ClassVar[bool] = True

    type: Literal["simplify"] = "simplify"
    skip: tuple[RuleName, ...] = ()
    """Rules that are not applied."""

    def inferences(self, calibration: int, training: int) -> int:
        """A few samples, through the model before and after."""
        return 2 * _BATCH


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Simplify a copy of `model`."""
    from compressctl.simplification.rules import RULES
    from compressctl.simplification.verified import simplify

    names = [name for name in RULES if name not in config.skip]
    result, notes = simplify(model, _feeds(model, context), names, context.threads)
    by_text = _by_text(notes)
    summary = tuple(Note(kind, _summary(text, names)) for (kind, text), names in by_text.items())
    kinds: tuple[NoteKind, ...] = ("done", "skipped")
    facts: dict[str, Any] = {
        key: {text: names for (kind, text), names in by_text.items() if kind == key} for key in kinds
    }
    return Outcome(result, summary, facts)


def _feeds(model: ir.Model, context: Context) -> Iterator[Arrays]:
    """Yield inputs to compare the models on: calibration samples, or random numbers in small, then in usual sizes."""
    from compressctl.data.random import random_feeds
    from compressctl.model.load import interface
    from compressctl.model.lookups import lookup_limits

    if context.calibration is not None:
        yield context.calibration.first(_BATCH)
        return
    inputs, _ = interface(model)
    limits = lookup_limits(model)
    for sizes in (_SMALL, None):
        yield random_feeds(inputs, _BATCH, context.seed, sizes, limits)


def _by_text(notes: Iterable[Note]) -> dict[tuple[NoteKind, str], list[str]]:
    """Return the names of nodes and initializers by kind of remark."""
    names: dict[tuple[NoteKind, str], list[str]] = {}
    for note in notes:
        names.setdefault((note.kind, note.text), []).extend([note.node] if note.node else [])
    return names


def _summary(text: str, names: list[str]) -> str:
    if not names:
        return text
    more = f" and {len(names) - _NAMES_IN_NOTE} more" if len(names) > _NAMES_IN_NOTE else ""
    return f"{text}: {len(names)} ({', '.join(names[:_NAMES_IN_NOTE])}{more})"
