"""The example Makefile and workflow run: make by make, the workflow's steps by bash as GitHub calls it."""

import json
import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from compressctl.recipe.load import load_recipes
from tests.commands import ENVIRONMENT, INSTALLED
from tests.deadlines import HUNG
from tests.samples import ROOT

WORKFLOW = yaml.safe_load((ROOT / "examples" / "github-workflow.yml").read_text())
pytestmark = INSTALLED
INSTALLS = ("Install",)  # steps that need the network and another machine


@pytest.fixture
def checkout(tmp_path):
    """Copy what examples need of the repository."""
    for name in ("examples", "sample_models", "recipes"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("build", "__pycache__"))
    return tmp_path


def call(*command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env={**ENVIRONMENT, **variables}, capture_output=True, text=True, timeout=HUNG
    )


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return call("make", *arguments, folder=checkout / "examples", MAKEFLAGS="", MAKELEVEL="0")


def compressed(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the recipes that make ran."""
    return [line.split()[2] for line in done.stdout.splitlines() if line.startswith("compressctl pipeline ")]


@pytest.mark.long
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_builds_what_changed_and_check_fails_on_a_broken_budget(checkout):
    build = checkout / "examples" / "build"
    done = make(checkout, "check")
    assert done.returncode == 0, done.stderr
    assert compressed(done) == ["lstm_int4.yaml", "mlp_int8.yaml"]
    assert json.loads((build / "mlp_int8.report.json").read_text())["verdict"] != "budget missed"
    assert make(checkout).stdout == "make: Nothing to be done for 'all'.\n"

    os.utime(checkout / "sample_models" / "mlp.onnx")  # the recipe names it, and the depfile tells make
    assert compressed(make(checkout)) == ["mlp_int8.yaml"]

    recipe = checkout / "examples" / "lstm_int4.yaml"
    recipe.write_text(recipe.read_text().replace("size_ratio: 0.3", "size_ratio: 0.1"))
    for _ in range(2):  # it stays broken, also once the file is up to date
        done = make(checkout, "check")
        assert done.returncode == 2 and "these models miss a budget" in done.stderr
        assert "build/lstm_int4.report.json" in done.stdout and "mlp" not in done.stdout
    assert (build / "lstm_int4.onnx").exists()

    before = (build / "mlp_int8.onnx").read_bytes()
    (checkout / "examples" / "mlp_int8.yaml").write_text(
        "model: ../sample_models/mlp.onnx\noutput: x.onnx\npasses: 1\n"
    )
    done = make(checkout)
    assert done.returncode == 2 and "passes" in done.stderr and (build / "mlp_int8.onnx").read_bytes() == before


def steps() -> list[dict[str, object]]:
    (job,) = WORKFLOW["jobs"].values()
    return job["steps"]


def run_steps(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Run what the workflow runs, but for installing, until a step fails; return the last one."""
    for step in steps():
        if "run" not in step or step["name"] in INSTALLS:
            continue
        script = checkout / "step.sh"
        script.write_text(str(step["run"]))
        command = ("bash", "--noprofile", "--norc", "-eo", "pipefail", str(script))
        done = call(*command, folder=checkout, GITHUB_STEP_SUMMARY=str(checkout / "summary.md"))
        if done.returncode:
            break
    return done


@pytest.mark.long
def test_the_workflow_compresses_and_leaves_its_evidence(checkout):
    done = run_steps(checkout)
    assert done.returncode == 0, done.stderr
    assert "QLinearConv" in done.stdout or "QuantizeLinear" in done.stdout
    upload = next(step["with"]["path"] for step in steps() if "upload-artifact" in str(step.get("uses")))
    names = {path.name for path in (checkout / upload).iterdir()}
    assert {"model.onnx", "model.report.json", "model.report.md", "budgets.xml"} <= names
    cases = ET.parse(checkout / upload / "budgets.xml").getroot().iter("testcase")
    budgets = {"max_accuracy_drop", "size_ratio"}
    assert budgets <= {word for case in cases for word in (*case.attrib.values(), *case.attrib["name"].split())}
    assert "| size |" in (checkout / "summary.md").read_text()
    cache = next(step["with"]["path"] for step in steps() if "actions/cache" in str(step.get("uses")))
    assert any((checkout / cache).iterdir())


@pytest.mark.long
def test_the_workflow_fails_on_a_broken_budget(checkout):
    recipe = checkout / "recipes" / "int8.yaml"
    recipe.write_text(recipe.read_text().replace("size_ratio: 0.5", "size_ratio: 0.05"))
    assert run_steps(checkout).returncode == 4
    failures = list(ET.parse(checkout / "build" / "budgets.xml").getroot().iter("failure"))
    assert len(failures) == 1 and "MISSED" in (checkout / "summary.md").read_text()
    assert (checkout / "build" / "model.onnx").exists()


def test_steps_of_the_workflow_are_whole():
    assert WORKFLOW[True] == ["push", "pull_request"]  # YAML 1.1 reads `on` as true; GitHub does not
    assert all("uses" in step or {"name", "run"} <= set(step) for step in steps())
    assert [step["name"] for step in steps() if "pip install" in str(step.get("run"))] == list(INSTALLS)


def test_recipes_of_the_examples_are_read():
    for path in (ROOT / "examples").glob("*_int*.yaml"):
        (recipe,) = load_recipes(path)
        assert (ROOT / "examples" / recipe.model).exists()
