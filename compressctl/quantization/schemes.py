"""The schemes: in which numbers weights and activations are. Cheap to import, as options of passes stand on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from compressctl.numerics.grids import BINARY, INT2, INT3, INT4, INT8, TERNARY, Grid


@dataclass(frozen=True)
class Scheme:
    """A scheme.

    Attributes:
        name: in options.
        kind: static: integers, with activations at known scales; dynamic: integers, with activations at scales found
            as the model runs; mixed: of the two, and of floats; weights: weights alone; half: floats of 16 bits.
        grid: the integers of weights; None: it takes none.
        remark: what its name does not say.
        searched: whether a search tries it.
    """

    name: str
    kind: Literal["static", "dynamic", "mixed", "weights", "half"]
    grid: Grid | None = None
    remark: str = ""
    searched: bool = False

    @property
    def narrow(self) -> bool:
        """Whether weights have fewer than 8 bits."""
        return self.grid is not None and self.grid.narrow


# Those of one kind have fewer and fewer bits.
_ALL = (
    Scheme("auto", "mixed"),
    Scheme("int8", "static", INT8, searched=True),
    Scheme("int8-dynamic", "dynamic"),
    Scheme("w4a8", "static", INT4, searched=True),
    Scheme("w3a8", "static", INT3, searched=True),
    Scheme("w2a8", "static", INT2, searched=True),
    Scheme("ternary-a8", "static", TERNARY, "{-1, 0, 1}"),
    Scheme("w1a8", "static", BINARY, "{-1, 1}"),
    Scheme("fp16", "half"),
    Scheme("bf16", "half"),
    Scheme("int8-weights", "weights", INT8),
    Scheme("int4", "weights", INT4, searched=True),
    Scheme("int3", "weights", INT3, searched=True),
    Scheme("int2", "weights", INT2, searched=True),
    Scheme("ternary", "weights", TERNARY),
    Scheme("int1", "weights", BINARY, "signs"),
)
SCHEMES = {scheme.name: scheme for scheme in _ALL}

STATIC = tuple(scheme for scheme in _ALL if scheme.kind == "static")
STORED = tuple(scheme for scheme in _ALL if scheme.kind in ("half", "weights"))
OFFSET = tuple(scheme for scheme in STORED if scheme.grid is not None and scheme.grid.lopsided)
"""Those of weights alone that offsets make more exact."""

FirstLast = Literal["int8", "same"]
"""What the first and the last layers get: weights of 8 bits, or of as few as all others."""

if TYPE_CHECKING:  # the names are not known before the table is read
    KernelScheme = str
    StaticScheme = str
    StoredScheme = str
else:
    KernelScheme = Literal[tuple(scheme.name for scheme in _ALL if scheme not in STORED)]
    StaticScheme = Literal[tuple(scheme.name for scheme in STATIC)]
    StoredScheme = Literal[tuple(scheme.name for scheme in STORED)]


def names(schemes: Sequence[Scheme], last: str = "") -> str:
    """Return the names in a row, with a word before the last one."""
    return _listed([scheme.name for scheme in schemes], last)


def explained(schemes: Sequence[Scheme]) -> str:
    """Return the names in a row, each with what it does not say."""
    return _listed([f"{scheme.name} ({scheme.remark})" if scheme.remark else scheme.name for scheme in schemes], "or")


def _listed(words: Sequence[str], last: str) -> str:
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if last else ", ".join(words)
