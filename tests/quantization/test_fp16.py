"""Constants as floats of 16 bits: the values, the types of the graph, bodies, and what float16 cannot hold."""

import ml_dtypes
import numpy as np
import onnx
import pytest

from compressctl.errors import ModelError
from compressctl.model.lifting import lift_constants
from compressctl.model.save import save_model
from tests import graphs
from tests.quantization import reference
from tests.quantization.weight_only import compress, texts, weights

TYPES = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16}
BRANCHES = """
y = If (flag) <
    then_branch = yes () => (float[n, 32] t) { [multiply] t = MatMul (x, w) },
    else_branch = no () => (float[n, 32] e) { [other] e = MatMul (x, v) }
>
"""


def square(weight):
    return graphs.model("y = MatMul(x, w)", {"w": weight}, "float[n, 32] x", "float[n, 32] y", 13)


@pytest.mark.parametrize("scheme", TYPES)
def test_constants_are_rounded_and_made_float_at_load(tmp_path, scheme):
    weight = weights(32, 32)
    model = square(weight)
    outcome = compress(model, scheme, tmp_path)
    rounded = weight.astype(TYPES[scheme]).astype(np.float32)
    feeds = {"x": weights(3, 32, seed=1)}
    np.testing.assert_array_equal(*(reference.run(m, feeds)[0] for m in (model, square(rounded))))
    assert reference.executed(model, tmp_path) == {"MatMul": 1}
    assert outcome.facts["weights"] == [{"weight": "w", "weights": 1024, "bits": 16, "bytes": 2048}]
    save_model(model, tmp_path / "saved.onnx", overwrite=False)
    onnx.checker.check_model(tmp_path / "saved.onnx", full_check=True)


def test_what_float16_cannot_hold_stays_and_bfloat16_is_named(tmp_path):
    for extreme in (1e5, -7e4):
        weight = weights(32, 32)
        weight[3, 4] = extreme
        outcome = compress(square(weight), "fp16", tmp_path)
        assert "warning w: stays float32" in texts(outcome) and "bf16" in texts(outcome)
        assert outcome.facts["weights"] == []
        assert compress(square(weight), "bf16", tmp_path).facts["weights"]
    outcome = compress(square(weights(32, 32) * np.float32(1e-7)), "fp16", tmp_path)
    assert "bf16" in texts(outcome)


def test_infinities_and_small_values_are_kept(tmp_path):
    weight = np.zeros((32, 32), np.float32)
    weight[0, :4] = [-np.inf, 1, 2.0**-24, 3 * 2.0**-24]
    model = graphs.model("y = Add(x, w)", {"w": weight}, "float[32, 32] x", "float[32, 32] y")
    compress(model, "fp16", tmp_path)
    np.testing.assert_array_equal(reference.run(model, {"x": np.zeros_like(weight)})[0], weight)


def test_no_number_is_refused_by_name(tmp_path):
    weight = weights(32, 32)
    weight[0, 0] = np.nan
    with pytest.raises(ModelError, match="constant 'w' holds NaN"):
        compress(square(weight), "fp16", tmp_path)


def test_small_constants_outputs_and_quantized_operators_keep_theirs(tmp_path):
    body = "z = Identity(x) q = QuantizeLinear<axis = 1>(x, s) y = Add(x, b)"
    arrays = {"b": weights(1, 300), "s": np.abs(weights(300)) + 1}
    model = graphs.model(body, arrays, "float[n, 300] x", "float[n, 300] y, uint8[n, 300] q, float[n, 300] z")
    outcome = compress(model, "fp16", tmp_path)
    assert [row["weight"] for row in outcome.facts["weights"]] == ["b"]
    assert "QuantizeLinear reads it" in texts(outcome)
    tiny = graphs.model("y = Add(x, b)", {"b": weights(1, 100)}, "float[n, 100] x", "float[n, 100] y")
    assert compress(tiny, "fp16", tmp_path).facts["weights"] == []


def test_bodies_read_what_the_main_graph_makes(tmp_path):
    w, v = weights(32, 32), weights(32, 32, seed=1)
    model = graphs.model(BRANCHES, {"w": w, "v": v}, "float[n, 32] x, bool flag", "float[n, 32] y", 17)
    inside = [attribute.as_graph() for attribute in model.graph[0].attributes.values()]
    for body in inside:  # both call theirs w
        value = model.graph.initializers.pop(body[0].inputs[1].name)
        value.name = "w"
        body.register_initializer(value)
    lift_constants(model)
    outcome = compress(model, "fp16", tmp_path)
    assert len(outcome.facts["weights"]) == 2
    assert not any(body.initializers for body in inside)
    for flag, weight in ((True, w), (False, v)):
        feeds = {"x": weights(3, 32, seed=2)}
        (expected,) = reference.run(square(weight.astype(np.float16).astype(np.float32)), feeds)
        np.testing.assert_array_equal(reference.run(model, feeds | {"flag": np.array(flag)})[0], expected)


def test_constants_that_bodies_capture_are_halved_where_they_are(tmp_path):
    model = graphs.model(
        BRANCHES, {"w": weights(32, 32), "v": weights(32, 32)}, "float[n, 32] x, bool flag", "float[n, 32] y", 17
    )
    assert [row["weight"] for row in compress(model, "fp16", tmp_path).facts["weights"]] == ["w", "v"]
