"""DynamicQuantizeLSTM against a numpy LSTM that quantizes as the operator does, and against the float LSTM.

The exact comparisons use 7-bit weights, whose sums no processor saturates.
"""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.model.graph import constant
from compressctl.model.save import serialize
from compressctl.model.verify import verify_graph
from compressctl.quantization.int8.dynamic import candidates, quantize
from compressctl.quantization.int8.lstm import saved_bytes
from tests import graphs
from tests.quantization import reference

STEPS, BATCH, INPUTS, UNITS = 7, 5, 20, 24
OPTIONAL = ("bias", "lengths", "h0", "c0", "peepholes")


def arrays(directions: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)

    def normal(*shape: int, std: float = 0.3) -> np.ndarray:
        return (rng.standard_normal((directions, *shape)) * std).astype(np.float32)

    return {
        "W": normal(4 * UNITS, INPUTS),
        "R": normal(4 * UNITS, UNITS),
        "bias": normal(8 * UNITS),
        "lengths": np.array([7, 1, 4, 6, 2], np.int32),
        "h0": normal(BATCH, UNITS, std=0.5),
        "c0": normal(BATCH, UNITS, std=0.5),
        "peepholes": normal(3 * UNITS),
    }


X = np.random.default_rng(1).standard_normal((STEPS, BATCH, INPUTS)).astype(np.float32)


def lstm(used: tuple[str, ...] = (), attributes: str = "", directions: int = 1, outputs: str = "y, h, c") -> ir.Model:
    inputs = ", ".join(["x", "W", "R", *(name if name in used else "" for name in OPTIONAL)]).rstrip(", ")
    body = f"{outputs} = LSTM <hidden_size = {UNITS}{attributes}> ({inputs})"
    shapes = {"y": f"steps, {directions}, batch, {UNITS}", "h": f"{directions}, batch, {UNITS}"}
    typed = [f"float[{shapes.get(name, shapes['h'])}] {name}" for name in outputs.split(", ") if name]
    return graphs.model(body, arrays(directions), f"float[steps, batch, {INPUTS}] x", ", ".join(typed))


def integers(model: ir.Model) -> list[np.ndarray]:
    """W, R and their scales, from the quantized model."""
    node = next(node for node in model.graph if node.op_type == "DynamicQuantizeLSTM")
    return [constant(node.inputs[i]) for i in (1, 2, 8, 10)]


