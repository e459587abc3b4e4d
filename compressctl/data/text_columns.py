"""Which columns of a table are texts, pairs of them, and labels."""

from __future__ import annotations

from dataclasses import dataclass

from compressctl.data.options import Options
from compressctl.data.table_labels import USUAL, label_column
from compressctl.data.tables import Row, Table
from compressctl.errors import DataError, UsageError

_PAIRS = (
    *(("sentence1", "sentence2"), ("sentence_1", "sentence_2"), ("sentence_A", "sentence_B"), ("text1", "text2")),
    *(("text_a", "text_b"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "context")),
    *(("question", "sentence"), ("query", "passage"), ("query", "document"), ("anchor", "positive")),
)
_TEXTS = ("text", "sentence", "content", "review", "document", "question", "query", "body", "title")
_LABELS = (*USUAL, "score", "similarity_score", "similarity")


@dataclass(frozen=True)
class TextColumns:
    """The names of columns.

    Attributes:
        text: of texts, or of the first ones of pairs.
        pair: of the second ones; None: the texts are no pairs.
        labels: of labels; None: there are none.
    """

    text: str
    pair: str | None
    labels: str | None

    def texts(self, row: Row, where: str) -> tuple[str, ...]:
        """Return the text of a row, or the two of a pair.

        Raises:
            DataError: one is missing, empty, or no text.
        """
        return tuple(text_of(row, name, where) for name in (self.text, self.pair) if name is not None)


def text_of(row: Row, column: str, where: str) -> str:
    """Return what stands in a column of texts.

    Raises:
        DataError: nothing does, or it is no text.
    """
    text = row.get(column)
    if text is None or text == "" or (isinstance(text, str) and text.isspace()):
        raise DataError(f"{where} has no text in {column!r}", "fill it in or leave the row out")
    if not isinstance(text, str):
        raise DataError(f"{where}: {column!r} is {text!r:.60}, which is no text")
    return text


def text_columns(table: Table, options: Options, *, pairs: bool) -> TextColumns:
    """Return the columns that the options name, or those of usual names.

    Args:
        table: the table.
        options: `text=`, `pair=` and `labels=`.
        pairs: two columns of texts are wanted.

    Raises:
        DataError: there is no such column, or none of a usual name.
        UsageError: a second column is named without a first one.
    """
    text, pair = options.text("text"), options.text("pair")
    labels = label_column(table, options, (text, pair), _LABELS)
    if text is not None:
        text = table.column(text, "the texts")
        pair = None if pair is None else table.column(pair, "the second texts")
    elif pair is not None:
        raise UsageError(f"data {options.notation!r}: pair= names the second texts", "name the first ones: text=COLUMN")
    else:
        text, pair = _usual(table, labels)
    if pairs and pair is None:
        raise DataError(f"{table.path} has no second column of texts for pairs", "add text=COLUMN,pair=COLUMN")
    return TextColumns(text, pair, labels)


def _usual(table: Table, labels: str | None) -> tuple[str, str | None]:
    for first, second in _PAIRS:
        if first in table.columns and second in table.columns:
            return first, second
    left = [name for name in table.columns if name != labels]
    text = next((name for name in _TEXTS if name in left), left[0] if len(left) == 1 else None)
    if text is None:
        known = ", ".join(table.columns)
        raise DataError(f"{table.path}: none of its columns is known to hold texts: {known}", "add text=COLUMN")
    return text, None
