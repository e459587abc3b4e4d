"""Tables of texts as token ids: a row is a text, a pair of texts, or a window of a long text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from compressctl.arrays import Array, Integers
from compressctl.data.options import Options
from compressctl.data.parse import Notation
from compressctl.data.relevance import Relevance
from compressctl.data.retrieval import read_retrieval
from compressctl.data.table_labels import TableLabels, joined, labels_in
from compressctl.data.tables import Table, where
from compressctl.data.text_columns import TextColumns, text_columns, text_of
from compressctl.data.tokenizer import TextEncoder, TextModel
from compressctl.data.tokens import Tokens
from compressctl.errors import DataError
from compressctl.notes import Note, done, skipped, warning

_TEXTS_AT_ONCE = 1024
_CHARACTERS_AT_ONCE = 1 << 20
NOT_JUDGED = -100  # as a label, in the convention of transformers

_T = TypeVar("_T")


@dataclass(frozen=True)
class Encoded:
    """Rows of token ids.

    Attributes:
        tokens: of all rows.
        starts, lengths: of each row in them, [rows].
        types: of all tokens, 1 in the second text of a pair; None: there are no pairs.
        labels: [rows], or [pairs]; None: there are none.
        name: names a row, for error messages.
        pairs: rows 2i and 2i + 1 belong together.
        relevance: what queries are to find; the labels are the numbers of rows in it.
        fresh: tokens of a window that are not in the one before; None: rows are no windows, or share no tokens.
        notes: what the user should know.
    """

    tokens: Tokens
    starts: Integers
    lengths: Integers
    types: Tokens | None
    labels: Array | None
    name: Callable[[int], str]
    pairs: bool = False
    relevance: Relevance | None = None
    fresh: int | None = None
    notes: tuple[Note, ...] = ()


def encode_rows(notation: Notation, encoder: TextEncoder, model: TextModel, *, pairs: bool | None) -> Encoded:
    """Return the rows of a table, each a text or a pair of texts.

    Args:
        notation: of the table.
        encoder: the tokenizer.
        model: where the indices of classes stand.
        pairs: the two texts of a pair are rows of their own; None: where the configuration says that the model embeds.

    Raises:
        DataError: the table cannot be read, a text or label is missing, or a label is of no class.
        UsageError: an option has a bad value.
    """
    table, options = Table(Path(notation.source)), notation.options
    columns = text_columns(table, options, pairs=bool(pairs))
    labels = _labels(table, columns.labels, options, model)
    options.finish()
    apart = columns.pair is not None and (model.embeds if pairs is None else pairs)
    rows = notation.select(len(table))
    texts = (text if apart else [text[0] if len(text) == 1 else text] for text in _texts(table, rows, columns))
    written = _write(
        (one for members in texts for one in members), encoder, typed=columns.pair is not None and not apart
    )
    name = (lambda row: where(table.path, rows[row // 2])) if apart else (lambda row: where(table.path, rows[row]))
    told = None if labels is None else _told(labels, rows)
    said = () if labels is None else labels.notes
    notes = (*_pair_note(columns, apart, pairs), *said, *_cut_note(written, encoder))
    return Encoded(written.tokens, written.starts, written.lengths, written.types, told, name, pairs=apart, notes=notes)


def encode_retrieval(notation: Notation, encoder: TextEncoder, documents: str, relevance: str) -> Encoded:
    """Return queries and documents; see `read_retrieval`.

    Raises:
        DataError: as `read_retrieval`.
        UsageError: an option has a bad value.
    """
    queries, options = Table(Path(notation.source)), notation.options
    task = read_retrieval(queries, notation.select(len(queries)), Path(documents), Path(relevance), options)
    options.finish()
    written = _write(iter(task.texts), encoder, typed=False)
    count = task.relevance.queries
    note = done(f"{count} queries are to find {len(task.texts) - count} documents; their vectors are kept in memory")
    return Encoded(
        *(written.tokens, written.starts, written.lengths, None, np.array(task.numbers)),
        task.names.__getitem__,
        relevance=task.relevance,
        notes=(note, *_cut_note(written, encoder)),
    )


def encode_windows(notation: Notation, encoder: TextEncoder, window: int, stride: int) -> Encoded:
    """Return windows over the whole text of a table, whose rows follow one another, each with the end token behind it.

    The lines of a .txt file are one text. What fills no window at the end is left out.

    Raises:
        DataError: the file cannot be read, or fills no window.
        UsageError: an option has a bad value.
    """
    path, options = Path(notation.source), notation.options
    tokens, notes = Tokens(), list[Note]()
    tokens.append(encoder.begin)
    if path.suffix.lower() == ".txt":
        options.finish()
        for part in _parts(path):
            tokens.append(encoder.plain(part))
    else:
        table = Table(path)
        column = text_columns(table, options, pairs=False).text
        options.finish()
        end = encoder.end
        if end is None:
            notes.append(warning("the tokenizer has no end token, so documents follow one another without one"))
        for number, row in enumerate(table.rows(range(len(table)))):
            tokens.append(encoder.plain(text_of(row, column, where(path, number))))
            tokens.append([] if end is None else [end])
    count = (tokens.count - window) // stride + 1
    if count < 1:
        raise DataError(f"{path} has {tokens.count} tokens, which fill no window of {window}")
    chosen = notation.select(count)
    starts = np.arange(chosen.start, chosen.stop, chosen.step) * stride
    rest = tokens.count - ((count - 1) * stride + window)
    if rest:
        notes.append(skipped(f"the last {rest} of {tokens.count:,} tokens fill no window", str(path)))
    labels_from = stride if stride < window else None
    return Encoded(
        *(tokens, starts, np.full(len(starts), window), None, None),
        lambda row: f"{path}: window {chosen[row]}",
        fresh=labels_from,
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Written:
    tokens: Tokens
    types: Tokens | None
    starts: Integers
    lengths: Integers
    cut: int


def _write(texts: Iterator[str | tuple[str, ...]], encoder: TextEncoder, *, typed: bool) -> _Written:
    tokens, types = Tokens(), Tokens(np.uint8) if typed else None
    lengths, cut = list[int](), 0
    for some in _some(texts, _TEXTS_AT_ONCE):
        for encoding in encoder.encode(some):
            lengths.append(tokens.append(encoding.ids))
            if types is not None:
                types.append(encoding.type_ids)
            cut += bool(encoding.overflowing)
    counts = np.array(lengths, np.int64)
    return _Written(tokens, types, np.cumsum(counts) - counts, counts, cut)


def _some(values: Iterator[_T], count: int) -> Iterator[list[_T]]:
    while some := list(islice(values, count)):
        yield some


def _texts(table: Table, rows: range, columns: TextColumns) -> Iterator[tuple[str, ...]]:
    for number, row in zip(rows, table.rows(rows), strict=True):
        yield columns.texts(row, where(table.path, number))


def _labels(table: Table, column: str | None, options: Options, model: TextModel) -> TableLabels | None:
    """Return the labels: of names, the model's own classes where it has them."""
    if column is None:
        return None
    found = labels_in(table, column, options)
    own = model.classes
    if options.text("classes") is None and found.classes is not None and own.keys() & found.classes.keys():
        return replace(found, classes=own, notes=())
    return found


def _told(labels: TableLabels, rows: range) -> Array:
    cells = zip(rows, labels.table.rows(rows), strict=True)
    values = [labels.of(row.get(labels.column), number) for number, row in cells]
    return joined(values, where(labels.table.path, rows[0]))


def _pair_note(columns: TextColumns, apart: bool, pairs: bool | None) -> tuple[Note, ...]:
    if columns.pair is None or pairs is not None:
        return ()
    names = f"{columns.text} and {columns.pair}"
    if apart:
        return (done(f"{names} are fed one after the other, to compare their vectors: the model has no head"),)
    return (done(f"{names} are fed as one sequence; pairs=true feeds each by itself, to compare their vectors"),)


def _cut_note(written: _Written, encoder: TextEncoder) -> tuple[Note, ...]:
    if not written.cut:
        return ()
    return (warning(f"{written.cut} of {len(written.lengths)} texts have more than {encoder.longest} tokens: cut off"),)


def _parts(path: Path) -> Iterator[str]:
    """Yield the text of a file in parts that end between lines."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            while part := file.read(_CHARACTERS_AT_ONCE):
                yield part + file.readline()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: byte {error.start} of a part of it", "convert it") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
