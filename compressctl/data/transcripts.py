"""Texts as labels: what sounds, or images of writing, say.

As labels are arrays of numbers, a batch of transcripts is int32 [count, L]: the code points of each text, and -1 behind
its end. L is the length of the longest transcript of the source. The `Vocabulary` of the model goes with each batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compressctl.arrays import Array
from compressctl.data.parse import Notation
from compressctl.data.tables import Row, Table
from compressctl.data.text_columns import text_of
from compressctl.data.tokenizer import folders
from compressctl.data.vocabulary import NAMES, Vocabulary, find_vocabulary, read_vocabulary
from compressctl.errors import DataError, UsageError

USUAL = ("text", "transcript", "transcription", "sentence")
_END = -1


def encode(texts: Sequence[str]) -> Array:
    """Return texts as labels, int32 [count, L]."""
    labels = np.full((len(texts), max(map(len, texts))), _END, np.int32)
    for row, text in zip(labels, texts, strict=True):
        row[: len(text)] = [ord(letter) for letter in text]
    return labels


def decode(label: Array) -> str:
    """Return the text of a label [L]."""
    return "".join(chr(point) for point in label if point != _END)


@dataclass(frozen=True)
class Transcripts:
    """The transcripts of a table.

    Attributes:
        column: where they stand.
        vocabulary: what the model writes them with.
        case: `upper` or `lower`, what they are changed to; None: they stay.
    """

    column: str
    vocabulary: Vocabulary
    case: str | None

    def of(self, row: Row, here: str) -> str:
        """Return the transcript of a row, with one space between words.

        Raises:
            DataError: there is none, or it has a character that the model cannot write.
        """
        text = " ".join(text_of(row, self.column, here).split())
        text = {"upper": text.upper, "lower": text.lower}.get(self.case or "", lambda: text)()
        missing = self.vocabulary.missing(text)
        if missing is None:
            return text
        cases = (name for name, change in (("upper", text.upper), ("lower", text.lower)) if self._known(change()))
        case = next(cases, None)
        hint = "write transcripts in its characters" if case is None else f"add case={case}"
        raise DataError(f"{here}: {missing!r} of the transcript is not in {self.vocabulary.file}", hint)

    def _known(self, text: str) -> bool:
        return self.vocabulary.missing(text) is None


def find_transcripts(table: Table, notation: Notation, *, usual: bool) -> Transcripts | None:
    """Return the transcripts of the column that `text=` names; else, where a vocabulary is found, of a usual name.

    Args:
        table: the table.
        notation: with the options `text=`, `vocab=`, `blank=` and `case=`.
        usual: look for a usual name.

    Raises:
        DataError: there is no such column, or no vocabulary for it, or that is damaged.
        UsageError: an option has a bad value, or labels are named too.
    """
    options = notation.options
    given = options.text("text")
    column = table.column(given, "the transcripts") if given is not None else None
    if column is None and usual:
        column = next((name for name in table.columns if name.lower() in USUAL), None)
    if column is None:
        return None
    if given is not None and (other := next((key for key in ("labels", "target") if options.has(key)), None)):
        raise UsageError(f"data {notation.text!r}: text= names the labels, and so does {other}=", "give one of them")
    file = find_vocabulary(options.text("vocab"), folders(notation.beside, table.path))
    if file is None:
        if given is None:
            return None
        text = f"transcripts need the model's vocabulary, and there is no {' or '.join(NAMES)} beside the model"
        raise DataError(text, "add vocab=FILE")
    return Transcripts(column, read_vocabulary(file, options), options.choice("case", ("upper", "lower")))
