"""The roles of inputs: what takes samples and along which axis, what is fed whole, what is a state."""

import numpy as np
import pytest

from compressctl.__main__ import run
from compressctl.errors import UsageError
from compressctl.roles import with_roles, with_states
from compressctl.tensorspec import TensorSpec, parse_tensor_specs, with_given
from tests.graphs import save


def spec(name, *shape, dtype="float32"):
    return TensorSpec(name, dtype, shape, axis=0 if shape else None)


SILERO = [spec("input", "batch", "t"), spec("state", 2, "batch", 128), spec("sr", dtype="int64")]
AS_EXPORTED = [  # inputs, outputs, what is expected: name -> (axis, state)
    (
        SILERO,
        [spec("output", "batch", 1), spec("stateN", 2, "batch", 128)],
        {"state": (1, "stateN"), "sr": (None, None)},
    ),
    (
        [spec("input", 1, 512), spec("h", 2, 1, 64), spec("c", 2, 1, 64)],
        [spec("output", 1, 1), spec("hn", 2, 1, 64), spec("cn", 2, 1, 64)],
        {"input": (0, None), "h": (1, "hn"), "c": (1, "cn")},
    ),
    (
        [spec("mix", 1, 257, 1, 2), spec("conv_cache", 2, 1, 16, 16, 33), spec("tra_cache", 2, 3, 1, 1, 16)],
        [spec("enh", 1, 257, 1, 2), spec("conv_cache_out", 2, 1, 16, 16, 33), spec("tra_cache_out", 2, 3, 1, 1, 16)],
        {"mix": (0, None), "conv_cache": (1, "conv_cache_out"), "tra_cache": (2, "tra_cache_out")},
    ),
    (
        [spec("ids", 1, 1, dtype="int64"), *(spec(f"past_key_values.{i}.key", 1, 4, 16, 8) for i in (0, 1))],
        [spec("logits", 1, 1, 99), *(spec(f"present.{i}.key", 1, 4, 16, 8) for i in (0, 1))],
        {"past_key_values.0.key": (0, "present.0.key"), "past_key_values.1.key": (0, "present.1.key")},
    ),
    (
        [spec("src", "b", 3, "h", "w"), spec("h_0", 1, "b", 8), spec("ratio", 1)],
        [spec("out", "b", 1, "h", "w"), spec("h_n", 1, "b", 8)],
        {"src": (0, None), "h_0": (1, "h_n"), "ratio": (None, None)},
    ),
    ([spec("x", "t", "batch", 8)], [spec("y", "t", "batch", 8)], {"x": (1, None)}),
    ([spec("x", 64)], [spec("y", 10)], {"x": (0, None)}),
    ([spec("x_in", 1, 8)], [spec("x_out", 1, 8)], {"x_in": (0, None)}),  # the only input is no state
    ([spec("x", 1, 8), spec("memory", 1, 4)], [spec("y", 1, 8), spec("z", 1, 4)], {"memory": (0, "z")}),
    ([spec("x", "n", 8), spec("mask", "n", "n")], [spec("y", "n", 8)], {"x": (0, None), "mask": (0, None)}),
    ([spec("x", "n", 8), spec("mean_in", 8)], [spec("y", "n", 8), spec("mean_out", 8)], {"mean_in": (0, "mean_out")}),
    ([spec("x", 1, 8), spec("level_in", 1)], [spec("y", 1, 8), spec("level_out", 1)], {"level_in": (0, "level_out")}),
    ([spec("x", 4, 8), spec("mean_in", 8)], [spec("y", 4, 8), spec("mean_out", 8)], {"mean_in": (None, None)}),
    (
        [spec("x", "n", 8), spec("input_lengths", "n", dtype="int64")],
        [spec("y", "n", 8), spec("output_lengths", "n", dtype="int64")],
        {"input_lengths": (0, None)},
    ),
]


@pytest.mark.parametrize(("inputs", "outputs", "expected"), AS_EXPORTED)
def test_roles_are_told_from_names_and_shapes(inputs, outputs, expected):
    found = {one.name: (one.axis, one.state) for one in with_roles(inputs, outputs)}
    assert {name: found[name] for name in expected} == expected
    assert not [name for name, (_, state) in found.items() if state and name not in expected]


def test_the_user_names_states_and_values():
    inputs, outputs = [spec("x", 1, 8), spec("before", 1, 4), spec("n")], [spec("y", 1, 8), spec("after", 1, 4)]
    told = with_states(
        with_given(with_roles(inputs, outputs), parse_tensor_specs(["n=3"])), outputs, {"before": "after"}
    )
    assert [(one.axis, one.value, one.state) for one in told] == [(0, None, None), (0, None, "after"), (None, 3, None)]
    for states, message in (
        ({"befor": "after"}, "no input 'befor'.*before"),
        ({"before": "afterwards"}, "no output 'afterwards'.*after"),
        ({"x": "after"}, "does not fit"),
    ):
        with pytest.raises(UsageError, match=message):
            with_states(inputs, outputs, states)
    inputs, outputs = [spec("x", 4, 8), spec("kept", 8)], [spec("y", 4, 8), spec("next", 8)]
    with pytest.raises(UsageError, match=r"kept:8:float32 is one for all samples.*batch of 1"):
        with_states(with_roles(inputs, outputs), outputs, {"kept": "next"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stat:2x1x128", "no such input.*state"),
        ("sr:1", "single number.*sr=1"),
        ("sr=1.5", "sr=1.5 does not fit"),
        ("sr=[1,2]", "does not fit"),
        ("input=true", "does not fit"),
        ("state:2x1x64", "does not fit"),
    ],
)
def test_what_does_not_fit_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        with_given(with_roles(SILERO, []), parse_tensor_specs([text]))


def test_inspect_shows_roles(tmp_path, capsys):
    body = """hn = Add(h, x) first = Constant<value = int64[1] {0}>() a = Squeeze(hn, first)
        b = MatMul(a, w) y = Mul(b, gain)"""
    inputs, outputs = "float[batch,8] x, float[1,batch,8] h, float gain", "float[batch,8] y, float[1,batch,8] hn"
    save(tmp_path / "m.onnx", body, {"w": np.ones((8, 8), np.float32)}, inputs, outputs)
    assert run(["inspect", str(tmp_path / "m.onnx")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "x:batchx8:float32, h:1xbatchx8:float32 (state, from hn), gain::float32 (fed whole)" in printed
