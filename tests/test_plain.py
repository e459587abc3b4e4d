"""Whatever a name holds, what is shown of it drives no terminal, turns no text around, and is no markup."""

import io
import unicodedata
from dataclasses import replace

import onnx
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from compressctl.__main__ import run
from compressctl.notes import warning
from compressctl.plain import flow
from compressctl.report.console import print_report, print_table
from compressctl.report.html import to_html
from compressctl.report.junit import to_junit
from compressctl.report.markdown import to_markdown
from compressctl.report.tables import Table
from compressctl.starter.text import comment, key
from tests.report.full_report import full_report

TEXT = st.text(
    st.one_of(st.characters(), st.sampled_from("\x00\x1b\x7f\x85\x9b\u200e\u202e\u2066\u2028\ud800\ufeff`|<[]!@"))
)
ODD = "\x1b[2J\x9b31m\u202ecod\u2066 \x07\r\n\x85\u2028"


def _hidden(text):
    """Return the characters that nobody sees, but for the line breaks that we write."""
    return {char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char != "\n"}


@settings(max_examples=60, deadline=None)
@given(TEXT)
def test_no_sink_shows_what_hides(name):
    stream = io.StringIO()
    print_table(Table(name, ("layer", name), ((name, "1"),)), stream)
    output = replace(full_report().output, path=f"{name}.onnx")
    report = replace(full_report(), output=output, notes=(warning(name, name),), verdict="regression", budgets=())
    print_report(report, stream, verbose=True)
    for shown in (stream.getvalue(), to_markdown(report), to_junit([report]), to_html(report)):
        assert not _hidden(shown)
        shown.encode()


def _model(name, domain=""):
    node = helper.make_node("Gemm", ["x", "w"], ["y"], name=name, domain=domain)
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 4]) for n in "xy")
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 4], [1.0] * 16)
    graph = helper.make_graph([node], "g", [x], [y], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_commands_show_no_sequences_of_models(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    onnx.save(_model(f"{ODD}fc"), "names.onnx")
    onnx.save(_model("fc", f"bo{ODD}gus"), "domain.onnx")
    for command, code in (
        (["inspect", "names.onnx"], 0),
        (["quantize", "names.onnx", "-o", "o.onnx", "--scheme", "int8-dynamic", "--threads", "1", "-v"], 0),
        (["init", "names.onnx", "-o", "-"], 0),
        (["inspect", "domain.onnx"], 3),
        (["inspect", f"{ODD}.onnx"], 3),
        (["pipeline", f"{ODD}.yaml"], 2),
        (["bench", "names.onnx", "--metric", ODD, "--data", "random:4"], 2),
    ):
        assert run(command) == code
        shown = capsys.readouterr()
        assert not _hidden(shown.out) and not _hidden(shown.err)
    for written in ("o.report.md", "o.report.html"):
        assert not _hidden((tmp_path / written).read_text(encoding="utf-8"))


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.text("![](<>)`*_~$&|\\:/ wx@#1a"), st.just("![](http://a.example/x) [a](b) <b> www.a.example @you"))
)
def test_markdown_holds_no_markup_of_names(name):
    from markdown_it import MarkdownIt

    report = replace(full_report(), notes=(warning(f"a {name} z"),), output=replace(full_report().output, path=name))
    seen = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(to_markdown(report)):
        seen += [(child.type, child.content) for child in token.children or ()]
    assert {content for kind, content in seen if kind == "code_inline"} == {"passes:"}
    assert not {"link_open", "image", "html_inline", "em_open", "s_open"} & {kind for kind, _ in seen}


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_recipes_hold_any_name(name):
    plain_yaml = name.replace("${", "$${")
    assert yaml.safe_load(flow([name])) == [plain_yaml]
    assert yaml.safe_load(key("model", name)) == {"model": plain_yaml}
    assert yaml.safe_load("\n".join([*comment(f"about {name}"), "a: 1"])) == {"a": 1}
    assert not _hidden(key("model", name)) and not _hidden("\n".join(comment(name)))
