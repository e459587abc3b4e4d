"""A search from the command line: what it finds, writes, refuses and reproduces."""

import json
from pathlib import Path

import onnx
import pytest
import yaml

from compressctl.__main__ import run
from compressctl.measure.profile import executed_ops
from tests.samples import MLP, ROOT

DATA = ("--calibrate", "digits:train[:32]", "--data", "digits:test", "--metric", "top1")
BUDGET = ("--max-accuracy-drop", "0.01")


@pytest.fixture
def search(capsys, tmp_path, monkeypatch):
    """Search in a folder of its own, on few candidates; return exit code, report and stderr."""
    monkeypatch.chdir(tmp_path)

    def _search(*arguments: object, auto=("--auto", "--model", MLP), output="out.onnx"):
        given = [*auto, "-o", output, *DATA, "--objective", "size", "--json", "-q", *arguments]
        code = run(["pipeline", *map(str, given)])
        captured = capsys.readouterr()
        return code, json.loads(captured.out) if captured.out else None, captured.err

    return _search


def hashed(path):
    return Path(path).read_bytes()


def test_the_shortest_search_gives_plain_int8_and_a_recipe_that_reproduces_it(search, tmp_path):
    code, report, stderr = search(*BUDGET, "--trials", 1, "--time-limit", "1s")
    assert code == 0, stderr
    assert "QGemm" in executed_ops(tmp_path / "out.onnx")
    assert [one["type"] for one in report["passes"]] == ["simplify", "quantize"]
    (point,) = report["front"]
    assert point["chosen"] and point["feasible"] and point["recipe_path"] == "out.best.yaml"
    assert point["bytes"] == len(hashed("out.onnx")) == report["output"]["bytes"]
    assert point["size_ratio"] == pytest.approx(point["bytes"] / MLP.stat().st_size)
    assert point["drop"]["low"] <= point["drop"]["value"] <= point["drop"]["high"]
    assert point["recipe"] == yaml.safe_load(Path("out.best.yaml").read_text())
    assert json.loads(Path("out.report.json").read_text())["front"] == report["front"]
    assert run(["pipeline", "out.best.yaml", "-o", "again.onnx", "-q"]) == 0
    assert hashed("again.onnx") == hashed("out.onnx")


def test_the_result_is_the_smallest_that_keeps_the_budget(search):
    code, report, _ = search(*BUDGET, "--trials", 7)
    assert code == 0
    sizes = [point["bytes"] for point in report["front"]]
    assert sizes == sorted(sizes) and sizes[0] == report["output"]["bytes"]
    assert report["output"]["drop"]["drop"] <= 0.01
    assert any("7 candidates" in note["text"] for note in report["notes"])
    for number, point in enumerate(report["front"]):
        if not point["chosen"]:
            assert run(["pipeline", point["recipe_path"], "-q"]) in (0, 4), number
            assert len(hashed(point["recipe"]["output"])) == point["bytes"]


def test_nothing_feasible_is_exit_4_with_the_least_bad_on_disk_and_the_reason(search):
    code, report, _ = search(*BUDGET, "--max-size", "9kB", "--trials", 3)
    assert code == 4 and report["verdict"] == "budget missed"
    onnx.checker.check_model(onnx.load("out.onnx"))
    missed = [verdict for verdict in report["budgets"] if not verdict["met"]]
    assert [verdict["budget"] for verdict in missed] == ["max_size"] and "9000" in missed[0]["reason"]
    assert not any(point["feasible"] for point in report["front"])
    assert report["output"]["bytes"] < 14000  # the smallest of the three, not plain INT8


def test_a_recipe_says_how_candidates_begin_and_flags_join_its_search(search, tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        f"model: {MLP}\noutput: x.onnx\npasses: [{{type: clip, percentile: 99}}]\n"
        "search: {trials: 99, time_limit: 10s}\nmax_accuracy_drop: 0.02\n"
    )
    code, report, stderr = search("--trials", 1, auto=(recipe,))
    assert code == 0, stderr
    assert [one["type"] for one in report["passes"]] == ["clip", "quantize"]
    assert yaml.safe_load(Path("out.best.yaml").read_text())["passes"][0] == {"type": "clip", "percentile": 99.0}


@pytest.mark.long
def test_the_recipe_of_the_repository(search, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    code, report, stderr = search("--trials", 1, auto=("recipes/search.yaml",), output=tmp_path / "out.onnx")
    assert code == 0, stderr
    assert report["front"] and (tmp_path / "out.best.yaml").exists()


def test_a_packed_output(search):
    code, report, stderr = search(*BUDGET, "--trials", 1, output="out.ccz")
    assert code == 0, stderr
    assert report["output"]["bytes"] == len(hashed("out.ccz")) == report["front"][0]["bytes"]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ((), "--max-accuracy-drop"),
        ((*BUDGET, "--objective", "speed"), "--objective"),
        ((*BUDGET, "--time-limit", "soon"), "20m"),
        ((*BUDGET, "--storage", MLP), "is a file that this command reads"),
        ((*BUDGET, "--data", "random"), "random"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(search, tmp_path, arguments, hint):
    before = hashed(MLP)
    code, report, stderr = search(*arguments)
    assert code == 2 and hint in stderr and report is None
    assert not list(tmp_path.iterdir()) and hashed(MLP) == before


def test_a_stranger_in_the_place_of_the_output_is_left_alone(search, tmp_path):
    stranger = MLP.with_name("lstm.onnx")
    (tmp_path / "out.onnx").write_bytes(stranger.read_bytes())
    code, _, stderr = search(*BUDGET, "--trials", 1)
    assert code == 2 and "--force" in stderr and hashed("out.onnx") == hashed(stranger)
    assert search(*BUDGET, "--trials", 1, "--force")[0] == 0 and hashed("out.onnx") != hashed(stranger)


def test_without_a_recipe_auto_is_needed_and_a_model(capsys):
    assert run(["pipeline"]) == 2 and "--auto" in capsys.readouterr().err
    assert run(["pipeline", "--auto", "-o", "x.onnx"]) == 2 and "--model" in capsys.readouterr().err
