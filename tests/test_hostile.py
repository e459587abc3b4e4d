"""Files that ask for more than they may, and what stands in the way: bounds, and one line with exit code 2 or 3."""

import os
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compressctl.__main__ import run

COMMAND = [sys.executable, "-m", "compressctl"]


def _info(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def _save(nodes, initializers, path="m.onnx", functions=(), domains=(), shape=(1, 4)):
    graph = helper.make_graph(nodes, "g", [_info("x", shape)], [_info("y", shape)], initializers)
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=list(functions))
    with open(path, "wb") as file:  # noqa: PTH123 - onnx.save checks what these break
        file.write(model.SerializeToString())


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(capsys):
    """Run a command in this process; return its one line of error."""

    def _refused(code, *arguments) -> str:
        assert run(list(arguments)) == code
        first, *rest = capsys.readouterr().err.strip().splitlines()
        assert first.startswith("error: ") and len(rest) <= 1
        return first

    return _refused


def _run(*arguments, **bounds):
    environment = os.environ | {f"COMPRESSCTL_LOAD_{key.upper()}": str(value) for key, value in bounds.items()}
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, env=environment, timeout=300)


def test_constants_that_double_end_where_their_memory_does():
    names = ["k", *(f"c{i}" for i in range(30))]
    nodes = [helper.make_node("Concat", [a, a], [b], axis=0) for a, b in pairwise(names)]
    nodes += [helper.make_node("ReduceSum", [names[-1]], ["r"], keepdims=0), helper.make_node("Add", ["x", "r"], ["y"])]
    _save(nodes, [onnx.numpy_helper.from_array(np.ones(4, np.float32), "k")])
    done = _run("inspect", "m.onnx", memory=500 << 20)
    assert done.returncode == 3
    assert done.stderr.startswith("error: m.onnx: loading it took over 0.488 GB of memory: more than a file of ")


def test_a_loop_without_an_end_ends_where_its_time_does(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    inner = [helper.make_node("Identity", [a], [b]) for a, b in (("v", "w"), ("go", "on"))]
    body = helper.make_graph(
        inner,
        "body",
        [_info("i", [], TensorProto.INT64), _info("go", [], TensorProto.BOOL), _info("v", [1, 4])],
        [_info("on", [], TensorProto.BOOL), _info("w", [1, 4])],
    )
    _save(
        [helper.make_node("Loop", ["", "yes", "x"], ["y"], body=body)],
        [onnx.numpy_helper.from_array(np.array(True), "yes")],
    )
    started = time.process_time()
    done = _run("bench", "m.onnx", "--threads", "1", "--quiet", seconds=1)
    assert done.returncode == 3 and "m.onnx: loading it took over 1 seconds" in done.stderr
    assert time.process_time() - started < 60
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx"]


def test_functions_that_multiply_are_counted_before_they_are_written_out(refused):
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
    nodes = [[helper.make_node("Relu", ["a"], ["o"])]]
    for i in range(24):
        nodes.append([helper.make_node(f"F{i}", [a], [b], domain="my") for a, b in (("a", "t"), ("t", "o"))])
    functions = [helper.make_function("my", f"F{i}", ["a"], ["o"], body, opsets) for i, body in enumerate(nodes)]
    _save([helper.make_node("F24", ["x"], ["y"], domain="my")], [], functions=functions, domains=["my"])
    assert "nodes, more than 500,000" in refused(3, "inspect", "m.onnx")


@pytest.mark.parametrize(
    ("dims", "data"),
    [([8], bytes(64)), ([2**62], bytes(8)), ([-1], bytes(4))],
    ids=["too long", "too many", "negative"],
)
def test_tensors_that_hold_other_than_they_say_are_named(refused, dims, data):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=data)
    _save([helper.make_node("Add", ["x", "w"], ["y"])], [tensor])
    assert "m.onnx is not a valid ONNX model: tensor 'w' " in refused(3, "inspect", "m.onnx")


def test_data_of_two_kinds_are_refused(refused):
    tensor = onnx.numpy_helper.from_array(np.ones((32, 32), np.float32), "w")
    tensor.float_data.append(1.0)
    _save([helper.make_node("MatMul", ["x", "w"], ["y"])], [tensor], shape=("N", 32))
    assert "tensor 'w' holds data of 2 kinds" in refused(3, "inspect", "m.onnx")


