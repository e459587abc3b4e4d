"""Transcripts of sounds as labels, and a recogniser judged on them on the command line."""

import json

import numpy as np
import onnx
import pytest
import soundfile

from compressctl.__main__ import run
from compressctl.data.fingerprint import fingerprint, source_files
from compressctl.data.first import First
from compressctl.data.notation import open_source
from compressctl.data.subset import every
from compressctl.data.transcripts import decode
from compressctl.errors import DataError, UsageError
from compressctl.tensorspec import TensorSpec

WAVE = [TensorSpec("wave", "float32", ("n", 12))]
TOKENS = ("-", " ", "A", "B")
TEXTS = ("AB A", "BA", "B B AB")

# Each sample is a token: 0, .25, .5 or .75, whose score is the highest.
TEXT = """<ir_version: 10, opset_import: ["" : 17]>
g (float[n,12] wave) => (float[n,12,4] logits) <int64[1] last = {2}, float[4] places = {0, 0.25, 0.5, 0.75}> {
    steps = Unsqueeze (wave, last)
    gap = Sub (steps, places)
    far = Abs (gap)
    logits = Neg (far)
}"""


@pytest.fixture
def table(tmp_path):
    for index, text in enumerate(TEXTS):
        path = [TOKENS.index(letter) for letter in text] + [0] * 12
        soundfile.write(tmp_path / f"{index}.wav", np.array(path[:12]) / 4, 8000, subtype="FLOAT")
    rows = [{"audio": f"{index}.wav", "text": text.lower()} for index, text in enumerate(TEXTS)]
    (tmp_path / "said.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(TOKENS)}))
    onnx.save(onnx.parser.parse_model(TEXT), tmp_path / "model" / "model.onnx")
    return tmp_path / "said.jsonl"


def test_labels_are_code_points_and_keep_their_vocabulary(table):
    model = table.parent / "model" / "model.onnx"
    source = open_source(f"{table}[1:],case=upper", WAVE, beside=model)
    (batch,) = source.batches(8)
    assert batch.labels.tolist() == [[66, 65, -1, -1, -1, -1], [66, 32, 66, 32, 65, 66]]
    assert [decode(label) for label in batch.labels] == list(TEXTS[1:])
    for part in (source, First(source, 1, labels=True), every(source, 2, held=True)):
        (batch,) = part.batches(8)
        assert batch.vocabulary.tokens == TOKENS and not part.labels_rows
    assert [file.name for file in source_files(f"{table},text=text", model)[:2]] == ["said.jsonl", "vocab.json"]
    before = fingerprint(str(table), model)
    (table.parent / "model" / "vocab.json").write_text(json.dumps(TOKENS[::-1]))
    assert fingerprint(str(table), model) != before


def test_without_a_vocabulary_sounds_have_no_labels_unless_asked(table):
    assert not open_source(str(table), WAVE).has_labels
    with pytest.raises(DataError, match=r"transcripts need the model's vocabulary, and there is no vocab\.json or"):
        open_source(f"{table},text=text", WAVE)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", r"row 1: 'a' of the transcript is not in .*vocab\.json"),
        (",text=words", "no column 'words' for the transcripts"),
        (",text=text,labels=text", "text= names the labels, and so does labels="),
        (",vocab=none.json", "there is no vocabulary none.json"),
        (",case=upper,length=12,frames=4", "transcripts are of whole files, and these are cut into 3 steps"),
    ],
)
def test_what_does_not_fit_is_refused(table, options, said):
    inputs = [TensorSpec("wave", "float32", ("n", "t"))] if "frames" in options else WAVE
    with pytest.raises((DataError, UsageError), match=said):
        open_source(f"{table}{options}", inputs, beside=table.parent / "model" / "model.onnx")


@pytest.mark.long
def test_a_recogniser_is_judged_without_a_word_about_it(table, capsys):
    model = str(table.parent / "model" / "model.onnx")
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    rows[1]["text"] = "bb"  # one of six words
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(["bench", model, "--data", f"{table},case=upper", "--json", "-q"]) == 0
    found = json.loads(capsys.readouterr().out)["models"][0]
    assert found["score"]["value"] == pytest.approx(1 / 6), found
