"""The pass `low_rank`: what it factors, what it leaves with which reason, how it keeps a budget."""

from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.data.notation import open_source
from compressctl.errors import UsageError
from compressctl.measure.accuracy import evaluate
from compressctl.measure.metrics import parse_metric
from compressctl.measure.session import Session
from compressctl.model.load import interface, load_model
from compressctl.model.save import serialize
from compressctl.notes import Note
from compressctl.passes import low_rank
from tests import graphs
from tests.layers.reading import Rows
from tests.passes import apply

_run = partial(apply, low_rank)
RNG = np.random.default_rng(17)


def _thin(outputs: int, inputs: int, rank: int, noise: float = 1e-3) -> np.ndarray:
    """A matrix of about this rank."""
    product = RNG.standard_normal((outputs, rank)) @ RNG.standard_normal((rank, inputs)) / np.sqrt(rank * inputs)
    return (product + noise / np.sqrt(inputs) * RNG.standard_normal((outputs, inputs))).astype("f")


def _reasons(notes: tuple[Note, ...]) -> dict[str | None, str]:
    return {note.node: note.text for note in notes if note.kind == "skipped"}


def _mlp() -> tuple[ir.Model, np.ndarray]:
    arrays = {"w": _thin(96, 64, 10).T, "b": RNG.standard_normal(96).astype("f"), "v": _thin(96, 96, 96)}
    arrays["full"] = RNG.standard_normal((96, 8)).astype("f")
    body = "h = Gemm(x, w, b) r = Relu(h) m = MatMul(r, v) y = MatMul(m, full)"
    model = graphs.model(body, arrays, "float[N, 64] x", "float[N, 8] y")
    return model, RNG.standard_normal((40, 64)).astype("f")


def test_factors_what_pays_and_says_why_it_leaves_the_rest(tmp_path):
    model, x = _mlp()
    expected = Session(model, threads=1).run({"x": x})["y"]
    outcome = _run(model, tmp_path, energy=0.999)
    (row,) = outcome.facts["layers"]
    assert (row["layer"], row["method"], row["ranks"]) == ("Gemm_0", "svd", [16])
    assert row["size_ratio"] == pytest.approx(16 * (96 + 64) / (96 * 64))
    assert row["macs_ratio"] == pytest.approx(row["size_ratio"])
    assert row["error"] < 0.001
    assert row["latency_ratio"]["low"] <= row["latency_ratio"]["value"] <= row["latency_ratio"]["high"]
    reasons = _reasons(outcome.notes)
    assert "no gain at energy 0.999: svd of rank 96" not in reasons["MatMul_2"]  # full rank is no factorisation
    assert set(reasons) == {"MatMul_2", "MatMul_3"}
    found = Session(outcome.model, threads=1).run({"x": x})["y"]
    assert np.mean((found - expected) ** 2) < 0.01 * np.var(expected)
    assert [node.op_type for node in outcome.model.graph] == ["Gemm", "Gemm", "Relu", "MatMul", "MatMul"]


def test_the_same_bytes_again(tmp_path):
    (first, _), x = _mlp(), RNG.standard_normal((40, 64)).astype("f")
    second = first.clone()
    results = [
        serialize(_run(model, tmp_path, ratio=0.5, include=("MatMul_2",), calibration=Rows(model, x)).model, tmp_path)
        for model in (first, second)
    ]
    assert results[0] == results[1]


def test_calibration_samples_decide_what_is_kept(tmp_path):
    model, x = _mlp()
    x = x * np.geomspace(1, 1e-3, 64, dtype=np.float32)
    errors = []
    for source in (None, Rows(model, x)):
        clone = model.clone()
        expected = Session(clone, threads=1).run({"x": x})["y"]
        outcome = _run(clone, tmp_path, ratio=0.4, include=("MatMul_2",), calibration=source)
        assert outcome.facts["layers"][0]["size_ratio"] <= 0.4
        errors.append(np.mean((Session(outcome.model, threads=1).run({"x": x})["y"] - expected) ** 2))
    assert errors[1] < errors[0] / 2


@pytest.mark.long
def test_latency_decides_by_a_margin_and_can_be_pinned(tmp_path):
    arrays = {"w": _thin(768, 768, 16), "tiny": _thin(768, 32, 8)}
    body = "h = MatMul(x, w) y = MatMul(h, tiny)"
    model = graphs.model(body, arrays, "float[64, 768] x", "float[64, 32] y")
    pinned = model.clone()
    outcome = _run(model, tmp_path, energy=0.99, where="latency")
    assert outcome.facts["layers"][0]["layer"] == "MatMul_0"  # x 0.04 of the work: no doubt
    assert outcome.facts["layers"][0]["latency_ratio"]["high"] < 0.95
    lines = outcome.facts["recipe_lines"]
    assert lines[:2] == ["- type: low_rank", "  energy: 0.99"]
    include = [name.strip(' "') for name in lines[-1].partition("[")[2].rstrip("]").split(",")]
    again = _run(pinned, tmp_path, energy=0.99, include=tuple(include))
    assert serialize(again.model, tmp_path) == serialize(outcome.model, tmp_path)


