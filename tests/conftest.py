import json
from collections import Counter
from functools import partial

import pytest

from compressctl.__main__ import run
from compressctl.measure.measurement import Workload
from compressctl.pipeline import setup
from compressctl.resources import Resources


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    """Keep what tests measure of this machine out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Time the results of runs for less long than users want; latencies have tests of their own."""
    monkeypatch.setattr(setup, "Workload", partial(Workload, seconds=0.1))


@pytest.fixture
def resources(tmp_path):
    """One thread, and the folder `tmp_path`."""
    return Resources(workdir=tmp_path)


@pytest.fixture
def call(request, capsys, tmp_path):
    """Run a command; return exit code, stdout and stderr. A module's COMMAND is run quietly, and writes out.onnx."""
    command = getattr(request.module, "COMMAND", None)

    def _call(*arguments: object) -> tuple[int, str, str]:
        whole = (command, *arguments, "-o", tmp_path / "out.onnx", "-q") if command else arguments
        code = run([str(argument) for argument in whole])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return _call


@pytest.fixture
def report(call):
    """Do as `call` does, which must give the exit code that is expected, and return the report."""

    def _report(*arguments: object, code: int = 0) -> dict:
        got, stdout, stderr = call(*arguments, "--json")
        assert got == code, stderr
        return json.loads(stdout)

    return _report


def pytest_terminal_summary(terminalreporter):
    """Say how many of ONNX's node tests the executor passes, and why it is not held to the others; and the kills."""
    passed, failed, excluded, events, states = 0, 0, Counter(), 0, 0
    for report in (*terminalreporter.stats.get("passed", ()), *terminalreporter.stats.get("failed", ())):
        for name, value in getattr(report, "user_properties", ()):
            if name == "conformance":
                good, reasons, bad = value
                passed, failed, excluded = passed + good, failed + bad, excluded + Counter(reasons)
            elif name == "killed":
                events, states = events + value[0], states + value[1]
    if passed or failed:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in excluded.most_common())
        terminalreporter.write_line(
            f"conformance: {passed} passed / {excluded.total()} excluded ({reasons}) / {failed} failed"
        )
    if events:
        terminalreporter.write_line(f"killed at {events} file events, which leave {states} different states")
