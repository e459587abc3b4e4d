"""Store constants in fewer bytes without loss: few different values as a codebook, zeros left out, floats of 16 bits.

Each weight or table of 1 kB or more gets the form of fewest bytes, nodes and headers counted. onnxruntime evaluates
these forms once, as it loads the model: it then runs as before, on the same bits. The forms:

- codebook: up to 256 different values, or vectors of 2, 4 or 8 elements, and a packed code for each.
- bitmask: a bit an element, which says whether it is zero, and the values other than zero.
- delta-index: these values, and 2 to 8 bits for the distance from each to the next, as in Deep Compression.
- coo: ONNX's own sparse initializers, whose places take 64 bits.
- csr: columns of 8 or 16 bits, and where rows begin.
- floats of 16 bits, where those hold each element exactly.

bitmask, delta-index and csr hold their values in a codebook where few differ. Operators are those of opset 13. Passes
that edit weights see coo as a plain weight, and the other forms not at all: store last, or undo it by `format: dense`.

Left alone: constants with NaN; types of fewer than 8 bits; what nodes unpack already; inputs and outputs of the model.

Sources: Deep Compression, Han et al. 2016 (arXiv:1510.00149); the sparse tensors of onnx.proto; rows without elements
left out of csr: Buluç and Gilbert 2008.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from compressctl.fields import Option
from compressctl.passes.base import PassConfig, WeightForm
from compressctl.passes.store.advice import advise

Format = Literal["auto", "dense", "codebook", "bitmask", "delta-index", "coo", "csr"]


class Config(PassConfig):
    """Options of `store`."""

    widens: ClassVar[bool] = False
    advise: ClassVar = advise
    examples: ClassVar[str] = """
    # Each weight in the form that takes fewest bytes
    compressctl store model.onnx -o small.onnx

    # One form for all; packed by entropy coding as well
    compressctl store model.onnx -o small.ccz --format codebook
    """

    type: Literal["store"] = "store"
    format: Annotated[Format, Option(everyday=True)] = "auto"
    """auto: the form of fewest bytes for each constant; dense: undo every form; or one form for all that it fits."""
    include: Annotated[tuple[str, ...], Option(metavar="GLOB")] = ()
    """Only constants that nodes read whose name matches one of these globs."""
    exclude: Annotated[tuple[str, ...], Option(metavar="GLOB")] = ()
    """Never constants that nodes read whose name matches one of these globs."""

    @property
    def form(self) -> WeightForm:
        """Plain where it undoes every form."""
        return "plain" if self.format == "dense" else "packed"
