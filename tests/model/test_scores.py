"""Which outputs may be scores of classes, by what they come from and what they are called."""

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.model.scores import score_outputs
from tests.graphs import proto


def _axes(body: str, name: str = "y", shape: str = "N, 4", given: str = "N, 6") -> dict[str, int]:
    arrays = {"w": np.ones((6, 4), np.float32), "b": np.ones(4, np.float32), "t": np.float32(0.5)}
    arrays |= {"w4": np.ones((4, 6, 1, 1), np.float32), "flat": np.array([0, -1])}
    found = score_outputs(ir.from_proto(proto(body, arrays, f"float[{given}] x", f"float[{shape}] {name}")))
    assert not any(one.words for one in found.values())
    return {name: one.axis for name, one in found.items()}


@pytest.mark.parametrize(
    "body",
    [
        "y = Gemm(x, w)",
        "m = MatMul(x, w) y = Add(m, b)",
        "m = MatMul(x, w) y = Softmax<axis = -1>(m)",
        "m = MatMul(x, w) a = Add(m, b) d = Div(a, t) y = Sigmoid(d)",
        "m = MatMul(x, w) c = Cast<to = 1>(m) y = Reshape(c, flat)",
    ],
)
def test_a_last_layer_or_softmax_gives_scores(body):
    assert _axes(body) == {"y": -1}


@pytest.mark.parametrize("name", ["sentence_embedding", "pooled", "pred_boxes", "last_hidden_state"])
def test_names_of_other_things_are_believed(name):
    assert _axes(f"{name} = MatMul(x, w)", name) == {}


@pytest.mark.parametrize(
    "body",
    ["m = MatMul(x, w) y = LpNormalization<axis = 1>(m)", "m = MatMul(x, w) n = ReduceL2<axes = [1]>(m) y = Div(m, n)",
     "m = MatMul(x, w) y = Tanh(m)", "y = Slice(x, flat, flat)"],
)  # fmt: skip
def test_what_else_gives_an_output_is_none(body):
    assert _axes(body) == {}


def test_dense_outputs_are_scores_where_softmax_or_their_names_say_so():
    assert _axes("y = MatMul(x, w)", shape="N, T, 4", given="N, T, 6") == {}
    assert _axes("logits = MatMul(x, w)", "logits", "N, T, 4", "N, T, 6") == {"logits": -1}
    assert _axes("y = Softmax<axis = 1>(x)", shape="N, 5, H, W", given="N, 5, H, W") == {"y": 1}
    assert _axes("y = Softmax(x)", shape="N, H, W, 5", given="N, H, W, 5") == {"y": -1}, "the operator's default"


def test_a_mean_over_places_of_the_last_convolution():
    body = "c = Conv(x, w4) r = Relu(c) p = GlobalAveragePool(r) y = Flatten(p)"
    assert _axes(body, given="N, 6, 8, 8") == {"y": -1}
