"""Layers that ruin the outputs are moved, the others stay."""

import numpy as np
import pytest

from compressctl.measure.floor import TARGET
from compressctl.passes import quantize
from tests import graphs
from tests.passes import apply
from tests.training.tiny import Arrays

RNG = np.random.default_rng(4)


def weight(*shape):
    return (RNG.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)


def chain(loud: bool):
    """Three convolutions; where `loud`, one channel is 10,000 times as large as the others, and the next ignores it."""
    first, second, third = weight(16, 16, 3, 3), weight(16, 16, 3, 3), weight(16, 16, 3, 3)
    if loud:
        first[0] *= 1e4
        second[:, 0] = 0
    body = (
        "a = Conv<pads=[1,1,1,1]>(x, u) ar = Relu(a) b = Conv<pads=[1,1,1,1]>(ar, v) br = Relu(b) "
        "y = Conv<pads=[1,1,1,1]>(br, w)"
    )
    return graphs.model(body, {"u": first, "v": second, "w": third}, "float[N,16,16,16] x", "float[N,16,16,16] y")


@pytest.fixture
def outcome(tmp_path):
    def _outcome(model, scheme="auto", x=None, batch=None):
        x = RNG.normal(size=(8, 16, 16, 16)) if x is None else x
        return apply(quantize, model, tmp_path, Arrays({"x": x.astype(np.float32)}, batch=batch), scheme=scheme)

    return _outcome


def test_auto_keeps_the_floor_by_computing_layers_in_float(outcome):
    found = outcome(chain(loud=True))
    floor = found.facts["floor"]
    assert floor["before"][0]["sqnr_db"] < TARGET.sqnr_db <= floor["after"][0]["sqnr_db"]
    moved = {*floor["weights"], *floor["float"]}
    assert moved and len(moved) < 3
    assert set(floor["latency_ratio"]) == {"before", "after"}
    assert "floor" not in outcome(chain(loud=True), "int8").facts


def test_auto_moves_nothing_where_the_floor_holds(outcome):
    floor = outcome(chain(loud=False)).facts["floor"]
    assert floor["holds"] and "float" not in floor


def test_auto_moves_to_dynamic_what_has_such_a_form(outcome):
    """The faint samples, most of them, lose their classes to the range of the loudest; not where each has its own."""
    body = "a = Conv(x, w) ar = Relu(a) f = Flatten(ar) g = Gemm(f, k) y = Gemm(g, l)"
    arrays = {"w": weight(16, 16, 1, 1), "k": weight(256, 64), "l": weight(64, 32)}
    model = graphs.model(body, arrays, "float[1,16,4,4] x", "float[1,32] y")
    x = RNG.normal(size=(64, 16, 4, 4)) * np.where(np.arange(64) < 2, 1e3, 1)[:, None, None, None]
    floor = outcome(model, x=x, batch=1).facts["floor"]
    assert floor["before"][0]["agreement"] < 0.8 and floor["after"][0]["agreement"] > 0.9
    assert floor["dynamic"] and set(floor["dynamic"]) <= {"Gemm_3", "Gemm_4"} and floor["weights"] == ["Conv_0"]