def test_odd_layers_are_left_with_a_reason(tmp_path):
    arrays = {
        "g": RNG.standard_normal((64, 16, 3, 3)).astype("f"),
        "t": RNG.standard_normal((64, 32, 2, 2)).astype("f"),
        "nan": np.full((32, 32, 1, 1), np.nan, "f"),
    }
    body = "c = Conv<group = 4, pads = [1, 1, 1, 1]>(x, g) d = ConvTranspose(c, t) y = Conv(d, nan)"
    model = graphs.model(body, arrays, "float[1, 64, 8, 8] x", "float[1, 32, 9, 9] y")
    before = serialize(model, tmp_path)
    outcome = _run(model, tmp_path, ratio=0.5)
    assert serialize(outcome.model, tmp_path) == before
    assert _reasons(outcome.notes) == {
        "Conv_0": "not factored: it is a convolution of 4 groups, whose matrices are small",
        "ConvTranspose_1": "not factored: no low-rank form of a ConvTranspose pays",
        "Conv_2": "not factored: its weight holds NaN or infinity",
    }
    assert outcome.notes[-1].kind == "warning"


def test_tied_and_quantized_weights_are_left(tmp_path):
    arrays = {
        "table": RNG.standard_normal((64, 64)).astype("f"),
        "q": np.ones((64, 64), np.int8),
        "s": np.float32(0.1),
        "lw": RNG.standard_normal((1, 128, 64)).astype("f"),
        "lr": RNG.standard_normal((1, 128, 32)).astype("f"),
    }
    body = """e = Gather(table, x) h = MatMul(e, table) d = DequantizeLinear(q, s) k = MatMul(h, d)
    z, zn, zc = LSTM<hidden_size = 32>(k, lw, lr) y = Identity(z)"""
    outcome = _run(graphs.model(body, arrays, "int64[5, 1] x", "float[5, 1, 1, 32] y"), tmp_path, ratio=0.5)
    assert _reasons(outcome.notes) == {
        "MatMul_1": "not factored: Gather Gather_0 uses its weight too, which would be stored as well as the factors",
        "MatMul_3": "not factored: its weight is quantized already; factor first, then quantize",
        "LSTM_4": "not factored: it is recurrent",
    }


def test_a_weight_of_two_layers_gets_one_pair_of_factors(tmp_path):
    body = "a = MatMul(x, w) r = Relu(a) y = MatMul(r, w)"
    model = graphs.model(body, {"w": _thin(64, 64, 8)}, "float[N, 64] x", "float[N, 64] y")
    x = RNG.standard_normal((30, 64)).astype("f")
    outcome = _run(model, tmp_path, energy=0.9, calibration=Rows(model, x))
    assert sorted(outcome.model.graph.initializers) == ["w_down", "w_up"]
    assert outcome.facts["layers"][0]["shared_by"] == ["MatMul_2"]
    one = graphs.model(body, {"w": _thin(64, 64, 8)}, "float[N, 64] x", "float[N, 64] y")
    left = _run(one, tmp_path, energy=0.9, exclude=("MatMul_2",))
    assert "MatMul MatMul_2 uses its weight too" in _reasons(left.notes)["MatMul_0"]


@pytest.mark.long
def test_an_accuracy_budget_is_kept_and_used(tmp_path):
    loaded = load_model(Path("sample_models/cnn.onnx")).model
    inputs = interface(loaded)[0]
    data, calibration = open_source("digits:test", inputs), open_source("digits:train[:64]", inputs)
    metric = parse_metric("top1")
    before = evaluate(Session(loaded, threads=1), data, metric).value
    sizes = []
    for budget in (0.0, 1.0):
        given = {"evaluation": data, "calibration": calibration, "metric": metric, "max_accuracy_drop": budget}
        outcome = _run(loaded.clone(), tmp_path, include=("/block3/conv*",), **given)
        after = evaluate(Session(outcome.model, threads=1), data, metric).value
        assert before - after <= budget + 1e-9
        sizes.append(sum(value.const_value.size for value in outcome.model.graph.initializers.values()))
    assert sizes[0] > sizes[1]
    assert outcome.facts["energy"] == 0.5
    assert any("energy" in line for line in outcome.facts["recipe_lines"])


def test_what_it_needs_to_know(tmp_path):
    model, _ = _mlp()
    with pytest.raises(UsageError, match="give energy or ratio"):
        _run(model, tmp_path)
    with pytest.raises(UsageError, match="matches no node"):
        _run(model, tmp_path, ratio=0.5, include=("nothing",))


def test_a_layer_of_very_many_inputs_is_factored_by_its_weight_alone(tmp_path):
    w = _thin(64, 8200, 10).T
    model = graphs.model("y = MatMul(x, w)", {"w": w}, "float[N, 8200] x", "float[N, 64] y")
    rows = Rows(model, np.ones((2, 8200), np.float32))
    outcome = _run(model, tmp_path, energy=0.99, where="always", calibration=rows)
    assert "by its weight alone" in _reasons(outcome.notes)["MatMul_0"]
    x = RNG.standard_normal((3, 8200)).astype(np.float32)
    got = Session(outcome.model, threads=1).run({"x": x})["y"]
    assert np.square(got - x @ w).sum() < 0.02 * np.square(x @ w).sum()
