"""The tutorial, run by bash from top to bottom in a fresh folder, but for its first section, which installs."""

import re

import pytest

from tests.commands import INSTALLED, bash, blocks, quick
from tests.samples import ROOT

TEXT = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
pytestmark = [pytest.mark.long, INSTALLED]
INSTALL, *SECTIONS = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]


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


def test_sections_run_one_after_the_other(folder):
    # One test, since sections build on one another and tests may be spread over processes.
    pytest.importorskip("torch")
    path = quick(folder.with_name("bin"))
    for section in SECTIONS:
        title = section.split("\n")[0]
        if not blocks(section, "sh"):
            continue
        output = bash("\n".join(blocks(section, "sh")), folder, PATH=path, MAKEFLAGS="")
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
