"""`compressctl pipeline` end to end: settings, sweeps, plans, what is up to date, what make is told."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from compressctl.__main__ import run
from tests.samples import MLP, ROOT

RECIPE = """
model: mlp.onnx
output: out.onnx
vars: {clusters: 8}
calibrate: digits:train[:32]
data: digits:test[:40]
metric: top1
on_regression: keep
passes:
  - {type: cluster, clusters: '${clusters}', reconstruct: false}
  - type: store
"""
SWEEP = RECIPE.replace("out.onnx", "out_${clusters}.onnx") + "sweep: {clusters: [4, 16]}\n"


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(MLP, "mlp.onnx")

    def _call(text, *arguments, quiet=True):
        Path("r.yaml").write_text(text)
        code = run(["pipeline", "r.yaml", *map(str, arguments), *(["-q"] if quiet else [])])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return _call


def files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}


def test_settings_reach_the_passes(call):
    code, stdout, stderr = call(RECIPE, "--set", "clusters=4", "--set", "passes.1.format=codebook", "--json")
    assert code == 0, stderr
    passes = json.loads(stdout)["passes"]
    assert passes[0]["options"]["clusters"] == 4 and passes[1]["options"]["format"] == "codebook"


def test_wrong_settings_are_one_line(call):
    code, stdout, stderr = call(RECIPE, "--set", "clusterz=4")
    assert code == 2 and stdout == "" and "did you mean 'clusters'?" in stderr and "Traceback" not in stderr
    assert set(files()) == {"mlp.onnx", "r.yaml"}


@pytest.mark.long
def test_a_sweep_is_one_table(call):
    code, stdout, stderr = call(SWEEP)
    assert code == 0 and stderr == ""
    assert "out_4.onnx" in stdout and "out_16.onnx" in stdout and stdout.count("verdict") == 1
    small, large = (Path(f"out_{count}.onnx").stat().st_size for count in (4, 16))
    assert small < large < MLP.stat().st_size
    assert json.loads(Path("out_4.report.json").read_text())["recipe"]["passes"][0]["clusters"] == 4


def test_a_sweep_is_one_document(call):
    code, stdout, _ = call(SWEEP, "--json")
    runs = json.loads(stdout)["runs"]
    assert code == 0 and [report["output"]["path"] for report in runs] == ["out_4.onnx", "out_16.onnx"]
    assert runs[0] == json.loads(Path("out_4.report.json").read_text())


def test_a_run_that_fails_does_not_stop_the_others(call):
    text = SWEEP.replace("[4, 16]", "[4, 16, 32]")
    Path("out_16.onnx").write_text("mine")
    code, stdout, stderr = call(text, "--size-ratio", "0.2", "--json", "--depfile", "d.mk")
    runs = json.loads(stdout)["runs"]
    assert code == 2 and stderr.count("error: ") == 1 and "out_16.onnx" in stderr and "--force" in stderr
    assert [run.get("verdict") == "budget missed" for run in runs] == [False, False, True]
    assert runs[1]["exit_code"] == 2 and runs[1]["output"] == "out_16.onnx" and "exists" in runs[1]["error"]
    assert Path("out_16.onnx").read_text() == "mine" and Path("out_32.onnx").exists()
    assert "out_16" not in Path("d.mk").read_text() and "out_32.onnx: r.yaml" in Path("d.mk").read_text()
    code, stdout, _ = call(text, "--size-ratio", "0.2", "--set", "sweep.clusters=[4, 32]")
    assert code == 4 and "budget missed" in stdout


def test_up_to_date(call):
    assert call(RECIPE)[0] == 0
    before, told = files(), json.loads(Path("out.report.json").read_text())
    times = {path: path.stat().st_mtime_ns for path in Path().iterdir() if path.name != "r.yaml"}
    code, stdout, stderr = call(RECIPE)
    last = "up to date" if told["verdict"] == "ok" else f"up to date: {told['verdict']}"
    assert code == 0 and stderr == "" and stdout.endswith(f"out.onnx: {last}\n")
    assert json.loads(call(RECIPE, "--json")[1]) == told
    assert files() == before and all(path.stat().st_mtime_ns == when for path, when in times.items())
    assert "up to date" not in call(RECIPE, "--force")[1]
    assert Path("out.onnx").read_bytes() == before["out.onnx"]


def test_up_to_date_keeps_the_exit_code(call):
    for _ in range(2):
        assert call(RECIPE, "--size-ratio", "0.001")[0] == 4
    *reasons, verdict = call(RECIPE, "--size-ratio", "0.001")[1].splitlines()
    assert reasons[0].startswith("size_ratio: at most 0.001") and verdict == "out.onnx: up to date: budget missed"


def _touch_model() -> None:
    model = onnx.load("mlp.onnx")
    model.doc_string = "other"
    onnx.save(model, "mlp.onnx")


def _edit_report() -> None:
    path = Path("out.report.json")
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "versions": {**content["versions"], "onnx": "0.0"}}))


def test_what_changed_runs_again(call):
    changes = {
        "output": lambda: Path("out.onnx").unlink(),
        "report": lambda: Path("out.report.json").unlink(),
        "versions": _edit_report,
        "samples": lambda: np.savez("d.npz", input=np.ones((16, 1, 8, 8), np.float32)),
    }
    np.savez("d.npz", input=np.zeros((16, 1, 8, 8), np.float32))
    text = RECIPE.replace("digits:train[:32]", "d.npz")
    assert call(text)[0] == 0
    for what, change in changes.items():
        assert "up to date" in call(text)[1], what
        change()
        code, stdout, stderr = call(text)
        assert code == 0 and "up to date" not in stdout, stderr
    Path("out.report.json").write_text("[]")
    code, _, stderr = call(text)
    assert code == 2 and "is no report of compressctl" in stderr and Path("out.report.json").read_text() == "[]"


def test_an_output_or_an_input_that_was_changed_is_not_up_to_date(call):
    assert call(RECIPE)[0] == 0
    Path("out.onnx").write_bytes(Path("out.onnx").read_bytes() + b"\n")
    assert call(RECIPE)[1] != "out.onnx: up to date\n"
    assert call(RECIPE, "--force")[0] == 0
    _touch_model()
    assert "up to date" not in call(RECIPE)[1]


@pytest.mark.long
def test_a_student_that_was_changed_is_not_up_to_date(call):
    pytest.importorskip("torch")
    shutil.copy(MLP, "student.onnx")
    text = RECIPE[: RECIPE.index("passes:")] + "train: digits:train[:64]\n"
    text += "passes: [{type: distill, student: student.onnx, steps: 1}]\n"
    assert call(text)[0] == 0 and "up to date" in call(text)[1]
    model = onnx.load("student.onnx")
    model.doc_string = "other"
    onnx.save(model, "student.onnx")
    assert "up to date" not in call(text)[1]


def test_dry_run_writes_nothing(call):
    text = RECIPE + "cache: cache\nmax_size: 30kB\n"
    Path("r.yaml").write_text(text)
    before = files()
    code, stdout, stderr = call(text, "--dry-run")
    assert code == 0 and stderr == "" and files() == before and not Path("cache").exists()
    for word in ("cluster", "store", "estimate", "max_size", "30000", "out.onnx", "out.report.json"):
        assert word in stdout
    plan = json.loads(call(text, "--dry-run", "--json")[1])
    assert [planned["cached"] for planned in plan["passes"]] == [False, False] and files() == before
    assert plan["budgets"] == {"max_size": 30000} and plan["writes"][0] == "out.onnx" and not plan["up_to_date"]
    costs = [planned["seconds"] for planned in plan["passes"]]
    assert plan["seconds"] == pytest.approx(sum(costs) + plan["measuring_seconds"])
    assert costs[0] == 32 * plan["inference_seconds"]


def test_dry_run_knows_what_is_cached_and_up_to_date(call):
    text = RECIPE + "cache: cache\n"
    assert call(text)[0] == 0
    before = files()
    plan = json.loads(call(text, "--dry-run", "--json")[1])
    assert [planned["cached"] for planned in plan["passes"]] == [True, True] and plan["up_to_date"]
    plan = json.loads(call(text, "--dry-run", "--json", "--set", "passes.1.format=dense", "-o", "other.onnx")[1])
    assert [planned["cached"] for planned in plan["passes"]] == [True, False] and not plan["up_to_date"]
    assert [planned["seconds"] > 0 for planned in plan["passes"]] == [False, False]
    assert {**files(), "r.yaml": b""} == {**before, "r.yaml": b""}


def test_dry_run_of_training_counts_epochs_and_spares_checkpoints(call):
    text = RECIPE.replace("passes:", "train: digits:train[:100]\npasses:") + "  - {type: finetune, epochs: 3}\n"
    text = text.replace("  - type: store\n", "")
    Path("out.checkpoints").mkdir()
    (Path("out.checkpoints") / "0-cluster.pt").write_text("x")
    code, _, stderr = call(text, "--dry-run")
    assert code == 2 and "--resume" in stderr
    plan = json.loads(call(text, "--dry-run", "--json", "--force")[1])
    assert plan["passes"][1]["inferences"] == 4 * 3 * 100
    assert (Path("out.checkpoints") / "0-cluster.pt").exists()


def test_dry_run_of_a_sweep_and_of_what_cannot_run(call):
    plans = json.loads(call(SWEEP, "--dry-run", "--json")[1])["runs"]
    assert [plan["output"] for plan in plans] == ["out_4.onnx", "out_16.onnx"]
    assert call(SWEEP, "--dry-run")[1].count("Plan: mlp.onnx") == 2
    code, stdout, stderr = call(RECIPE, "--dry-run", "--calibrate", "no.npz")
    assert code == 3 and stdout == "" and "no.npz" in stderr


@pytest.mark.long
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_runs_only_what_changed(call, tmp_path):
    Path("my data").mkdir()
    np.savez("my data/d.npz", input=np.zeros((16, 1, 8, 8), np.float32))
    Path("r.yaml").write_text(RECIPE.replace("digits:train[:32]", "my data/d.npz"))
    command = f"{sys.executable} -m compressctl pipeline r.yaml -q --depfile out.mk"
    Path("Makefile").write_text(f"out.onnx:\n\t{command}\n\n-include out.mk\n")

    def make(*arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.run(["make", *arguments], capture_output=True, text=True, check=True, env=environment).stdout

    assert "pipeline" in make() and "pipeline" not in make("-n")
    assert Path("out.mk").read_text().splitlines()[0] == "out.onnx: r.yaml mlp.onnx my\\ data/d.npz"
    os.utime("my data/d.npz", (4e9, 4e9))
    assert "pipeline" in make("-n")


@pytest.mark.parametrize("name", ["no/d.mk", "."])
def test_a_depfile_that_cannot_be_written(call, name):
    code, _, stderr = call(RECIPE, "--depfile", name)
    assert code == 2 and "error: " in stderr and "Traceback" not in stderr
    assert "out.onnx" not in files()


def test_an_order_that_cannot_work_is_refused_before_anything_is_opened(call):
    text = RECIPE.replace("mlp.onnx", "missing.onnx") + "  - {type: prune, ratio: 0.5}\n"
    code, stdout, stderr = call(text)
    assert code == 2 and stdout == "" and "passes[2] (prune) cannot come after passes[1] (store)" in stderr
