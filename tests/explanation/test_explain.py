"""Explanations against onnxruntime, numpy and the sizes of models; broken layers are named."""

import json
import math

import numpy as np
import onnx
import pytest
import yaml
from onnx import numpy_helper
from pydantic import TypeAdapter

from compressctl.data.notation import open_source
from compressctl.explanation import explain
from compressctl.explanation.explain import SAMPLES as MOST
from compressctl.explanation.schema import Explanation
from compressctl.measure.accuracy import compare, evaluate
from compressctl.measure.metrics import parse_metric
from compressctl.measure.session import Session
from compressctl.model.load import load_model
from compressctl.model.size import count
from tests import graphs
from tests.explanation.files import after, changed, explained, sqnr, two_bits, value
from tests.samples import SAMPLES

DATA = "digits:test[:64]"
INT8 = [{"type": "simplify"}, {"type": "quantize", "scheme": "int8"}]
BROKEN = [
    ("cnn", "/block2/conv1/Conv", "block2.conv1.weight", "/block2/conv1/Conv_output_0"),
    ("mlp", "/hidden/Gemm", "hidden.weight", "/hidden/Gemm_output_0"),
    ("transformer", "/layer2/value/MatMul", "layer2.value.B", "/layer2/value/MatMul_output_0"),
    ("lstm", "/lstm/LSTM", "lstm.R", "/lstm/LSTM_output_0"),
]


def rows(explanation):
    return {row.name: row for row in explanation.layers}


def feeds_of(model, data=DATA):
    source = open_source(data, Session(model, threads=1).inputs)
    batches = list(source.batches(16))
    return {name: np.concatenate([batch.feeds[name] for batch in batches]) for name in batches[0].feeds}


@pytest.mark.parametrize(("name", "layer", "weight", "output"), BROKEN)
def test_a_layer_broken_by_hand_is_named_with_its_sensitivity(name, layer, weight, output, tmp_path):
    model = SAMPLES / f"{name}.onnx"
    broken = changed(model, weight, two_bits, tmp_path)
    found = explained(model, [("quantize_weights", broken)], tmp_path, DATA)
    assert [worst.name for worst in found.worst] == [layer] and found.worst[0].after == "quantize_weights"
    row = rows(found)[layer]
    feeds = feeds_of(model)
    expected = sqnr(value(model, output, feeds), value(broken, output, feeds))
    assert row.sqnr[0].sqnr_db == pytest.approx(expected, abs=1e-3) and row.sqnr[0].value == output
    # the whole file differs in this layer only, so it measures what the layer's weights do
    logits = sqnr(value(model, "logits", feeds), value(broken, "logits", feeds))
    assert row.sensitivity.sqnr_db == pytest.approx(logits, abs=1e-3)
    assert found.outputs[0].sqnr_db == pytest.approx(logits, abs=1e-3)
    source, metric = open_source(DATA, Session(model).inputs), parse_metric("top1")
    scores = [evaluate(Session(path, threads=1), source, metric) for path in (model, broken)]
    assert row.sensitivity.drop == compare(*scores, metric)
    others = [other.sensitivity for other in found.layers if other.name != layer]
    assert all(sensitivity.sqnr_db == math.inf and sensitivity.drop.drop == 0 for sensitivity in others)


@pytest.mark.parametrize(("name", "layer", "weight", "output"), BROKEN)
def test_it_is_named_after_int8_as_well(name, layer, weight, output, tmp_path):
    model = SAMPLES / f"{name}.onnx"
    result = after(
        changed(model, weight, two_bits, tmp_path),
        [{"type": "simplify"}, {"type": "quantize", "scheme": "int8"}],
        tmp_path,
    )
    found = explained(model, [("quantize", result)], tmp_path, DATA)
    assert [worst.name for worst in found.worst] == [layer]
    assert all(row.sensitivity.sqnr_db > 40 for row in found.layers if row.name != layer)
    assert not found.notes


