"""The place of a process among several, as the environment says."""

from pathlib import Path

import pytest

from compressctl.__main__ import run

MODEL = Path(__file__).parents[1] / "sample_models" / "mlp.onnx"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two: not a number"),
        ({"RANK": "-1"}, "RANK=-1: not a number"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK=2 of WORLD_SIZE=2: no such process"),
    ],
)
def test_what_torchrun_would_not_set_is_refused(tmp_path, monkeypatch, capsys, given, says):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert run(["simplify", str(MODEL), "-o", str(tmp_path / "o.onnx"), "-q"]) == 2
    assert says in capsys.readouterr().err
