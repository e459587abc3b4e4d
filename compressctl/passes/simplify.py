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
from typing import TYPE_CHECKING, Any, Literal

from compressctl.notes import Note
from compressctl.passes.base import Context, Outcome, PassConfig

if TYPE_CHECKING:
    import onnx_ir as ir

    from compressctl.simplification.equivalence import Arrays

RuleName = Literal[
    "identity",
    "duplicates",
    "constants",
    "shape_arithmetic",
    "transposes",
    "reshapes",
    "slices",
    "pads",
    "batchnorm",
    "channel_arithmetic",
    "pooling",
    "activations",
]
_BATCH = 3
_SMALL = {"sequence": 7, "side": 64, "other": 5}
_NAMES_IN_NOTE = 3


class Config(PassConfig):
    """Options of `simplify`."""

    type: Literal["simplify"] = "simplify"
    skip: tuple[RuleName, ...] = ()
    """Rules that are not applied."""


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Simplify a copy of `model`."""
    from compressctl.simplification.rules import RULES
    from compressctl.simplification.verified import simplify

    names = [name for name in RULES if name not in config.skip]
    result, notes = simplify(model, _feeds(model, context), names, context.threads)
    return Outcome(result, tuple(_summarise(notes)), {"rewrites": _rewrites(notes)})


def _feeds(model: ir.Model, context: Context) -> Iterator[Arrays]:
    """Yield inputs to compare the models on: calibration samples, or random numbers in small, then in usual sizes."""
    from compressctl.data.random import random_feeds
    from compressctl.model.load import interface

    if context.calibration is not None:
        yield next(iter(context.calibration.batches(_BATCH))).feeds
        return
    inputs, _ = interface(model)
    for sizes in (_SMALL, None):
        yield random_feeds(inputs, _BATCH, context.seed, sizes)


def _rewrites(notes: Iterable[Note]) -> dict[str, list[str]]:
    """Return the names of nodes and initializers by kind of rewrite."""
    rewrites: dict[str, Any] = {}
    for note in notes:
        if note.kind == "done":
            rewrites.setdefault(note.text, []).append(note.node or "")
    return rewrites


def _summarise(notes: Iterable[Note]) -> Iterator[Note]:
    """Yield one note for each kind of rewrite, with its count, then the other notes as they are."""
    notes = tuple(notes)
    for text, names in _rewrites(notes).items():
        shown = ", ".join(name for name in names[:_NAMES_IN_NOTE] if name)
        more = f", and {len(names) - _NAMES_IN_NOTE} more" if len(names) > _NAMES_IN_NOTE else ""
        yield Note("done", f"{text}: {len(names)}" + (f" ({shown}{more})" if shown else ""))
    yield from (note for note in notes if note.kind != "done")