VARIANTS = {
    "plain": ((), "", {}),
    "bias": (("bias",), "", {}),
    "lengths": (("lengths",), "", {}),
    "states": (("h0", "c0"), "", {}),
    "peepholes": (("peepholes",), "", {}),
    "clip": ((), ", clip = 0.5", {"clip": 0.5}),
    "coupled": ((), ", input_forget = 1", {"input_forget": True}),
    "activations": (
        (),
        ', activations = ["HardSigmoid", "Relu", "Tanh"]',
        {"activations": ("HardSigmoid", "Relu", "Tanh")},
    ),
    "reverse": (("bias", "lengths"), ', direction = "reverse"', {"reverse": True}),
    "all": (OPTIONAL, ', clip = 2.0, direction = "reverse"', {"clip": 2.0, "reverse": True}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_computes_what_the_operator_is_said_to(variant: str) -> None:
    used, attributes, options = VARIANTS[variant]
    model = lstm(used, attributes)
    expected_float = reference.run(model, {"x": X})
    assert [note.kind for note in quantize(model, list(model.graph), reduced_range=True)] == ["done"]
    verify_graph(model, where="test")
    y, h, c = reference.run(model, {"x": X})
    w, r, w_scale, r_scale = integers(model)
    given = {name: array if name == "lengths" else array[0] for name, array in arrays(1).items() if name in used}
    expected = reference.lstm(X, (w[0], w_scale[0]), (r[0], r_scale[0]), **given, **options)
    for result, exact, unquantized in zip((y[:, 0], h[0], c[0]), expected, expected_float, strict=True):
        np.testing.assert_allclose(result, exact, atol=2e-6)
        error = result - unquantized.reshape(result.shape)
        assert np.sqrt(np.mean(error**2)) < 0.03 * np.sqrt(np.mean(unquantized**2))


def test_both_directions() -> None:
    used = ("bias", "lengths", "h0", "c0", "peepholes")
    model = lstm(used, ', direction = "bidirectional"', directions=2)
    quantize(model, list(model.graph), reduced_range=True)
    verify_graph(model, where="test")
    y, h, c = reference.run(model, {"x": X})
    w, r, w_scale, r_scale = integers(model)
    for d, reverse in enumerate((False, True)):
        given = {name: array if name == "lengths" else array[d] for name, array in arrays(2).items() if name in used}
        expected = reference.lstm(X, (w[d], w_scale[d]), (r[d], r_scale[d]), **given, reverse=reverse)
        for result, exact in zip((y[:, d], h[d], c[d]), expected, strict=True):
            np.testing.assert_allclose(result, exact, atol=2e-6)


@pytest.mark.parametrize("outputs", ["y", ", h", ", , c", "y, , c"])
def test_omitted_outputs_stay_omitted(outputs: str) -> None:
    full, model = lstm(), lstm(outputs=outputs)
    for each in (full, model):
        quantize(each, list(each.graph))
    verify_graph(model, where="test")
    expected = dict(zip(("y", "h", "c"), reference.run(full, {"x": X}), strict=True))
    names = [name for name in outputs.split(", ") if name]
    assert [value.name for value in model.graph.outputs] == names
    for name, result in zip(names, reference.run(model, {"x": X}), strict=True):
        np.testing.assert_array_equal(result, expected[name])


def test_weights_are_rounded_to_the_nearest_multiple_of_a_scale_for_each_gate_unit() -> None:
    model = lstm(directions=1)
    quantize(model, list(model.graph))
    for name, values, scale in zip(("W", "R"), integers(model)[:2], integers(model)[2:], strict=True):
        float_weight = arrays(1)[name]
        assert scale.shape == (1, 4 * UNITS) and values.dtype == np.int8
        np.testing.assert_allclose(scale, np.abs(float_weight).max(axis=2) / 127, rtol=1e-6)
        error = values.transpose(0, 2, 1) * scale[..., np.newaxis] - float_weight
        assert np.all(np.abs(error) <= scale[..., np.newaxis] * 0.5001)


def test_two_lstms_of_the_same_weights_share_their_integers() -> None:
    body = f"y, , = LSTM <hidden_size = {UNITS}> (x, W, R) z, , = LSTM <hidden_size = {UNITS}> (x, W, R)"
    y = f"float[steps, 1, batch, {UNITS}]"
    model = graphs.model(body, arrays(1), f"float[steps, batch, {INPUTS}] x", f"{y} y, {y} z")
    quantize(model, list(model.graph))
    assert sum(value.dtype == ir.DataType.INT8 for value in model.graph.initializers.values()) == 4  # W, R, 2 zeros
    np.testing.assert_array_equal(*reference.run(model, {"x": X}))


@pytest.mark.parametrize("used", [(), OPTIONAL])
def test_saved_bytes_is_what_the_file_loses(tmp_path: Path, used: tuple[str, ...]) -> None:
    model = lstm(used)
    before, promised = len(serialize(model, tmp_path)), saved_bytes(model.graph[0])
    quantize(model, list(model.graph))
    domain = len("com.microsoft") + 6  # its opset import
    assert abs(before - len(serialize(model, tmp_path)) - promised + domain) <= 2


def test_what_cannot_be_quantized_says_why() -> None:
    w, x = f"float[1, {4 * UNITS}, {INPUTS}] w", f"float[steps, batch, {INPUTS}] x"
    fed = graphs.model(f"y = LSTM <hidden_size = {UNITS}> (x, w, R)", arrays(1), f"{x}, {w}", "float[a, b, c, d] y")
    assert candidates(fed)[0][1] == "its weight is an input"
    assert [note.text for note in quantize(fed, list(fed.graph))] == ["its weight is an input"]
    assert fed.graph[0].op_type == "LSTM"
    batch_first = lstm(attributes=", layout = 1", outputs="y")
    assert "layout is 1" in str(candidates(batch_first)[0][1])
    assert candidates(lstm())[0][1] is None
