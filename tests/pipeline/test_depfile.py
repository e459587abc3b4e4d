"""Depfiles, read back by make itself."""

import os
import subprocess
from pathlib import Path

import pytest

from compressctl.errors import UsageError
from compressctl.pipeline.depfile import depfile

NAMES = [
    "plain",
    "a b",
    "two  blanks",
    "a#b",
    "a$b",
    "$(a)",
    "a:b",
    "a%b",
    "a[1]",
    "a\\b",
    "a\\ b",
    "a'b",
    'a"b',
    "é",
    "-a",
]


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Return a function that says whether make would build `output`, which depends on what a depfile says."""
    monkeypatch.chdir(tmp_path)

    def _make(text: str) -> bool:
        rule, _, rest = text.partition("\n")
        target = rule.partition(": ")[0]
        goal = target.replace("\\%", "%")
        Path("Makefile").write_text(f"all: {goal}\n{rule}\n\t@echo built\n{rest}")
        result = subprocess.run(["make", "all"], capture_output=True, text=True, check=True)
        return "built" in result.stdout

    return _make


@pytest.mark.parametrize("name", NAMES)
def test_make_reads_the_names(make, name):
    source, output = Path(f"{name}.npz"), Path(f"{name}.onnx")
    text = depfile({output: [Path("recipe.yaml"), source]})
    for path in (Path("recipe.yaml"), source):
        path.write_text("")
    assert make(text)
    output.write_text("")
    for path in (Path("recipe.yaml"), source):
        os.utime(path, (1, 1))
    assert not make(text)
    os.utime(source, (4e9, 4e9))
    assert make(text)
    os.utime(source, (1, 1))
    source.unlink()
    assert make(text)  # a file that is gone is a reason to run, not to stop


def test_one_rule_an_output():
    text = depfile({Path("a.onnx"): [Path("r.yaml"), Path("m.onnx")], Path("b.onnx"): [Path("r.yaml")]})
    assert text == "a.onnx: r.yaml m.onnx\nb.onnx: r.yaml\n\nr.yaml:\n\nm.onnx:\n"


@pytest.mark.parametrize("name", ["a\nb", "a;b", "a|b", "a=b", "a\tb"])
def test_names_that_make_cannot_take(name):
    with pytest.raises(UsageError, match="make has no notation"):
        depfile({Path("o.onnx"): [Path(name)]})
