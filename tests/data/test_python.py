"""Samples from the user's own function: leave, slices, and every way in which it can go wrong."""

import importlib
import sys

import numpy as np
import pytest

from compressctl.data.notation import open_source
from compressctl.errors import DataError, UsageError
from compressctl.tensorspec import TensorSpec

INPUTS = [TensorSpec("x", "float32", ("batch", 2))]
MODULE = """
import itertools
import numpy as np

def rows(start, stop):
    return np.arange(2 * start, 2 * stop, dtype=np.float64).reshape(-1, 2)

def labelled(sizes="5/1/7"):
    start = 0
    for size in map(int, sizes.split("/")):
        yield {"x": rows(start, start + size)}, np.arange(start, start + size)
        start += size

def plain():
    return [{"x": rows(0, 3), "unused": 1}, {"x": rows(3, 4)}]

def endless():
    for i in itertools.count():
        yield {"x": rows(i, i + 1)}

calls = []
def forgetful():
    calls.append(1)
    return plain() if len(calls) == 1 else []

def raises():
    yield {"x": rows(0, 3)}
    raise KeyError("lost")

def mixed():
    yield {"x": rows(0, 1)}, [0]
    yield {"x": rows(1, 2)}

empty, nothing, text = list, lambda: None, lambda: ["abc"]
other = lambda: [{"y": rows(0, 3)}]
wide = lambda: [{"x": np.zeros((3, 5))}]
words = lambda: [({"x": rows(0, 1)}, ["cat"])]
short = lambda: [({"x": rows(0, 3)}, [1, 2])]
hollow = lambda: [{"x": rows(0, 0)}]
ragged = lambda: [{"x": [[1.0], [1.0, 2.0]]}]
nan = lambda: [{"x": rows(0, 3)}, {"x": [[0.0, float("nan")]]}]
number = 3
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "samples", raising=False)
    (tmp_path / "samples.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("1 / 0")
    importlib.invalidate_caches()


def _open(text, inputs=INPUTS):
    return open_source(f"python:samples:{text}", inputs, allow_python=True)


@pytest.mark.parametrize("selected", ["", "[3:9]", "[-4:]", "[::3]"])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_rows_and_labels(selected, batch_size):
    source = _open(f"labelled{selected}")
    expected = eval(f"np.arange(13){selected}")
    for _ in range(2):
        batches = list(source.batches(batch_size))
        assert max(batch.count for batch in batches) <= batch_size
        np.testing.assert_array_equal(np.concatenate([batch.labels for batch in batches]), expected)
        feeds = np.concatenate([batch.feeds["x"] for batch in batches])
        np.testing.assert_array_equal(feeds, np.stack([2 * expected, 2 * expected + 1], axis=1))
        assert feeds.dtype == np.float32
    assert len(source) == len(expected) and source.has_labels


def test_options_arrive_as_text():
    assert len(_open("labelled,sizes=2/2")) == 4


def test_without_labels_and_for_a_fixed_batch():
    source = _open("plain", [TensorSpec("x", "float32", (2, 2))])
    batches = list(source.batches(64))
    assert not source.has_labels and [batch.count for batch in batches] == [2, 1, 1]
    assert all(batch.feeds["x"].shape == (2, 2) for batch in batches)


def test_a_slice_ends_a_function_that_does_not():
    source = _open("endless[2:5]")
    assert [batch.feeds["x"][0, 0] for batch in source.batches(8)] == [4, 6, 8]


def test_leave_is_needed():
    with pytest.raises(UsageError, match="--allow-python"):
        open_source("python:samples:plain", INPUTS)


@pytest.mark.parametrize(
    "text", ["python", "python:", "python:samples", "python:a b:c", "python:samples:f:g", "python:../x:f"]
)
def test_what_names_no_function(text):
    with pytest.raises(UsageError, match="is not python:module:function"):
        open_source(text, INPUTS, allow_python=True)


def test_what_cannot_be_imported():
    for text, message in [
        ("nowhere_to_be_found:f", "ModuleNotFoundError"),
        ("broken:f", "ZeroDivisionError: division by zero"),
        ("samples:missing", "AttributeError"),
        ("samples:number", "is not a function"),
    ]:
        with pytest.raises(DataError, match=message):
            open_source(f"python:{text}", INPUTS, allow_python=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises", "python:samples:raises raised KeyError: 'lost'"),
        ("plain,depth=3", "raised TypeError"),
        ("mixed", "labels with some batches only"),
        ("empty", "no samples"),
        ("nothing", "raised TypeError"),
        ("text", "gave str"),
        ("other", r"gave no input 'x' \(it gave y\)"),
        ("wide", "shape 3x5"),
        ("words", "labels of type <U3"),
        ("short", r"arrays of \[2, 3\] rows"),
        ("hollow", r"arrays of \[0\] rows"),
        ("ragged", "raised ValueError"),
        ("nan", "input 'x': nan in row 3"),
        ("forgetful", "fewer rows when it was called again"),
    ],
)
def test_what_goes_wrong(name, message):
    with pytest.raises(DataError, match=message) as caught:
        list(_open(name).batches(4))
    if "raised" in message:
        assert caught.value.__cause__ is not None
