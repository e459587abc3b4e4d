"""Retrieval: queries, the documents that are searched, and how relevant these are, as BEIR has them in files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from compressctl.data.options import Options
from compressctl.data.relevance import Relevance
from compressctl.data.tables import Table, where
from compressctl.data.text_columns import text_columns, text_of
from compressctl.errors import DataError

_IDS = ("_id", "id", "query-id", "query_id", "qid", "doc_id", "docid", "corpus-id", "corpus_id")
_QUERY_IDS = ("query-id", "query_id", "qid", "query")
_DOCUMENT_IDS = ("corpus-id", "corpus_id", "doc-id", "doc_id", "docid", "document-id", "document_id", "document")
_GRADES = ("score", "relevance", "rel", "grade", "label")


@dataclass
class Retrieval:
    """The texts of a retrieval task.

    Attributes:
        texts: of each row, in the order in which they are fed: a query, its documents, …, then all other documents.
        numbers: of each row, as `Relevance` has them.
        relevance: what is to be found.
        names: of each row, for error messages.
    """

    texts: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    relevance: Relevance = field(default_factory=lambda: Relevance(0, {}))


def read_retrieval(queries: Table, chosen: range, documents: Path, relevance: Path, options: Options) -> Retrieval:
    """Read a retrieval task; texts of documents are their titles and texts.

    Args:
        queries: a table with ids and texts.
        chosen: the queries to take.
        documents: a table with ids and texts.
        relevance: a table of query ids, document ids and grades; pairs that it does not name are not relevant.
        options: `text=` names the column of the queries' texts.

    Raises:
        DataError: a table cannot be read, has no such columns, names ids that do not exist, or an id twice.
    """
    text = text_columns(queries, options, pairs=False).text
    asked = {name: (row, said) for name, row, said in _texts(queries, chosen, text)}
    corpus = Table(documents)
    found = {name: (row, said) for name, row, said in _texts(corpus, range(len(corpus)), _document_column(corpus))}
    numbers = {name: len(asked) + index for index, name in enumerate(found)}
    every = {str(row[_column(queries, _IDS, "ids")]) for row in queries.rows(range(len(queries)))}
    grades: dict[int, dict[int, float]] = {}
    order = {name: index for index, name in enumerate(asked)}
    for row, (query, document, grade) in enumerate(_judgements(Table(relevance))):
        if query not in every:
            raise DataError(f"{where(relevance, row)}: {queries.path} has no query {query!r}")
        if document not in numbers:
            raise DataError(f"{where(relevance, row)}: {documents} has no document {document!r}")
        if query in order and grade > 0:
            grades.setdefault(order[query], {})[numbers[document]] = grade
    if not grades:
        raise DataError(f"{relevance} names no relevant document of the queries taken from {queries.path}")
    names = list(found)
    task = Retrieval(relevance=Relevance(len(asked), grades))
    placed: set[str] = set()

    def place(name: str) -> None:
        if name not in placed:
            placed.add(name)
            row, said = found[name]
            _append(task, said, numbers[name], where(documents, row))

    for name, (row, said) in asked.items():
        _append(task, said, order[name], where(queries.path, row))
        for number in grades.get(order[name], ()):
            place(names[number - len(asked)])
    for name in names:
        place(name)
    return task


def _append(task: Retrieval, text: str, number: int, name: str) -> None:
    task.texts.append(text)
    task.numbers.append(number)
    task.names.append(name)


def _texts(table: Table, rows: range, column: str) -> Iterator[tuple[str, int, str]]:
    """Yield id, number and text of rows."""
    ids = _column(table, _IDS, "ids")
    seen: set[str] = set()
    for number, row in zip(rows, table.rows(rows), strict=True):
        name, here = str(row.get(ids)), where(table.path, number)
        if name in seen:
            raise DataError(f"{here}: the id {name!r} stands there twice")
        seen.add(name)
        title = row.get("title")
        text = row.get(column)
        if column != "title" and isinstance(title, str) and title.strip():
            yield name, number, f"{title} {text}".strip() if text else title
        else:
            yield name, number, text_of(row, column, here)


def _document_column(table: Table) -> str:
    return text_columns(table, Options("", {}), pairs=False).text


def _judgements(table: Table) -> Iterator[tuple[str, str, float]]:
    query, document = _column(table, _QUERY_IDS, "query ids"), _column(table, _DOCUMENT_IDS, "document ids")
    grade = next((name for name in _GRADES if name in table.columns), None)
    for number, row in enumerate(table.rows(range(len(table)))):
        try:
            value = 1.0 if grade is None else float(str(row.get(grade)))
        except ValueError:
            raise DataError(f"{where(table.path, number)}: {grade!r} is {row[str(grade)]!r}, no number") from None
        yield str(row.get(query)), str(row.get(document)), value


def _column(table: Table, usual: tuple[str, ...], role: str) -> str:
    found = next((name for name in usual if name in table.columns), None)
    if found is None:
        known = ", ".join(table.columns)
        raise DataError(f"{table.path} has no column of {role}; it has {known}", f"call it {usual[0]!r}")
    return found
