"""Files in a process of their own: the same results, the same errors, and no crash that takes us along."""

import signal
import subprocess
import sys

import ml_dtypes
import numpy as np
import onnx
import pytest

from compressctl.errors import DataError, ModelError
from compressctl.measure.isolated import check_file
from compressctl.measure.session import Session

HEADER = '<ir_version: 10, opset_import: ["" : 20, "custom" : 1]>\n'


def saved(path, body: str):
    onnx.save(onnx.parser.parse_model(HEADER + body), path)
    return path


@pytest.fixture
def affine(tmp_path):
    return saved(tmp_path / "affine.onnx", "g (float[N,3] x) => (float[N,3] y) { a = Exp(x) y = Sub(a, x) }")


def test_gives_what_a_session_here_gives(affine, monkeypatch) -> None:
    feeds = {"x": np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)}
    expected = Session(affine).run(feeds)["y"]
    np.testing.assert_array_equal(check_file(affine, feeds)["y"], expected)
    monkeypatch.chdir(affine.parent)
    np.testing.assert_array_equal(check_file(affine.relative_to(affine.parent), feeds)["y"], expected)


@pytest.mark.parametrize(
    ("dtype", "feed"),
    [
        ("bfloat16", np.array([1.5, -2, 3e38], ml_dtypes.bfloat16)),
        ("float8e5m2", np.array([1.5, -2, 4096], ml_dtypes.float8_e5m2)),
        ("float16", np.array([1.5, np.nan, np.inf], np.float16)),
        ("bool", np.array([True, False])),
        ("string", np.array(["word", "", "é"], object)),
    ],
)
def test_every_type_makes_the_trip(tmp_path, dtype: str, feed: np.ndarray) -> None:
    path = saved(tmp_path / "same.onnx", f"g ({dtype}[N] x) => ({dtype}[N] y) {{ y = Identity(x) }}")
    result = check_file(path, {"x": feed})["y"]
    if dtype == "string":
        assert result.tolist() == feed.tolist()
    else:
        assert (result.dtype, result.tobytes()) == (feed.dtype, feed.tobytes())


@pytest.mark.parametrize("name", ["file", "a/b", "allow_pickle", "arr_0"])
def test_names_are_free(tmp_path, name: str) -> None:
    value = onnx.helper.make_tensor_value_info(name, 1, [2])
    out = onnx.helper.make_tensor_value_info("out/0", 1, [2])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", [name], ["out/0"])], "g", [value], [out])
    path = tmp_path / "named.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10), path)
    assert check_file(path, {name: np.array([1, 2], np.float32)})["out/0"].tolist() == [-1, -2]


def test_errors_keep_their_kind(affine, tmp_path) -> None:
    with pytest.raises(DataError, match=r"no data for input 'x' of .*affine\.onnx \(it needs x:Nx3:float32\)"):
        check_file(affine, {})
    custom = saved(tmp_path / "custom.onnx", "g (float[N] x) => (float[N] y) { y = custom.Magic(x) }")
    with pytest.raises(ModelError, match="custom:Magic"):
        check_file(custom, {"x": np.ones(2, np.float32)})


def python_that(tmp_path, command: str) -> str:
    """Return an interpreter that runs a shell command instead of the worker."""
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\n{command}\n")
    script.chmod(0o755)
    return str(script)


@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals")
@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_a_crash_is_an_error_that_names_signal_and_file(affine, tmp_path, monkeypatch, name: str) -> None:
    number = getattr(signal, name).value
    monkeypatch.setattr(sys, "executable", python_that(tmp_path, f"ulimit -c 0; kill -{number} $$"))
    with pytest.raises(ModelError, match=rf"onnxruntime crashed \({name}\) on .*affine\.onnx") as raised:
        check_file(affine, {"x": np.ones((1, 3), np.float32)})
    assert (raised.value.hint is not None) == (name == "SIGKILL")


@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX shell")
def test_other_ends_of_the_worker(affine, tmp_path, monkeypatch) -> None:
    feeds = {"x": np.ones((1, 3), np.float32)}
    monkeypatch.setattr(sys, "executable", python_that(tmp_path, "echo Traceback >&2; echo the reason >&2; exit 1"))
    with pytest.raises(ModelError, match=r"crashed on .*affine\.onnx: the reason"):
        check_file(affine, feeds)
    monkeypatch.setattr(sys, "executable", python_that(tmp_path, "exec sleep 60"))
    with pytest.raises(ModelError, match=r"did not finish with .*affine\.onnx within 0.2 seconds"):
        check_file(affine, feeds, timeout=0.2)


def test_the_worker_imports_little() -> None:
    code = "import sys, compressctl.measure.worker; print(*{'onnx', 'onnx_ir', 'torch', 'sympy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
