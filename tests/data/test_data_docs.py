"""What docs/data.md shows runs, from top to bottom."""

import re
from pathlib import Path

import pytest

from tests.commands import bash, blocks
from tests.samples import ROOT

TEXT = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    Path("sample_models").symlink_to(ROOT / "sample_models")


def test_the_python_runs():
    names: dict[str, object] = {}
    found = blocks(TEXT, "python")
    for block in found:
        exec(block, names)
    assert len(found) == 9


@pytest.mark.long
def test_the_command_runs():
    (command,) = re.findall(r"^\$ compressctl (.*)$", TEXT, re.MULTILINE)
    assert "top1" in bash(f"python -m compressctl {command}", Path.cwd(), PYTHONPATH=str(ROOT))
