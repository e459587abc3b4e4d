"""Store constants in fewer bytes without loss: few different values as a codebook, zeros left out, floats of 16 bits.

Each weight or table of 1 kB or more gets the form of fewest bytes, nodes and headers counted. onnxruntime evaluates
these forms once, as it loads the model: it then runs as before, on the same bits. The forms:

- codebook: up to 256 different values, or vectors of 2, 4 or 8 elements, and a packed code for each.
- bitmask: a bit an element, which says whether it is zero, and the values other than zero.
- gaps: these values, and 2 to 8 bits for the distance from each to the next, as in Deep Compression.
- coo: ONNX's own sparse initializers, whose places take 64 bits.
- csr: columns of 8 or 16 bits, and where rows begin.
- floats of 16 bits, where those hold each element exactly.

bitmask, gaps and csr hold their values in a codebook where few differ. Operators are those of opset 13. Passes that
edit weights see coo as a plain weight, and the other forms not at all: store last, or undo it by `format: dense`.

Left alone: constants with NaN; types of fewer than 8 bits; what nodes unpack already; inputs and outputs of the model;
bodies of If, Loop and Scan.

Sources: Deep Compression, Han et al. 2016 (arXiv:1510.00149); the sparse tensors of onnx.proto; rows without elements
left out of csr: Buluç and Gilbert 2008.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from compressctl.passes.base import Context, Outcome, PassConfig, WeightForm

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from compressctl.model.spool import Spool
    from compressctl.notes import Note
    from compressctl.storage.choice import Form
    from compressctl.storage.survey import Survey

_LEAST = 1024  # bytes of a constant

Format = Literal["auto", "dense", "codebook", "bitmask", "gaps", "coo", "csr"]


class Config(PassConfig):
    """Options of `store`."""

    type: Literal["store"] = "store"
    format: Format = "auto"
    """auto: the form of fewest bytes for each constant; dense: undo every form; or one form for all that it fits."""
    include: tuple[str, ...] = ()
    """Only constants that nodes read whose name matches one of these globs."""
    exclude: tuple[str, ...] = ()
    """Never constants that nodes read whose name matches one of these globs."""

    @property
    def form(self) -> WeightForm:
        """Plain where it undoes every form."""
        return "plain" if self.format == "dense" else "packed"


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Store the constants of `model` in place.

    Raises:
        UsageError: a glob matches no node.
        ModelError: what unpacks a constant cannot be evaluated (format dense).
    """
    from compressctl.model.spool import Spool
    from compressctl.passes.globs import check_globs

    check_globs(model.graph, config)
    spool = Spool(context.workdir)
    return _undo(model, config, context, spool) if config.format == "dense" else _store(model, config, context, spool)


def _store(model: ir.Model, config: Config, context: Context, spool: Spool) -> Outcome:
    from compressctl.passes.globs import chosen
    from compressctl.storage.constants import readers, storable

    found, notes = storable(model.graph, _LEAST)
    found = [value for value in found if chosen(config, readers(value))]
    rows = []
    for value in context.progress.track(found, "storing constants", len(found)):
        row, told = _store_one(model.graph, value, config.format, spool)
        rows += [] if row is None else [row]
        notes += told
    return Outcome(model, (_summary(rows), *notes), {"tensors": rows, "bytes": _totals(rows)})


def _store_one(
    graph: ir.Graph, value: ir.Value, format_: Format, spool: Spool
) -> tuple[dict[str, Any] | None, list[Note]]:
    """Store a constant; return its line of the report, if it has one, and notes. No array outlives the call."""
    from compressctl.notes import done, skipped
    from compressctl.storage.choice import forms, smallest
    from compressctl.storage.constants import array_of
    from compressctl.storage.place import place
    from compressctl.storage.survey import has_nan, survey

    notes: list[Note] = []
    name, array = value.name or "", array_of(value)
    if has_nan(array):
        return None, [skipped("stored as it is: it holds NaN", name)]
    seen = survey(array)
    options = forms(graph, name, seen)
    form = smallest(options) if format_ == "auto" else options.get(format_)
    if form is None:
        notes.append(skipped(f"not stored as {format_}: {_unfit(seen, format_)}", name))
        form = options["dense"]
    row = _row(value, seen, options, form)
    place(graph, value, form, seen, spool)
    if form.format != "dense":
        how = f"{form.format} of {form.detail}" if form.detail else form.format
        notes.append(done(f"{how}: {row['bytes']['dense']:,} -> {form.bytes:,} bytes", name))
    return row, notes


def _undo(model: ir.Model, config: Config, context: Context, spool: Spool) -> Outcome:
    from compressctl.model.coo import CooTensor
    from compressctl.model.graph import initializer, remove_dead, set_constant
    from compressctl.model.stored import evaluate, is_packed, made_tensors
    from compressctl.notes import done, skipped
    from compressctl.passes.globs import chosen
    from compressctl.storage.constants import readers

    graph, notes = model.graph, []
    sparse = [value for value in graph.initializers.values() if isinstance(value.const_value, CooTensor)]
    made = [value for value in made_tensors(graph) if is_packed(value)]
    found = [value for value in (*sparse, *made) if chosen(config, readers(value))]
    for value in context.progress.track(found, "unpacking constants", len(found)):
        name = value.name or ""
        if value.const_value is not None:
            set_constant(value, value.const_value.numpy())
            spool.keep(value)
        elif value.is_graph_output():
            notes.append(skipped("left packed: it is an output of the model", name))
            continue
        else:
            array = evaluate(value)
            if array.dtype.kind in "iu" and array.itemsize > 1 and array.nbytes < _LEAST:
                continue  # a shape, that the exporter left to arithmetic
            value.name = None
            plain = initializer(graph, name, array)
            spool.keep(plain)
            value.replace_all_uses_with(plain)
        notes.append(done("unpacked", name))
    if not notes:
        return Outcome(model, (done("no constant is stored packed"),))
    remove_dead(model)
    return Outcome(model, tuple(notes))


def _row(value: ir.Value, seen: Survey, options: dict[str, Form], form: Form) -> dict[str, Any]:
    """Return a constant's line of the report; `distinct` is None beyond 256 different values."""
    from compressctl.storage.constants import readers

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
    from compressctl.storage.choice import FORMATS

    totals = {name: sum(row["bytes"].get(name, row["bytes"]["dense"]) for row in rows) for name in FORMATS}
    used = {name: total for name, total in totals.items() if any(name in row["bytes"] for row in rows)}
    return {"before": totals["dense"], "after": sum(row["bytes"][row["format"]] for row in rows), **used}


def _summary(rows: Sequence[dict[str, Any]]) -> Note:
    from collections import Counter

    from compressctl.notes import done

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
    return "hardly any element is zero" if seen.gaps is None else "it has one axis, or one column"
