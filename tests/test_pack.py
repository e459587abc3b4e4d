"""Packed models on the command line: packing, unpacking, and every command that reads or writes them."""

import hashlib
import json
import shutil
from pathlib import Path

import onnx
import pytest

from tests.samples import CNN, MLP, SAMPLES


@pytest.fixture
def packed(call, tmp_path) -> Path:
    path = tmp_path / "packed.ccz"
    assert call("pack", MLP, "-o", path)[0] == 0
    return path


def test_pack_and_unpack(call, tmp_path):
    code, stdout, stderr = call("pack", CNN, "-o", tmp_path / "m.ccz", "-v")
    assert code == 0 and stderr == ""
    assert "block3.conv2.weight" in stdout and "over entropy" in stdout and "234,636 B" in stdout
    code, stdout, _ = call("unpack", tmp_path / "m.ccz", "-o", tmp_path / "m.onnx")
    assert code == 0 and "234,636 B" in stdout
    assert (tmp_path / "m.onnx").read_bytes() == CNN.read_bytes()


def test_json(call, tmp_path):
    code, stdout, _ = call("pack", CNN, "-o", tmp_path / "m.ccz", "--json")
    report = json.loads(stdout)
    assert code == 0 and report["bytes"] == CNN.stat().st_size
    assert report["packed_bytes"] == (tmp_path / "m.ccz").stat().st_size
    assert report["ratio"] == report["bytes"] / report["packed_bytes"] > 1.2
    assert sum(part["bytes"] for part in report["parts"]) == report["bytes"]
    weight = next(part for part in report["parts"] if part["name"] == "block3.conv2.weight")
    assert weight["elements"] == 48 * 48 * 9 and weight["bits_per_element"] == 8 * weight["packed_bytes"] / (
        48 * 48 * 9
    )
    assert 0 < weight["excess_percent"] < 2
    code, stdout, _ = call("unpack", tmp_path / "m.ccz", "-o", tmp_path / "m.onnx", "--json")
    assert code == 0 and json.loads(stdout) == {
        "path": str(tmp_path / "m.ccz"),
        "output": str(tmp_path / "m.onnx"),
        "data": [],
        "bytes": report["bytes"],
        "packed_bytes": report["packed_bytes"],
        "ratio": report["ratio"],
    }


@pytest.mark.parametrize("coder", ["rans", "huffman", "zstd", "lzma"])
def test_coders(call, tmp_path, coder):
    assert call("pack", CNN, "-o", tmp_path / "m.ccz", "--coder", coder, "--threads", 1)[0] == 0
    assert call("unpack", tmp_path / "m.ccz")[0] == 0
    assert (tmp_path / "m.onnx").read_bytes() == CNN.read_bytes()


def test_names_without_output_are_those_beside_the_input(call, tmp_path):
    shutil.copy(MLP, tmp_path / "m.onnx")
    assert call("pack", tmp_path / "m.onnx")[0] == 0
    (tmp_path / "m.onnx").unlink()
    assert call("unpack", tmp_path / "m.ccz")[0] == 0
    assert (tmp_path / "m.onnx").read_bytes() == MLP.read_bytes()


