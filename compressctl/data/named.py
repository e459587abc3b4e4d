"""What a source says of itself that users name in the data notation: `SCHEME[:REST]`, or a path."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

from compressctl.data.parse import Notation
from compressctl.data.source import Source
from compressctl.tensorspec import TensorSpec


@dataclass(frozen=True)
class Request:
    """What samples are opened for.

    Attributes:
        inputs: of the model.
        seed: of what is drawn at random.
        allow_python: leave to import and call the user's code.
        sizes: of dynamic dimensions, for samples that are made up; see `random_feeds`.
        limits: of integer inputs, by name: what the model can look up for them; see `random_feeds`.
    """

    inputs: Sequence[TensorSpec]
    seed: int = 0
    allow_python: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)


class NamedSource(Source):
    """A source that a notation names. Where it is not `judgeable`, its samples are made up for the model's inputs.

    Attributes:
        scheme: what the notation begins with, before a colon; None: it is a path.
        named: how it is named, in the list of all.
        reads: what a path may lead to; of paths alone.
        library: the package whose version decides the samples, besides their files; None: none does.
        extra: the extra that installs it.
        file_options: the options that name files: these count by what they hold, in `files`.
    """

    scheme: ClassVar[str | None] = None
    named: ClassVar[str]
    reads: ClassVar[str] = ""
    library: ClassVar[str | None] = None
    extra: ClassVar[str] = ""
    file_options: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abstractmethod
    def open(cls, notation: Notation, request: Request) -> Self:
        """Return the samples that a notation of this kind names.

        Raises:
            CompressctlError: as `open_source` does.
        """

    @classmethod
    def is_at(cls, path: Path) -> bool:
        """Return whether what lies at a path is of this kind."""
        return False

    @classmethod
    def takes(cls, notation: Notation) -> bool:
        """Return whether a notation that is a path names what is of this kind.

        Raises:
            DataError: what lies there is damaged.
        """
        return cls.is_at(Path(notation.source))

    @classmethod
    def made_by(cls, notation: Notation) -> tuple[str, str] | None:
        """Return the package whose version decides these samples, besides their files, and its extra; None: none does.

        Raises:
            DataError: what they are made of cannot be found.
        """
        return None if cls.library is None else (cls.library, cls.extra)

    @classmethod
    def files(cls, notation: Notation) -> list[tuple[int, Path]]:
        """Return the files that are read, in the order of their samples, each with the index of its class; -1: none.

        Raises:
            DataError: what names them cannot be found.
        """
        return [(-1, Path(notation.source))] if cls.scheme is None else []
