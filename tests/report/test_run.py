"""What a command that runs a recipe writes for CI: JUnit XML, the summary of a step, pure JSON on stdout."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from compressctl.cli.runs import run_all
from compressctl.cli.views import Views
from compressctl.recipe.model import Recipe
from tests.samples import MLP

COMMAND = "quantize"


@pytest.fixture(autouse=True)
def _no_summary(monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def test_junit_summary_html_and_json_of_one_run(call, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("# before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    junit = tmp_path / "junit.xml"
    code, stdout, stderr = call(MLP, "--json", "--junit", junit, "--max-size", "1kB", "--size-ratio", 2)
    assert code == 4, stderr
    report = json.loads(stdout)
    suite = ElementTree.parse(junit).getroot()[0]
    assert [(case.get("name"), len(case)) for case in suite.iter("testcase")] == [("size_ratio", 0), ("max_size", 1)]
    assert suite.find("testcase/failure").get("message") == report["budgets"][1]["reason"]
    markdown = (tmp_path / "out.report.md").read_text()
    assert summary.read_text() == f"# before\n{markdown}\n"
    assert "budget missed" in (tmp_path / "out.report.html").read_text()


def test_several_runs_are_one_document_and_one_junit_file(tmp_path, capsys, monkeypatch):
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    views = Views(junit=tmp_path / "junit.xml", as_json=True, quiet=True)
    content = {"model": MLP, "passes": [{"type": "simplify"}]}
    recipes = [Recipe(**content, output=tmp_path / f"{name}.onnx", **budget) for name, budget in _RUNS.items()]
    assert run_all(recipes, views) == 4
    reports = json.loads(capsys.readouterr().out)["runs"]
    assert [Path(report["output"]["path"]).stem for report in reports] == ["a", "b"]
    suites = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert [(suite.get("id"), suite.get("failures")) for suite in suites] == [("0", "1"), ("1", "0")]
    assert summary.read_text().count("## Result") == 2


_RUNS = {"a": {"max_size": 10}, "b": {}}


def test_what_cannot_be_written_is_said_before_the_work(call, tmp_path, monkeypatch):
    code, _, stderr = call(MLP, "--junit", tmp_path / "nowhere" / "junit.xml")
    assert code == 2 and "nowhere" in stderr
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    code, _, stderr = call(MLP)
    assert code == 2 and "GITHUB_STEP_SUMMARY" in stderr and not list(tmp_path.iterdir())
