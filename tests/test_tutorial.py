"""The tutorial, run by bash from top to bottom in a fresh folder, but for its first section, which installs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.samples import ROOT

SCRIPTS = Path(sys.executable).parent
TEXT = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
INSTALL, *SECTIONS = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not (SCRIPTS / "compressctl").exists(), reason="the script is not installed"),
]


@pytest.fixture
def folder(tmp_path):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("sample_models", "recipes"):
        (checkout / name).symlink_to(ROOT / name)
    (checkout / "examples").mkdir()
    for file in (ROOT / "examples").iterdir():
        if file.is_file():
            (checkout / "examples" / file.name).write_bytes(file.read_bytes())
    return checkout


def blocks(section: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def run(section: str, folder: Path) -> str:
    """Run the commands of a section; the first that fails ends it."""
    script = "\n".join(blocks(section, "sh"))
    environment = {**os.environ, "PATH": f"{SCRIPTS}:{os.environ['PATH']}", "MAKEFLAGS": ""}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{section.splitlines()[0]}: {done.stderr}"
    return done.stdout


def test_sections_run_one_after_the_other(folder):
    # One test, since sections build on one another and tests may be spread over processes.
    pytest.importorskip("torch")
    for section in SECTIONS:
        title = section.split("\n")[0]
        if not blocks(section, "sh"):
            continue
        output = run(section, folder)
        if "Set a budget" in title:
            assert "exit code 4" in output and "MISSED" in output and (folder / "tight.onnx").exists()
        if "Several passes" in title:  # as the text tells: INT8 misses the budget, weights of 4 bits keep it
            assert output.count("exit code 4") == 1 and (folder / "smaller.onnx").exists()
            assert output.rpartition("After each pass")[2].count("cached") >= 4
        if "Let it search" in title:
            assert (folder / "found.onnx").exists() and (folder / "found.best.yaml").exists()


def test_rows_that_are_shown_are_rows_of_reports():
    labels = {"size", "parameters", "latency (median)", "fidelity of logits", "top1"}
    shown = {line.strip().split("  ")[0] for block in blocks(TEXT, "text") for line in block.splitlines()}
    assert labels <= shown


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
