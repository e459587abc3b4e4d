"""Which candidate is better, and the front, held against brute force."""

import numpy as np
import pytest

from compressctl.recipe.load import build_recipe
from compressctl.search.ranking import front, measured, rank, values
from compressctl.search.record import Record


def recipe(objective="both"):
    return build_recipe({"model": "a.onnx", "output": "b.onnx", "search": {"objective": objective}}, "r")


def record(bytes_, latency, drop, *, missed=(0, 0.0), complete=True, name=None):
    name = name or f"{bytes_} {latency} {drop}"
    return Record({}, [], bytes_, latency, (drop, drop, drop), 10, complete, missed, provenance=name)


@pytest.mark.parametrize("objective", ["size", "latency", "both"])
def test_the_front_is_what_no_other_one_beats(objective):
    rng = np.random.default_rng(3)
    records = [record(*map(int, row[:2]), float(row[2])) for row in rng.integers(1, 9, (60, 3))]
    places = [0, 2] if objective == "size" else [0, 1, 2]
    points = {(one.bytes, one.latency, one.drop[0]) for one in records}

    def beaten(a, b):
        a, b = [a[i] for i in places], [b[i] for i in places]
        return all(x >= y for x, y in zip(a, b, strict=True)) and a != b

    expected = {a for a in points if not any(beaten(a, b) for b in points)}
    found = front(recipe(objective), records, 100)
    assert {(one.bytes, one.latency, one.drop[0]) for one in found} == expected
    assert found == sorted(found, key=lambda one: rank(recipe(objective), one))


def test_budgets_come_first_then_the_objective():
    good, small = record(100, 1.0, 0.0), record(10, 0.1, 0.2, missed=(1, 3.0))
    less, early = record(5, 0.1, 0.1, missed=(1, 1.0)), record(1, 0.1, 0.0, complete=False)
    order = sorted([early, small, good, less], key=lambda one: rank(recipe("size"), one))
    assert order == [good, less, small, early]
    assert front(recipe("size"), [Record({}, [], reason="failed")], 1) == []


@pytest.mark.parametrize(("objective", "chosen"), [("size", (10, 1.0)), ("latency", (30, 0.2)), ("both", (14, 0.4))])
def test_each_objective_chooses_its_own(objective, chosen):
    records = [record(10, 1.0, 0.0), record(14, 0.4, 0.0), record(30, 0.2, 0.0)]
    found = min(records, key=lambda one: rank(recipe(objective), one))
    assert (found.bytes, found.latency) == chosen
    size, *_ = values(recipe(objective), found)
    assert size == (found.latency if objective == "latency" else found.bytes)
    product = min(one.bytes * one.latency for one in records)
    assert objective != "both" or found.bytes * found.latency == product


def test_a_candidate_counts_once_and_guesses_not_at_all():
    one, guess = record(10, 1.0, 0.0, name="same"), Record({}, [], 5, 0.5, (0.9, 0.8, 1.0))
    assert measured([one, one, guess]) == [one]
