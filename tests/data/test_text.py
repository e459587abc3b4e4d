"""Texts against `tokenizers` itself."""

import json
import shutil
import sys

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from compressctl.__main__ import run
from compressctl.data.fingerprint import fingerprint, source_files
from compressctl.data.notation import open_source
from compressctl.data.subset import every
from compressctl.errors import DataError, MissingExtraError, UsageError
from compressctl.model_folder import model_file
from compressctl.tensorspec import TensorSpec
from tests.samples import MLP

NAMES = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
BERT = [TensorSpec(name, "int64", ("batch", "length")) for name in NAMES]
TEXTS = [f"cat {i} sat on the mat " + "very " * (7 * i % 23) + "long" for i in range(60)]


def _tokenizer(folder, **padding):
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(TEXTS, trainers.WordLevelTrainer(special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    if padding:
        tokenizer.enable_padding(**padding)
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def _jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def tokenizer(tmp_path):
    return _tokenizer(tmp_path)


def _rows(source, size=8):
    """Return each row's tokens without padding, with its types and label, in the order of feeding."""
    found = []
    for batch in source.batches(size):
        for row, mask in enumerate(batch.feeds["attention_mask"]):
            ids, types, positions = (batch.feeds[name][row] for name in (NAMES[0], *NAMES[2:]))
            kept = mask == 1
            assert (ids[~kept] == 0).all() and positions[kept].tolist() == list(range(kept.sum()))
            label = None if batch.labels is None or batch.pairs else batch.labels[row]
            found.append((ids[kept].tolist(), types[kept].tolist(), label))
    return found


def test_texts_are_what_the_tokenizer_makes_of_them(tmp_path, tokenizer):
    data = _jsonl(tmp_path / "d.jsonl", [{"text": text, "label": i} for i, text in enumerate(TEXTS)])
    source = open_source(data, BERT)
    found = {label: ids for ids, _, label in _rows(source)}
    assert found == {i: encoding.ids for i, encoding in enumerate(tokenizer.encode_batch(TEXTS))}
    assert [label for *_, label in _rows(source, 8)] == [label for *_, label in _rows(source, 5)]
    padded = sum(batch.feeds["input_ids"].size for batch in source.batches(8))
    assert padded < 1.2 * sum(map(len, found.values()))
    one_size = [batch.feeds["input_ids"].shape[1] for batch in source.of_one_size().batches(8)]
    assert set(one_size) == {max(map(len, found.values()))}
    parts = [{label for *_, label in _rows(every(source, 5, held=held))} for held in (True, False)]
    assert not parts[0] & parts[1] and len(parts[0] | parts[1]) == 60


def test_slices_take_rows_of_the_table(tmp_path, tokenizer):
    data = _jsonl(tmp_path / "d.jsonl", [{"text": text, "label": i} for i, text in enumerate(TEXTS)])
    assert {label for *_, label in _rows(open_source(f"{data}[10:30:2]", BERT))} == set(range(10, 30, 2))


def test_pairs_are_one_sequence_or_two(tmp_path, tokenizer):
    data = _jsonl(
        tmp_path / "p.jsonl",
        [{"premise": a, "hypothesis": b, "label": i} for i, (a, b) in enumerate(zip(TEXTS, TEXTS[::-1], strict=True))],
    )
    expected = tokenizer.encode_batch(list(zip(TEXTS, TEXTS[::-1], strict=True)))
    source = open_source(data, BERT)
    assert {label: (ids, types) for ids, types, label in _rows(source)} == {
        i: (encoding.ids, encoding.type_ids) for i, encoding in enumerate(expected)
    }
    assert any("one sequence" in note.text for note in source.notes)
    apart = open_source(f"{data},pairs=true", BERT)
    assert apart.pairs and len(apart) == 120
    for size in (7, 16):
        ids = [ids for ids, *_ in _rows(apart, size)]
        labels = np.concatenate([batch.labels for batch in apart.batches(size)])
        both = [encoding.ids for encoding in tokenizer.encode_batch(TEXTS)]
        assert [ids[0::2], ids[1::2]] == [[both[i] for i in labels], [both[59 - i] for i in labels]]
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"]}')
    assert open_source(data, BERT).pairs


def test_fixed_lengths_cut_and_fill(tmp_path, tokenizer):
    data = _jsonl(tmp_path / "d.jsonl", [{"text": text} for text in TEXTS])
    source = open_source(data, [TensorSpec("ids", "int32", (4, 10))])
    tokenizer.enable_truncation(10)
    tokenizer.enable_padding(length=10)
    expected = [encoding.ids for encoding in tokenizer.encode_batch(TEXTS)]
    fed = np.concatenate([batch.feeds["ids"][: batch.count] for batch in source.batches(3)])
    assert fed.dtype == np.int32 and fed.tolist() == expected
    (note,) = source.notes
    long = sum(7 + 7 * i % 23 > 8 for i in range(60))
    assert note.text == f"{long} of 60 texts have more than 10 tokens: cut off"
    shorter = open_source(f"{data},max_length=5", BERT)
    assert max(len(ids) for ids, *_ in _rows(shorter)) == 5


def test_padding_is_on_the_tokenizers_side_and_length(tmp_path):
    _tokenizer(tmp_path, direction="left", pad_id=0, length=40)
    data = _jsonl(tmp_path / "d.jsonl", [{"text": text} for text in TEXTS])
    batch = next(open_source(data, BERT).batches(60))
    assert (np.diff(batch.feeds["attention_mask"], axis=1) >= 0).all() and batch.feeds["input_ids"].shape[1] < 40
    unmasked = next(open_source(data, BERT[:1]).batches(60))
    assert unmasked.feeds["input_ids"].shape == (60, 40)


def test_without_a_mask_nothing_is_padded(tmp_path, tokenizer):
    data = _jsonl(tmp_path / "d.jsonl", [{"text": text, "label": i} for i, text in enumerate(TEXTS)])
    source, found = open_source(data, BERT[:1]), {}
    for batch in source.batches(8):
        found |= dict(zip(batch.labels.tolist(), batch.feeds["input_ids"].tolist(), strict=True))
    assert [found[i] for i in range(60)] == [encoding.ids for encoding in tokenizer.encode_batch(TEXTS)]


def test_classes_are_those_of_the_configuration_or_sorted(tmp_path, tokenizer):
    rows = [{"text": text, "label": "bad" if i % 3 else "good"} for i, text in enumerate(TEXTS)]
    data = _jsonl(tmp_path / "d.jsonl", rows)
    by_name = {tuple(encoding.ids): i for i, encoding in enumerate(tokenizer.encode_batch(TEXTS))}

    def labels(text):
        source = open_source(text, BERT)
        return {by_name[tuple(ids)]: int(label) for ids, _, label in _rows(source)}, source.notes

    found, (note,) = labels(data)
    assert found == {i: int(i % 3 == 0) for i in range(60)} and "bad = 0, good = 1" in note.text
    assert labels(f"{data}[0:1]")[0] == {0: 1}
    (tmp_path / "config.json").write_text('{"label2id": {"good": 0, "bad": 1}}')
    assert labels(data) == ({i: int(i % 3 != 0) for i in range(60)}, ())
    _jsonl(tmp_path / "d.jsonl", [*rows, {"text": "x", "label": "ugly"}])
    with pytest.raises(DataError, match=r"row 61: there is no class 'ugly'"):
        open_source(data, BERT)


def test_windows_cover_the_whole_text(tmp_path, tokenizer):
    data = _jsonl(tmp_path / "d.jsonl", [{"text": text} for text in TEXTS])
    stream = [
        i for e in tokenizer.encode_batch(TEXTS, add_special_tokens=False) for i in (*e.ids, 3)
    ]  # [SEP] ends documents
    source = open_source(f"{data},window=16", BERT[:1])
    fed = np.concatenate([batch.feeds["input_ids"] for batch in source.batches(7)])
    assert fed.reshape(-1).tolist() == stream[: len(stream) // 16 * 16] and not source.has_labels
    (batch,) = open_source(f"{data}[:3],window=16,stride=4", BERT[:1]).batches(8)
    assert batch.feeds["input_ids"].tolist() == [stream[i : i + 16] for i in (0, 4, 8)]
    assert batch.labels[1].tolist() == [-100] * 12 + stream[16:20] and batch.labels[0].tolist() == stream[:16]
    (tmp_path / "d.txt").write_text("\n\n".join(TEXTS))
    whole = tokenizer.encode("\n\n".join(TEXTS), add_special_tokens=False).ids
    lines = open_source(f"{tmp_path / 'd.txt'},window=32", BERT[:1])
    fed = np.concatenate([batch.feeds["input_ids"] for batch in lines.batches(7)])
    assert fed.reshape(-1).tolist() == whole[: len(whole) // 32 * 32]


def test_retrieval_feeds_queries_and_documents(tmp_path, tokenizer):
    queries = _jsonl(tmp_path / "q.jsonl", [{"_id": f"q{i}", "text": TEXTS[i]} for i in range(4)])
    _jsonl(tmp_path / "c.jsonl", [{"_id": f"d{i}", "title": "mat", "text": text} for i, text in enumerate(TEXTS)])
    qrels = tmp_path / "qrels.tsv"
    qrels.write_text("query-id\tcorpus-id\tscore\nq0\td7\t2\nq2\td7\t1\nq2\td9\t0\nq3\td1\t1\n")
    source = open_source(f"{queries}[:3],documents={tmp_path / 'c.jsonl'},relevance={qrels}", BERT)
    assert source.relevance.queries == 3 and source.relevance.grades == {0: {10: 2.0}, 2: {10: 1.0}}
    texts = [*TEXTS[:3], *(f"mat {text}" for text in TEXTS)]
    found = {int(label): ids for ids, _, label in _rows(source)}
    assert found == {i: encoding.ids for i, encoding in enumerate(tokenizer.encode_batch(texts))}
    qrels.write_text("query-id\tcorpus-id\tscore\nq0\td99\t2\n")
    with pytest.raises(DataError, match=r"qrels.tsv: row 1: .*c.jsonl has no document 'd99'"):
        open_source(source.notation, BERT)


def test_the_tokenizer_is_found_beside_the_model_and_counts(tmp_path, tokenizer):
    folder = tmp_path / "hub"
    (folder / "onnx").mkdir(parents=True)
    (tmp_path / "tokenizer.json").rename(folder / "tokenizer.json")
    data = _jsonl(tmp_path / "d.jsonl", [{"text": text} for text in TEXTS])
    model = folder / "onnx" / "model.onnx"
    assert len(open_source(data, BERT, beside=model)) == 60
    assert source_files(data, model)[1:] == [folder / "tokenizer.json"]
    before = fingerprint(data, model)
    assert before == fingerprint(data, folder / "model.onnx")
    (folder / "config.json").write_text("{}")
    assert before != fingerprint(data, model)
    with pytest.raises(DataError, match=r"there is no tokenizer.json in"):
        open_source(data, BERT)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([{"text": "cat"}, {"text": " "}], "", r"d.jsonl: row 2 has no text in 'text'"),
        ([{"text": "cat"}, {"text": 5}], "", r"row 2: 'text' is 5, which is no text"),
        ([{"text": "cat"}, {"label": 5}], "", r"row 2 has no text"),
        ([{"text": "cat", "label": 1}, {"text": "cat"}], "", r"row 2 has no label in 'label'"),
        ([{"a": "cat", "b": "mat"}], "", r"none of its columns is known to hold texts: a, b \(add text=COLUMN\)"),
        ([{"text": "cat"}], ",text=txt", r"no column 'txt' for the texts \(did you mean 'text'"),
        ([{"text": "cat"}], ",pairs=true", r"no second column of texts"),
        ([{"text": "cat"}], ",window=64", r"has 2 tokens, which fill no window of 64"),
        ([{"text": "cat"}], ",tokenizer=other.json", r"there is no tokenizer other.json"),
        ([{"text": "cat"}], ",max_length=2", r"adds 3 tokens to texts, so 2 are too few"),
    ],
)
def test_what_is_refused(tmp_path, tokenizer, rows, options, message):
    with pytest.raises(DataError, match=message):
        open_source(_jsonl(tmp_path / "d.jsonl", rows) + options, BERT)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("pair=b", r"pair= names the second texts"),
        ("stride=4", r"stride= is the step of windows"),
        ("documents=c.jsonl", r"belong together"),
        ("lables=x", r"unknown option 'lables'.*labels"),
    ],
)
def test_options_that_cannot_be(tmp_path, tokenizer, options, message):
    with pytest.raises(UsageError, match=message):
        open_source(f"{_jsonl(tmp_path / 'd.jsonl', [{'text': 'cat', 'b': 'mat'}])},{options}", BERT)


