"""Runs that train: killed and resumed, and in several processes."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.deadlines import HUNG
from tests.samples import SAMPLES

FINETUNE = ["finetune", str(SAMPLES / "mlp.onnx"), "--data", "digits", "--metric", "top1", "--threads", "1", "--quiet"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "compressctl", *arguments]


def finish(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False)


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="kill -9 is of POSIX systems")
def test_a_killed_run_resumes_to_the_same_bytes(tmp_path):
    options = ["--steps", "700", "--checkpoint-every", "50", "--evaluate-every", "100"]
    whole, killed = tmp_path / "whole.onnx", tmp_path / "killed.onnx"
    reference = finish(*FINETUNE, "-o", str(whole), *options)
    assert reference.returncode == 0, reference.stderr

    checkpoints = killed.with_suffix(".checkpoints")
    process = subprocess.Popen(command(*FINETUNE, "-o", str(killed), *options), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + HUNG
    while not list(checkpoints.glob("*.pt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not killed.exists()

    refused = finish(*FINETUNE, "-o", str(killed), *options)
    assert refused.returncode == 2 and "--resume" in refused.stderr and checkpoints.exists()
    other = finish(*FINETUNE, "-o", str(killed), *options, "--learning-rate", "0.1", "--resume")
    assert other.returncode == 2 and "another recipe" in other.stderr and checkpoints.exists()

    resumed = finish(*FINETUNE, "-o", str(killed), *options, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    digests = {hashlib.sha256(file.read_bytes()).hexdigest() for file in (whole, killed)}
    assert len(digests) == 1
    assert not checkpoints.exists()


@pytest.mark.long
def test_two_processes_train_one_model(tmp_path):
    out = tmp_path / "out.onnx"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*torchrun, "-m", "compressctl", *FINETUNE, "-o", str(out), "--steps", "60", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)  # one document: the other process printed nothing
    assert report["output"]["score"]["value"] > 0.95
