"""The metric that is measured where none is named."""

import json

import numpy as np
import pytest

from compressctl.__main__ import run
from tests.samples import MLP


def quantized(tmp_path, *flags):
    path = tmp_path / "o.onnx"
    code = run(["quantize", str(MLP), "-o", str(path), "--scheme", "int8-weights", "--force", "-q", *flags])
    return code, json.loads(path.with_suffix(".report.json").read_text()) if code in (0, 4) else None


def noted(report):
    return [note["text"] for note in report["notes"] if "metric" in note["text"] or "judged" in note["text"]]


@pytest.fixture
def samples(tmp_path):
    def write(**labels):
        np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).random((20, 1, 8, 8), np.float32), **labels)
        return str(tmp_path / "d.npz")

    return write


def test_classes_are_judged_by_the_first_metric_that_fits(tmp_path):
    code, report = quantized(tmp_path, "--data", "digits:test", "--max-accuracy-drop", "2%")
    assert (code, report["metric"], report["metric_chosen"], report["recipe"]["metric"]) == (0, "top1", True, None)
    assert report["budgets"][0]["limit"] == 0.02 and report["output"]["score"]["value"] > 0.9
    (note,) = noted(report)
    assert note.startswith("no metric is named: top1 is measured, which fits outputs and labels; so would top5, f1")
    assert quantized(tmp_path, "--data", "digits:test", "--metric", "f1")[1]["metric_chosen"] is False


def test_what_is_no_share_must_be_named_where_a_budget_asks(tmp_path, samples, capsys):
    data = samples(labels=np.zeros((20, 10)) + np.arange(10))
    code, report = quantized(tmp_path, "--data", data)
    assert (code, report["metric"]) == (0, "mse")
    assert quantized(tmp_path, "--data", data, "--max-accuracy-drop", "0.01")[0] == 2
    assert "in the metric's own unit, and mse would be measured" in capsys.readouterr().err


def test_nothing_that_judges_is_said(tmp_path, samples, capsys):
    _, report = quantized(tmp_path, "--data", samples())
    assert report["metric"] is None and noted(report)[0].startswith("nothing is judged: ")
    _, report = quantized(tmp_path, "--data", samples(labels=np.zeros((20, 3))))
    assert noted(report)[0].startswith("nothing is judged: no metric fits labels [8, 3] and the outputs logits [8, 10]")
    assert quantized(tmp_path, "--data", samples(), "--max-accuracy-drop", "0.01")[0] == 2
    assert "needs something to measure: nothing is judged" in capsys.readouterr().err


def test_bench_finds_it_as_well(capsys):
    assert run(["bench", str(MLP), "--data", "digits:test", "--seconds", "0.1", "--json", "-q"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["metric"], report["metric_chosen"]) == ("top1", True)
