"""Which documents queries are to find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Relevance:
    """Which documents a query is to find. Rows of samples are numbered: the queries from 0, then the documents.

    Attributes:
        queries: how many there are; rows of higher numbers are documents.
        grades: number of a query -> number of a document -> how relevant it is, above 0.
    """

    queries: int
    grades: Mapping[int, Mapping[int, float]]
