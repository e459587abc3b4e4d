"""JUnit XML by the rules of the schemas that CI systems check: elements, their order, attributes, counts."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from compressctl.report.junit import to_junit
from tests.report.full_report import NASTY, full_report

# Required attributes, and the children in their order, by windyroad's JUnit.xsd, whose element types are the strictest.
SUITE = {"name", "package", "id", "timestamp", "hostname", "tests", "failures", "errors", "skipped", "time"}
CASE = {"name", "classname", "time"}


def _suites(*reports):
    text = to_junit(reports)
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n')
    root = ElementTree.fromstring(text)
    assert root.tag == "testsuites" and not root.attrib
    for number, suite in enumerate(root):
        _check(suite, number)
    return list(root)


def _check(suite, number):
    assert suite.tag == "testsuite" and set(suite.attrib) == SUITE and suite.get("id") == str(number)
    tags = [child.tag for child in suite]
    cases = suite.findall("testcase")
    assert tags == ["properties", *["testcase"] * len(cases), "system-out", "system-err"]
    assert all(set(item.attrib) == {"name", "value"} and item.get("name") for item in suite.find("properties"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp")) and suite.get("hostname")
    assert all(set(case.attrib) == CASE and len(case) <= 1 for case in cases)
    assert all({"type", "message"} == set(failure.attrib) for failure in suite.iter("failure"))
    assert all(re.fullmatch(r"[0-9]+\.[0-9]{3}", item.get("time")) for item in (suite, *cases))
    counts = [len(cases), len(list(suite.iter("failure"))), 0, len(list(suite.iter("skipped")))]
    assert [int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")] == counts


def test_each_budget_is_a_case_and_a_missed_one_a_failure_with_its_reason():
    (suite,) = _suites(full_report())
    assert suite.get("name") == "out.onnx" and (suite.get("tests"), suite.get("failures")) == ("4", "1")
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert list(cases) == ["max_accuracy_drop", "min_accuracy", "max_size", "latency_ratio"]
    assert [name for name, case in cases.items() if len(case)] == ["max_size"]
    failure = cases["max_size"].find("failure")
    assert failure.get("message") == "max_size: missed by ten bytes"
    assert failure.text == "at most 199.99 kB; measured: 200 kB"
    assert NASTY in suite.findtext("system-out") and "verdict: budget missed" in suite.findtext("system-out")


@pytest.mark.parametrize(("verdict", "skipped"), [("ok", 0), ("regression", 1), ("degraded", 1), ("no gain", 1)])
def test_a_regression_shows_as_skipped(verdict, skipped):
    (suite,) = _suites(replace(full_report(), verdict=verdict, budgets=()))
    (case,) = suite.findall("testcase")
    assert case.get("name") == "never worse than the input" and len(case) == skipped
    if skipped:
        assert NASTY in case.find("skipped").get("message")


def test_runs_are_suites_and_characters_that_xml_lacks_are_spelled_out():
    odd = replace(full_report().output, path="a\x00\x1b\ud800\uffff.onnx")
    first, second = _suites(full_report(), replace(full_report(), output=odd))
    assert (first.get("name"), second.get("name")) == ("out.onnx", "a\\x00\\x1b\\ud800\\uffff.onnx")
