"""Sessions: values against numpy, every type, and one quiet line for whatever cannot be loaded or run."""

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from compressctl.errors import CompressctlError, DataError, ModelError
from compressctl.measure.session import Session
from compressctl.tensorspec import TensorSpec

HEADER = '<ir_version: 10, opset_import: ["" : 20, "custom" : 1]>\n'
AFFINE = HEADER + "g (float[N,3] x) => (float[N,3] y, float[N,3] z) { a = Mul(x, x) y = Add(a, x) z = Neg(y) }"
X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def proto(text: str) -> bytes:
    return onnx.parser.parse_model(text).SerializeToString()


def session(body: str) -> Session:
    return Session(proto(HEADER + body), threads=1)


@pytest.mark.parametrize("optimize", [True, False])
def test_runs_bytes_files_and_models_in_memory(tmp_path, optimize: bool) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(proto(AFFINE))
    for model in (proto(AFFINE), path, ir.from_onnx_text(AFFINE)):
        opened = Session(model, threads=1, optimize=optimize)
        assert opened.inputs == (TensorSpec("x", "float32", ("N", 3)),)
        assert [spec.name for spec in opened.outputs] == ["y", "z"]
        results = opened.run({"x": X})
        np.testing.assert_array_equal(results["y"], X * X + X)
        np.testing.assert_array_equal(results["z"], -(X * X + X))


def test_runs_a_subset_of_the_outputs_in_the_order_asked_for() -> None:
    opened = Session(proto(AFFINE), threads=1)
    assert list(opened.run({"x": X}, ["z"])) == ["z"]
    assert list(opened.run({"x": X}, ["z", "y"])) == ["z", "y"]
    assert opened.run({"x": X}, []) == {}
    with pytest.raises(ModelError, match=r"no output 'w' \(it has y, z\)"):
        opened.run({"x": X}, ["w"])


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("float16", np.float16),
        ("bfloat16", ml_dtypes.bfloat16),
        ("float8e4m3fn", ml_dtypes.float8_e4m3fn),
        ("double", np.float64),
        ("uint8", np.uint8),
        ("bool", np.bool_),
    ],
)
def test_every_type_comes_back_as_it_went_in(name: str, dtype: type) -> None:
    opened = session(f"g ({name}[N,3] x) => ({name}[N,3] y) {{ y = Identity(x) }}")
    feed = (4 * X).astype(dtype)
    assert opened.inputs[0].dtype == opened.outputs[0].dtype == feed.dtype.name
    result = opened.run({"x": feed})["y"]
    assert result.dtype == feed.dtype
    assert result.tobytes() == feed.tobytes()
    assert opened.time({"x": feed}, 3).shape == (3,)


def test_bfloat16_is_rounded_as_ml_dtypes_rounds() -> None:
    opened = session("g (float[N,3] x) => (bfloat16[N,3] y) { y = Cast<to=16>(x) }")
    np.testing.assert_array_equal(opened.run({"x": X})["y"], X.astype(ml_dtypes.bfloat16))


def test_strings() -> None:
    opened = session("g (string[N] x) => (string[N] y) { y = Identity(x) }")
    assert opened.run({"x": np.array(["a", "bc"], object)})["y"].tolist() == ["a", "bc"]


def test_a_packed_output_is_refused() -> None:
    with pytest.raises(ModelError, match="packed type int4"):
        session("g (float[N,4] x) => (int4[N,4] y) { y = Cast<to=22>(x) }").run({"x": np.ones((2, 4), np.float32)})


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "no data for input 'x' of the model"),
        ({"x": X, "w": X}, "has no input 'w'"),
        ({"x": X.astype(np.float64)}, "input 'x' of the model is fed float64"),
        ({"x": X[:, :2]}, "input 'x' of the model is fed the shape 5x2"),
        ({"x": X[0]}, "input 'x' of the model is fed the shape 3 "),
        ({"x": X.sum()}, "input 'x' of the model is fed the shape a scalar"),
    ],
)
def test_feeds_that_do_not_fit_are_refused(feeds, message: str) -> None:
    opened = Session(proto(AFFINE), threads=1)
    for use in (opened.run, lambda feeds: opened.time(feeds, 1)):
        with pytest.raises(DataError, match=message):
            use(feeds)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (b"", "cannot load the model"),
        (b"\x00\x01not a model", "cannot load the model"),
        (proto(AFFINE)[:-20], "cannot load the model"),
        (proto(HEADER + "g (float[N] x) => (float[N] y) { y = custom.Magic(x) }"), "operator custom:Magic"),
        (proto(HEADER + "g (bfloat16[N] x) => (bfloat16[N] y) { [n1] y = Add(x, x) }"), "kernel for Add .*, node 'n1'"),
        (proto(HEADER + "g (float[N] x) => (seq(float[N]) y) { y = SequenceConstruct(x) }"), "only tensors"),
    ],
)
def test_what_cannot_be_loaded_is_one_quiet_line(model: bytes, message: str, capfd) -> None:
    with pytest.raises(ModelError, match=message) as raised:
        Session(model)
    assert_clean(raised.value)
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(ModelError, match=r"missing\.onnx.* File doesn't exist"):
        Session(tmp_path / "missing.onnx")


def test_a_failing_node_is_named_quietly(capfd) -> None:
    opened = session("g (float[N] x) => (float[2,7] y) <int64[2] s = {2, 7}> { [bend] y = Reshape(x, s) }")
    with pytest.raises(ModelError, match=r"Reshape 'bend': .*cannot be reshaped") as raised:
        opened.run({"x": X[0]})
    assert_clean(raised.value)
    assert capfd.readouterr() == ("", "")


def test_an_index_out_of_range_is_the_datas_fault() -> None:
    opened = session("g (int64[N] i) => (float[N] y) <float[3] t = {1, 2, 3}> { y = Gather(t, i) }")
    with pytest.raises(DataError, match="out of data bounds") as raised:
        opened.run({"i": np.array([7])})
    assert_clean(raised.value)


def assert_clean(error: CompressctlError) -> None:
    text = str(error)
    assert "\n" not in text
    assert "ONNXRuntimeError" not in text
    assert "onnxruntime_src" not in text
    assert "onnxruntime::" not in text


def test_optimisation_can_be_turned_off(tmp_path) -> None:
    text = HEADER + "g (float[N,3] x) => (float[N,3] y) { a = Identity(x) b = Identity(a) y = Exp(b) }"
    for optimize, nodes in ((True, ["Exp"]), (False, ["Identity", "Identity", "Exp"])):
        path = tmp_path / f"{optimize}.onnx"
        Session(proto(text), optimize=optimize, optimized_path=path)
        assert [node.op_type for node in onnx.load(path).graph.node] == nodes


def test_spinning_and_arena_do_not_change_the_results() -> None:
    for spinning in ("always", "running", "never"):
        opened = Session(proto(AFFINE), spinning=spinning, arena=False)
        np.testing.assert_array_equal(opened.run({"x": X})["y"], X * X + X)
