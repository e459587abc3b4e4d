from collections import Counter


def pytest_terminal_summary(terminalreporter):
    """Say how many of ONNX's node tests the executor passes, and why it is not held to the others."""
    passed, failed, excluded = 0, 0, Counter()
    for report in (*terminalreporter.stats.get("passed", ()), *terminalreporter.stats.get("failed", ())):
        for name, (good, reasons, bad) in getattr(report, "user_properties", ()):
            if name == "conformance":
                passed, failed, excluded = passed + good, failed + bad, excluded + Counter(reasons)
    if passed or failed:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in excluded.most_common())
        terminalreporter.write_line(
            f"conformance: {passed} passed / {excluded.total()} excluded ({reasons}) / {failed} failed"
        )
