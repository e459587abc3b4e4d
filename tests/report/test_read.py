"""Reports read back are those that were written; what is no report is refused in one line."""

import json
import math
from dataclasses import replace

import pytest

from compressctl.errors import DataError
from compressctl.report.as_json import to_json
from compressctl.report.markdown import to_markdown
from compressctl.report.read import read_report
from compressctl.report.write import report_files, write_report
from tests.report.full_report import full_report


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "out.report.json"
    report = replace(full_report(), explanation=None)
    write_report(report, path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.report.html", "out.report.json", "out.report.md"]
    assert sorted(report_files(path)) == sorted(tmp_path.iterdir())
    read = read_report(path)
    assert replace(read, output=report.output, passes=report.passes) == report
    (fidelity,) = read.output.fidelity
    assert math.isnan(fidelity.sqnr_db) and fidelity.max_abs_error == 0  # JSON has no infinity
    assert replace(read.output, fidelity=()) == replace(report.output, fidelity=())
    assert to_markdown(read) == to_markdown(report)


def test_keys_of_a_newer_minor_version_are_passed_over(tmp_path):
    content = json.loads(to_json(full_report())) | {"schema_version": "1.99", "new": 1}
    path = tmp_path / "r.json"
    path.write_text(json.dumps(content))
    assert read_report(path).verdict == "budget missed"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content | {"schema_version": "2.0"}, "schema version 2.0"),
        (lambda content: content | {"seconds": "long"}, "seconds: must be a valid number"),
        (lambda content: {key: value for key, value in content.items() if key != "passes"}, "passes: Field required"),
        (lambda content: {"baseline": "a", "models": [], "schema_version": "1.0"}, "not the report of a run"),
        (lambda content: [content], "not the report of a run"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path, change, words):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(change(json.loads(to_json(full_report())))))
    with pytest.raises(DataError, match=words) as caught:
        read_report(path)
    assert str(path) in caught.value.message and "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("content", "words"), [(b"\x08\x0a", "not JSON"), (b"\xff\xfe", "not JSON"), (None, "cannot be read")]
)
def test_what_is_no_json_is_refused(tmp_path, content, words):
    path = tmp_path / "r.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_report(path)
