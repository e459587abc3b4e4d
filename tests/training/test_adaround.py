"""Learned rounding: against the best of all roundings, on a small network, and how a graph is cut into blocks."""

import itertools
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.errors import DataError
from compressctl.measure.captures import Captures
from compressctl.measure.session import Session
from compressctl.numerics.grids import BINARY, INT2, INT3, INT4, TERNARY
from compressctl.numerics.rounding import neighbours, weight_qparams
from compressctl.passes import quantize
from compressctl.quantization.int8.blocks import cut
from compressctl.quantization.int8.calibration import observe
from compressctl.quantization.int8.plan import QuantizationPlan
from compressctl.quantization.int8.quantizers import Settings
from compressctl.quantization.int8.trainable import placement_of
from compressctl.resources import Resources
from compressctl.training.adaround import adaround
from tests import graphs
from tests.graphs import weights
from tests.passes import apply
from tests.training.tiny import Arrays

RNG = np.random.default_rng(3)
NET = """
  a = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(a) c = Conv<pads=[1,1,1,1]>(r, v, b) d = Add(c, r) s = Relu(d)
  e = Conv<pads=[1,1,1,1]>(s, u, b) t = Relu(e) p = GlobalAveragePool(t) f = Flatten(p) y = Gemm(f, k)
"""


def net() -> ir.Model:
    shapes = {"w": (8, 3, 3, 3), "v": (8, 8, 3, 3), "u": (8, 8, 3, 3), "k": (8, 5)}
    weights = {n: (RNG.standard_normal(s) / np.sqrt(np.prod(s[1:]))).astype("f") for n, s in shapes.items()}
    return graphs.model(NET, {**weights, "b": np.full(8, 0.1, "f")}, "float[N,3,6,6] x", "float[N,5] y")


def images(count: int = 96, seed: int = 0) -> np.ndarray:
    """Smooth random images: their pixels hang together, as those of photographs do."""
    x = np.random.default_rng(seed).standard_normal((count, 3, 6, 6)).cumsum(axis=2).cumsum(axis=3)
    return (x / x.std()).astype("f")


def rounding(m: ir.Model, x: np.ndarray, grid, folder: Path, **options) -> dict[str, np.ndarray]:
    plan = QuantizationPlan(tuple(str(n.name) for n in m.graph if n.op_type in ("Conv", "Gemm", "MatMul")))
    source = Arrays({"x": x})
    names = [str(value.name) for value in placement_of(m, plan).observed]
    settings = Settings(grids=dict.fromkeys(plan.static, grid))
    resources = Resources(workdir=folder)
    seen = observe(m, names, source, resources)
    found, _ = adaround(m, plan, seen, settings, source, resources, **options)
    return found


def test_comes_close_to_the_best_of_all_roundings(tmp_path):
    """A layer of 8 weights an output: all 256 roundings of each can be tried."""
    mix = RNG.standard_normal((8, 8)) + 0.5  # inputs that hang together: rounding to the nearest is far from the best
    x = (RNG.standard_normal((128, 8)) @ mix).astype("f")
    w = RNG.standard_normal((8, 12)).astype("f")
    m = graphs.model("y = MatMul(x, w)", {"w": w}, "float[N,8] x", "float[N,12] y")
    found = rounding(m, x, INT3, tmp_path, steps=200)["MatMul_0"]
    qparams = weight_qparams(w, 1, INT3)
    low, high, share = neighbours(w, qparams, INT3)
    choices = np.array(list(itertools.product([0, 1], repeat=8)))
    tried = (low + (high - low) * choices[:, :, None]) * qparams.scale - w  # [256, 8, 12]
    errors = np.square(np.einsum("nk,ckm->cnm", x, tried)).mean(axis=1)
    nearest, learned = (
        np.square(x @ (integers * qparams.scale - w)).mean(axis=0).sum()
        for integers in (np.where(share > 0.5, high, low), found)
    )
    best = errors.min(axis=0).sum()
    assert learned - best < 0.4 * (nearest - best)


@pytest.mark.parametrize("grid", [INT4, INT2, TERNARY, BINARY], ids=["int4", "int2", "ternary", "binary"])
def test_integers_stay_on_the_grid_next_to_the_weights(grid, tmp_path):
    m = net()
    found = rounding(m, images(32), grid, tmp_path, steps=10)
    assert set(found) == {"Conv_0", "Conv_2", "Conv_5", "Gemm_9"}
    for node in m.graph:
        if node.name in found:
            w = node.inputs[1].const_value.numpy()
            low, high, _ = neighbours(w, weight_qparams(w, 1 if node.op_type == "Gemm" else 0, grid), grid)
            assert found[node.name].dtype == np.int8 and found[node.name].shape == w.shape
            assert np.all((found[node.name] == low) | (found[node.name] == high))
    assert list(tmp_path.iterdir()) == [], "temporary files are gone"


def _quantized(m: ir.Model, folder: Path, **options) -> ir.Model:
    options = {"scheme": "w3a8", "first_last": "same", "target": "vnni", "adaround_steps": 80, **options}
    return apply(quantize, m, folder, Arrays({"x": images()}), **options).model


