"""Texts in tables, tokenised with the model's own tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np

from compressctl.arrays import Array, Integers
from compressctl.data.buckets import by_length
from compressctl.data.encoded import NOT_JUDGED, Encoded, encode_retrieval, encode_rows, encode_windows
from compressctl.data.named import NamedSource, Request
from compressctl.data.parse import Notation
from compressctl.data.source import Feeds, Source
from compressctl.data.tables import is_table
from compressctl.data.text_inputs import TextInputs, text_inputs
from compressctl.data.tokenizer import TextEncoder, TextModel, find_tokenizer, folders, settings_files, text_model
from compressctl.data.tokens import padded
from compressctl.errors import DataError, UsageError

_FILES = ("documents", "relevance")


class TextSource(NamedSource):
    """A table with a column of texts, or two of them, and one of labels.

    Texts become what the model has inputs for: token ids, mask, types, positions. They are cut to the fixed length of
    the inputs, `max_length=`, or what the files of the tokenizer say. Samples of like length are fed together (see
    `by_length`), and are filled up to the longest of a batch; where the model has no mask, a batch holds samples of one
    length.

    With `pair=COLUMN` two texts are one sequence; with `pairs=true` they are rows of their own, whose vectors are
    compared. `documents=FILE,relevance=FILE` make the rows queries that are to find documents. `window=N[,stride=M]`
    cuts the whole text into windows.

    Raises:
        DataError: the tokenizer is missing, damaged or not the model's; the table is damaged or lacks a text; or the
            model takes no texts.
        UsageError: an option has a bad value or is unknown.
        MissingExtraError: tokenizers is not installed.
    """

    named = ".jsonl, .csv, .tsv, .txt, .parquet or .arrow of texts"
    reads = "a table of texts (.jsonl, .csv, .tsv, .txt, .parquet, .arrow)"
    library, extra = "tokenizers", "text"
    file_options = ("tokenizer", *_FILES, "classes")

    def __init__(self, notation: Notation, request: Request) -> None:
        super().__init__(notation.text, request.inputs)
        options = notation.options
        self._into: TextInputs = text_inputs(self.asked, notation.text)
        where = folders(notation.beside, Path(notation.source))
        model = text_model(find_tokenizer(options.text("tokenizer"), where), where)
        fixed = [n for n in (self._into.length, request.limits.get(self._into.positions or "")) if n is not None]
        encoder = TextEncoder(model, min(fixed, default=None), options.size("max_length"))
        self._encoded = _encode(notation, encoder, model)
        self._pad_left, pad = encoder.pad_left, encoder.pad_id
        self._refuse_foreign(request.limits.get(self._into.ids), encoder, model.file)
        self._pad_id = pad if pad < request.limits.get(self._into.ids, pad + 1) else 0
        self._width = self._into.length or (encoder.padded_to if self._into.mask is None else None)
        self.pairs, self.relevance = self._encoded.pairs, self._encoded.relevance
        self.notes = self._encoded.notes
        self._rows = self._order()

    @classmethod
    def open(cls, notation: Notation, request: Request) -> Self:
        """See `NamedSource`."""
        return cls(notation, request)

    @classmethod
    def takes(cls, notation: Notation) -> bool:
        """Return whether it is called like a table; those of numbers and of files go before."""
        path = Path(notation.source)
        return is_table(path) and not path.is_dir()

    @classmethod
    def files(cls, notation: Notation) -> list[tuple[int, Path]]:
        """Return the tables, and the files that say how their texts are read."""
        options, source = notation.options, Path(notation.source)
        where = folders(notation.beside, source)
        tables = [source, *(Path(named) for key in (*_FILES, "classes") if (named := options.text(key)) is not None)]
        tokenizer = find_tokenizer(options.text("tokenizer"), where)
        return [(-1, path) for path in (*tables, *settings_files(tokenizer, where))]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def has_labels(self) -> bool:
        """Say whether there are labels, or documents to find."""
        return self._encoded.labels is not None or self._encoded.fresh is not None

    def of_one_size(self) -> Source:
        """Return the same samples in the same order, filled up to the longest of all."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._width = self._width or int(self._encoded.lengths.max())
        return twin

    def _order(self) -> Integers:
        """Return the rows in the order in which they are fed: pairs stay together."""
        lengths = self._encoded.lengths
        if self._width is not None or (lengths == lengths[0]).all():
            return np.arange(len(lengths))
        if not self.pairs:
            return by_length(lengths)
        order = by_length(lengths.reshape(-1, 2).max(axis=1))
        return np.stack([2 * order, 2 * order + 1], axis=1).reshape(-1)

    def _row_name(self, row: int) -> str:
        return self._encoded.name(int(self._rows[row]))

    def _read(self, size: int) -> Iterator[tuple[Feeds, Array | None]]:
        start = 0
        while start < len(self):
            stop = min(start + size, len(self))
            if self._width is None and self._into.mask is None:
                stop = start + self._alike(start, stop)
            yield self._feeds(self._rows[start:stop]), self._labels(start, stop)
            start = stop

    def _alike(self, start: int, stop: int) -> int:
        """Return how many rows from `start` have one length."""
        lengths = self._encoded.lengths[self._rows[start:stop]]
        other = np.flatnonzero(lengths != lengths[0])
        return int(other[0]) if len(other) else stop - start

    def _feeds(self, rows: Integers) -> Feeds:
        one = self._encoded
        parts = [slice(a, a + n) for a, n in zip(one.starts[rows], one.lengths[rows], strict=True)]
        width = self._width or int(one.lengths[rows].max())

        def filled(values: list[Array], value: int) -> Integers:
            return padded(values, width, value, left=self._pad_left)

        ids = [one.tokens[part] for part in parts]
        mask = filled([np.ones(len(row), np.int64) for row in ids], 0)
        types = None if one.types is None else filled([one.types[part] for part in parts], 0)
        return self._into.feeds(filled(ids, self._pad_id), mask, types)

    def _labels(self, start: int, stop: int) -> Array | None:
        one = self._encoded
        if one.fresh is not None:
            return self._window_labels(self._rows[start:stop], one.fresh)
        if one.labels is None:
            return None
        if self.pairs:
            return one.labels[self._rows[start // 2 * 2 : stop // 2 * 2 : 2] // 2]
        return one.labels[self._rows[start:stop]]

    def _window_labels(self, rows: Integers, fresh: int) -> Array:
        """Return the ids, but for those that a window shares with the one before."""
        one = self._encoded
        width = int(one.lengths[0])
        labels = np.stack([one.tokens[a : a + width] for a in one.starts[rows]])
        labels[one.starts[rows] > 0, : width - fresh] = NOT_JUDGED
        return labels.astype(np.int64)

    def _refuse_foreign(self, limit: int | None, encoder: TextEncoder, file: Path) -> None:
        """Refuse a tokenizer that gives ids which the model's table of embeddings does not have."""
        tokens = self._encoded.tokens
        if limit is None or tokens.most < limit:
            return
        place = tokens.first_from(limit)
        found = int(tokens[place : place + 1][0])
        row = int(np.searchsorted(self._encoded.starts, place, "right")) - 1
        raise DataError(
            f"{self._encoded.name(row)}: {file} gives {encoder.token(found)} the id {found}, but the model knows "
            f"{limit:,} tokens",
            "the tokenizer is not the model's",
        )


def _encode(notation: Notation, encoder: TextEncoder, model: TextModel) -> Encoded:
    options = notation.options
    pairs = options.flag("pairs") if options.text("pairs") is not None else None
    documents, relevance = (options.text(key) for key in _FILES)
    window, stride = options.size("window"), options.size("stride")
    if (documents is None) != (relevance is None):
        raise UsageError(f"data {notation.text!r}: documents= and relevance= belong together", "give both")
    if stride is not None and (window is None or stride > window):
        raise UsageError(f"data {notation.text!r}: stride= is the step of windows", "window=256,stride=128")
    if window is not None:
        if encoder.longest is not None and window > encoder.longest:
            raise UsageError(
                f"data {notation.text!r}: the model takes {encoder.longest} tokens at most", "less window="
            )
        return encode_windows(notation, encoder, window, stride or window)
    if documents is not None and relevance is not None:
        return encode_retrieval(notation, encoder, documents, relevance)
    if pairs is None and options.text("pair") is not None:
        pairs = False
    return encode_rows(notation, encoder, model, pairs=pairs)
