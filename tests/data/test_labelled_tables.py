"""Tables of files and labels, and tables of numbers."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

from compressctl.data.fingerprint import source_files
from compressctl.data.notation import open_source
from compressctl.errors import DataError, UsageError
from compressctl.tensorspec import TensorSpec

PIXELS = [TensorSpec("x", "uint8", ("n", 1, 2, 2))]
X = [TensorSpec("x", "float32", ("n", 2))]


@pytest.fixture
def table(tmp_path):
    (tmp_path / "images").mkdir()
    for index in range(4):
        Image.new("L", (2, 2), index).save(tmp_path / "images" / f"{index}.png")
    path = tmp_path / "labels.csv"
    rows = zip((3, 1, 0, 2), ("dog", "cat", "dog", "owl"), strict=True)
    path.write_text("file,label\n" + "".join(f"images/{index}.png,{name}\n" for index, name in rows))
    return path


def read(notation, inputs):
    (batch,) = open_source(str(notation), inputs).batches(16)
    return batch.feeds[inputs[0].name], batch.labels


def refused(notation, inputs):
    with pytest.raises((DataError, UsageError)) as caught:
        read(notation, inputs)
    return str(caught.value)


def test_files_and_the_names_of_their_classes(table):
    x, labels = read(table, PIXELS)
    assert x[:, 0, 0, 0].tolist() == [3, 1, 0, 2] and labels.tolist() == [1, 0, 1, 2]
    notes = open_source(str(table), PIXELS).notes
    assert [note.text for note in notes] == ["labels are the names in 'label', sorted: cat = 0, dog = 1, owl = 2"]
    assert read(f"{table}[1:3]", PIXELS)[1].tolist() == [0, 1]
    classes = table.with_name("classes.txt")
    classes.write_text("owl\ndog\ncat\n")
    assert read(f"{table},classes={classes}", PIXELS)[1].tolist() == [1, 2, 1, 0]
    files = source_files(f"{table},classes={classes}")
    assert files == [table, classes, *(table.parent / "images" / f"{index}.png" for index in (3, 1, 0, 2))]
    classes.write_text("owl\ncat\n")
    assert f"{table}: row 1: there is no class 'dog'" in refused(f"{table},classes={classes}", PIXELS)


def test_columns_of_other_names_and_a_folder_elsewhere(table):
    other = table.parent / "tables" / "rows.jsonl"
    other.parent.mkdir()
    rows = [{"where": f"{index}.png", "score": index / 2} for index in range(4)]
    other.write_text("\n".join(map(json.dumps, rows)))
    x, labels = read(f"{other},file=where,labels=score,folder={table.parent}/images", PIXELS)
    assert x[:, 0, 0, 0].tolist() == [0, 1, 2, 3] and labels.tolist() == [0, 0.5, 1, 1.5]
    assert read(f"{other},file=where,folder={table.parent}/images", PIXELS)[1] is None
    assert f"{other}: row 1: there is no file" in refused(f"{other},file=where", PIXELS)
    assert "has no column 'were' for the files" in refused(f"{other},file=were", PIXELS)


def test_a_row_that_cannot_be_used_is_named(table):
    table.write_text(table.read_text() + "images/9.png,cat\n")
    assert f"{table}: row 5: there is no file {table.parent}/images/9.png" in refused(table, PIXELS)
    source = open_source(f"{table},skip_broken=1", PIXELS)
    assert len(source) == 4 and "1 of 5 files are left out: there is no file" in source.notes[-1].text
    table.write_text("file,label\nimages/0.png,\n")
    assert f"{table}: row 1 has no label in 'label'" in refused(table, PIXELS)


def test_files_of_arrays_and_sounds_with_targets(tmp_path):
    for index in range(2):
        np.save(tmp_path / f"{index}.npy", np.full(2, index, np.float32))
        soundfile.write(tmp_path / f"{index}.wav", np.full(2, index / 2), 8000)
        soundfile.write(tmp_path / f"{index}.flac", np.full(2, -index / 2), 8000)
    names = {"path": ["1.npy", "0.npy"], "y": [7, 8]}
    pq.write_table(pa.table(names), tmp_path / "a.parquet")
    x, labels = read(tmp_path / "a.parquet", X)
    assert x.tolist() == [[1, 1], [0, 0]] and labels.tolist() == [7, 8]
    (tmp_path / "b.tsv").write_text("audio\tclean\n1.wav\t1.flac\n0.wav\t0.flac\n")
    x, labels = read(f"{tmp_path}/b.tsv,target=clean", X)
    assert x.tolist() == [[0.5, 0.5], [0, 0]] and labels.tolist() == [[-0.5, -0.5], [0, 0]]


def test_columns_that_are_features(tmp_path):
    (tmp_path / "a.csv").write_text("width,height,class\n1,2.5,0\n3,-4e1,1\n")
    x, labels = read(tmp_path / "a.csv", X)
    assert x.tolist() == [[1, 2.5], [3, -40]] and labels.tolist() == [0, 1] and labels.dtype == np.int64
    assert "a.csv: row 1: 'x' has shape 1x2, which does not fit" in refused(
        tmp_path / "a.csv", [TensorSpec("x", "float32", ("n", 3))]
    )
    (tmp_path / "a.csv").write_text("width,height,class\n1,2,0\n3,,1\n")
    assert "a.csv: row 2: 'height' is '', but numbers are wanted" in refused(tmp_path / "a.csv", X)


def test_columns_that_are_inputs(tmp_path):
    inputs = [TensorSpec("ids", "int64", ("n", 3)), TensorSpec("scale", "float32", ("n",))]
    rows = {"ids": [[1, 2, 3], [4, 5, 6]], "factor": [0.5, 2.0], "target": [[1.0, 0.5], [0.0, 0.25]], "id": [1, 2]}
    with pa.ipc.new_file(tmp_path / "a.arrow", pa.table(rows).schema) as writer:
        writer.write_table(pa.table(rows))
    source = open_source(f"{tmp_path}/a.arrow[1:],scale=factor", inputs)
    (batch,) = source.batches(8)
    assert batch.feeds["ids"].tolist() == [[4, 5, 6]] and batch.feeds["scale"].tolist() == [2.0]
    assert batch.labels.tolist() == [[0.0, 0.25]] and "not used: id" in source.notes[-1].text
    assert "has no column 'scale' for the model's input 'scale'" in refused(tmp_path / "a.arrow", inputs)
    (tmp_path / "b.jsonl").write_text('{"x": [1, 2]}\n{"x": [1]}\n')
    assert "row 2: 'x' has 1 numbers, but row 1 has 2" in refused(tmp_path / "b.jsonl", X)
