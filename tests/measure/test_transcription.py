"""wer and cer against jiwer on all texts at once; CTC written out by hand; vocabularies as their tools write them."""

import sys
from pathlib import Path

import jiwer
import numpy as np
import pytest

from compressctl.data.options import Options
from compressctl.data.source import Batch
from compressctl.data.transcripts import decode, encode
from compressctl.data.vocabulary import Vocabulary, find_vocabulary, read_vocabulary
from compressctl.errors import DataError, MissingExtraError, UsageError
from compressctl.measure.accuracy import compare
from compressctl.measure.metrics import parse_metric
from compressctl.numerics.ctc import greedy

LETTERS = Vocabulary(Path("vocab.json"), ("<pad>", "|", *"abcd"))


def written(texts, steps=60):
    """Scores whose best path is each letter twice, with blanks between letters that are alike."""
    ids = {" ": 1, **{letter: LETTERS.tokens.index(letter) for letter in "abcd"}}
    scores = np.zeros((len(texts), steps, 6), np.float32)
    for row, text in zip(scores, texts, strict=True):
        path = [one for letter in text for one in (ids[letter], ids[letter], 0)]
        path += [0] * (steps - len(path))
        row[np.arange(steps), path] = 1
    return scores


def judged(name, told, scores, vocabulary=LETTERS):
    metric, labels = parse_metric(name), encode(told)
    for rows in np.array_split(np.arange(len(told)), 3):
        metric.update({"y": scores[rows]}, Batch({}, labels[rows], len(rows), vocabulary=vocabulary))
    return metric, metric.result()


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    words = lambda: " ".join("".join(rng.choice(list("abcd"), rng.integers(1, 4))) for _ in range(rng.integers(1, 5)))  # noqa: E731
    return [words() for _ in range(40)], [words() for _ in range(39)] + [""]


def test_rates_are_those_of_jiwer(texts):
    told, heard = texts
    for name, rate, counted in (("wer", jiwer.wer, str.split), ("cer", jiwer.cer, list)):
        metric, found = judged(name, told, written(heard))
        np.testing.assert_allclose(found.value, rate(told, heard))
        assert found.low < found.value < found.high and found.count == 40
        assert found.per_sample[:, 1].tolist() == [len(counted(text)) for text in told]
        rows = np.array([[0, 0, 7], [39, 3, 2]])
        expected = [rate([told[i] for i in row], [heard[i] for i in row]) for row in rows]
        np.testing.assert_allclose(metric.statistic(found.per_sample, rows), expected)
        _, right = judged(name, told, written(told))
        assert right.value == 0
        assert compare(right, found, metric).drop == pytest.approx(found.value)  # more errors are worse


def test_what_is_nan_says_nothing():
    scores = written(["ab c", "ab c", "ab c"])
    scores[1, 2, 0] = np.nan
    assert judged("wer", ["ab c"] * 3, scores)[1].per_sample.tolist() == [[0, 2], [2, 2], [0, 2]]


def test_a_best_path_by_hand():
    path = [0, 2, 2, 0, 2, 3, 3, 1, 1, 3, 0, 0]  # - a a - a b b | | b - -
    assert greedy(np.eye(6)[path], 0).tolist() == [2, 2, 3, 1, 3]
    assert LETTERS.spell([2, 2, 3, 1, 3], 6) == "aab b"
    assert greedy(np.eye(6)[path], 3).tolist() == [0, 2, 0, 2, 1, 0]


@pytest.mark.parametrize(
    ("name", "content", "classes", "blank", "ids", "text"),
    [
        ("vocab.json", '{"a": 1, "<pad>": 0, "|": 2}', 3, 0, [1, 2, 1], "a a"),  # wav2vec 2.0
        ("vocab.json", '{"a": 0, "|": 1, "[UNK]": 2, "[PAD]": 3}', 4, 3, [0, 2, 1, 0], "a a"),
        ("vocab.json", '["-", "|", "a"]', 3, 0, [2, 1, 2], "a a"),  # torchaudio
        ("tokens.txt", "<blk> 0\n▁a 1\nb 2\n", 3, 0, [1, 2, 1], "ab a"),  # icefall
        ("tokens.txt", "  0\na 1\n<blk> 2\n", 3, 2, [1, 0, 1], "a a"),  # NeMo's, exported
        ("tokens.txt", " \na\n|\n", 4, 3, [1, 0, 2, 1], "a |a"),  # NeMo's labels: the blank is behind them
    ],
)
def test_vocabularies_as_they_are_written(tmp_path, name, content, classes, blank, ids, text):
    (tmp_path / name).write_text(content)
    found = read_vocabulary(find_vocabulary(None, [tmp_path / "none", tmp_path]), Options("d", {}))
    assert found.blank_of(classes) == blank and found.spell(ids, classes) == text


def test_the_blank_can_be_said(tmp_path):
    file = tmp_path / "tokens.txt"
    file.write_text("a\nb\n")

    def read(blank):
        return read_vocabulary(file, Options("d", {"blank": blank}))

    assert read("last").blank_of(2) == 1 and read("last").blank_of(3) == 2 and read("1").blank_of(2) == 1
    assert read("0").spell([1, 2], 3) == "ab"  # PaddleOCR: the blank comes before the tokens
    with pytest.raises(UsageError, match="blank=4: last, or a class from 0 to 2 is wanted"):
        read("4")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"a": 0, "b": 2}', "tokens are to have the classes 0, 1, 2"),
        ('{"eng": {"a": 0}}', "tokens are to have the classes 0, 1, 2"),
        ('["a", "a"]', "tokens are to have the classes 0, 1, 2"),
        ("{", "cannot be read"),
    ],
)
def test_damaged_vocabularies_are_refused(tmp_path, content, said):
    (tmp_path / "vocab.json").write_text(content)
    with pytest.raises(DataError, match=said):
        read_vocabulary(tmp_path / "vocab.json", Options("d", {}))


def test_what_it_does_not_judge(monkeypatch):
    assert decode(encode(["über alles", "a"])[0]) == "über alles"
    with pytest.raises(
        DataError, match=r"of the 6 tokens of vocab\.json \(V is 6, or 7 with a blank\): no output fits"
    ):
        judged("wer", ["a", "b", "c"], np.zeros((3, 5, 9), np.float32))
    with pytest.raises(DataError, match="transcripts are judged by wer and cer alone"):
        judged("top1", ["a", "b", "c"], written(["a", "b", "c"]))
    with pytest.raises(DataError, match="transcripts are judged by wer and cer alone"):
        parse_metric("wer").update({"y": written(["a"])}, Batch({}, np.zeros(1, int), 1))
    monkeypatch.setitem(sys.modules, "jiwer", None)
    with pytest.raises(MissingExtraError, match="the metric cer:y needs"):
        parse_metric("cer:y")
