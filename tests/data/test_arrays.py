"""npz and npy files: every row in its place whatever the batch, damage found, memory bounded."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressctl.data.notation import open_source
from compressctl.errors import CompressctlError, DataError
from compressctl.tensorspec import TensorSpec

X = np.random.default_rng(0).normal(size=(23, 3)).astype(np.float32)
IDS = np.random.default_rng(1).integers(0, 99, (23, 4))
INPUTS = [TensorSpec("x", "float32", ("batch", 3)), TensorSpec("ids", "int64", ("batch", "sequence"))]
SAVE = {"stored": np.savez, "compressed": np.savez_compressed}


def _all(source, batch_size):
    batches = list(source.batches(batch_size))
    feeds = {name: np.concatenate([batch.feeds[name][: batch.count] for batch in batches]) for name in batches[0].feeds}
    labels = np.concatenate([batch.labels for batch in batches]) if batches[0].labels is not None else None
    return feeds, labels


@pytest.mark.parametrize("kind", SAVE)
@pytest.mark.parametrize("selected", ["", "[5:]", "[:7]", "[-9:-2]", "[3:20:4]"])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_rows_labels_and_slices(tmp_path, kind, selected, batch_size):
    SAVE[kind](tmp_path / "d.npz", x=X, ids=IDS, labels=np.arange(23))
    source = open_source(f"{tmp_path}/d.npz{selected}", INPUTS)
    rows = eval(f"np.arange(23){selected}")
    for _ in range(2):  # a source can be read again
        feeds, labels = _all(source, batch_size)
        np.testing.assert_array_equal(feeds["x"], X[rows])
        np.testing.assert_array_equal(feeds["ids"], IDS[rows])
        np.testing.assert_array_equal(labels, rows)
    assert len(source) == len(rows) and source.has_labels and source.judgeable and not source.notes


@pytest.mark.parametrize("kind", SAVE)
@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 64])
@pytest.mark.parametrize("selected", ["", "[2:9:3]"])
def test_pairs_are_fed_member_after_member(tmp_path, kind, batch_size, selected):
    score = np.linspace(0, 5, 11)
    SAVE[kind](tmp_path / "d.npz", x=X[:22], ids=IDS[:22], score=score)
    source = open_source(f"{tmp_path}/d.npz{selected},labels=score,pairs=true", INPUTS)
    feeds, labels = _all(source, batch_size)
    pairs = eval(f"np.arange(11){selected}")
    assert source.pairs and len(source) == 2 * len(pairs)
    np.testing.assert_array_equal(feeds["x"][0::2], X[:11][pairs])
    np.testing.assert_array_equal(feeds["x"][1::2], X[11:22][pairs])
    np.testing.assert_array_equal(labels, score[pairs])


def test_a_fixed_batch_is_filled_up(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, y=np.arange(23))
    batches = list(open_source(f"{tmp_path}/d.npz", [TensorSpec("x", "float32", (8, 3))]).batches(100))
    assert [batch.count for batch in batches] == [8, 8, 7]
    assert all(batch.feeds["x"].shape == (8, 3) for batch in batches)
    np.testing.assert_array_equal(batches[-1].feeds["x"], np.concatenate([X[16:], X[22:]]))
    np.testing.assert_array_equal(batches[-1].labels, np.arange(16, 23))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_fortran_order_and_byte_order(tmp_path, save):
    save(tmp_path / "d.npz", x=np.asfortranarray(X).astype(">f8", order="F"), ids=IDS.astype(">i4"))
    feeds, labels = _all(open_source(f"{tmp_path}/d.npz", INPUTS), 5)
    np.testing.assert_array_equal(feeds["x"], X)
    np.testing.assert_array_equal(feeds["ids"], IDS)
    assert feeds["x"].dtype == np.float32 and feeds["ids"].dtype == np.int64 and labels is None


def test_npy_feeds_the_only_input(tmp_path):
    np.save(tmp_path / "x.npy", X)
    feeds, labels = _all(open_source(f"{tmp_path}/x.npy[2:]", INPUTS[:1]), 4)
    np.testing.assert_array_equal(feeds["x"], X[2:])
    assert labels is None
    with pytest.raises(DataError, match=r"one array, but the model has the inputs x, ids"):
        open_source(f"{tmp_path}/x.npy", INPUTS)


def test_an_input_named_y_is_not_a_label(tmp_path):
    np.savez(tmp_path / "d.npz", y=X)
    assert not open_source(f"{tmp_path}/d.npz", [TensorSpec("y", "float32", ("n", 3))]).has_labels


def test_unused_arrays_are_noted(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, score=X)
    (note,) = open_source(f"{tmp_path}/d.npz", INPUTS[:1]).notes
    assert note.kind == "skipped" and "score" in note.text


def _nan(at):
    array = X.copy()
    array[at, 1] = np.nan
    return array


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"x": X, "z": X}, "", r"no array 'ids' for the model's input 'ids' \(it has x, z\)"),
        ({"x": X, "ids": IDS}, ",labels=cls", r"no array 'cls' for the labels \(it has x, ids\)"),
        ({"x": X, "ids": IDS[:9]}, "", "'ids' has 9 rows, but .*'x' has 23"),
        ({"x": X[:, :2], "ids": IDS}, "", "shape 23x2, which does not fit the model's input x:batchx3:float32"),
        ({"x": X, "ids": IDS * 1.5}, "", "'ids' has type float64"),
        ({"x": X, "ids": IDS, "y": np.arange(5)}, "", "'y' has 5 labels for 23 rows"),
        ({"x": X, "ids": IDS, "y": np.array(["a"] * 23)}, "", "'y' has type <U1, but labels are numbers"),
        ({"x": X, "ids": IDS}, ",pairs=true", "23 rows, which cannot be pairs"),
        ({"x": X, "ids": np.array([{}] * 23)}, "", "'ids' holds pickled Python objects"),
        ({"x": X, "ids": np.array(3)}, "", "'ids' is a single number"),
        ({"x": X[:0], "ids": IDS[:0]}, "", "no samples"),
        ({"x": np.zeros(23, [("a", "f4"), ("b", "i4")]), "ids": IDS}, "", "does not fit"),
    ],
)
def test_what_does_not_open(tmp_path, arrays, options, message):
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(DataError, match=message):
        open_source(f"{tmp_path}/d.npz{options}", INPUTS)


def test_pickled_labels_are_refused_when_they_are_used(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, names=np.array([{}] * 23))
    assert len(open_source(f"{tmp_path}/d.npz", INPUTS[:1])) == 23
    with pytest.raises(DataError, match="pickled"):
        open_source(f"{tmp_path}/d.npz,labels=names", INPUTS[:1])


@pytest.mark.parametrize("kind", SAVE)
def test_nan_is_found_with_its_row(tmp_path, kind):
    SAVE[kind](tmp_path / "d.npz", x=_nan(17), y=np.arange(23.0))
    source = open_source(f"{tmp_path}/d.npz[3:]", INPUTS[:1])
    with pytest.raises(DataError, match=r"input 'x': nan in row 17"):
        list(source.batches(4))
    SAVE[kind](tmp_path / "e.npz", x=X, y=np.where(np.arange(23) == 9, np.inf, 0))
    with pytest.raises(DataError, match=r"labels: inf in row 9"):
        list(open_source(f"{tmp_path}/e.npz", INPUTS[:1]).batches(4))


def test_an_archive_without_arrays(tmp_path):
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match="holds no arrays"):
        open_source(f"{tmp_path}/d.npz", INPUTS)


@pytest.mark.parametrize("kind", SAVE)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_truncated_files(tmp_path, kind, share):
    SAVE[kind](tmp_path / "d.npz", x=X, ids=IDS)
    whole = (tmp_path / "d.npz").read_bytes()
    (tmp_path / "d.npz").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"d\.npz cannot be read"):
        open_source(f"{tmp_path}/d.npz", INPUTS)


@pytest.mark.parametrize("kind", SAVE)
@settings(max_examples=150, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_a_damaged_archive_never_gives_other_numbers(tmp_path_factory, kind, place, value):
    buffer = io.BytesIO()
    SAVE[kind](buffer, x=X)
    damaged = bytearray(buffer.getvalue())
    damaged[int(place * len(damaged))] = value
    path = tmp_path_factory.getbasetemp() / f"damaged_{kind}.npz"
    path.write_bytes(damaged)
    try:
        feeds, _ = _all(open_source(str(path), INPUTS[:1]), 5)
    except CompressctlError:
        return
    np.testing.assert_array_equal(feeds["x"], X)


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 127), value=st.binary(min_size=1, max_size=4))
def test_a_damaged_npy_header_is_an_error_or_harmless(tmp_path_factory, place, value):
    buffer = io.BytesIO()
    np.save(buffer, X)
    damaged = bytearray(buffer.getvalue())
    damaged[place : place + len(value)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.npy"
    path.write_bytes(damaged)
    try:
        _all(open_source(str(path), INPUTS[:1]), 5)
    except CompressctlError:
        return


@pytest.mark.parametrize("kind", SAVE)
def test_memory_does_not_grow_with_the_number_of_samples(tmp_path, kind):
    rows = np.tile(np.arange(4096, dtype=np.float32), (4096, 1))  # 64 MiB
    SAVE[kind](tmp_path / "d.npz", x=rows)
    source = open_source(f"{tmp_path}/d.npz", [TensorSpec("x", "float32", ("n", 4096))])
    tracemalloc.start()
    for batch in source.batches(16):
        assert batch.feeds["x"].shape == (16, 4096)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
