"""The work of the pass `store`, and when a search does it: where values repeat, or are zeros."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir

from compressctl.model.coo import CooTensor
from compressctl.model.graph import initializer, remove_dead, set_constant
from compressctl.model.stored import evaluate, is_packed, made_tensors
from compressctl.model.tensor_file import TensorFiles
from compressctl.notes import Note, done, skipped
from compressctl.passes.base import Context, Outcome
from compressctl.passes.space import Params, PassSpace, Space, Stage
from compressctl.passes.store import Config, Format
from compressctl.storage.choice import FORMATS, StorageForm, forms, place, smallest
from compressctl.storage.constants import array_of, readers, storable
from compressctl.storage.halves import Halves, close_halves, open_halves
from compressctl.storage.survey import Survey, has_nan, survey

_LEAST = 1024  # bytes of a constant


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Store the constants of `model` in place.

    Raises:
        UsageError: a glob matches no node.
        ModelError: what unpacks a constant cannot be evaluated (format dense).
    """
    config.selection.check(model.graph)
    files = TensorFiles(context.workdir)
    return _undo(model, config, context, files) if config.format == "dense" else _store(model, config, context, files)


def _store(model: ir.Model, config: Config, context: Context, files: TensorFiles) -> Outcome:
    stored = model.clone()
    halves = open_halves(stored, files)
    found, notes = storable(stored.graph, _LEAST)
    found = [value for value in found if config.selection.allows_names(readers(value))]
    rows = []
    for value in context.progress.track(found, "storing constants", len(found)):
        row, told = _store_one(stored.graph, value, config.format, files, halves)
        rows += [] if row is None else [row]
        notes += told
    changed = not halves.tensors or any(row["format"] != "dense" for row in rows)
    notes += close_halves(stored, halves, files=files)
    facts = {"tensors": rows, "bytes": _totals(rows)}
    return Outcome(stored if changed else model, (_summary(rows), *notes), facts)


def _store_one(
    graph: ir.Graph, value: ir.Value, format_: Format, files: TensorFiles, halves: Halves
) -> tuple[dict[str, Any] | None, list[Note]]:
    """Store a constant; return its line of the report, if it has one, and notes. No array outlives the call."""
    notes: list[Note] = []
    name, array = value.name or "", array_of(value)
    if has_nan(array):
        return None, [skipped("stored as it is: it holds NaN", name)]
    seen = survey(array)
    options = forms(graph, name, seen)
    if name in halves.tensors:  # what it goes back to, where no form is smaller, is no form that is new
        options = {**options, "dense": replace(options.pop(seen.narrow.name), format="dense", emit=None)}
    form = smallest(options) if format_ == "auto" else options.get(format_)
    if form is None:
        notes.append(skipped(f"not stored as {format_}: {_unfit(seen, format_)}", name))
        form = options["dense"]
    row = _row(value, seen, options, form)
    place(graph, value, form, seen, files)
    if form.format != "dense":
        how = f"{form.format} of {form.detail}" if form.detail else form.format
        notes.append(done(f"{how}: {row['bytes']['dense']:,} -> {form.bytes:,} bytes", name))
    return row, notes


def _undo(model: ir.Model, config: Config, context: Context, files: TensorFiles) -> Outcome:
    graph, notes = model.graph, []
    sparse = [value for value in graph.initializers.values() if isinstance(value.const_value, CooTensor)]
    made = [value for value in made_tensors(graph) if is_packed(value)]
    found = [value for value in (*sparse, *made) if config.selection.allows_names(readers(value))]
    for value in context.progress.track(found, "unpacking constants", len(found)):
        name = value.name or ""
        if value.const_value is not None:
            set_constant(value, value.const_value.numpy())
            files.keep(value)
        elif value.is_graph_output():
            notes.append(skipped("left packed: it is an output of the model", name))
            continue
        else:
            array = evaluate(value)
            if array.dtype.kind in "iu" and array.itemsize > 1 and array.nbytes < _LEAST:
                continue  # a shape, that the exporter left to arithmetic
            value.name = None
            plain = initializer(graph, name, array)
            files.keep(plain)
            value.replace_all_uses_with(plain)
        notes.append(done("unpacked", name))
    if not notes:
        return Outcome(model, (done("no constant is stored packed"),))
    remove_dead(model)
    return Outcome(model, tuple(notes))


def _row(value: ir.Value, seen: Survey, options: dict[str, StorageForm], form: StorageForm) -> dict[str, Any]:
    """Return a constant's line of the report; `distinct` is None beyond 256 different values."""
    return {
        "tensor": value.name,
        "layer": readers(value)[0],
        "type": seen.array.dtype.name,
        "shape": list(seen.array.shape),
        "elements": seen.array.size,
        "zeros": seen.zeros,
        "distinct": None if seen.distinct is None else len(seen.distinct.values),
        "bytes": {name: option.bytes for name, option in options.items()},
        "format": form.format,
        "detail": form.detail,
    }


def _totals(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return the bytes of all constants as they were, as they are stored, and in each form where it applies."""
    totals = {name: sum(row["bytes"].get(name, row["bytes"]["dense"]) for row in rows) for name in FORMATS}
    used = {name: total for name, total in totals.items() if any(name in row["bytes"] for row in rows)}
    return {"before": totals["dense"], "after": sum(row["bytes"][row["format"]] for row in rows), **used}


def _summary(rows: Sequence[dict[str, Any]]) -> Note:
    totals = _totals(rows)
    stored = Counter(row["format"] for row in rows if row["format"] != "dense")
    kinds = ", ".join(f"{count} as {name}" for name, count in stored.most_common())
    text = f"{stored.total()} of {len(rows)} constants stored{f' ({kinds})' if kinds else ''}"
    sizes = f"{totals.pop('before'):,} -> {totals.pop('after'):,} bytes"
    others = ", ".join(f"{name} {size:,}" for name, size in totals.items() if name != "dense")
    return done(f"{text}: {sizes}{f'; in each form where it applies: {others}' if others else ''}")


def _unfit(seen: Survey, format_: str) -> str:
    if format_ == "codebook":
        return "too many of its values differ"
    if seen.zeros == seen.array.size:
        return "all its elements are zero, which a codebook of one value says"
    return "hardly any element is zero" if seen.deltas is None else "it has one axis, or one column"


class StoreSpace(PassSpace):
    """No parameter."""

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterator[tuple[Stage, Config]]:
        if space.format(params).repeats or params.get("sparsity", "none") != "none":
            yield Stage.STORE, Config()