@pytest.mark.parametrize("name", ["cnn", "mlp", "transformer", "lstm"])
def test_what_computes_the_same_has_no_noise(name, tmp_path):
    model = SAMPLES / f"{name}.onnx"
    found = explained(model, [("simplify", after(model, INT8[:1], tmp_path))], tmp_path, DATA)
    assert found.worst == found.patches == ()
    for row in found.layers:  # BatchNormalization was folded into the weights: they stand for both
        assert row.sqnr[0].sqnr_db > 110 and row.sensitivity.sqnr_db > 110 and row.sensitivity.drop.drop == 0


@pytest.mark.parametrize(
    ("name", "scheme"), [("cnn", "w2a8"), ("mlp", "int8"), ("transformer", "int8-dynamic"), ("lstm", "int8-dynamic")]
)
def test_costs_add_up_to_the_whole_model(name, scheme, tmp_path):
    model = SAMPLES / f"{name}.onnx"
    result = after(model, [{"type": "simplify"}, {"type": "quantize", "scheme": scheme}], tmp_path)
    found = explained(model, [("quantize", result)], tmp_path, "digits:test[:16]", metric=None)
    for path, costs in (
        (model, [row.before for row in found.layers] + [found.other_before]),
        (result, [row.after for row in found.layers] + [found.other_after]),
    ):
        size = count(load_model(path).model)
        stored = sum(
            tensor.numpy().nbytes
            for tensor in load_model(path).model.graph.initializers.values()
            for tensor in [tensor.const_value]
        )
        assert sum(cost.bytes for cost in costs) == sum(row.bytes for row in size.by_layer) >= stored
        assert sum(cost.macs for cost in costs) == size.macs
        assert sum(cost.time_share for cost in costs) == pytest.approx(1)
        assert all(cost.time_share > 0 for cost in costs[:-1])
    assert [row.before.macs for row in found.layers] == [row.after.macs for row in found.layers]


def test_packed_weights_count_with_scales(tmp_path):
    model = SAMPLES / "cnn.onnx"
    result = after(model, [{"type": "simplify"}, {"type": "quantize", "scheme": "w2a8"}], tmp_path)
    row = rows(explained(model, [("quantize", result)], tmp_path, "digits:test[:16]", metric=None))[
        "/block3/conv2/Conv"
    ]
    stored = {tensor.name: numpy_helper.to_array(tensor).nbytes for tensor in onnx.load(result).graph.initializer}
    assert row.before.bytes == 48 * 48 * 9 * 4
    own = sum(size for name, size in stored.items() if name.startswith(("block3.conv2", "/block3/conv2")))
    read = [name for name in stored if name.startswith("/block3/Relu_output_0")]  # what it reads is quantized for it
    shape = 4 * 8  # of the integers, which the model states
    assert row.after.bytes == own + sum(stored[name] for name in read) + shape - _output_scale(stored)


def _output_scale(stored):
    return sum(size for name, size in stored.items() if name.startswith("/block3/conv2/Conv_output_0"))


def test_channels_that_were_cut_are_said_to_be(tmp_path):
    model = SAMPLES / "cnn.onnx"
    result = after(model, [{"type": "simplify"}, {"type": "prune", "ratio": 0.5, "importance": "l2"}], tmp_path)
    found = explained(model, [("prune", result)], tmp_path, DATA)
    row = rows(found)["/block2/conv1/Conv"]
    assert row.sqnr[0].sqnr_db is None and "cut" in row.sqnr[0].reason
    assert row.sensitivity is None and "shape" in row.no_sensitivity and row.after.macs < row.before.macs
    feeds = feeds_of(model)
    expected = sqnr(value(model, "logits", feeds), value(result, "logits", feeds))
    assert found.outputs[0].sqnr_db == pytest.approx(expected, abs=1e-3)


