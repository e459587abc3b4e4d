"""Finding groups takes effort that grows as the graph does."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.structure.closure import Closure
from compressctl.structure.groups import find_groups
from tests.graphs import Random, model


def _residual(blocks: int) -> ir.Model:
    """Return blocks x + reshape(reshape(conv(x))) at a fixed size: each Reshape joins height and width anew."""
    random, value = Random(0), "x"
    constants, nodes = {"flat": np.array([1, 8, 30]), "square": np.array([1, 8, 5, 6])}, []
    for i in range(blocks):
        constants[f"w{i}"] = random(8, 8, 1, 1)
        nodes.append(f"c{i} = Conv({value}, w{i}) f{i} = Reshape(c{i}, flat) r{i} = Relu(f{i})")
        nodes.append(f"s{i} = Reshape(r{i}, square) a{i} = Add({value}, s{i})")
        value = f"a{i}"
    return model(" ".join(nodes), constants, "float[1,8,5,6] x", f"float[1,8,5,6] {value}")


def _followed(blocks: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how often units were added to the map of an axis."""
    calls = 0
    merge = Closure._merge

    def counted(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        merge(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Closure, "_merge", counted)
        find_groups(_residual(blocks))
    return calls


def test_effort_grows_as_the_graph_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _followed(40, monkeypatch) < 2.5 * _followed(20, monkeypatch)