def test_files_are_replaced_on_demand(call, packed, tmp_path):
    code, _, stderr = call("pack", CNN, "-o", packed)
    assert code == 2 and "exists" in stderr and "--force" in stderr
    assert call("pack", CNN, "-o", packed, "--force")[0] == 0
    out = tmp_path / "m.onnx"
    out.write_text("mine")
    assert call("unpack", packed, "-o", out)[0] == 2 and out.read_text() == "mine"
    assert call("unpack", packed, "-o", out, "--force")[0] == 0 and out.read_bytes() == CNN.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("pack", MLP, "-o", "m.zip"), 2, "does not end in .ccz"),
        (("pack", MLP, "-o", "no/m.ccz"), 2, "does not exist"),
        (("pack", "text.onnx", "-o", "m.ccz"), 3, "is not an ONNX model"),
        (("pack", SAMPLES / "cnn_traced.pt", "-o", "m.ccz"), 3, "is TorchScript"),
        (("unpack", "text.onnx", "-o", "m.onnx"), 3, "is no .ccz file"),
        (("unpack", "cut.ccz"), 3, "is damaged"),
        (("bench", "cut.ccz"), 3, "cut.ccz is damaged"),
        (("simplify", "cut.ccz", "-o", "m.onnx"), 3, "cut.ccz is damaged"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_nothing_is_written(
    call, packed, tmp_path, monkeypatch, arguments, code, words
):
    monkeypatch.chdir(tmp_path)
    Path("text.onnx").write_text("hello")
    Path("cut.ccz").write_bytes(packed.read_bytes()[:-100])
    before = sorted(tmp_path.iterdir())
    found, stdout, stderr = call(*arguments)
    assert found == code and words in stderr and stdout == ""
    assert "Traceback" not in stderr and len(stderr.strip().splitlines()) <= 3
    assert sorted(tmp_path.iterdir()) == before


def test_bench_reads_packed_models(call, packed):
    code, stdout, _ = call("bench", MLP, packed, "--json", "--seconds", 0.3, "-q")
    models = json.loads(stdout)["models"]
    assert code == 0 and [model["path"] for model in models] == [str(MLP), str(packed)]
    assert [model["bytes"] for model in models] == [MLP.stat().st_size, packed.stat().st_size]
    assert models[1]["size_ratio"] == packed.stat().st_size / MLP.stat().st_size
    assert models[0]["macs"] == models[1]["macs"] and models[1]["latency_ratio"]["value"] > 0
    assert models[1]["fidelity"][0]["agreement"] == 1


def test_inspect_reads_packed_models(call, packed):
    plain, unpacked = (json.loads(call("inspect", path, "--json")[1]) for path in (MLP, packed))
    assert unpacked == {**plain, "path": str(packed)}


def test_a_run_reads_and_writes_packed_models(call, packed, tmp_path):
    out = tmp_path / "out.ccz"
    code, stdout, stderr = call("quantize", packed, "-o", out, "--json", "-q")
    assert code == 0, stderr
    report = json.loads(stdout)
    assert (report["input"]["path"], report["output"]["path"]) == (str(packed), str(out))
    assert (report["input"]["bytes"], report["output"]["bytes"]) == (packed.stat().st_size, out.stat().st_size)
    assert report["output"]["size_ratio"] == out.stat().st_size / packed.stat().st_size
    assert report["input_sha256"] == hashlib.sha256(MLP.read_bytes()).hexdigest()
    assert report["output_sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    written = {"out.ccz", "out.ccz.report.json", "out.ccz.report.md", "out.ccz.report.html"}
    assert {path.name for path in tmp_path.iterdir()} == written | {"packed.ccz"}
    assert call("unpack", out)[0] == 0
    assert call("quantize", MLP, "-o", tmp_path / "same.onnx", "-q")[0] == 0
    assert (tmp_path / "out.onnx").read_bytes() == (tmp_path / "same.onnx").read_bytes()
    assert onnx.load(tmp_path / "out.onnx").graph.node


def test_only_our_own_earlier_packed_output_is_replaced(call, packed, tmp_path):
    out = tmp_path / "out.ccz"
    assert call("simplify", MLP, "-o", out, "-q")[0] == 0
    first = out.read_bytes()
    assert call("simplify", MLP, "-o", out, "-q")[0] == 0 and out.read_bytes() == first
    code, _, stderr = call("simplify", CNN, "-o", out, "-q")
    assert code == 2 and "no earlier output of this recipe" in stderr and out.read_bytes() == first
    assert call("simplify", CNN, "-o", packed, "-q")[0] == 2  # of the MLP, which it holds, it would be a mere copy
    code, _, stderr = call("simplify", packed, "-o", packed, "--force", "-q")
    assert code == 2 and "packed.ccz is the model itself" in stderr


def test_a_size_budget_is_judged_on_the_packed_file(call, tmp_path):
    ratio = 0.9  # simplified, the model is a little smaller; packed, it is much smaller
    assert call("simplify", CNN, "-o", tmp_path / "o.onnx", "--size-ratio", ratio, "-q")[0] == 4
    assert call("simplify", CNN, "-o", tmp_path / "o.ccz", "--size-ratio", ratio, "-q")[0] == 0
