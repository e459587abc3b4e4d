"""What each layer costs in a model file: bytes, multiply-accumulates, and its share of the time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.explanation.layers import WeightedNode
from compressctl.explanation.ownership import Owners, owners
from compressctl.explanation.schema import Cost
from compressctl.measure.profile import node_times, optimized_nodes
from compressctl.model.size import count
from compressctl.notes import Note, skipped

_RUNS = 20


@dataclass(frozen=True)
class CostMeter:
    """Measures what each layer of a model costs, in the model itself and in what passes made of it.

    Attributes:
        layers: of the original.
        nodes: names of all nodes of the original.
        feeds: to time files on, one batch.
        dims: sizes of named dimensions of the inputs.
        threads: of onnxruntime.
    """

    layers: Sequence[WeightedNode]
    nodes: Collection[str]
    feeds: Mapping[str, Array]
    dims: Mapping[str, int]
    threads: int

    def costs(self, path: Path, model: ir.Model) -> tuple[dict[str | None, Cost], tuple[Note, ...]]:
        """Return what each layer costs, by name, and under None what all other nodes do; and what could not be told.

        Args:
            path: the file, which is timed.
            model: the same, loaded.

        Raises:
            ModelError, DataError: the file cannot be run on `feeds`.
        """
        owned = owners(model.graph, self.layers, self.nodes)
        total_bytes: dict[str | None, int] = defaultdict(int)
        macs: dict[str | None, int | None] = defaultdict(int)
        size = count(model, self.dims)
        for row in size.by_layer:
            owner = owned.nodes.get(row.node)
            total_bytes[owner] += row.bytes
            so_far = macs[owner]
            macs[owner] = None if row.macs is None or so_far is None else so_far + row.macs
        shares, notes = _time_shares(path, owned, self.feeds, self.threads)
        present = set(owned.nodes.values()) | {None}
        costs: dict[str | None, Cost] = {}
        for name in [*(layer.name for layer in self.layers), None]:
            share = shares.get(name) if name in present else 0.0
            costs[name] = Cost(total_bytes[name], macs[name], share)
        timeless = sorted(name for name, cost in costs.items() if name is not None and cost.time_share is None)
        if timeless:
            text = f"onnxruntime fuses these layers with others, so their time is not told apart: {', '.join(timeless)}"
            notes.append(skipped(text, path.name))
        return costs, tuple(notes)


def _time_shares(
    path: Path, owned: Owners, feeds: Mapping[str, Array], threads: int
) -> tuple[dict[str | None, float], list[Note]]:
    """Return the share of the time that each layer takes, under None what other nodes take."""
    outputs = {name: given for name, _, given in optimized_nodes(path)}
    times = node_times(path, feeds, threads=threads, runs=_RUNS)
    total = sum(times.values()) or 1.0
    shares: dict[str | None, float] = defaultdict(float)
    unknown: dict[str, float] = {}
    for (name, op), ms in times.items():
        told, owner = owned.of_fused(name, op, outputs.get(name, ()))
        shares[owner] += ms / total
        if not told:
            unknown[name] = ms / total
    shares[None] += 0.0
    if not unknown:
        return dict(shares), []
    text = f"{sum(unknown.values()):.1%} of the time goes to nodes of no known layer: {', '.join(sorted(unknown))}"
    return dict(shares), [skipped(text, path.name)]
