"""What docs/data.md shows runs, from top to bottom."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.samples import ROOT

TEXT = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    Path("sample_models").symlink_to(ROOT / "sample_models")


def test_the_python_runs():
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 6


@pytest.mark.long
def test_the_command_runs(monkeypatch):
    (command,) = re.findall(r"^\$ compressctl (.*)$", TEXT, re.MULTILINE)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = subprocess.run(
        [sys.executable, "-m", "compressctl", *shlex.split(command)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "top1" in done.stdout
