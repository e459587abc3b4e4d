"""The graph that rounds its float weights itself: what it computes, and that folding changes nothing of that."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.measure.session import Session
from compressctl.model.graph import remove_dead
from compressctl.model.verify import verify_graph
from compressctl.numerics.grids import BINARY, INT2, INT4, INT8, TERNARY
from compressctl.quantization.int8.apply import apply_plan
from compressctl.quantization.int8.calibration import Observations
from compressctl.quantization.int8.plan import QuantizationPlan
from compressctl.quantization.int8.quantizers import Settings
from compressctl.quantization.int8.trainable import Trainable, fold, make_trainable, placement_of
from tests import graphs
from tests.quantization.reference import executed

RNG = np.random.default_rng(11)
X = RNG.standard_normal((3, 4, 8, 8)).astype("f")
CONVOLUTIONS = """
  a = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(a) p = Pad(r, pads) c = Conv(p, v, b) d = Add(c, r) s = Clip(d, zero, six)
  m = MaxPool<kernel_shape=[2,2], strides=[2,2]>(s) e = Conv<group=8>(m, g) t = Relu(e) q = GlobalAveragePool(t)
  f = Flatten(q) y = MatMul(f, k)
"""
ARRAYS = {
    "w": RNG.standard_normal((8, 4, 3, 3)).astype("f") / 6,
    "v": RNG.standard_normal((8, 8, 3, 3)).astype("f") / 6,
    "g": RNG.standard_normal((8, 1, 3, 3)).astype("f"),
    "k": RNG.standard_normal((8, 5)).astype("f"),
    "b": RNG.standard_normal(8).astype("f"),
    "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    "zero": np.array(0, "f"),
    "six": np.array(1.5, "f"),
}
GRIDS = {"int8": INT8, "int4": INT4, "int2": INT2, "ternary": TERNARY, "binary": BINARY}


def net(body: str = CONVOLUTIONS, x: str = "float[N,4,8,8] x", y: str = "float[N,5] y") -> ir.Model:
    return graphs.model(body, ARRAYS, x, y)


def planned(m: ir.Model) -> QuantizationPlan:
    return QuantizationPlan(tuple(str(node.name) for node in m.graph if node.op_type in ("Conv", "Gemm", "MatMul")))


def observed(m: ir.Model, plan: QuantizationPlan, feed: np.ndarray) -> Observations:
    """The ranges that `feed` really has."""
    clone = m.clone()
    names = [str(value.name) for value in placement_of(clone, plan).observed]
    values = {value.name: value for node in clone.graph for value in node.outputs}
    clone.graph.outputs.extend(values[name] for name in names if name in values and not values[name].is_graph_output())
    results = {"x": feed, **Session(clone, optimize=False).run({"x": feed})}
    ranges = {name: (min(0.0, float(results[name].min())), float(results[name].max())) for name in names}
    return Observations(ranges, {}, {}, len(feed))


def trainable_of(m: ir.Model, feed: np.ndarray, settings: Settings) -> tuple[ir.Model, Trainable]:
    clone, plan = m.clone(), planned(m)
    trainable = make_trainable(clone, plan, observed(m, plan, feed), settings)
    verify_graph(clone, where="test")
    return clone, trainable


def move(m: ir.Model, names: list[str], spread: float) -> None:
    """Change initializers as a training would."""
    for name in names:
        value = m.graph.initializers[name]
        array = value.const_value.numpy()
        factor = np.exp(spread * RNG.standard_normal(array.shape)).astype(array.dtype)
        value.const_value = ir.tensor(array * factor, name=name)


def run(m: ir.Model, feed: np.ndarray = X, *, optimize: bool = False) -> np.ndarray:
    return Session(m, optimize=optimize).run({"x": feed})["y"]


def all_of(m: ir.Model, grid) -> Settings:
    return Settings(bias_correction=False, grids=dict.fromkeys(planned(m).static, grid))


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_a_trained_graph_and_its_fold_compute_the_same_bits(grid, tmp_path):
    m = net()
    trained, trainable = trainable_of(m, X, all_of(m, grid))
    move(trained, ["w", "v", "g", "k", "b"], 0.2)
    move(trained, [str(value.name) for value in trainable.scales if value.name != "s_scale"], 0.05)
    expected = run(trained)
    fold(trained, trainable)
    remove_dead(trained)
    verify_graph(trained, where="test")
    np.testing.assert_array_equal(run(trained), expected)
    assert not {"w", "v", "g", "k"} & set(trained.graph.initializers), "only integers are left of the weights"
    ops = executed(trained, tmp_path)
    assert ops["QLinearConv"] == 3 and not ops["Conv"] and not ops["Relu"] and not ops["Clip"]


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_untrained_it_folds_to_what_static_quantization_writes(grid, per_channel):
    m = net()
    settings = Settings(per_channel, bias_correction=False, grids=dict.fromkeys(planned(m).static, grid))
    folded, trainable = trainable_of(m, X, settings)
    notes = fold(folded, trainable)
    remove_dead(folded)
    static = m.clone()
    told = apply_plan(static, planned(m), observed(m, planned(m), X), settings)
    assert Counter(n.op_type for n in folded.graph) == Counter(n.op_type for n in static.graph)
    assert set(folded.graph.initializers) == set(static.graph.initializers)
    for name, value in static.graph.initializers.items():
        np.testing.assert_array_equal(folded.graph.initializers[name].const_value.numpy(), value.const_value.numpy())
    assert [note.text for note in notes] == [note.text for note in told]


def test_the_bias_of_a_gemm_is_rounded_to_32_bits_on_folding(tmp_path):
    arrays = {"k1": RNG.standard_normal((6, 8)), "h2": RNG.standard_normal((5, 8)), "b": ARRAYS["b"], "c": np.ones(5)}
    arrays = {name: array.astype("f") for name, array in arrays.items()}
    body = "h = Gemm(x, k1, b) r = Relu(h) y = Gemm<transB=1>(r, h2, c)"
    m = graphs.model(body, arrays, "float[N,6] x", "float[N,5] y")
    feed = RNG.standard_normal((20, 6)).astype("f")
    trained, trainable = trainable_of(m, feed, all_of(m, INT8))
    move(trained, ["k1", "h2", "b", "c"], 0.2)
    expected = run(trained, feed)
    fold(trained, trainable)
    assert trained.graph.initializers["c_int32"].const_value.numpy().dtype == np.int32
    step = trained.graph.initializers["c_scale"].const_value.numpy()
    error = np.abs(run(trained, feed) - expected)
    # Half a step at most; in few rows the first layer's bias also moves a hidden value to the next integer.
    assert np.all(np.median(error, axis=0) <= 0.51 * step) and error.max() < 0.02 * np.abs(expected).max()
    assert executed(trained, tmp_path)["QGemm"] == 2


def test_float_weights_and_all_scales_are_there_to_train():
    pytest.importorskip("torch")
    from compressctl.torchexec.module import GraphModule

    m = net()
    trained, trainable = trainable_of(m, X, all_of(m, BINARY))
    module = GraphModule(trained)
    assert {"w", "v", "g", "k", "b"} | {str(value.name) for value in trainable.scales} == set(module.weights)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_torch_computes_what_onnxruntime_does(grid):
    torch = pytest.importorskip("torch")
    from compressctl.torchexec.module import GraphModule

    m = net()
    trained, _ = trainable_of(m, X, all_of(m, grid))
    y = GraphModule(trained)({"x": torch.from_numpy(X)})["y"].detach().numpy()
    expected = run(trained)
    step = np.abs(expected).max() / 255  # a sum in another order may round an activation the other way
    assert np.abs(y - expected).max() <= 2 * step and np.median(np.abs(y - expected)) < 1e-6


def test_learned_scales_are_kept_within_what_the_kernels_need():
    torch = pytest.importorskip("torch")
    from compressctl.training.scales import keep_scales

    m = net()
    _, trainable = trainable_of(m, X, all_of(m, INT8))
    constrain = keep_scales(trainable)
    initial = {str(v.name): v.const_value.numpy() for v in trainable.scales}
    weights = {name: torch.full(array.shape, -1.0) for name, array in initial.items()}
    weights["b"] = torch.from_numpy(1e6 * ARRAYS["b"])
    with torch.no_grad():
        weights["s_scale"].fill_(1.0)
        constrain(weights)
    assert float(weights["s_scale"]) * 255 <= 1.5, "the Clip folds into the quantization"
    np.testing.assert_array_equal(weights["g_scale"], (initial["g_scale"] * np.float32(1e-3)).astype("f"))
    largest = np.abs(1e6 * ARRAYS["b"]) / (weights["x_scale"].numpy() * weights["w_scale"].numpy())
    assert np.all(largest <= 2**29 * 1.001) and np.any(largest >= 2**29 * 0.999)
    assert all(bool((weight > 0).all()) for name, weight in weights.items() if name != "b")


def test_frozen_biases_bound_the_scales_too():
    torch = pytest.importorskip("torch")
    from compressctl.training.scales import keep_scales

    m = net()
    _, trainable = trainable_of(m, X, all_of(m, INT8))
    weights = {"w_scale": torch.zeros(8), "x_scale": torch.full((), 1e-9)}
    with torch.no_grad():
        keep_scales(trainable)(weights)
    steps = float(weights["x_scale"]) * weights["w_scale"].numpy()
    assert np.all(np.abs(ARRAYS["b"]) / steps <= 2**29 * 1.001)


def test_hard_sigmoid_and_padding_fold_as_in_static_quantization(tmp_path: Path):
    body = "a = Conv(x, w, b) h = HardSigmoid<alpha=0.2, beta=0.5>(a) z = Mul(a, h) y = Conv(z, v)"
    m = net(body, y="float[N,8,4,4] y")
    trained, trainable = trainable_of(m, X, all_of(m, INT8))
    expected = run(trained)
    fold(trained, trainable)
    remove_dead(trained)
    # The sum that stands for HardSigmoid rounds some values the other way.
    assert np.square(run(trained) - expected).mean() < 1e-4 * np.square(expected).mean()
    assert executed(trained, tmp_path)["HardSigmoid"] == 0
