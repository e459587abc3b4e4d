"""Quantization-aware training end to end: what it gains, that it writes the same kind of graph, and what it refuses."""

import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.data.notation import open_source
from compressctl.errors import MissingExtraError, UsageError
from compressctl.measure.accuracy import evaluate
from compressctl.measure.metrics import parse_metric
from compressctl.measure.session import Session
from compressctl.model.load import interface, load_model
from compressctl.model.verify import verify_graph
from compressctl.passes import quantize, simplify
from compressctl.passes.base import Context, Outcome
from tests import graphs
from tests.quantization.reference import STEP, executed, weight_integers
from tests.samples import ROOT

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from compressctl.passes import qat
from tests.training.tiny import Arrays, Interrupted


def _context(m: ir.Model, folder: Path, **given) -> Context:
    training = open_source("digits:train[:320]", interface(m)[0])
    metric = parse_metric("top1", allow_python=False)
    return Context(**{"baseline": m, "workdir": folder, "training": training, "metric": metric, **given})


def _model(name: str, folder: Path) -> tuple[ir.Model, Context]:
    m = load_model(ROOT / "sample_models" / f"{name}.onnx", {}).model
    context = _context(m, folder)
    return simplify.Config().run(m.clone(), context).model, context


def _train(m: ir.Model, context: Context, **options) -> Outcome:
    config = qat.Config(**{"target": "vnni", "train_batch": 32, **options})
    outcome = config.run(m.clone(), context)
    verify_graph(outcome.model, where="test")
    return outcome


def _accuracy(m: ir.Model) -> float:
    source = open_source("digits:test", interface(m)[0])
    return evaluate(Session(m, threads=1), source, parse_metric("top1", allow_python=False)).value


def test_training_brings_back_what_one_bit_weights_lost(tmp_path):
    m, context = _model("cnn", tmp_path)
    static = quantize.Config(scheme="w1a8", target="vnni", bias_correction=False)
    before = static.run(m.clone(), _context(m, tmp_path, calibration=context.training)).model
    outcome = _train(m, context, scheme="w1a8", steps=20)
    assert _accuracy(outcome.model) > _accuracy(before) + 0.3
    narrow = [array for array in weight_integers(outcome.model).values() if np.abs(array).max() == 1]
    assert len(narrow) == 8 and all(np.all(array != 0) for array in narrow)
    held_out = outcome.facts["held_out"]
    assert held_out["best"] > held_out["initial"] and outcome.facts["steps"] == 20
    scales = outcome.facts["scales"]
    assert any(abs(ratio - 1) > 1e-3 for ratio in scales.values()) and all(ratio > 0 for ratio in scales.values())


def test_the_graph_is_the_one_that_static_quantization_writes(tmp_path):
    m, context = _model("cnn", tmp_path)
    outcome = _train(m, context, scheme="w4a8", steps=3)
    static = quantize.Config(scheme="w4a8", target="vnni", bias_correction=False)
    untrained = static.run(m.clone(), _context(m, tmp_path, calibration=context.training)).model
    assert [node.op_type for node in outcome.model.graph] == [node.op_type for node in untrained.graph]
    trained, rounded = weight_integers(outcome.model), weight_integers(untrained)
    assert trained.keys() == rounded.keys() and len(trained) == 10
    ops = executed(outcome.model, tmp_path)
    assert ops["QLinearConv"] == 9 and ops["QGemm"] == 1 and not ops["Conv"]
    kept = [name for name, array in trained.items() if np.abs(array.astype(int)).max() > 8]
    assert sorted(kept) == ["classifier.weight_int8", "stem.0.weight_int8"]


def test_it_repeats_itself_and_resumes(tmp_path):
    from compressctl.training.checkpoint_paths import CheckpointPath

    m, context = _model("mlp", tmp_path)
    options = {"steps": 12, "checkpoint_every": 4, "learning_rate": 1e-3}
    first, second = (weight_integers(_train(m, context, **options).model) for _ in range(2))
    slot = CheckpointPath(tmp_path / "0-qat.pt", "key", resume=False)
    halted = _context(m, tmp_path, checkpoint=slot, progress=Interrupted(9))
    with pytest.raises(KeyboardInterrupt):
        _train(m, halted, **options)
    slot = CheckpointPath(slot.path, "key", resume=True)
    resumed = weight_integers(_train(m, _context(m, tmp_path, checkpoint=slot), **options).model)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
        np.testing.assert_array_equal(array, resumed[name])


def test_a_recipe_can_name_the_losses_and_calibration_data(tmp_path):
    m, context = _model("mlp", tmp_path)
    calibration = open_source("digits:test[:8]", interface(m)[0])
    narrow = _context(m, tmp_path, calibration=calibration)
    outcome = _train(m, narrow, steps=1, losses=("cross-entropy",))
    assert outcome.facts["losses"] == ["cross-entropy"]
    default = _train(m, context, steps=1)
    assert default.facts["losses"] == ["kl:weight=0.9", "cross-entropy:weight=0.1"]


def test_embeddings_become_integer_rows_as_in_static_quantization(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"table": rng.standard_normal((50, 32)).astype("f"), "k": rng.standard_normal((32, 4)).astype("f")}
    m = graphs.model("e = Gather(table, x) y = MatMul(e, k)", arrays, "int64[N,3] x", "float[N,3,4] y")
    source = Arrays({"x": rng.integers(0, 50, (40, 3))})
    context = Context(baseline=m, workdir=tmp_path, training=source)
    outcome = _train(m, context, steps=2)
    assert outcome.facts["quantized"] == {"static": 1, "dynamic": 1}
    assert "table_int8" in outcome.model.graph.initializers and "table" not in outcome.model.graph.initializers
    x = rng.integers(0, 50, (5, 3))
    y, exact = (Session(model).run({"x": x})["y"] for model in (outcome.model, m))
    assert np.square(y - exact).sum() < 1e-3 * STEP**2 * np.square(exact).sum()


def test_without_training_data_it_says_so(tmp_path):
    m, _ = _model("mlp", tmp_path)
    with pytest.raises(UsageError, match="qat needs samples to train on"):
        _train(m, _context(m, tmp_path, training=None))


def test_without_torch_the_extra_is_named(tmp_path, monkeypatch):
    m, context = _model("mlp", tmp_path)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match="qat needs an optional dependency"):
        _train(m, context)
    calibrated = _context(m, tmp_path, calibration=context.training)
    with pytest.raises(MissingExtraError, match="rounding adaround needs an optional dependency"):
        quantize.Config(scheme="w4a8", rounding="adaround").run(m, calibrated)


def test_nothing_to_quantize_is_said(tmp_path):
    m = graphs.model("y = Relu(x)", {}, "float[N,64] x", "float[N,64] y")
    outcome = _train(m, _context(m, tmp_path))
    assert outcome.notes[-1].text == "nothing was quantized, so nothing was trained"


def test_narrow_weights_learn_faster_unless_told_otherwise():
    assert qat.Config().learning_rate == 1e-4
    assert qat.Config(scheme="w4a8").learning_rate == 1e-3
    assert qat.Config(scheme="w4a8", learning_rate=2e-4).learning_rate == 2e-4