def test_rescaled_channels_are_compared_without_their_factors(tmp_path):
    model = SAMPLES / "cnn.onnx"
    stages = [
        (passes[-1]["type"], after(model, passes, tmp_path, f"{len(passes)}.onnx"))
        for passes in ([INT8[0], {"type": "equalize"}], [INT8[0], {"type": "equalize"}, INT8[1]])
    ]
    found = explained(model, stages, tmp_path, DATA)
    row = rows(found)["/block2/conv1/Conv"]
    assert row.sqnr[0].sqnr_db > 60 and "factors" in row.sqnr[0].reason
    assert 25 < row.sqnr[1].sqnr_db < 60 and row.sensitivity is None and "factors" in row.no_sensitivity
    assert found.worst == ()


def test_without_a_metric_sensitivity_is_in_the_outputs_alone(tmp_path):
    model = SAMPLES / "mlp.onnx"
    found = explained(model, [("quantize", after(model, INT8, tmp_path))], tmp_path, "random:20", metric=None)
    assert found.metric is None and found.samples == 20
    assert all(row.sensitivity.drop is None and 30 < row.sensitivity.sqnr_db < 80 for row in found.layers)
    many = explained(model, [("quantize", tmp_path / "after.onnx")], tmp_path, "random:999", metric=None)
    assert many.samples == many.sensitivity_samples == MOST


def test_the_sensitivity_of_large_models_is_measured_on_fewer_samples(tmp_path, monkeypatch):
    model = SAMPLES / "mlp.onnx"
    after(model, INT8, tmp_path)
    monkeypatch.setattr(explain, "SENSITIVITY_MACS", 2 * 40 * (8192 + 1280))  # both layers, on 40 samples
    found = explained(model, [("quantize", tmp_path / "after.onnx")], tmp_path, "digits:test[:64]")
    assert (found.samples, found.sensitivity_samples) == (64, 40) and "first 40" in found.notes[-1].text


def test_the_same_explanation_twice(tmp_path):
    model = SAMPLES / "mlp.onnx"
    stages = [("quantize", after(model, INT8, tmp_path))]

    def content():
        found = json.loads(TypeAdapter(Explanation).dump_json(explained(model, stages, tmp_path, DATA)))
        for cost in [found["other_before"], found["other_after"]]:
            del cost["time_share"]
        for row in found["layers"]:
            del row["before"]["time_share"], row["after"]["time_share"]
        return found

    assert content() == content()


@pytest.mark.parametrize(
    ("name", "entry", "spares"),
    [
        ("cnn", {"type": "quantize", "scheme": "w2a8", "first_last": "same"}, "first_last"),
        ("cnn", {"type": "quantize", "scheme": "w3a8"}, "exclude"),
        (
            "mlp",
            {"type": "quantize_weights", "scheme": "int2", "rounding": "nearest", "group_size": "channel"},
            "first_last",
        ),
        (
            "transformer",
            {"type": "quantize_weights", "scheme": "int2", "first_last": "int8", "rounding": "hqq"},
            "exclude",
        ),
        ("lstm", {"type": "quantize_weights", "scheme": "ternary"}, "exclude"),
    ],
)
def test_the_patch_of_the_recipe_mends_it(name, entry, spares, tmp_path):
    model = SAMPLES / f"{name}.onnx"
    result = after(model, [INT8[0], entry], tmp_path)
    found = explained(model, [(entry["type"], result)], tmp_path, DATA, entries={entry["type"]: entry})
    (patch,) = found.patches
    (mended,) = yaml.safe_load("\n".join(patch.lines))
    assert {key: mended[key] for key in entry if key != "first_last"} == {
        key: entry[key] for key in entry if key != "first_last"
    }
    assert spares in mended
    better = after(model, [INT8[0], mended], tmp_path, "mended.onnx")
    again = explained(model, [(entry["type"], better)], tmp_path, DATA)
    assert again.outputs[0].sqnr_db > found.outputs[0].sqnr_db + 1


