"""The notation: its parts, its slices against Python's own, and that no text makes anything but a one-line error."""

import contextlib

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compressctl.data.notation import open_source
from compressctl.data.parse import parse_notation
from compressctl.errors import CompressctlError, DataError, UsageError
from compressctl.tensorspec import TensorSpec

INPUT = [TensorSpec("x", "float32", ("batch", 4))]
BOUNDS = st.none() | st.integers(-20, 20)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", x=np.arange(40, dtype=np.float32).reshape(10, 4), y=np.arange(10))
    return tmp_path


def test_parts():
    notation = parse_notation("a,b/c.npz[:256],labels=score,pairs=true")
    assert (notation.source, notation.slice) == ("a,b/c.npz", slice(None, 256))
    assert notation.options.all() == {"labels": "score", "pairs": "true"}


@pytest.mark.parametrize("text", ["C:\\data.npz", "../data/x.npz", "digits:test", "python:a.b:c"])
def test_a_source_without_slice_or_options_is_kept(text):
    assert parse_notation(text).source == text


@given(BOUNDS, BOUNDS, st.none() | st.integers(1, 5), st.integers(0, 15))
def test_slices_are_pythons(start, stop, step, count):
    words = ["" if bound is None else str(bound) for bound in (start, stop, step)]
    notation = parse_notation(f"x.npz[{':'.join(words)}]")
    expected = list(range(count))[start:stop:step]
    if expected:
        assert list(notation.select(count)) == expected
    else:
        with pytest.raises(DataError, match="no samples"):
            notation.select(count)


@pytest.mark.parametrize("text", ["x[3]", "x[a:b]", "x[1:2:3:4]", "x[]", "x[1.5:2]", "x[::0]", "x[::-1]", "x[²:]"])
def test_bad_slices(text):
    with pytest.raises(UsageError):
        parse_notation(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no source"),
        ("[:3]", "names no source"),
        ("x.npz,a=1,a=2", "'a' is given twice"),
        ("x.npz,labels=y[:3]", "in front of the options"),
    ],
)
def test_bad_notations(text, message):
    with pytest.raises(UsageError, match=message):
        parse_notation(text)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("dat.npz", DataError, "did you mean 'data.npz'"),
        ("digit:test", DataError, "did you mean 'digits:'"),
        ("nowhere/at/all", DataError, "it takes .npz"),
        ("data.npz,lables=y", UsageError, "did you mean 'labels'"),
        ("data.npz,pairs=yes", UsageError, "true, false is wanted"),
        ("data.npz[10:]", DataError, "no samples are left of 10"),
        ("random:none", UsageError, "not a number of samples"),
        ("random[:3]", UsageError, "no slices"),
        ("text.md", DataError, "neither a .npz or .npy file"),
        ("empty.npz", DataError, "neither"),
    ],
)
def test_what_does_not_open(here, text, error, message):
    (here / "text.md").write_text("hello")
    (here / "empty.npz").write_bytes(b"")
    with pytest.raises(error, match=message):
        open_source(text, INPUT)


def test_a_model_that_takes_no_samples_is_refused(here):
    with pytest.raises(DataError, match="share no batch"):
        open_source("random", [TensorSpec("a", "float32", (2, 3)), TensorSpec("b", "float32", (4, 3))])
    with pytest.raises(DataError, match="no inputs"):
        open_source("random", [])


WORDS = st.lists(
    st.sampled_from(["data.npz", "random", "digits", "python", ":", "[", "]", ",", "=", "-", "1", "9" * 30, "labels"])
    | st.text(max_size=3),
    max_size=8,
).map("".join)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notation")
    np.savez(folder / "data.npz", x=np.zeros((10, 4), np.float32), y=np.arange(10))
    return folder


@settings(max_examples=300, deadline=None)
@given(text=st.text() | WORDS)
def test_no_text_makes_anything_but_our_errors(text, folder):
    assume(not text.strip().startswith(("/", ".")))  # folders of the machine that runs the test
    with contextlib.chdir(folder):
        try:
            assert len(open_source(text, INPUT)) > 0
        except CompressctlError as error:
            assert len(str(error).splitlines()) == 1
