"""What packing and unpacking report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from compressctl.container.chunks import ChunkForm
from compressctl.container.directory import Entry
from compressctl.container.layout import Part


@dataclass(frozen=True)
class PackedPart:
    """Bytes that were coded together: a large tensor, all small tensors with numbers of one size, or the structure.

    Attributes:
        name: of the tensor, or what is in it.
        coder: form and coders, those that coded most first.
        elements: of its tensors; None of the structure.
        bytes: before.
        packed_bytes: after, without its entry in the directory.
        bits_per_element: after.
        entropy_bits: an element's share of the empirical entropy of order 0 of the streams that it was split into.
        excess_percent: of the coded bits over that entropy; below 0 where a coder made use of what repeats.
    """

    name: str
    coder: str
    elements: int | None
    bytes: int
    packed_bytes: int
    bits_per_element: float | None
    entropy_bits: float | None
    excess_percent: float | None


@dataclass(frozen=True)
class Packing:
    """A packed model.

    Attributes:
        path: the .onnx file.
        output: the .ccz file.
        bytes: of the .onnx file and its external data.
        packed_bytes: of the .ccz file.
        ratio: how many times smaller it is.
        directory_bytes: of them, what stands before the coded bytes.
        parts: in the order in which they are stored.
    """

    path: str
    output: str
    bytes: int
    packed_bytes: int
    ratio: float
    directory_bytes: int
    parts: tuple[PackedPart, ...]


@dataclass(frozen=True)
class Unpacking:
    """An unpacked model.

    Attributes:
        path: the .ccz file.
        output: the .onnx file.
        data: the files of its external data.
        bytes: of the .onnx file and its external data.
        packed_bytes: of the .ccz file.
        ratio: how many times larger the model is.
    """

    path: str
    output: str
    data: tuple[str, ...]
    bytes: int
    packed_bytes: int
    ratio: float


def figures_of(part: Part, chunks: Sequence[Entry], entropy: float) -> PackedPart:
    """Return what the report says of a part, whose streams hold `entropy` bits."""
    by_coder: Counter[str] = Counter()
    for chunk in chunks:
        for span in chunk.spans:
            by_coder[span.coder.name.lower()] += span.length
    packed = by_coder.total()
    forms = sorted({chunk.form for chunk in chunks} - {ChunkForm.PLAIN})
    words = [*(form.name.lower() for form in forms), *(coder for coder, _ in by_coder.most_common())]
    return PackedPart(
        name=part.name,
        coder=" ".join(words),
        elements=part.elements,
        bytes=part.length,
        packed_bytes=packed,
        bits_per_element=8 * packed / part.elements if part.elements else None,
        entropy_bits=entropy / part.elements if part.elements else None,
        excess_percent=100 * (8 * packed / entropy - 1) if entropy else None,
    )