def test_values_of_unknown_type_are_compared(tmp_path):
    """The type of what an operator of onnxruntime's own gives is not inferred."""
    model = SAMPLES / "lstm.onnx"
    proto = onnx.load(after(model, [{"type": "quantize", "scheme": "int8-dynamic"}], tmp_path))
    assert "DynamicQuantizeLSTM" in [node.op_type for node in proto.graph.node]
    del proto.graph.value_info[:]
    onnx.save(proto, tmp_path / "bare.onnx")
    found = explained(model, [("quantize", tmp_path / "bare.onnx")], tmp_path, DATA)
    parts = [{"input": part} for part in np.split(feeds_of(model)["input"], 4)]  # each batch gets scales of its own
    name, paths = "/lstm/LSTM_output_0", (model, tmp_path / "bare.onnx")
    both = [np.stack([value(path, name, part) for part in parts]) for path in paths]
    assert rows(found)["/lstm/LSTM"].sqnr[0].sqnr_db == pytest.approx(sqnr(*both), abs=1e-2)
    assert rows(found)["/lstm/LSTM"].sensitivity.sqnr_db > 40


def test_weights_that_make_no_finite_outputs_are_the_worst(tmp_path):
    model = SAMPLES / "mlp.onnx"
    broken = changed(model, "classifier.weight", lambda weight: weight * np.float32(1e38), tmp_path)
    found = explained(model, [("clip", broken)], tmp_path, DATA)
    assert [worst.name for worst in found.worst] == ["/classifier/Gemm"]
    assert found.outputs[0].sqnr_db != found.outputs[0].sqnr_db or found.outputs[0].sqnr_db < -300


def test_a_fixed_batch_and_a_body(tmp_path):
    body = """a = MatMul (x, first) b = Relu (a) c = ReduceSum <keepdims = 0> (b)
        zero = Constant <value = float {0}> () more = Greater (c, zero)
        d = If (more) <then_branch = yes () => (float[5, 8] t) { t = MatMul (b, inner) },
                       else_branch = no () => (float[5, 8] e) { e = Identity (b) }>
        y = MatMul (d, last)"""
    random = graphs.Random(0)
    arrays = {"first": random(8, 8), "inner": random(8, 8), "last": random(8, 3)}
    graphs.save(tmp_path / "m.onnx", body, arrays, "float[5, 8] x", "float[5, 3] y")
    x, labels = random(23, 8), random.rng.integers(0, 3, 23)
    np.savez(tmp_path / "d.npz", x=x, labels=labels)
    broken = changed(tmp_path / "m.onnx", "last", two_bits, tmp_path)
    found = explained(tmp_path / "m.onnx", [("clip", broken)], tmp_path, str(tmp_path / "d.npz"))
    assert found.samples == 23 and "bodies of control flow" in found.notes[-1].text
    assert [row.op for row in found.layers] == ["MatMul", "MatMul"]
    hidden = np.maximum(np.vstack([x, x[-1:], x[-1:]]) @ arrays["first"], 0) @ arrays["inner"]
    expected = sqnr(hidden[:23] @ arrays["last"], hidden[:23] @ two_bits(arrays["last"]))
    assert found.outputs[0].sqnr_db == pytest.approx(expected, abs=1e-3)
    assert found.layers[1].sensitivity.sqnr_db == pytest.approx(expected, abs=1e-3)


def test_the_pass_that_changed_the_weights_is_named_not_one_that_harmed_layers_before(tmp_path):
    model = SAMPLES / "mlp.onnx"
    first = changed(model, "hidden.weight", two_bits, tmp_path)
    proto = onnx.load(first)
    (tensor,) = (tensor for tensor in proto.graph.initializer if tensor.name == "classifier.weight")
    tensor.CopyFrom(numpy_helper.from_array(two_bits(numpy_helper.to_array(tensor)), tensor.name))
    onnx.save(proto, tmp_path / "both.onnx")
    found = explained(model, [("clip", first), ("cluster", tmp_path / "both.onnx")], tmp_path, DATA)
    assert {worst.name: worst.after for worst in found.worst} == {"/hidden/Gemm": "clip", "/classifier/Gemm": "cluster"}
    assert {patch.after: patch.lines[-1] for patch in found.patches} == {
        "clip": '  exclude: ["/hidden/Gemm"]',
        "cluster": '  exclude: ["/classifier/Gemm"]',
    }
