import math
from dataclasses import replace

import pytest

from compressctl.pipeline.budgets import excess, judge, missed
from compressctl.recipe.model import Recipe
from tests.pipeline.measurements import measurement, output


def verdict(after, **budgets):
    (found,) = judge(Recipe(model="in.onnx", output="out.onnx", passes=(), **budgets), after)
    return found


@pytest.mark.parametrize(
    ("budgets", "met"),
    [
        ({"max_accuracy_drop": 0.02}, True),
        ({"max_accuracy_drop": 0.005}, False),
        ({"min_accuracy": 0.9}, True),
        ({"min_accuracy": 0.91}, False),
        ({"size_ratio": 0.5}, True),
        ({"size_ratio": 0.49}, False),
        ({"max_size": 500}, True),
        ({"max_size": "0.4kB"}, False),
        ({"latency_ratio": 0.8}, True),
        ({"latency_ratio": 0.79}, False),
        ({"max_latency_ms": 1.6}, True),
        ({"max_latency_ms": 1.5}, False),
        ({"max_memory": "2kB"}, True),
        ({"max_memory": 1999}, False),
    ],
)
def test_the_measured_value_decides(budgets, met):
    found = verdict(measurement(drop=(0.01, -0.01, 0.03), memory=2000), **budgets)
    (key,) = budgets
    assert (found.budget, found.met) == (key, met)
    assert (excess(found) == 0) == met


@pytest.mark.parametrize(
    ("budgets", "met"),
    [
        ({"max_accuracy_drop": 0.02}, False),
        ({"max_accuracy_drop": 0.03}, True),
        ({"min_accuracy": 0.89}, False),
        ({"min_accuracy": 0.88}, True),
        ({"latency_ratio": 0.84}, False),
        ({"latency_ratio": 0.85}, True),
        ({"max_latency_ms": 1.69}, False),  # the upper end is 1.70
        ({"max_latency_ms": 1.71}, True),
        ({"size_ratio": 0.5}, True),
    ],
)
def test_strict_asks_the_whole_interval(budgets, met):
    assert verdict(measurement(drop=(0.01, -0.01, 0.03)), **budgets, strict=True).met == met


def test_the_reason_says_how_sure_the_verdict_is():
    unsure = verdict(measurement(), latency_ratio=0.82)
    assert unsure.met and unsure.reason == (
        "latency_ratio: at most 0.82 was asked for, 0.8 measured [0.75, 0.85]:"
        " cannot tell on this machine now: x 0.800 [0.750, 0.850] against 0.82"
    )
    assert not verdict(measurement(), latency_ratio=0.82, strict=True).met
    milliseconds = verdict(measurement(), max_latency_ms=1.65)
    assert milliseconds.reason.endswith("cannot tell on this machine now: 1.6 ms [1.5, 1.7] against 1.65")
    lossy = verdict(measurement(drop=(0.01, -0.01, 0.03)), max_accuracy_drop=0.02)
    assert lossy.reason.endswith("not sure, the limit lies within the interval")
    assert "cannot tell" not in verdict(measurement(), latency_ratio=0.9).reason
    assert verdict(measurement(), min_accuracy=0.95).reason.startswith("min_accuracy: at least 0.95 was asked for")


def test_what_cannot_be_measured_misses_its_budget():
    found = verdict(measurement(memory=None), max_memory=1000)
    assert not found.met and math.isnan(found.value) and excess(found) == math.inf
    assert not verdict(measurement(drop=(math.nan,) * 3), max_accuracy_drop=1.0).met


@pytest.mark.parametrize(
    ("budgets", "met", "sure"),
    [
        ({"min_sqnr": 12}, True, True),
        ({"min_sqnr": 13}, False, False),
        ({"min_agreement": 0.95}, True, False),  # of 100 samples
        ({"min_agreement": 0.9}, True, True),
        ({"min_agreement": 0.97}, False, False),
    ],
)
def test_the_worst_output_decides_budgets_on_fidelity(budgets, met, sure):
    after = measurement(outputs=(output(40.0, 0.96), output(12.5, name="boxes"), output(math.inf, 1.0, name="other")))
    assert (verdict(after, **budgets).met, verdict(after, **budgets, strict=True).met) == (met, sure)


def test_what_has_no_scores_or_values_misses_budgets_on_fidelity():
    assert "no output is scores of classes" in verdict(measurement(outputs=(output(40.0),)), min_agreement=0.5).reason
    nothing = replace(output(math.inf), values=0)
    assert not verdict(measurement(outputs=(nothing,)), min_sqnr=1).met
    assert not verdict(measurement(outputs=(output(math.nan), output(40.0))), min_sqnr=1).met


def test_an_output_below_the_floor_counts_as_a_budget_missed():
    free = Recipe(model="in.onnx", output="out.onnx", passes=())
    assert missed(free, measurement(outputs=(output(20.0),))) == (0, 0)
    count, total = missed(free, measurement(outputs=(output(5.0, 0.3), output(3.0, name="boxes"))))
    assert count == 2 and total > 1
