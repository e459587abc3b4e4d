"""Budgets, passes and layers in words, on the console and in Markdown."""

import io
import math
import re
from dataclasses import replace

import pytest

from compressctl.report.budgets import budgets, unsettled
from compressctl.report.console import print_report
from compressctl.report.details import details
from compressctl.report.formatting import decibels, si
from compressctl.report.markdown import to_markdown
from compressctl.report.schema import BudgetVerdict
from compressctl.report.tables import after_each_pass, summary
from tests.report.full_report import NASTY, full_report


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_999, "1 MB"), (1_234_567, "1.23 MB"), (None, "?")],
)
def test_si(value, text):
    assert si(value, "B") == text


def test_decibels():
    assert [decibels(x) for x in (12.34, math.inf, math.nan, None)] == ["12.3 dB", "equal", "?", "?"]


def _row(key, limit, value, low=None, high=None, met=True, metric="top1"):
    low, high = (value if x is None else x for x in (low, high))
    verdict = BudgetVerdict(key, limit, value, met, low, high, "why")
    return budgets(replace(full_report(), metric=metric, budgets=(verdict,))).rows[0][1:]


def test_budgets_have_the_units_of_what_is_measured():
    assert _row("min_accuracy", 0.9, 0.94, 0.92, 0.95) == ("at least 90 %", "94 % [92, 95]", "met")
    assert _row("min_accuracy", 30, 31.5, metric="psnr") == ("at least 30", "31.5", "met")
    drop = ("at most 1.00 points", "+0.80 points [+0.20, +1.40]", "met, not sure")
    assert _row("max_accuracy_drop", 0.01, 0.008, 0.002, 0.014) == drop
    # 5 digits: what misses by a little does not read as if it were the limit
    assert _row("max_size", 200_000, 200_040, met=False) == ("at most 200 kB", "200.04 kB", "MISSED")
    assert _row("max_memory", 64_000_000, 11_398_000) == ("at most 64 MB", "11.398 MB", "met")
    late = ("at most x 0.5", "x 0.55 [0.48, 0.6]", "MISSED, cannot tell")
    assert _row("latency_ratio", 0.5, 0.55, 0.48, 0.6, met=False) == late
    assert _row("max_latency_ms", 2.5, 1.25) == ("at most 2.5 ms", "1.25 ms", "met")
    assert _row("target_macs", 0.5, 0.4996) == ("at most 0.5", "0.4996", "met")
    assert _row("max_memory", 10, math.nan, met=False)[1] == "not measured"


def test_reasons_are_told_where_budgets_are_missed_or_not_sure():
    assert [verdict.budget for verdict in unsettled(full_report())] == ["max_accuracy_drop", "max_size"]


def test_after_each_pass():
    table = after_each_pass(full_report())
    assert [row[0] for row in table.rows] == ["input", "simplify", "prune", "3 quantize", "4 quantize"]
    assert table.rows[1] == ("simplify", "", "", "", "", "", "")  # it only prepares
    assert table.rows[2][1:4] == ("600 kB", "x 0.600", "x 0.900 [0.855, 0.945]")
    assert table.rows[2][5:] == ("+2.00 points [+1.40, +2.60]", "cached")
    assert table.rows[4][-1] == "rolled back"


def test_details_have_a_cell_for_each_column():
    tables = details(full_report())
    assert [table.title for table in tables] == ["Layers", "Worst layers", "Robustness on 500 samples", "Pareto front"]
    assert all(len(row) == len(table.header) for table in tables for row in table.rows)
    layers = tables[0]
    assert layers.rows[0][5:] == ("40.0 dB", "40.0 dB", "25.0 dB", "+0.00 points [+0.00, +0.00]")
    assert layers.rows[2][7:] == ("", "") and layers.rows[3][7] == "equal"


def test_console_tells_all_and_takes_names_as_they_are():
    stream = io.StringIO()
    report = replace(full_report(), recipe={}, notes=())
    print_report(report, stream, verbose=True)
    text = stream.getvalue()
    assert "max_size: missed by ten bytes" in text and "4 quantize" in text and NASTY in text
    assert "After each pass" in text and "Robustness" in text and "Pareto front" in text and "- type: prune" in text
    quiet = io.StringIO()
    print_report(report, quiet)
    assert "Worst layers" in quiet.getvalue() and "/block7/" not in quiet.getvalue()


def test_markdown_tables_are_whole_and_names_begin_no_tag():
    text = to_markdown(full_report())
    rows = [line for line in text.splitlines() if line.startswith("|")]
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(rows) > 40 and len(blocks) >= 7
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    outside = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert not re.search(r"(?<!\\)<(?!details>|/details>|summary>|/summary>)", outside)
    assert "<details><summary>25 rows</summary>" in text and "- max_size: missed by ten bytes" in text


def test_a_latency_of_steps_is_said_to_be_one():
    report = full_report()
    assert [row[0] for row in summary(report).rows if row[0].startswith("latency")] == ["latency (median)"]
    stepped = replace(report.output, latency=replace(report.output.latency, steps=6))
    (row,) = (row[0] for row in summary(replace(report, output=stepped)).rows if row[0].startswith("latency"))
    assert row == "latency of one of 6 steps in a row, states carried (median)"
