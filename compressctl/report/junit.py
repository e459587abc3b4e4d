"""Reports as JUnit XML, in which CI systems read what passed: a test suite a run, a test case a budget.

What is written is valid by the schema of Apache Ant's JUnit task (windyroad's JUnit.xsd) and by that of Jenkins
(junit-10.xsd).
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from compressctl.guard import beginning
from compressctl.plain import plain
from compressctl.report.budgets import limit, measured
from compressctl.report.schema import BudgetVerdict, Report
from compressctl.report.tables import grouped

_PACKAGE = "compressctl"
_WORSE = ("degraded", "not measured", "regression", "no gain")
_NEVER_WORSE = "never worse than the input"


def to_junit(reports: Sequence[Report]) -> str:
    """Return runs as one JUnit document.

    A missed budget is a failure with its reason. Where none is missed, a further case says that the result is no worse
    than its input; it counts as skipped where the verdict is not "ok", so that CI shows that without failing.
    """
    root = ElementTree.Element("testsuites")
    for number, report in enumerate(reports):
        root.append(_suite(report, number))
    for element in root.iter():
        element.text = plain(element.text, keep="\n") if element.text else None
        for name, value in element.attrib.items():
            element.set(name, plain(value))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def is_junit(path: Path) -> bool:
    """Whether a file is a document of `to_junit`."""
    start = beginning(path)
    return "<testsuites" in start and f'package="{_PACKAGE}"' in start


def _suite(report: Report, number: int) -> ElementTree.Element:
    missed, regressed = report.verdict == "budget missed", report.verdict in _WORSE
    suite = ElementTree.Element(
        "testsuite",
        name=report.output.path,
        package=_PACKAGE,
        id=str(number),
        timestamp=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        hostname=platform.node() or "localhost",
        tests=str(len(report.budgets) + (not missed)),
        failures=str(sum(not verdict.met for verdict in report.budgets)),
        errors="0",
        skipped=str(int(regressed)),
        time=f"{report.seconds:.3f}",
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in _properties(report):
        ElementTree.SubElement(properties, "property", name=name, value=value)
    for verdict in report.budgets:
        _case(suite, verdict, report.metric)
    warnings = [text for kind, text in grouped(report.notes) if kind == "warning"]
    if not missed:
        case = ElementTree.SubElement(suite, "testcase", name=_NEVER_WORSE, classname=_PACKAGE, time="0.000")
        if regressed:
            ElementTree.SubElement(case, "skipped", message="; ".join(warnings) or report.verdict)
    ElementTree.SubElement(suite, "system-out").text = "\n".join([f"verdict: {report.verdict}", *warnings])
    ElementTree.SubElement(suite, "system-err")
    return suite


def _case(suite: ElementTree.Element, verdict: BudgetVerdict, metric: str | None) -> None:
    case = ElementTree.SubElement(suite, "testcase", name=verdict.budget, classname=_PACKAGE, time="0.000")
    if not verdict.met:
        failure = ElementTree.SubElement(case, "failure", type="budget missed", message=verdict.reason)
        failure.text = f"{limit(verdict, metric)}; measured: {measured(verdict, metric)}"


def _properties(report: Report) -> list[tuple[str, str]]:
    figures = [("input", report.input.path), ("input_sha256", report.input_sha256)]
    figures += [("output_sha256", report.output_sha256), ("bytes", str(report.output.bytes))]
    if report.output.latency_ratio:
        figures.append(("latency_ratio", f"{report.output.latency_ratio.value:.4f}"))
    if report.metric and report.output.score:
        figures.append((report.metric, f"{report.output.score.value:.6g}"))
    return figures
