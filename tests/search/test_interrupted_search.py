"""Searches that are killed, that go on, and that share a storage."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compressctl.__main__ import run
from compressctl.recipe.load import build_recipe
from compressctl.search.record import read
from compressctl.search.start import working
from compressctl.search.study import worker
from compressctl.search.workers import helpers
from tests.deadlines import HUNG
from tests.samples import MLP, ROOT

optuna = pytest.importorskip("optuna")

ARGUMENTS = [
    *("pipeline", "--auto", "--model", str(MLP), "-o", "out.onnx", "--calibrate", "digits:train[:32]", "--json", "-q"),
    *("--data", "digits:test", "--metric", "top1", "--max-accuracy-drop", "0.01", "--objective", "size"),
]


def start(folder, *arguments):
    command = [sys.executable, "-m", "compressctl", *ARGUMENTS, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def trials(storage):
    opened = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(storage)))
    return optuna.load_study(study_name="compressctl", storage=opened).trials


def tried(storage):
    return [record for record in map(read, trials(storage)) if record is not None and record.seconds > 0]


@pytest.mark.long
def test_kill_9_leaves_the_best_so_far_and_resume_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    journal = tmp_path / "out.search.journal"
    process = start(tmp_path)
    deadline = time.monotonic() + HUNG
    try:
        while not (journal.exists() and trials(journal) and len(tried(journal)) >= 2):
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.3)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    before = trials(journal)
    done = [trial for trial in before if read(trial) is not None]
    best_so_far = Path("out.onnx").read_bytes()
    assert run(["pipeline", "out.best.yaml", "-o", "again.onnx", "-q"]) == 0
    assert Path("again.onnx").read_bytes() == best_so_far
    capsys.readouterr()

    assert run([*ARGUMENTS]) == 2 and "--resume" in capsys.readouterr().err
    assert run([*ARGUMENTS, "--resume", "--trials", str(len(tried(journal)) + 1)]) == 0
    report = json.loads(capsys.readouterr().out)
    after = trials(journal)
    assert [trial.params for trial in after[: len(done)]] == [trial.params for trial in done]
    assert len(tried(journal)) == len(done) + 1
    running = [trial for trial in before if trial.state == optuna.trial.TrialState.RUNNING]
    for trial in running:  # what was in progress is tried again
        assert after[trial.number].state == optuna.trial.TrialState.FAIL
        again = [{**later.system_attrs.get("fixed_params", {}), **later.params} for later in after[trial.number + 1 :]]
        assert any(later.items() >= trial.params.items() for later in again)
    assert report["output"]["bytes"] == min(record.bytes for record in tried(journal) if record.feasible)

    changed = [*ARGUMENTS, "--resume", "--seed", "1"]
    assert run(changed) == 2 and "seed of the recipe differs" in capsys.readouterr().err


@pytest.mark.long
def test_the_same_command_twice_on_one_storage_shares_the_work(tmp_path):
    """Of so many trials that the one which starts first cannot do them all before the other has begun."""
    processes = [start(tmp_path, "--storage", "shared.journal", "--trials", 16) for _ in range(2)]
    results = [process.communicate(timeout=HUNG) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    found = trials(tmp_path / "shared.journal")
    workers = {trial.user_attrs["worker"] for trial in found if "worker" in trial.user_attrs}
    records = tried(tmp_path / "shared.journal")
    assert len(workers) == 2 and 16 <= len(records) <= 17
    texts = [json.dumps(record.passes) for record in records]
    assert len(set(texts)) == len(texts)
    reports = [json.loads(stdout) for stdout, _ in results if stdout]
    assert 1 <= len(reports) <= 2
    assert (tmp_path / "out.onnx").stat().st_size == reports[-1]["output"]["bytes"]


@pytest.mark.long
def test_a_worker_is_a_process_of_its_own_that_tries_and_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = {"model": MLP, "output": "out.onnx", "data": "digits:test", "metric": "top1", "max_accuracy_drop": 0.01}
    search = {"storage": "sqlite:///shared.db", "trials": 2, "objective": "size"}
    recipe = working(build_recipe({**content, "calibrate": "digits:train[:32]", "search": search}, "test"))
    with helpers(recipe, 1, HUNG):
        pass  # the main process does nothing
    found = optuna.load_study(study_name="compressctl", storage="sqlite:///shared.db").trials
    records = [record for record in map(read, found) if record is not None]
    assert len(records) == 2 and {trial.user_attrs["worker"] for trial in found[:2]} != {worker()}
    assert Path("out.onnx").stat().st_size == min(record.bytes for record in records if record.feasible)