def _noise(m: ir.Model, quantized: ir.Model, x: np.ndarray) -> float:
    exact = Session(m).run({"x": x})["y"]
    return float(np.square(Session(quantized).run({"x": x})["y"] - exact).sum() / np.square(exact).sum())


def test_the_network_answers_better_on_images_that_it_did_not_see(tmp_path):
    m = net()
    unseen = images(seed=1)
    nearest = _quantized(m, tmp_path)
    learned, again = (_quantized(m, tmp_path, rounding="adaround") for _ in range(2))
    assert _noise(m, learned, unseen) < 0.7 * _noise(m, nearest, unseen)
    expected, repeated, rounded = map(weights, (learned, again, nearest))
    assert all(np.array_equal(array, repeated[name]) for name, array in expected.items())
    assert not np.array_equal(expected["v_int8"], rounded["v_int8"])


def test_a_layer_kept_in_float_leaves_the_rounding_of_the_others(tmp_path):
    m = net()
    whole, part = (_quantized(m, tmp_path, rounding="adaround", adaround_steps=5, keep_float=n) for n in (0, 1))
    kept = {name for name in ("w", "v", "u", "k") if name in part.graph.initializers}
    assert len(kept) == 1
    for name in {"w", "v", "u", "k"} - kept:
        np.testing.assert_array_equal(*(weights(model)[f"{name}_int8"] for model in (whole, part)))


def test_a_full_disk_is_said_in_a_line(tmp_path):
    with pytest.raises(DataError, match="activations cannot be kept: No such file or directory"):
        Captures(tmp_path / "gone", [{"x": np.zeros(1, "f")}])


def test_dynamic_quantization_has_nothing_to_learn(tmp_path):
    m = graphs.model("y = MatMul(x, w)", {"w": np.eye(64, dtype="f")}, "float[N,64] x", "float[N,64] y")
    notes = apply(quantize, m, tmp_path, scheme="int8-dynamic", rounding="adaround").notes
    assert "adaround rounds static weights, and there are none" in [note.text for note in notes]


def test_weights_shared_between_blocks_are_learned_once(tmp_path):
    k = RNG.standard_normal((8, 8)).astype("f") / 3
    body = "a = MatMul(x, k) r = Relu(a) b = MatMul(r, k) s = Relu(b) y = MatMul(s, k)"
    m = graphs.model(body, {"k": k}, "float[N,8] x", "float[N,8] y")
    x = RNG.standard_normal((64, 8)).astype("f")
    found = rounding(m, x, INT4, tmp_path, steps=20)
    np.testing.assert_array_equal(found["MatMul_0"], found["MatMul_2"])
    np.testing.assert_array_equal(found["MatMul_0"], found["MatMul_4"])


def _blocks(body: str, x: str = "float[N,4] x", y: str = "float[N,4] y", most: int = 8) -> list[tuple]:
    k = np.eye(4, dtype="f")
    m = graphs.model(body, {"k": k, "one": np.ones(1, "f")}, x, y)
    layers = {node for node in m.graph if node.op_type == "MatMul"}
    return [(b.layers, b.inputs, b.outputs, b.others) for b in cut(m.graph, layers, most)]


def test_a_residual_block_stays_whole_and_takes_its_activation():
    body = "a = MatMul(x, k) r = Relu(a) b = MatMul(r, k) s = Relu(b) c = MatMul(s, k) d = Add(c, r) e = Relu(d) "
    assert _blocks(body + "f = MatMul(e, k) y = Softmax(f)") == [
        (("MatMul_0",), ("x",), ("r",), ()),
        (("MatMul_2", "MatMul_4"), ("r",), ("e",), ()),
        (("MatMul_7",), ("e",), ("f",), ()),
    ]


def test_what_depends_on_no_layer_passes_beside_the_blocks():
    body = "h = Relu(x) m = Sigmoid(z) a = MatMul(h, k) b = Mul(a, m) c = MatMul(b, k) y = Mul(c, m)"
    assert _blocks(body, "float[N,4] x, float[N,4] z") == [
        (("MatMul_2",), ("x", "z"), ("b",), ("m",)),
        (("MatMul_4",), ("b",), ("c",), ()),
    ]


def test_a_long_block_is_cut_though_several_values_go_on():
    body = (
        "a = MatMul(x, k) b = MatMul(a, k) c = MatMul(b, k) d = MatMul(c, k) e = Add(a, b) f = Add(e, c) y = Add(f, d)"
    )
    assert _blocks(body, most=2) == [
        (("MatMul_0",), ("x",), ("a",), ()),
        (("MatMul_1", "MatMul_2"), ("a",), ("b", "c"), ()),
        (("MatMul_3",), ("c", "a", "b"), ("y",), ()),
    ]
    assert len(_blocks(body)) == 2


def test_an_output_on_the_way_is_kept_close_too():
    body = "a = MatMul(x, k) y = Relu(a) z = MatMul(y, k)"
    blocks = _blocks(body, y="float[N,4] y, float[N,4] z")
    assert [block[2] for block in blocks] == [("y",), ("z",)]
