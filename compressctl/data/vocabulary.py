"""The tokens that a recogniser of speech or of writing scores at each step: vocab.json, or tokens.txt."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from compressctl.data.options import Options, parse_size
from compressctl.errors import DataError

NAMES = ("vocab.json", "tokens.txt")
_BLANKS = ("<blk>", "<blank>", "<pad>", "[PAD]", "[blank]")  # as icefall, wav2vec 2.0 and their like call it
_SPECIAL = re.compile(r"<.+>|\[.+\]")
_BOUNDARY = "▁"  # of words, as SentencePiece writes it
_DELIMITER = "|"  # of words, as wav2vec 2.0 writes it
_NUMBERED = re.compile(r"(?P<token>.+)[ \t](?P<index>[0-9]{1,9})", re.ASCII)


@dataclass(frozen=True)
class Vocabulary:
    """What the classes of an output stand for.

    Attributes:
        file: where it was read.
        tokens: the token of each class: characters or pieces of words. `|` (where there is no space) and `▁` stand
            between words; what is in <> or [] stands for no text.
        blank: the class of CTC's blank, -1 for the last; None: see `blank_of`.
    """

    file: Path
    tokens: tuple[str, ...]
    blank: int | None = None

    def blank_of(self, classes: int) -> int:
        """Return the class of the blank in an output of so many classes.

        That is the one that was said; the last where the output has one more than there are tokens; the one that is
        called `<blk>`, `<pad>` or the like; or 0.
        """
        if self.blank is not None:
            return self.blank % classes
        if classes > len(self.tokens):
            return classes - 1
        return next((index for index, token in enumerate(self.tokens) if token in _BLANKS), 0)

    def spell(self, found: Iterable[int], classes: int) -> str:
        """Return the text of classes that are no blanks, with one space between words.

        Args:
            found: the classes.
            classes: how many the output has; where that is one more than there are tokens, the blank is none of them.
        """
        skipped = self.blank_of(classes) if classes > len(self.tokens) else classes
        written = "".join(self._written(self.tokens[one - (one > skipped)]) for one in found)
        return " ".join(written.split())

    def missing(self, text: str) -> str | None:
        """Return the first character of a text that no token has; None: there is none."""
        return next((letter for letter in text if letter not in self._letters), None)

    @cached_property
    def _letters(self) -> set[str]:
        return set("".join(map(self._written, self.tokens)))

    def _written(self, token: str) -> str:
        if _SPECIAL.fullmatch(token):
            return ""
        token = token.replace(_BOUNDARY, " ")
        return " " if token == _DELIMITER and " " not in self.tokens else token


def find_vocabulary(named: str | None, where: Sequence[Path]) -> Path | None:
    """Return the file that is named, by itself or its folder, or the first that is found; None: there is none.

    Raises:
        DataError: what is named is not there.
    """
    places = where if named is None else [Path(named)]
    if named is not None and Path(named).is_file():
        return Path(named)
    found = next((folder / name for folder in places for name in NAMES if (folder / name).is_file()), None)
    if named is not None and found is None:
        raise DataError(f"there is no vocabulary {named}", f"vocab= takes the {' or '.join(NAMES)} of the model")
    return found


def read_vocabulary(file: Path, options: Options) -> Vocabulary:
    """Read a .json object of tokens and their classes, or list of tokens, or lines `TOKEN CLASS` or `TOKEN`.

    Args:
        file: the file.
        options: `blank=N` or `blank=last`.

    Raises:
        DataError: it cannot be read, or tokens and classes 0, 1, … do not match one to one.
        UsageError: the blank is no class.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        found = json.loads(text) if file.suffix.lower() == ".json" else _lines(text)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"vocabulary {file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if isinstance(found, list):
        found = {token: index for index, token in enumerate(found) if isinstance(token, str)} if found else {}
    classes = list(found.values()) if isinstance(found, dict) else []
    if not classes or any(type(one) is not int for one in classes) or sorted(classes) != list(range(len(classes))):
        raise DataError(f"vocabulary {file}: tokens are to have the classes 0, 1, 2, …, each its own")
    return Vocabulary(file, tuple(sorted(found, key=found.__getitem__)), _blank(options, len(classes)))


def _blank(options: Options, tokens: int) -> int | None:
    given = options.text("blank")
    if given is None or given == "last":
        return None if given is None else -1
    index = 0 if given == "0" else parse_size(given)
    if index is None or index > tokens:
        raise options.error("blank", f"last, or a class from 0 to {tokens}", given)
    return index


def _lines(text: str) -> dict[str, int] | list[str]:
    lines = text.rstrip("\n").split("\n")
    numbered = [_NUMBERED.fullmatch(line.rstrip("\r")) for line in lines]
    if None not in numbered:
        return {match["token"]: int(match["index"]) for match in numbered if match}
    return [line.rstrip("\r") for line in lines]
