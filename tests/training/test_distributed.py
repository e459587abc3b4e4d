"""Two processes train as one process does, and agree."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from compressctl.distributed import Process, this_process
from compressctl.errors import UsageError
from compressctl.training.distributed import torch_device
from tests.deadlines import HUNG
from tests.graphs import weights
from tests.samples import MLP, ROOT
from tests.training.tiny import CODES
from tests.training.torchrun import KINDS, trained

SCRIPT = Path(__file__).with_name("torchrun.py")


@pytest.mark.long
def test_two_processes_train_as_one_and_agree(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(SCRIPT)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, str(tmp_path)], env=env, cwd=ROOT, capture_output=True, timeout=HUNG)
    assert done.returncode == 0, done.stderr.decode()
    written = {path.stem: dict(np.load(path)) for path in tmp_path.glob("*.npz")}
    for kind in KINDS:
        for name, array in written[f"{kind}0"].items():
            np.testing.assert_array_equal(array, written[f"{kind}1"][name], err_msg=f"{kind}: {name}")
    assert (written["normed0"]["mean"] != 0).all()
    assert sorted(path.name for path in tmp_path.glob("*.pt*")) == ["normed.pt", "plain.pt", "shared.pt"]
    for kind in ("plain", "shared"):
        alone = KINDS[kind]()
        result = trained(alone, tmp_path)
        for name, array in weights(alone).items():
            np.testing.assert_allclose(written[f"{kind}0"][name], array, atol=1e-5, err_msg=name)
        assert [row["held_out"] for row in result.history] == list(written[f"{kind}0"]["scores"])
    for name, codes in CODES.items():
        assert len(np.unique(written["shared0"][name])) == codes.max() + 1


def test_the_place_of_a_process_is_torchruns(monkeypatch):
    assert this_process() == Process(0, 1, 0)
    for name, value in (("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert this_process() == Process(3, 4, 1)
    assert this_process().shard(10) == slice(6, 8)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_device_without_a_gpu():
    assert torch_device("auto", Process()) == torch_device("cpu", Process()) == "cpu"
    with pytest.raises(UsageError, match="torch sees 0 GPUs"):
        torch_device("cuda", Process())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two: not a number"),
        ({"RANK": "-1"}, "RANK=-1: not a number"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK=2 of WORLD_SIZE=2: no such process"),
    ],
)
def test_what_torchrun_would_not_set_is_refused(call, tmp_path, monkeypatch, given, says):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    code, _, stderr = call("simplify", MLP, "-o", tmp_path / "o.onnx", "-q")
    assert code == 2 and says in stderr