def test_a_tokenizer_of_another_model_and_other_inputs_are_refused(tmp_path, tokenizer):
    data = _jsonl(tmp_path / "d.jsonl", [{"text": text} for text in TEXTS])
    with pytest.raises(
        DataError, match=r"row \d+: .*tokenizer.json gives '.*' the id \d+, but the model knows 9 tokens"
    ):
        open_source(data, BERT, limits={"input_ids": 9})
    with pytest.raises(DataError, match="texts feed input_ids"):
        open_source(data, [*BERT, TensorSpec("image", "float32", (1, 3, 8, 8))])
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(DataError, match=r"tokenizer\.json is no tokenizer"):
        open_source(data, BERT)


def test_without_the_library_the_extra_is_named(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"a table of texts needs .*compressctl\[text\]"):
        open_source(_jsonl(tmp_path / "d.jsonl", [{"text": "cat"}]), BERT)


def test_a_folder_stands_for_its_model(tmp_path, capsys):
    (tmp_path / "hub" / "onnx").mkdir(parents=True)
    assert model_file(tmp_path / "hub") == tmp_path / "hub"
    shutil.copy(MLP, tmp_path / "hub" / "onnx" / "model.onnx")
    assert run(["inspect", str(tmp_path / "hub"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(tmp_path / "hub" / "onnx" / "model.onnx")
    shutil.copy(MLP, tmp_path / "hub" / "model.onnx")
    shutil.copy(MLP, tmp_path / "hub" / "other.onnx")
    assert model_file(tmp_path / "hub") == tmp_path / "hub" / "model.onnx"
    assert run(["inspect", str(tmp_path)]) == 3
    assert "no folder that holds a model.onnx" in capsys.readouterr().err
