"""Groups made by hand, and a small network whose groups are known."""

import numpy as np
import onnx_ir as ir

from compressctl.structure.groups import Group, Weight
from tests.graphs import model

BODY = """
    h = Conv <pads = [1, 1, 1, 1]> (x, W1, B1)
    a = Relu(h)
    g = Conv <pads = [1, 1, 1, 1]> (a, W2)
    s = Conv(x, W3)
    t = Add(g, s)
    r = Relu(t)
    p = GlobalAveragePool(r)
    f = Flatten(p)
    y = Gemm <transB = 1> (f, W4)
"""


def network(seed: int = 0) -> ir.Model:
    """Return a network: 32 channels in a branch (Conv_0), 16 of a sum of Conv_2 and Conv_3, 3 outputs."""
    rng = np.random.default_rng(seed)
    shapes = {"W1": (32, 2, 3, 3), "B1": (32,), "W2": (16, 32, 3, 3), "W3": (16, 2, 1, 1), "W4": (3, 16)}
    arrays = {name: rng.standard_normal(shape).astype(np.float32) / 4 for name, shape in shapes.items()}
    return model(BODY, arrays, "float[N, 2, 6, 6] x", "float[N, 3] y")


def array(graph: ir.Model, name: str) -> np.ndarray:
    """Return an initializer."""
    return graph.graph.initializers[name].const_value.numpy()


def group(
    name: str,
    size: int,
    *,
    kind: str = "channel",
    fixed: tuple[int, ...] = (),
    matrices: int = 2,
    positions: int = 1,
) -> Group:
    """Return a group with so many matrices, and positions a unit, that is of no graph."""
    units = np.repeat(np.arange(size), positions)
    stays = np.isin(np.arange(size), fixed)
    weights = tuple(Weight(f"{name}{i}", 0, units, f"{name}{i}", "makes") for i in range(matrices))
    return Group(name, kind, size, stays, ("for a reason",) * bool(fixed), weights, {})
