"""The promise: what is cut out of a random graph leaves what the graph computes with those units switched off."""

from collections import Counter

import pytest
from halving import halved
from random_graphs import random_graph

from compressctl.model.shapes import infer_shapes


@pytest.mark.parametrize("seeds", [range(60), pytest.param(range(60, 500), marks=pytest.mark.long)], ids=len)
def test_cut_graphs_compute_what_the_masked_originals_do(seeds):
    groups, kinds = Counter(), Counter()
    for seed in seeds:
        model, feeds, layers = random_graph(seed)
        infer_shapes(model)
        found, removed, error = halved(model, feeds, seed=seed)
        assert error <= 1e-5, f"graph {seed} of {layers}: {error}"
        inner = [group for group in found if not any("an output of the model" in reason for reason in group.reasons)]
        groups["found"] += len(inner)
        groups["cut"] += len(removed)
        groups["units"] += sum(map(len, removed.values()))
        kinds.update(layers)
        kinds.update(group.kind for group in found if group.name in removed)
    assert groups["cut"] >= 0.85 * groups["found"] and groups["cut"] >= 2 * len(seeds)
    assert len(kinds) >= 50 and all(kinds[kind] >= len(seeds) / 10 for kind in ("channel", "neuron", "head"))
