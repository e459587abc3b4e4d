"""The work of the pass `simplify`, and when candidates of a search begin with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import onnx_ir as ir

from compressctl.data.random import random_feeds
from compressctl.measure.trial import usual_fit
from compressctl.model.load import interface
from compressctl.model.tensor_file import TensorFiles
from compressctl.notes import Note, NoteKind
from compressctl.passes.base import Context, Outcome
from compressctl.passes.simplify import BATCH, Config
from compressctl.passes.space import Params, PassSpace, Space, Stage
from compressctl.simplification.equivalence import Arrays
from compressctl.simplification.metadata import strip_metadata
from compressctl.simplification.rules import RULES
from compressctl.simplification.verified import simplify
from compressctl.storage.halves import close_halves, fits, open_halves

_SMALL = {"sequence": 7, "side": 64, "other": 5}
_NAMES_IN_NOTE = 3


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Simplify a copy of `model`."""
    names = [name for name in RULES if name not in config.skip]
    result, notes = _simplify(model, names, context)
    if not config.keep_metadata:
        result = model.clone() if result is model else result
        notes = [*notes, *strip_metadata(result)]
    by_text = _by_text(notes)
    summary = tuple(Note(kind, _summary(text, names)) for (kind, text), names in by_text.items())
    kinds: tuple[NoteKind, ...] = ("done", "skipped")
    facts: dict[str, Any] = {
        key: {text: names for (kind, text), names in by_text.items() if kind == key} for key in kinds
    }
    return Outcome(result, summary, facts)


def _simplify(model: ir.Model, names: Sequence[str], context: Context) -> tuple[ir.Model, list[Note]]:
    """Simplify with weights opened that are in half precision, where it holds what becomes of them to the bit."""
    opened, files = model.clone(), TensorFiles(context.workdir)
    halves = open_halves(opened, files)
    if halves.tensors:
        result, notes = simplify(opened, _feeds(model, context), names, context.threads)
        if result is opened:
            return model, notes
        if fits(result, halves):
            result = result.clone() if result is opened else result
            return result, [*notes, *close_halves(result, halves, new=True, files=files)]
    return simplify(model, _feeds(model, context), names, context.threads)


def _feeds(model: ir.Model, context: Context) -> Iterator[Arrays]:
    """Yield inputs to compare the models on: calibration samples, or random numbers in small, then in usual sizes."""
    if context.calibration is not None:
        yield context.calibration.first(BATCH)
        return
    fit = context.fit or usual_fit(model, interface(model)[0])
    for sizes in (_SMALL, fit.sizes):
        yield random_feeds(fit.inputs, BATCH, context.seed, sizes, fit.limits)


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


class SimplifySpace(PassSpace):
    """Norms stay in place while a network that was cut is trained, and are folded afterwards."""

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterator[tuple[Stage, Config]]:
        keeps_norms = params["structure"] and params.get("tune_epochs", 0)
        yield Stage.BEGIN, Config(skip=("batchnorm",) if keeps_norms else ())
        if keeps_norms:
            yield Stage.FOLD, Config()
