"""What a step did, skipped or warns of, in words: carried from every layer to the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NoteKind = Literal["done", "skipped", "warning"]


@dataclass(frozen=True)
class Note:
    """One remark for the report.

    Attributes:
        kind: "done" (a rewrite that was made), "skipped" (one that was not, and why), "warning" (the user should act).
        text: one sentence.
        node: the node, tensor or file it is about, if any.
    """

    kind: NoteKind
    text: str
    node: str | None = None


def done(text: str, node: str | None = None) -> Note:
    """Return a note of something that was done."""
    return Note("done", text, node)


def skipped(text: str, node: str | None = None) -> Note:
    """Return a note of something that was left alone, with its reason in the text."""
    return Note("skipped", text, node)


def warning(text: str, node: str | None = None) -> Note:
    """Return a note that the user should act on."""
    return Note("warning", text, node)