def test_batches_of_no_samples_are_refused(refused):
    _save([helper.make_node("Relu", ["x"], ["y"])], [], shape=(0, 4))
    assert "m.onnx: input 'x' takes batches of 0 samples" in refused(3, "simplify", "m.onnx", "-o", "o.onnx", "-q")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed: -1", "seed: "),
        ("threads: 100000", "threads: at most "),
        ("threads: !!int x", "no int can be read here"),
        ("report: !!binary aGk=", "report: a bytes is of no use here"),
        ('report: "a\\0b"', "has a character 0"),
        ('report: "\\ud800"', "has a character that is none"),
        ("batch_size: 99999999999999999999", "more than 64 bits"),
        ("max_accuracy_drop: .nan", "max_accuracy_drop: "),
        ("max_size: " + 400 * "9" + "MB", "max_size: "),
        ("vars: {a: &a [" + "[" * 150 + "]" * 150 + "]}", "nested too deeply"),
        ("vars: {a0: xxxxxxxxxx, " + ", ".join(f'a{i + 1}: "${{a{i}}}${{a{i}}}"' for i in range(40)) + "}", "longer"),
        ("vars: {" + ", ".join(f'b{i}: "${{b{i + 1}}}"' for i in range(900)) + ", b900: x}", "refer to each other"),
        (f"sweep: {{a: {list(range(1001))}}}", "stands for 1,001 runs"),
        ("x0: &x0 {a: 1}\n" + "".join(f"x{i + 1}: &x{i + 1}\n  <<: [{9 * f'*x{i},'}]\n" for i in range(8)), "merged"),
    ],
)  # fmt: skip
def test_recipes_are_finite_and_their_values_those_of_json(refused, text, says):
    with open("r.yaml", "w") as file:  # noqa: PTH123
        file.write(f"model: m.onnx\noutput: o.onnx\npasses: [{{type: simplify}}]\n{text}\n")
    assert says in refused(2, "pipeline", "r.yaml", "--dry-run")


def test_a_date_is_text():
    from compressctl.recipe.read import parse_yaml

    assert parse_yaml("report: 2020-13-45", "r.yaml") == {"report": "2020-13-45"}


@pytest.mark.parametrize("flags", [["--seed", "-1"], ["--threads", "100000"], ["--seconds", "nan"]])
def test_flags_of_commands_without_a_recipe_have_the_same_bounds(refused, flags):
    assert refused(2, "bench", "m.onnx", *flags).startswith(f"error: {flags[0]}: ")


def test_a_fortran_ordered_array_is_not_unpacked_beyond_bounds(refused, monkeypatch):
    monkeypatch.setattr("compressctl.data.npz._WHOLE", 1000)
    _save([helper.make_node("Relu", ["x"], ["y"])], [], shape=("N", 4))
    np.savez_compressed("d.npz", x=np.asfortranarray(np.zeros((100, 4), np.float32)))
    assert "d.npz: array 'x' cannot be read: it is compressed" in refused(3, "bench", "m.onnx", "--data", "d.npz")


def test_what_is_not_installed_is_named(refused, monkeypatch):
    def _missing(*_):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("compressctl.inspection.inspect_model", _missing)
    assert refused(2, "inspect", "m.onnx") == "error: what uses torch needs an optional dependency"


def test_names_that_no_file_can_have(refused):
    assert refused(3, "inspect", "a" * 300).startswith("error: model file aaa")
    _save([helper.make_node("Relu", ["x"], ["y"])], [])
    assert "aaa" in refused(2, "simplify", "m.onnx", "-o", "a" * 260 + ".onnx", "-q")


@pytest.mark.parametrize(
    ("redirected", "code"), [("| head -1", 0), (">&-", 0), ("2>&-", 0), ("> /dev/full", 2), ("2> /dev/full", 0)]
)
def test_a_stream_that_is_closed_or_full_is_no_fault(redirected, code):
    command = f"set -o pipefail; {' '.join(COMMAND)} schema {redirected}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == code
    assert len(done.stderr.splitlines()) == (code != 0)


def test_a_line_of_thousands_of_names_is_brief(capsys):
    _save([helper.make_node("Relu", ["x"], ["y"])], [])
    np.savez("many.npz", **{f"array_{i:05}": np.zeros(1) for i in range(3000)})
    assert run(["simplify", "m.onnx", "-o", "o.onnx", "--data", "many.npz", "--metric", "mse", "-q"]) == 3
    stderr = capsys.readouterr().err
    assert "characters more" in stderr and all(len(line) < 2100 for line in stderr.splitlines())
