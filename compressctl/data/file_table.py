"""Tables of file names and labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

from compressctl.data.files import FileSource, Kind, Sample, kind_of
from compressctl.data.named import Request
from compressctl.data.parse import Notation
from compressctl.data.table_labels import label_column, table_labels
from compressctl.data.tables import TEXT, Row, Table, is_table, where
from compressctl.data.transcripts import Transcripts, encode, find_transcripts
from compressctl.errors import DataError

USUAL = (
    *("file", "filename", "file_name", "path", "filepath", "file_path", "image", "image_path", "img", "audio"),
    *("audio_path", "sound", "wav", "array", "npy"),
)


class FileTable(FileSource):
    """A table with a column of files, images, .npy arrays or sounds, and one of labels, or of `target=` files.

    `file=COLUMN` and `labels=COLUMN` name columns of unusual names. Files are relative to `folder=DIR`, or to the
    table. Labels are numbers, or names of classes: see `table_labels`; or transcripts: see `find_transcripts`.

    Raises:
        DataError: there is no such column, a file is missing, or does not fit the model.
        UsageError: an option has a bad value or is unknown.
    """

    named = ".csv, .tsv, .jsonl, .parquet or .arrow of files"
    reads = "a table of files"
    file_options = ("folder", "classes", "vocab")

    def __init__(self, notation: Notation, request: Request) -> None:
        super().__init__(notation.text, request.inputs)
        self._one_input()
        table, options = Table(Path(notation.source)), notation.options
        column, target = _column(table, notation), options.text("target")
        if target is not None:
            table.column(target, "the targets")
        transcripts = _transcripts(table, notation, column)
        labels = table_labels(table, options, [column]) if target is None and transcripts is None else None
        chosen = notation.select(len(table))
        samples: list[Sample] = []
        kinds: list[Kind] = []
        texts: list[str] = []
        for row, cells in zip(chosen, table.rows(chosen), strict=True):
            path, kind = _file(table, notation, column, cells, row)
            other = None if target is None else _file(table, notation, target, cells, row)[0]
            label = None if labels is None else labels.of(cells.get(labels.column), row)
            samples.append(Sample(path, label, other))
            kinds.append(kind)
            if transcripts is not None:
                texts.append(transcripts.of(cells, where(table.path, row)))
            for one in (path, other) if not options.has("skip_broken") else ():
                if one is not None and not one.is_file():
                    raise DataError(f"{where(table.path, row)}: there is no file {one}", "folder=DIR says where")
            if kind is not kinds[0]:
                raise DataError(f"{where(table.path, row)}: {path} is none of the {kinds[0].what}", "use two tables")
        self.notes = () if labels is None else labels.notes
        if transcripts is not None:
            self.vocabulary = transcripts.vocabulary
            samples = [replace(one, label=label) for one, label in zip(samples, encode(texts), strict=True)]
        self._take(samples, kinds[0], options)
        if transcripts is not None and self.steps > 1:
            raise DataError(
                f"{notation.text}: transcripts are of whole files, and these are cut into {self.steps} steps"
            )

    @classmethod
    def open(cls, notation: Notation, request: Request) -> Self:
        """See `NamedSource`."""
        return cls(notation, request)

    @classmethod
    def takes(cls, notation: Notation) -> bool:
        """Return whether it is a table with a column of files, by its option or by its first row."""
        path = Path(notation.source)
        if not is_table(path) or path.is_dir() or notation.options.has("tokenizer"):
            return False
        if notation.options.has("file"):
            return True
        table = Table(path)
        first = next(table.rows(range(1)))
        return table.columns != (TEXT,) and any(_is_file(first.get(name)) for name in _usual(table))

    @classmethod
    def made_by(cls, notation: Notation) -> tuple[str, str] | None:
        """Return what decodes its kind of files."""
        table = Table(Path(notation.source))
        return _file(table, notation, _column(table, notation), next(table.rows(range(1))), 0)[1].library

    @classmethod
    def files(cls, notation: Notation) -> list[tuple[int, Path]]:
        """Return the table, the list of classes, and all files that the table names."""
        table, options = Table(Path(notation.source)), notation.options
        column, target, classes = _column(table, notation), options.text("target"), options.text("classes")
        transcripts = _transcripts(table, notation, column)
        found = [table.path, *(() if classes is None else (Path(classes),))]
        found += [] if transcripts is None else [transcripts.vocabulary.file]
        for row, cells in enumerate(table.rows(range(len(table)))):
            found += [_file(table, notation, name, cells, row)[0] for name in (column, target) if name is not None]
        return [(-1, path) for path in found if path.is_file() or path == table.path]


def _usual(table: Table) -> Iterator[str]:
    return (name for name in table.columns if name.lower() in USUAL)


def _is_file(value: object) -> bool:
    return isinstance(value, str) and kind_of(Path(value)) is not None


def _column(table: Table, notation: Notation) -> str:
    given = notation.options.text("file")
    if given is not None:
        return table.column(given, "the files")
    first = next(table.rows(range(1)))
    return next(name for name in _usual(table) if _is_file(first.get(name)))


def _transcripts(table: Table, notation: Notation, column: str) -> Transcripts | None:
    """Return the transcripts of a table; without `text=` these are of sounds that have no other label."""
    options = notation.options
    unlabelled = options.text("target") is None and label_column(table, options, [column]) is None
    kind = _file(table, notation, column, next(table.rows(range(1))), 0)[1]
    return find_transcripts(table, notation, usual=unlabelled and kind.what == "sounds")


def _file(table: Table, notation: Notation, column: str, cells: Row, row: int) -> tuple[Path, Kind]:
    """Return the file that a cell names, and its kind."""
    value, here = cells.get(column), where(table.path, row)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{here} names no file in {column!r}", "a path is wanted")
    kind = kind_of(Path(value))
    if kind is None:
        raise DataError(f"{here}: {value!r} is no image, .npy array or sound by its name")
    folder = notation.options.text("folder")
    return (table.path.parent if folder is None else Path(folder)) / value.strip(), kind
