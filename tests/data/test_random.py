"""Random feeds: shapes, ranges that models accept, the same numbers for the same seed, and the loud note."""

import numpy as np
import pytest

from compressctl.data.notation import open_source
from compressctl.data.random import random_feeds
from compressctl.errors import UsageError
from compressctl.tensorspec import TensorSpec

BERT = [TensorSpec(name, "int64", ("batch", "seq")) for name in ("input_ids", "attention_mask", "token_type_ids")]


def test_a_text_models_feeds_are_valid():
    feeds = random_feeds([*BERT, TensorSpec("position_ids", "int64", ("batch", "seq"))], 3, 0)
    assert all(array.shape == (3, 128) and array.dtype == np.int64 for array in feeds.values())
    assert feeds["input_ids"].min() >= 0 and 500 < feeds["input_ids"].max() < 1000
    assert set(np.unique(feeds["attention_mask"])) == {0, 1} and (feeds["attention_mask"][:, 0] == 1).all()
    assert (feeds["token_type_ids"] == 0).all()
    np.testing.assert_array_equal(feeds["position_ids"], np.tile(np.arange(128), (3, 1)))


def test_types_and_fixed_dimensions():
    inputs = [
        TensorSpec("image", "float16", ("batch", 3, 50, 40)),
        TensorSpec("bytes", "uint8", (None, 1000)),
        TensorSpec("signed", "int8", ("N", 1000)),
        TensorSpec("state", "float64", (1, "batch", 8)),
        TensorSpec("flag", "bool", ("batch", 100)),
        TensorSpec("choice", "int32", ("batch", 100)),
    ]
    feeds = random_feeds(inputs, 5, 0)
    assert {name: array.dtype.name for name, array in feeds.items()} == {spec.name: spec.dtype for spec in inputs}
    shapes = [(5, 3, 50, 40), (5, 1000), (5, 1000), (1, 5, 8), (5, 100), (5, 100)]
    assert [array.shape for array in feeds.values()] == shapes
    assert (
        abs(feeds["image"].astype(np.float64).mean()) < 0.02 and abs(feeds["image"].astype(np.float64).std() - 1) < 0.02
    )
    assert (feeds["bytes"].min(), feeds["bytes"].max()) == (0, 255)
    assert (feeds["signed"].min(), feeds["signed"].max()) == (-128, 127)
    assert feeds["choice"].min() >= 0 and feeds["choice"].max() < 10


@pytest.mark.parametrize(
    ("shape", "sizes", "expected"),
    [
        (("batch", "sequence_length"), {}, (2, 128)),
        (("batch", "sequence_length"), {"sequence": 7}, (2, 7)),
        (("batch", "sequence_length"), {"sequence_length": 9, "sequence": 7}, (2, 9)),
        (("n", 3, "height", "width"), {"height": 96}, (2, 3, 96, 224)),
        ((None, 3, None, None), {"side": 64}, (2, 3, 64, 64)),
        ((None, None, None), {}, (2, 128, 16)),
        (("seq", "batch", 5), {}, (128, 2, 5)),
        (("rows", 4), {}, (2, 4)),
    ],
)
def test_dynamic_dimensions(shape, sizes, expected):
    assert random_feeds([TensorSpec("x", "float32", shape)], 2, 0, sizes)["x"].shape == expected


def test_ids_can_be_bounded():
    assert random_feeds(BERT, 8, 0, {"ids": 50})["input_ids"].max() < 50


def test_the_source_repeats_itself_and_speaks_up():
    source = open_source("random:10,seq=6", BERT, seed=3)
    first, second = ([batch.feeds["input_ids"] for batch in source.batches(4)] for _ in range(2))
    assert [len(array) for array in first] == [4, 4, 2] and len(source) == 10
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(
        first[0], next(open_source("random:10,seq=6", BERT, seed=4).batches(4)).feeds["input_ids"]
    )
    (note,) = source.notes
    assert note.kind == "warning" and "RANDOM" in note.text and not source.judgeable and not source.has_labels


def test_a_fixed_batch_is_filled_up():
    batches = list(open_source("random:10", [TensorSpec("x", "float32", (4, 2))]).batches(1))
    assert [batch.count for batch in batches] == [4, 4, 2]
    assert all(batch.feeds["x"].shape == (4, 2) for batch in batches)


def test_defaults_and_unknown_dimensions():
    assert len(open_source("random", BERT)) == 64
    with pytest.raises(UsageError, match="did you mean 'seq'"):
        open_source("random,sek=9", BERT)
    with pytest.raises(UsageError, match="seq=0"):
        open_source("random,seq=0", BERT)


@pytest.mark.parametrize(
    ("mask", "sizes", "expected"),
    [
        ("past_sequence_length + sequence_length", {}, 256),
        ("total_sequence_length", {}, 256),
        ("total_sequence_length", {"sequence_length": 1, "past_sequence_length": 7}, 8),
        ("total_sequence_length", {"total_sequence_length": 9}, 9),
        ("2*sequence_length", {"sequence_length": 5}, 10),
        ("past_sequence_length - 1", {"past_sequence_length": 4}, 3),
    ],
)
def test_sizes_that_are_made_of_others(mask, sizes, expected):
    inputs = [
        TensorSpec("input_ids", "int64", ("batch_size", "sequence_length")),
        TensorSpec("attention_mask", "int64", ("batch_size", mask)),
        TensorSpec("past_key", "float32", ("batch_size", 4, "past_sequence_length", 8)),
    ]
    assert random_feeds(inputs, 2, 0, sizes)["attention_mask"].shape == (2, expected)


def test_a_name_has_one_size_wherever_it_stands():
    specs = [
        TensorSpec("ids", "int64", ("batch", "step")),
        TensorSpec("mask", "int64", ("batch", "past + step")),
        TensorSpec("key", "float32", ("batch", 2, "past", 32)),
    ]
    for sizes in ({}, {"sequence": 6}, {"past": 3}):
        shapes = {name: array.shape for name, array in random_feeds(specs, 2, 0, sizes).items()}
        assert shapes["mask"] == (2, shapes["key"][2] + shapes["ids"][1])
        assert shapes["key"][2] == sizes.get("past", shapes["ids"][1])
