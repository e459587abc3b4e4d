import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from compressctl.__main__ import run
from compressctl.pipeline.paths import locked
from tests.deadlines import HUNG
from tests.samples import SAMPLES

PASSES = [{"type": "simplify"}, {"type": "prune", "ratio": 0.25}, {"type": "finetune", "steps": 30}]


@pytest.fixture
def pipeline(tmp_path, monkeypatch, capsys):
    """Run a recipe of these passes and keys; return exit code, stderr and the report."""
    monkeypatch.chdir(tmp_path)

    def _run(passes, *flags, **keys):
        recipe = {"model": str(SAMPLES / "cnn.onnx"), "output": "out.onnx", "passes": passes, "train": "digits:train"}
        recipe |= {"data": "digits:test", "metric": "top1", "calibrate": "digits:train[:64]", **keys}
        (tmp_path / "r.yaml").write_text(json.dumps(recipe))
        code = run(["pipeline", "r.yaml", "--force", *flags])
        path = tmp_path / "out.report.json"
        return code, capsys.readouterr().err, json.loads(path.read_text()) if path.exists() else None

    return _run


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.long
def test_only_what_changed_runs_again_and_gives_the_same_bytes(pipeline, tmp_path):
    digests = set()
    for keys in ({}, {"cache": "c"}, {"cache": "c"}):
        code, _, report = pipeline([*PASSES, {"type": "quantize", "scheme": "int8"}], **keys)
        assert code == 0
        digests.add(digest(tmp_path / "out.onnx"))
    assert len(digests) == 1
    assert [item["cached"] for item in report["passes"]] == [True] * 4

    _, stderr, report = pipeline([*PASSES, {"type": "quantize", "scheme": "w4a8"}], cache="c")
    assert [item["cached"] for item in report["passes"]] == [True, True, True, False]
    assert "finetune: unchanged, from the cache" in stderr and "quantize: unchanged" not in stderr
    _, _, report = pipeline([*PASSES, {"type": "quantize", "scheme": "w4a8"}], cache="c", max_size="1MB", strict=True)
    assert all(item["cached"] for item in report["passes"])  # budgets of the result change no pass
    _, _, report = pipeline([*PASSES, {"type": "quantize", "scheme": "w4a8"}], cache="c", calibrate="digits:train[:65]")
    assert [item["cached"] for item in report["passes"]] == [False] * 4


def test_each_pass_that_changes_results_is_measured(pipeline):
    _, _, report = pipeline([*PASSES, {"type": "quantize", "scheme": "int8"}], on_regression="keep")
    measured = [item["measured"] for item in report["passes"]]
    assert measured[0] is None
    sizes = [item["size_ratio"] for item in measured[1:]]
    assert sizes[0] == pytest.approx(sizes[1], abs=0.01) and sizes[2] < 0.5 * sizes[1]
    assert measured[1]["score"]["value"] < measured[2]["score"]["value"]
    assert measured[-1]["bytes"] == report["output"]["bytes"]


def test_a_budget_that_cannot_be_met_leaves_the_best_candidate_and_the_reason(pipeline, tmp_path):
    code, _, report = pipeline(
        [{"type": "prune", "ratio": 0.25}, {"type": "prune", "ratio": 0.9}], train=None, min_accuracy=0.999999
    )
    assert code == 4 and report["verdict"] == "budget missed"
    (verdict,) = report["budgets"]
    assert not verdict["met"] and "min_accuracy: at least" in verdict["reason"]
    first, second = (item["measured"]["score"]["value"] for item in report["passes"])
    assert first > second and report["output"]["score"]["value"] == first
    assert "below the fidelity floor: logits has an SQNR of" in report["passes"][1]["rolled_back"]
    assert digest(tmp_path / "out.onnx") == report["output_sha256"]


def test_two_runs_on_one_output(pipeline, tmp_path):
    with locked(tmp_path / "out.onnx"):
        code, stderr, report = pipeline([{"type": "simplify"}], train=None)
    assert code == 2 and report is None
    assert "another run is writing out.onnx\n  hint: wait for it, or choose another output" in stderr
    code, _, _ = pipeline([{"type": "simplify"}], train=None)
    assert code == 0 and not list(tmp_path.glob(".*.lock"))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.long
def test_a_run_that_is_killed_in_its_last_pass_resumes_to_the_same_bytes(pipeline, tmp_path):
    passes = [*PASSES, {"type": "qat", "steps": 60, "checkpoint_every": 5}]
    code, _, _ = pipeline(passes)
    assert code == 0
    whole = digest(tmp_path / "out.onnx")
    for file in tmp_path.glob("out.*"):
        file.unlink()
    recipe = json.loads((tmp_path / "r.yaml").read_text())
    (tmp_path / "r.yaml").write_text(json.dumps(recipe | {"cache": "c"}))
    command = [sys.executable, "-m", "compressctl", "pipeline", "r.yaml"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + HUNG
    while not list(tmp_path.glob("out.checkpoints/3-qat.pt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    resumed = subprocess.run([*command, "--resume"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert "finetune: unchanged, from the cache" in resumed.stderr
    assert digest(tmp_path / "out.onnx") == whole
