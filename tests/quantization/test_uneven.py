"""Boxes in pixels and scores below 1, joined and taken apart again, keep scales of their own."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from compressctl.__main__ import run

RNG = np.random.default_rng(0)


def _head(path, factor):
    """Convs to boxes, `factor` times as wide as the scores beside them; a Concat; a Split, and a Conv on the scores."""
    weights = {
        "stem": RNG.normal(0, 0.3, (8, 3, 3, 3)),
        "box": RNG.normal(0, 0.3, (4, 8, 1, 1)) * factor,
        "score": RNG.normal(0, 0.3, (4, 8, 1, 1)),
        "last": RNG.normal(0, 0.3, (4, 4, 1, 1)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "stem"], ["s"], "stem_conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["s"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "box"], ["b"], "box_conv"),
        helper.make_node("Conv", ["r", "score"], ["c"], "score_conv"),
        helper.make_node("Concat", ["b", "c"], ["j"], "join", axis=1),
        helper.make_node("Split", ["j"], ["boxes", "scores"], "split", axis=1),
        helper.make_node("Conv", ["scores", "last"], ["logits"], "last_conv"),
    ]
    graph = helper.make_graph(
        nodes,
        "head",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4, 8, 8]) for name in ("boxes", "logits")],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9), path)


@pytest.mark.parametrize(("factor", "apart"), [(600, True), (1, False)])
def test_class_scores_survive_beside_boxes(tmp_path, capsys, factor, apart):
    model, output, data = tmp_path / "m.onnx", tmp_path / "q.onnx", tmp_path / "x.npz"
    _head(model, factor)
    x = RNG.normal(size=(16, 3, 8, 8)).astype(np.float32)
    np.savez(data, x=x)
    command = ["quantize", str(model), "-o", str(output), "--scheme", "int8", "--calibrate", str(data), "--no-measure"]
    assert run([*command, "--json", "-q"]) == 0
    assert ("joined in float" in capsys.readouterr().out) == apart
    before, after = (onnxruntime.InferenceSession(path).run(["logits"], {"x": x})[0] for path in (model, output))
    signal, error = np.square(before).mean(), np.square(before - after).mean()
    assert 10 * np.log10(signal / error) > 28  # with one scale for all it is below 0 dB at 600
    nodes = onnx.load(output).graph.node
    (joined,) = (node.output[0] for node in nodes if node.op_type == "Concat")
    assert any(node.op_type == "QuantizeLinear" and node.input[0] == joined for node in nodes) != apart
