"""Tables of every kind against the rows they were written from."""

import json

import pytest

from compressctl.data.tables import Table, is_table
from compressctl.errors import DataError

ROWS = [{"text": "a, b", "n": 1}, {"text": 'quote " and\nline', "n": 2}, {"text": "é", "n": 3}]


def _csv(path, separator=","):
    cells = [["text", "n"], *([row["text"], str(row["n"])] for row in ROWS)]
    quoted = [separator.join('"' + cell.replace('"', '""') + '"' for cell in line) for line in cells]
    path.write_text("\ufeff" + "\n\n".join(quoted) + "\n", encoding="utf-8")


def _jsonl(path):
    path.write_text("\n\n".join(map(json.dumps, ROWS)))


def _arrow(path):
    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.parquet

    table = pa.Table.from_pylist(ROWS)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path, row_group_size=2)
    elif path.suffix == ".feather":
        pyarrow.feather.write_feather(table, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)


@pytest.mark.parametrize(
    ("name", "write", "convert"),
    [
        ("t.csv", _csv, str),
        ("t.TSV", lambda path: _csv(path, "\t"), str),
        ("t.jsonl", _jsonl, int),
        ("t.parquet", _arrow, int),
        ("t.arrow", _arrow, int),
        ("t.feather", _arrow, int),
    ],
)
def test_rows_come_back(tmp_path, name, write, convert):
    write(tmp_path / name)
    table = Table(tmp_path / name)
    assert is_table(tmp_path / name) and table.columns == ("text", "n") and len(table) == 3
    wanted = [{"text": row["text"], "n": convert(row["n"])} for row in ROWS]
    assert list(table.rows(range(3))) == wanted and list(table.rows(range(1, 3, 2))) == wanted[1:2]


def test_lines_of_text_are_rows(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"one\r\n\n  \nt\xc3\xbco\n")
    assert list(Table(tmp_path / "t.txt").rows(range(9))) == [{"text": "one"}, {"text": "tüo"}]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", b"a,b\n1,2\n1\n", "line 3: 1 cells in 2 columns"),
        ("t.csv", b'a\n"open', "cannot be read"),
        ("t.csv", b"a,b\n", "has no rows"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "line 2: no JSON"),
        ("t.jsonl", b"[1]\n", "line 1: it is no object"),
        ("t.txt", b"\xff\xfe", "is not UTF-8"),
        ("t.parquet", b"PAR1", "cannot be read"),
        ("t.arrow", b"ARROW1", "cannot be read"),
        ("t.txt", None, "cannot be read: No such file"),
    ],
)
def test_damage_is_one_line(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        len(Table(tmp_path / name))
    assert name in str(caught.value)


def test_columns_have_names(tmp_path):
    (tmp_path / "t.csv").write_text("sentence,label\nx,1\n")
    table = Table(tmp_path / "t.csv")
    assert table.column("label", "the labels") == "label"
    with pytest.raises(DataError, match="no column 'sentense' for the texts"):
        table.column("sentense", "the texts")
