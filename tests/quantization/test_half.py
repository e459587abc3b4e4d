"""Models in half precision under every kind of scheme, against onnxruntime on the model as it came."""

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from compressctl.model.load import load_model
from compressctl.model.save import serialize
from compressctl.passes import quantize, quantize_weights
from compressctl.passes.base import PassConfig
from tests import graphs
from tests.passes import apply
from tests.quantization.reference import run
from tests.training.tiny import Arrays

BODY = """
    [conv] c = Conv <pads = [1, 1, 1, 1]> (x, k, kb) r = Relu (c) m = MaxPool <kernel_shape = [2, 2]> (r)
    [conv2] c2 = Conv <pads = [1, 1, 1, 1]> (m, k2) r2 = Relu (c2) g = GlobalAveragePool (r2)
    f = Flatten (g) s = Unsqueeze (f, zero) [lstm] l, h = LSTM <hidden_size = 48> (s, w, w, b)
    q = Squeeze (h, zero) [fc] p = MatMul (q, v) y = Tanh (p)
"""
SCHEMES: dict[str, tuple[PassConfig, float]] = {
    "int8": (quantize.Config(scheme="int8"), 0.95),
    "int8-dynamic": (quantize.Config(scheme="int8-dynamic"), 0.65),
    "auto": (quantize.Config(), 0.65),
    "int8-weights": (quantize_weights.Config(scheme="int8-weights"), 0.65),
    "int4": (quantize_weights.Config(scheme="int4", rounding="nearest"), 0.5),
}


def _model(folder: Path, kind: str = "float16") -> ir.Model:
    rng, dtype = np.random.default_rng(0), ml_dtypes.bfloat16 if kind == "bfloat16" else np.float16
    shapes = {"k": (48, 3, 3, 3), "kb": (48,), "k2": (48, 48, 3, 3), "w": (1, 192, 48), "b": (1, 384), "v": (48, 40)}
    proto = graphs.proto(BODY, {"zero": np.array([0])}, f"{kind}[n, 3, 16, 16] x", f"{kind}[n, 40] y")
    for key, shape in shapes.items():
        fan = np.prod(shape[1:]) if len(shape) > 1 else 10
        array = (rng.standard_normal(shape) * np.sqrt(2 / fan)).astype(dtype)
        proto.graph.initializer.append(ir.to_proto(ir.tensor(array, name=key)))
    onnx.save(proto, folder / "half.onnx")
    return load_model(folder / "half.onnx").model


@pytest.mark.parametrize("name", SCHEMES)
def test_half_precision_goes_to_integers_and_what_stays_float_keeps_its_bytes(name: str, tmp_path: Path) -> None:
    config, most = SCHEMES[name]
    loaded = _model(tmp_path)
    x = np.random.default_rng(1).standard_normal((16, 3, 16, 16)).astype(np.float16)
    result = apply(config, loaded, tmp_path, Arrays({"x": x})).model
    assert [value.dtype for value in (*result.graph.inputs, *result.graph.outputs)] == [ir.DataType.FLOAT16] * 2
    before, after = (serialize(one, tmp_path) for one in (loaded, result))
    assert isinstance(before, bytes) and isinstance(after, bytes)
    assert len(after) < most * len(before) + 3000
    large = [v for v in result.graph.initializers.values() if v.const_value is not None and v.const_value.size > 1024]
    assert not [value.name for value in large if value.dtype == ir.DataType.FLOAT]
    (expected,), (found,) = run(loaded, {"x": x}), run(result, {"x": x}, optimize=True)
    assert found.dtype == np.float16
    error = np.square(expected.astype(float) - found).mean() / np.square(expected.astype(float)).mean()
    assert -10 * np.log10(error) > (8 if name == "int4" else 20)


@pytest.mark.parametrize("scheme", ["int8", "int8-dynamic", "auto"])
def test_what_is_excluded_computes_in_half_precision(scheme: str, tmp_path: Path) -> None:
    x = np.random.default_rng(1).standard_normal((8, 3, 16, 16)).astype(np.float16)
    result = apply(quantize, _model(tmp_path), tmp_path, Arrays({"x": x}), scheme=scheme, exclude=("conv", "fc")).model
    for name in ("conv", "fc"):
        node = next(node for node in result.graph if node.name == name)
        assert {value.dtype for value in node.inputs} == {ir.DataType.FLOAT16}
        assert all(value.producer() is None for value in node.inputs[1:])


def test_bfloat16_goes_to_integers(tmp_path: Path) -> None:
    result = apply(quantize, _model(tmp_path, "bfloat16"), tmp_path, scheme="int8-dynamic").model
    types = {value.dtype for value in result.graph.initializers.values() if value.const_value.size > 1024}
    assert types == {ir.DataType.INT8, ir.DataType.UINT8} or types == {ir.DataType.INT8}
    assert result.graph.outputs[0].dtype == ir.DataType.BFLOAT16
