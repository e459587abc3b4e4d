"""Packing and unpacking as tables."""

from __future__ import annotations

from compressctl.container.figures import PackedPart, Packing, Unpacking
from compressctl.report.formatting import si
from compressctl.report.tables import Table


def packing_tables(packing: Packing, *, verbose: bool) -> list[Table]:
    """Return the sizes of the whole model, and of each tensor where `verbose`."""
    parts = packing.parts
    rows = [
        ("model", _bytes(packing.bytes), ""),
        ("packed", _bytes(packing.packed_bytes), f"x {packing.ratio:.3f} smaller"),
        ("of it, tensors", _bytes(sum(part.packed_bytes for part in parts[1:])), _excess(parts[1:])),
        ("of it, graph and names", _bytes(parts[0].packed_bytes), ""),
        ("of it, directory", _bytes(packing.directory_bytes), ""),
    ]
    tables = [Table(packing.output, ("", "size", ""), tuple(rows))]
    if verbose:
        header = ("tensor", "coder", "elements", "bytes", "packed", "bits/element", "entropy", "excess")
        tables.append(Table("Tensors", header, tuple(map(_row, parts))))
    return tables


def unpacking_table(unpacking: Unpacking) -> Table:
    """Return the sizes of the whole model."""
    rows = (
        ("packed", _bytes(unpacking.packed_bytes), ""),
        ("model", _bytes(unpacking.bytes), f"x {unpacking.ratio:.3f} larger"),
        *(("external data", "", path) for path in unpacking.data),
    )
    return Table(unpacking.output, ("", "size", ""), rows)


def _row(part: PackedPart) -> tuple[str, ...]:
    return (
        part.name,
        part.coder,
        "" if part.elements is None else f"{part.elements:,}",
        f"{part.bytes:,}",
        f"{part.packed_bytes:,}",
        "" if part.bits_per_element is None else f"{part.bits_per_element:.3f}",
        "" if part.entropy_bits is None else f"{part.entropy_bits:.3f}",
        "" if part.excess_percent is None else f"{part.excess_percent:+.2f} %",
    )


def _bytes(count: int) -> str:
    return f"{count:,} B ({si(count, 'B')})" if count >= 1000 else f"{count} B"


def _excess(parts: tuple[PackedPart, ...]) -> str:
    """Return by how much tensors take more than their entropy."""
    entropy = sum((part.entropy_bits or 0) * (part.elements or 0) for part in parts) / 8
    return f"{100 * (sum(part.packed_bytes for part in parts) / entropy - 1):+.2f} % over entropy" if entropy else ""
